'use strict';

const fs = require('fs');

const LONGEST = 300;

/** Tell the worker's log of an error that the driver survives. */
function warn(what, error) {
  // The text may be a client's. In one quoted line it cannot be taken for the driver's last words (workers/reasons.py).
  const text = String(error?.message ?? error).slice(0, LONGEST);
  try {
    fs.writeSync(2, `Warning: ${what}: ${JSON.stringify(text)}\n`);
  } catch {
    // Nobody reads it any more, or the pipe is full: the log then says less.
  }
}

module.exports = { warn };
