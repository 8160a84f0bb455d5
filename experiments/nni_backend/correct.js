// What NNI's manager does wrong, done right: guard.js loads this into it.

'use strict';

const crypto = require('crypto');

module.exports = function correct(patch, access) {
    patch('common/utils', exported => {
        const start = exported.getTunerProc;
        exported.getTunerProc = function (command, stdio, folder, environment, ...rest) {
            // NNI's client takes name and password out of the address.
            const { NNI_TUNER_COMMAND_CHANNEL: url } = environment;
            const known = url.replace('ws://', `ws://tuner:${access.tunerKey}@`);
            const told = { ...environment, NNI_TUNER_COMMAND_CHANNEL: known };
            return start.call(this, command, stdio, folder, told, ...rest);
        };
    });
    patch('training_service/v3/compat', ({ V3asV1 }) => {
        const submit = V3asV1.prototype.submitTrialJob;
        V3asV1.prototype.submitTrialJob = async function (form) {
            await this.startDeferred.promise;
            // With an id and an environment of its own a trial gets its own parameters; NNI does
            // this for resumed trials only.
            while (!form.envId && (form.envId = this.schedule()) === null) {
                await new Promise(resolve => setTimeout(resolve, 200));
            }
            form.id = form.id || crypto.randomBytes(4).toString('hex');
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
};
