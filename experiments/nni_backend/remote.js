// NNI's remote training service, closed: guard.js loads this into the manager where trials run on
// other machines. NNI by itself accepts any host key, upgrades nni on the machine with pip, and has
// the machine call back at a port of the manager that is open to the network. Here
//   - a machine whose key is not among `hostKeys` ("TYPE BASE64") is refused,
//   - nothing is installed: convnas and nni must be there,
//   - the machine calls back through the ssh connection itself, over a Unix socket that only its
//     user can open, and reaches nothing but the channel meant for it,
//   - what NNI runs there is guarded too,
//   - each machine gets as many trials at once as it has `workers`,
//   - why a machine cannot be used is written to CONVNAS_NNI_HOME/reason.

'use strict';

const fs = require('fs');
const Module = require('module');
const net = require('net');
const path = require('path');

const CHECK = '-c "import nni; from convnas.experiments.nni_backend.guard import guard_path; '
    + 'print(guard_path())"';
const RSA = ['rsa-sha2-512', 'rsa-sha2-256', 'ssh-rsa'];

module.exports = function closeRemote(patch) {
    patch('training_service/remote_v3/ssh', ({ Ssh }) => {
        Ssh.prototype.connect = async function () {
            this.client = await connected(this.config, this.log);
        };
    });
    patch('training_service/remote_v3/worker', ({ Worker }) => {
        const start = Worker.prototype.start;
        Worker.prototype.start = async function () {
            this.ssh.run = instead(this.ssh, this.ssh.run, this);
            try {
                await start.call(this);
            } catch (error) {
                explain(`${this.config.user}@${this.config.host}: ${error.message || error}`);
                throw error;
            }
        };
        const launch = Worker.prototype.launchTrialKeeperDaemon;
        Worker.prototype.launchTrialKeeperDaemon = async function () {
            this.socketFolder = await this.ssh.run('mktemp -d /tmp/convnas-XXXXXXXX');
            const socket = `${this.socketFolder}/socket`;
            const route = new URL(this.channelUrl).pathname;
            await callBack(this.ssh.client, socket, route, Number(new URL(this.channelUrl).port));
            this.channelUrl = `ws+unix://${socket}:${route}`;
            await launch.call(this);
        };
        const stop = Worker.prototype.stop;
        Worker.prototype.stop = async function () {
            await stop.call(this);
            await this.ssh.exec(`rm -rf ${this.socketFolder}`);
            this.ssh.disconnect();
        };
    });
    patch('training_service/remote_v3/remote', ({ RemoteTrainingServiceV3 }) => {
        const restart = RemoteTrainingServiceV3.prototype.restartWorker;
        RemoteTrainingServiceV3.prototype.restartWorker = async function (worker) {
            await restart.call(this, worker);
            if (this.workers.filter(each => each.channel).length === 0) {
                explain(`${worker.config.user}@${worker.config.host}: the connection was lost`);
                process.exit(1);
            }
        };
    });
    patch('training_service/v3/compat', ({ V3asV1 }) => {
        // The machine with the most workers free; NNI takes turns, whatever runs where.
        const inTurn = V3asV1.prototype.schedule;
        V3asV1.prototype.schedule = function () {
            if (!this.v3.workersByEnv) {
                return inTurn.call(this);
            }
            const free = this.environments.map(env => {
                const worker = this.v3.workersByEnv.get(env.id);
                const busy = Object.values(this.trialJobs).filter(job => job.envId === env.id
                    && (job.status === 'WAITING' || job.status === 'RUNNING')).length;
                return { id: env.id, free: (worker ? worker.config.workers : 0) - busy };
            }).sort((one, other) => other.free - one.free);
            return free.length && free[0].free > 0 ? free[0].id : null;
        };
    });
};

async function connected(config, log) {
    // NNI's own modules are found from its main.js.
    const { Client } = Module.createRequire(process.argv[1])('ssh2');
    const known = config.hostKeys.map(line => line.split(' '));
    const types = known.flatMap(([type]) => type === 'ssh-rsa' ? RSA : [type]);
    const client = new Client();
    let refused = false;
    await new Promise((resolve, reject) => {
        client.once('ready', resolve).once('error', error => reject(refused
            ? new Error('its host key is not the one in known_hosts') : error));
        client.connect({
            host: config.host,
            port: config.port,
            username: config.user,
            privateKey: fs.readFileSync(config.sshKeyFile),
            hostVerifier: key => {
                refused = !known.some(([, blob]) => blob === key.toString('base64'));
                return !refused;
            },
            algorithms: { serverHostKey: [...new Set(types)] },
            keepaliveInterval: 15000,
            readyTimeout: 60000,
        });
    });
    client.on('error', error => log.error('ssh connection:', error));
    return client;
}

// What is run there in place of what NNI would run.
function instead(ssh, run, worker) {
    return async function (command) {
        if (/ -m pip install nni --upgrade$/.test(command)) {
            const found = await ssh.exec(`${worker.python} ${CHECK}`);
            if (found.code !== 0) {
                const said = found.stderr.trim().split('\n').pop();
                throw new Error(`convnas and nni must be installed in its python: ${said}`);
            }
            worker.guard = found.stdout.trim();
            return '';
        }
        if (/launch_trial_keeper/.test(command)) {
            const option = `--require "${worker.guard}"`;
            return run.call(ssh, `NODE_OPTIONS='${option}' CONVNAS_NNI_KEEPER=1 ${command}`);
        }
        return run.call(ssh, command);
    };
}

// Have the machine's `socket` lead to our own `port`, for WebSockets to `route` and nothing else.
async function callBack(client, socket, route, port) {
    client.on('unix connection', (info, accept) => {
        const stream = accept();
        stream.on('error', () => stream.destroy());
        stream.once('data', first => {
            const head = first.toString('latin1');
            const start = `GET ${route} HTTP/1.1\r\n`;
            if (!head.startsWith(start) || !/\r\nUpgrade: websocket\r\n/i.test(head)) {
                stream.end();
                return;
            }
            const link = net.connect(port, '127.0.0.1', () => {
                // The run's secret stays on this machine.
                const login = Buffer.from(`convnas:${process.env.CONVNAS_NNI_SECRET}`);
                link.write(`${start}Authorization: Basic ${login.toString('base64')}\r\n`);
                link.write(first.subarray(start.length));
                stream.pipe(link).pipe(stream);
            });
            link.on('error', () => stream.destroy()).on('close', () => stream.destroy());
            stream.on('close', () => link.destroy());
        });
    });
    await new Promise((resolve, reject) => client.openssh_forwardInStreamLocal(
        socket, error => error ? reject(error) : resolve()));
}

function explain(reason) {
    fs.writeFileSync(path.join(process.env.CONVNAS_NNI_HOME, 'reason'), `${reason}\n`);
}
