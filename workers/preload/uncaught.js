'use strict';

// A failure of a listener, or of a timer, is its session's fault alone.
//
// The driver awaits no promise of the listeners for its browser's events, and node ends a process for a rejected promise
// that nobody awaits. One of those events is a page's call of an exposed function: a page that calls it with what is no
// JSON would end the driver with all of its sessions. So would what a timer throws: the debugger's does if a client gives
// a call a title that is made of a number.
//
// What was thrown may have left something undone: after that, the worker drains (workers/driver.py).

const { warn } = require('./warning');

let isSurviving = false;

/** Go on after an error that nobody caught. Not before the driver serves: it reports a failed launch so. */
function survive() {
  if (isSurviving)
    return;  // the server of a session's own browser listens, too
  isSurviving = true;
  process.on('unhandledRejection', error => warn('a listener failed', error));
  process.on('uncaughtException', error => warn('nobody caught an error', error));
}

module.exports = { survive };
