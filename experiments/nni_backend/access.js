// Who may ask NNI's web server for what. What is listed here is answered, in exactly the spelling
// that stands here; every other request is refused. Lists of what is forbidden were got around by
// upper case, by encoded letters and by paths hidden behind a question mark.
//
// A program of the run (the launcher, a trial, nnictl) sends the run's secret as its password. The
// tuner has a key of its own, which opens its channel and nothing else. A browser comes in once, by
// the token in the address that convnas prints, and afterwards by a cookie, so that neither other
// users of this machine nor those of an ssh tunnel's other end get in.

'use strict';

const crypto = require('crypto');
const fs = require('fs');
const path = require('path');

// Any port: at the other end of a tunnel it may be another one.
const HOST = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/;
const API = '/api/v1/nni/';
const PAGES = ['/', '/oview', '/detail', '/experiment'];

const READS = [
    'check-status', 'version', 'experiment', 'experiment-metadata', 'experiments-info',
    'experiment/imported-data', 'export-data', 'job-statistics', 'trial-jobs', 'trial-jobs/\\w+',
    'metric-data(/\\w+)?(\\?type=(PERIODICAL|FINAL))?', 'metric-data-latest',
    'metric-data-range/\\d+/\\d+', 'trial-file/\\w+/(trial\\.log|stderr|stdout)',
].map(route => `GET ${API}${route}`);

// The pages' own buttons: cancel a trial, edit the limits. No other `update_type`: a search space
// is decoded by the tuner.
const CHANGES = [
    `DELETE ${API}trial-jobs/\\w+`,
    `PUT ${API}experiment\\?update_type=(TRIAL_CONCURRENCY|MAX_EXEC_DURATION|MAX_TRIAL_NUM)`,
];

const START = `POST ${API}experiment`;
const TRIALS = '(GET|PUT) /env/[\\w-]+/\\w+';
const SOCKETS = { tuner: 'GET /tuner', program: 'GET /platform/remote/\\w+' };

const any = patterns => new RegExp(`^(${patterns.join('|')})$`);

class Access {
    // `kind`: "search", "view" (nothing changes), or "keeper", NNI's helper on another machine,
    // which only trials speak to. `secret` and `token` are strings, `prefix` is NNI's url_prefix,
    // "/mine", and `files` the folder of its pages.
    constructor({ kind, port, secret, token, prefix = '', files }) {
        this.secret = secret;
        this.token = token;
        this.prefix = prefix;
        this.tunerKey = random();
        this.cookie = { name: `convnas-${port}`, value: random() };
        this.started = false;
        this.tuner = null;
        const readers = kind === 'keeper' ? [] : READS;
        const changes = kind === 'search' ? CHANGES : [];
        this.pages = kind === 'keeper' ? new Set() : new Set([...PAGES, ...listed(files)]);
        this.forReaders = any([...readers, ...changes]);
        this.forPrograms = any({
            keeper: [TRIALS], view: [START], search: [START, TRIALS, `DELETE ${API}experiment`],
        }[kind]);
        this.sockets = kind === 'search' ? SOCKETS : {};
    }

    // null where `request` is answered, {page, cookie} where it logs a browser in, else {reason}.
    judge(request) {
        const reason = stranger(request);
        if (reason) {
            return { reason };
        }
        const target = this.target(request);
        if (target !== null && request.method === 'GET' && target.startsWith('/?token=')) {
            return this.logIn(request, target.slice('/?token='.length));
        }
        const who = this.who(request);
        if (!who) {
            return { reason: 'log in with the address that convnas has printed' };
        }
        const asked = `${request.method} ${target}`;
        if (target === null || who === 'tuner') {
            return { reason: 'this route is closed' };
        }
        if (request.method === 'GET' && this.pages.has(target) || this.forReaders.test(asked)) {
            return null;
        }
        if (who === 'program' && this.forPrograms.test(asked)) {
            return asked !== START || this.start() ? null : { reason: 'it has started already' };
        }
        return { reason: 'this route is closed' };
    }

    // Whether a WebSocket is opened: to NNI's own processes, which are no browsers and send no
    // Origin. The tuner has one at a time: another would take its place.
    opens(request, socket) {
        const who = this.who(request);
        const target = this.target(request);
        if (stranger(request) || request.headers.origin !== undefined || !this.sockets[who]
            || !any([this.sockets[who]]).test(`${request.method} ${target}`)
            || who === 'tuner' && this.tuner) {
            return false;
        }
        if (who === 'tuner') {
            this.tuner = socket.once('close', () => { this.tuner = null; });
        }
        return true;
    }

    // What a browser's address names below NNI's prefix; null where it is outside.
    target({ url }) {
        return url.startsWith(`${this.prefix}/`) ? url.slice(this.prefix.length) : null;
    }

    who({ headers }) {
        const [, words] = /^Basic ([A-Za-z0-9+/]+={0,2})$/.exec(headers.authorization || '') || [];
        const given = Buffer.from(words || '', 'base64').toString();
        if (same(given, `convnas:${this.secret}`)) {
            return 'program';
        }
        if (same(given, `tuner:${this.tunerKey}`)) {
            return 'tuner';
        }
        const cookies = (headers.cookie || '').split(';').map(each => each.trim());
        const own = `${this.cookie.name}=${this.cookie.value}`;
        return cookies.some(each => same(each, own)) ? 'browser' : null;
    }

    logIn(request, token) {
        if (this.who(request) !== 'browser') {
            if (!this.token || !same(token, this.token)) {
                return { reason: 'this address has been used, or is another run\'s' };
            }
            this.token = null;
        }
        const { name, value } = this.cookie;
        return {
            page: `${this.prefix}/oview`,
            cookie: `${name}=${value}; HttpOnly; SameSite=Strict; Path=/`,
        };
    }

    start() {
        const first = !this.started;
        this.started = true;
        return first;
    }
}

// Why a request cannot be from a program of this machine or from NNI's own page; null where it may.
function stranger({ headers, method }) {
    const { host = '', origin } = headers;
    if (!HOST.test(host)) {
        return 'the Host is not this machine';
    }
    if (origin !== undefined && origin !== `http://${host}`) {
        return 'the Origin is another one';
    }
    const site = headers['sec-fetch-site'];
    const visit = method === 'GET' && headers['sec-fetch-mode'] === 'navigate'
        && headers['sec-fetch-dest'] === 'document';
    // A page at another port of this machine counts as the same site, and its requests bring our
    // cookie along; a link that somebody follows does no harm.
    return site === undefined || site === 'same-origin' || site === 'none' || visit
        ? null : 'it comes from another site';
}

// The addresses of all files below `folder`, of those that need no encoding.
function listed(folder) {
    return fs.readdirSync(folder).flatMap(name => {
        const below = path.join(folder, name);
        return fs.statSync(below).isDirectory()
            ? listed(below).map(each => `/${name}${each}`) : [`/${name}`];
    }).filter(each => /^[\w./~-]+$/.test(each));
}

function random() {
    return crypto.randomBytes(32).toString('base64url');
}

// In a time that says nothing about where they differ.
function same(one, other) {
    const digest = text => crypto.createHash('sha256').update(text).digest();
    return crypto.timingSafeEqual(digest(one), digest(other));
}

module.exports = { Access, random };
