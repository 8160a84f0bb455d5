// Preloaded into NNI's manager (node --require guard.js main.js), which by itself listens on every
// interface, asks for no login, and decodes what it is sent into running code.
//
// With it the manager listens on 127.0.0.1 only; answers the user who started it and root, nobody
// else on the machine; and of those only who has the run's secret or its browser's cookie, for what
// access.js lists. It also corrects what NNI does wrong, see correct.js. Environment:
//   CONVNAS_NNI_SECRET  what a program of this run sends as its password; tuner and trials get it
//   CONVNAS_NNI_TOKEN   what lets one browser in, once; nobody gets it from here
//   CONVNAS_NNI_OWNED   the process that started this one holds its standard input; when that
//                       closes, this process and all of its group end
//   CONVNAS_NNI_HOME    where NNI keeps its list of experiments, in place of the home folder
//   CONVNAS_NNI_KEEPER  this is NNI's helper on another machine, see remote.js

'use strict';

const fs = require('fs');
const http = require('http');
const Module = require('module');
const net = require('net');
const os = require('os');
const path = require('path');
const { Access, random } = require('./access.js');

const LOOPBACK = '127.0.0.1';
const MAPPED = os.endianness() === 'LE' ? '0000000000000000FFFF0000' : '00000000000000000000FFFF';

const program = process.argv[1] || '';

if (process.env.CONVNAS_NNI_KEEPER && /[\\/]trial_keeper[\\/]main\.js$/.test(program)) {
    delete process.env.NODE_OPTIONS;
    process.env.CONVNAS_NNI_SECRET = random(); // for its own trials
    listenOnLoopback();
    refuseStrangers(new Access({ kind: 'keeper', secret: process.env.CONVNAS_NNI_SECRET }));
} else if (/[\\/]nni_node[\\/]main\.js$/.test(program)) {
    process.env.CONVNAS_NNI_MANAGER = String(process.pid);
    delete process.env.NODE_OPTIONS; // neither tuner nor trials are managers
    const access = accessHere();
    listenOnLoopback();
    refuseStrangers(access);
    endWithOwner();
    require('./correct.js')(patch, access);
    if (process.env.CONVNAS_NNI_HOME) {
        os.homedir = () => process.env.CONVNAS_NNI_HOME;
        require('./remote.js')(patch);
    }
}

function accessHere() {
    const { CONVNAS_NNI_SECRET: secret, CONVNAS_NNI_TOKEN: token } = process.env;
    delete process.env.CONVNAS_NNI_TOKEN;
    if (!secret) {
        console.error('CONVNAS_NNI_SECRET is not set; run: eval "$(convnas nni guard)"');
        process.exit(1);
    }
    const prefix = option('url-prefix');
    return new Access({
        kind: option('action') === 'view' ? 'view' : 'search',
        port: option('port'),
        secret,
        token,
        prefix: prefix && `/${prefix}`,
        files: path.join(path.dirname(program), 'static'),
    });
}

// What the manager's command line says of `name`; empty where it says nothing.
function option(name) {
    const at = process.argv.indexOf(`--${name}`);
    return at < 0 ? '' : process.argv[at + 1];
}

function listenOnLoopback() {
    const listen = net.Server.prototype.listen;
    net.Server.prototype.listen = function (...args) {
        const [first] = args;
        const callback = typeof args[args.length - 1] === 'function' ? [args.pop()] : [];
        if (first !== null && typeof first === 'object') {
            const target = first.path || first._handle || first.fd !== undefined
                ? first : { ...first, host: LOOPBACK };
            return listen.call(this, target, ...callback);
        }
        if (typeof first === 'string' && !/^\d+$/.test(first)) {
            return listen.call(this, first, ...callback); // a Unix socket
        }
        return listen.call(this, { port: Number(first || 0), host: LOOPBACK }, ...callback);
    };
}

function refuseStrangers(access) {
    const emit = http.Server.prototype.emit;
    http.Server.prototype.emit = function (event, ...args) {
        if (event === 'connection' && !ownSocket(args[0])) {
            args[0].destroy();
            return true;
        }
        const [request, answer] = args;
        if (event === 'request' || event === 'checkContinue' || event === 'checkExpectation') {
            const verdict = access.judge(request);
            if (verdict) {
                (verdict.reason ? refuse : welcome)(answer, verdict);
                return true;
            }
        }
        if (event === 'connect' || event === 'upgrade' && !access.opens(request, answer)) {
            answer.destroy();
            return true;
        }
        return emit.call(this, event, ...args);
    };
}

function refuse(answer, { reason }) {
    answer.writeHead(403, { 'Content-Type': 'text/plain', Connection: 'close' });
    answer.end(`refused: ${reason}\n`);
}

// The cookie, and on to the page: by the page's own move, since a browser that came by a link of
// another site would not show the cookie after a redirection.
function welcome(answer, { page, cookie }) {
    answer.writeHead(200, {
        'Content-Type': 'text/html',
        'Cache-Control': 'no-store',
        'Referrer-Policy': 'no-referrer',
        'Set-Cookie': cookie,
    });
    answer.end(`<!doctype html><meta http-equiv="refresh" content="0; url=${page}">`);
}

// Whether the other end of a connection from this machine is root's or our own user's, as the
// kernel lists it.
function ownSocket(socket) {
    if (process.platform !== 'linux') {
        return true;
    }
    const far = inTable(socket.remoteAddress, socket.remotePort);
    const near = inTable(socket.localAddress, socket.localPort);
    for (const [table, mapped] of [['/proc/net/tcp', ''], ['/proc/net/tcp6', MAPPED]]) {
        let lines = [];
        try {
            lines = fs.readFileSync(table, 'latin1').split('\n');
        } catch {
            continue; // no IPv6 here
        }
        const fields = lines.map(line => line.trim().split(/\s+/))
            .find(line => line[1] === mapped + far && line[2] === mapped + near);
        if (fields) {
            return [0, process.getuid()].includes(Number(fields[7]));
        }
    }
    return false;
}

// An IPv4 address and port as /proc/net/tcp writes them: 127.0.0.1:80 is 0100007F:0050.
function inTable(address, port) {
    const bytes = Buffer.from(String(address).replace('::ffff:', '').split('.').map(Number));
    const word = os.endianness() === 'LE' ? bytes.reverse() : bytes;
    const digits = word.toString('hex') + ':' + port.toString(16).padStart(4, '0');
    return digits.toUpperCase();
}

function endWithOwner() {
    if (process.env.CONVNAS_NNI_OWNED) {
        process.stdin.on('error', end).on('end', end).on('close', end).resume();
    }
    function end() {
        try {
            process.kill(-process.pid, 'SIGKILL');
        } catch {
            process.exit(1);
        }
    }
}

// Call `change` with what NNI's module `name` exports, once it is loaded.
function patch(name, change) {
    const wanted = path.join(path.dirname(program), ...name.split('/')) + '.js';
    const load = Module._extensions['.js'];
    Module._extensions['.js'] = function (module, filename) {
        load.call(this, module, filename);
        if (filename === wanted) {
            change(module.exports);
        }
    };
}
