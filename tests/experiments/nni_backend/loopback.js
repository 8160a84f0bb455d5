// NNI as it is, without the guard, but on 127.0.0.1 and patient with a tuner on a busy machine.
'use strict';
const Module = require('module');
const net = require('net');
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, ...rest) {
    return typeof port === 'number'
        ? listen.call(this, port, '127.0.0.1', ...rest) : listen.call(this, port, ...rest);
};
const load = Module._extensions['.js'];
Module._extensions['.js'] = function (module, filename) {
    load.call(this, module, filename);
    if (filename.endsWith('core/tuner_command_channel.js')) {
        const server = module.exports.getTunerServer();
        server.init = () => server.connect.promise;
    }
};
