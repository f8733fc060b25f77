'use strict';

// A failure of an async listener is its session's fault alone.
//
// The driver awaits no promise of the listeners for its browser's events, and node ends a process for a rejected promise
// that nobody awaits. One of those events is a page's call of an exposed function: a page that calls it with what is no
// JSON would end the driver with all of its sessions. Errors that are thrown outside of promises go on ending it.

const { warn } = require('./warning');

/** Go on after a rejected promise that nobody awaits. Not before the driver serves: it reports a failed launch so. */
function survive() {
  process.on('unhandledRejection', error => warn('a listener failed', error));
}

module.exports = { survive };
