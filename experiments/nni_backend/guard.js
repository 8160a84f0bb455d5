// Preloaded into NNI's manager (node --require guard.js main.js), which by itself listens on every
// interface, asks for no login, and decodes what it is sent into running code.
//
// With it the manager listens on 127.0.0.1 only; answers the user who started it and root, nobody
// else on the machine; answers no page of another origin; and keeps no route that runs code, reads
// files or changes the experiment's space. It also gives every trial its own parameters, where NNI
// gives them to whichever trial asks first. Environment:
//   CONVNAS_NNI_OWNED   the process that started this one holds its standard input; when that
//                       closes, this process and all of its group end
//   CONVNAS_NNI_HOME    where NNI keeps its list of experiments, in place of the home folder

'use strict';

const fs = require('fs');
const http = require('http');
const Module = require('module');
const net = require('net');
const os = require('os');
const path = require('path');

const LOOPBACK = '127.0.0.1';
const HOST = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/;
const API = '/api/v1/nni/';
const MAPPED = os.endianness() === 'LE' ? '0000000000000000FFFF0000' : '00000000000000000000FFFF';
const READ_ONLY = process.argv.includes('view');

if (process.env.CONVNAS_NNI_KEEPER && /[\\/]trial_keeper[\\/]main\.js$/.test(process.argv[1] || '')) {
    // What a manager runs on another machine, see remote.js.
    delete process.env.NODE_OPTIONS;
    listenOnLoopback();
    refuseStrangers();
} else if (/[\\/]nni_node[\\/]main\.js$/.test(process.argv[1] || '')) {
    process.env.CONVNAS_NNI_MANAGER = String(process.pid);
    delete process.env.NODE_OPTIONS; // neither tuner nor trials are managers
    listenOnLoopback();
    refuseStrangers();
    endWithOwner();
    correct();
    if (process.env.CONVNAS_NNI_HOME) {
        os.homedir = () => process.env.CONVNAS_NNI_HOME;
        require('./remote.js')(patch);
    }
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

function refuseStrangers() {
    const emit = http.Server.prototype.emit;
    http.Server.prototype.emit = function (event, ...args) {
        if (event === 'connection' && !ownSocket(args[0])) {
            args[0].destroy();
            return true;
        }
        if (event === 'request' || event === 'checkContinue' || event === 'checkExpectation') {
            const reason = objection(args[0]);
            if (reason) {
                args[1].writeHead(403, { 'Content-Type': 'text/plain', Connection: 'close' });
                args[1].end(`refused: ${reason}\n`);
                return true;
            }
        }
        if (event === 'upgrade' || event === 'connect') {
            if (objection(args[0]) || event === 'connect' || !channel(args[0])) {
                args[1].destroy();
                return true;
            }
        }
        return emit.call(this, event, ...args);
    };
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

// Why a request is not answered; null where it is.
function objection(request) {
    const { host = '', origin } = request.headers;
    if (!HOST.test(host)) {
        return 'the Host is not this machine';
    }
    if (origin !== undefined && origin !== `http://${host}`) {
        return 'the Origin is another one';
    }
    if (['cross-site', 'same-site'].includes(request.headers['sec-fetch-site']) &&
        request.headers['sec-fetch-mode'] !== 'navigate') {
        return 'it comes from another site';
    }
    return forbidden(request.method, request.url);
}

function forbidden(method, url) {
    if (!url.startsWith('/')) {
        return 'the address is not a path';
    }
    let plain;
    try {
        plain = decodeURIComponent(url.split('?')[0]).toLowerCase();
    } catch {
        return 'the address cannot be decoded';
    }
    if (plain.includes('..') || plain.includes('\0') || plain.includes('\\')) {
        return 'the address climbs';
    }
    if (/\/(netron|tensorboard[^/]*|cluster-metadata)(\/|$)/.test(plain)) {
        return 'this route is closed';
    }
    if (plain.includes('trial-file') &&
        !/\/trial-file\/[A-Za-z0-9]+\/(trial\.log|stderr|stdout)$/.test(url)) {
        return 'only a trial\'s log, stderr and stdout can be read';
    }
    if (method === 'GET' || method === 'HEAD') {
        return null;
    }
    if (READ_ONLY) {
        return method === 'POST' && api(url) === 'experiment' && once('experiment')
            ? null : 'this is a view';
    }
    return changes(method, url) ? null : 'this route is closed';
}

// The few requests that may change something, each spelt in one way only.
function changes(method, url) {
    const route = api(url);
    return method === 'PUT' && /\/env\/[\w-]+\/\w+$/.test(url)
        || method === 'POST' && route === 'experiment' && once('experiment')
        || method === 'DELETE' && (route === 'experiment' || /^trial-jobs\/\w+$/.test(route))
        || method === 'PUT' && /^experiment\?update_type=(TRIAL_CONCURRENCY|MAX_EXEC_DURATION|MAX_TRIAL_NUM)$/.test(route);
}

function api(url) {
    const start = url.indexOf(API);
    return start < 0 ? '' : url.slice(start + API.length).replace(/^\/+/, '');
}

const seen = new Set();

function once(what) {
    const first = !seen.has(what);
    seen.add(what);
    return first;
}

// The WebSockets of NNI's own processes, which are no browsers and send no Origin.
function channel(request) {
    return request.headers.origin === undefined && !READ_ONLY
        && /\/(tuner|platform\/[\w-]+\/\w+)$/.test(request.url);
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

function correct() {
    patch('training_service/v3/compat', ({ V3asV1 }) => {
        const submit = V3asV1.prototype.submitTrialJob;
        V3asV1.prototype.submitTrialJob = async function (form) {
            await this.startDeferred.promise;
            // With an id and an environment of its own a trial gets its own parameters; NNI does
            // this for resumed trials only.
            while (!form.envId && (form.envId = this.schedule()) === null) {
                await new Promise(resolve => setTimeout(resolve, 200));
            }
            form.id = form.id || require('crypto').randomBytes(4).toString('hex');
            return submit.call(this, form);
        };
        const cancel = V3asV1.prototype.cancelTrialJob;
        V3asV1.prototype.cancelTrialJob = function (id, isEarlyStopped) {
            if (this.trialJobs[id]) {
                // NNI notes it after the trial has ended, which is after it was looked at.
                this.trialJobs[id].isEarlyStopped = Boolean(isEarlyStopped);
            }
            return cancel.call(this, id, isEarlyStopped);
        };
    });
    patch('core/nnimanager', ({ NNIManager }) => {
        const onTunerCommand = NNIManager.prototype.onTunerCommand;
        NNIManager.prototype.onTunerCommand = function (type, content) {
            if (type === 'TR') {
                // The tuner numbers its parameters as the study numbers its trials. NNI counts from
                // 1 again after each resume.
                this.experimentProfile.nextSequenceId = JSON.parse(content).parameter_id;
            }
            return onTunerCommand.call(this, type, content);
        };
    });
    patch('core/tuner_command_channel', ({ getTunerServer }) => {
        // NNI waits 10 seconds, which is less than importing it takes on a busy machine.
        const server = getTunerServer();
        server.init = () => Promise.race([
            server.connect.promise,
            new Promise((_, reject) => setTimeout(
                () => reject(new Error('the tuner did not connect in 120 seconds')), 120000)),
        ]);
    });
}

// Call `change` with what NNI's module `name` exports, once it is loaded.
function patch(name, change) {
    const wanted = path.join(path.dirname(process.argv[1]), ...name.split('/')) + '.js';
    const load = Module._extensions['.js'];
    Module._extensions['.js'] = function (module, filename) {
        load.call(this, module, filename);
        if (filename === wanted) {
            change(module.exports);
        }
    };
}
