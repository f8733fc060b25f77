// Says how each process ended that the driver had started and that leads a session of its own: browsers do.
//
// The kernel tells a process's parent alone. The worker reads this on stderr (workers/driver.py), and then its clients
// read that their browser "crashed (signal 9)".
'use strict';

const childProcess = require('child_process');
const fs = require('fs');
const os = require('os');

function install() {
  const { spawn } = childProcess;
  childProcess.spawn = (command, args, options) => {
    const started = spawn(command, args, options);
    if (options?.detached)
      started.once('exit', (code, signal) => say(started.pid, code, signal));
    return started;
  };
}

function say(pid, code, signal) {
  const how = signal ? `signal ${os.constants.signals[signal]}` : `exit code ${code}`;
  try {
    fs.writeSync(2, `appliance: process ${pid} ended with ${how}\n`);
  } catch {
    // Nobody reads it any more, or the pipe is full: the worker then says less.
  }
}

module.exports = { install };
