'use strict';

// The traces of sessions do not mix.
//
// The driver writes the traces of all contexts into one folder, into files with the names that clients choose, and
// with screenshots that are named by the number of a client's message. Here each recorder has a folder of its own
// inside its session's, and the names of files are made of letters, digits and a few signs that lead nowhere else.

const crypto = require('crypto');
const path = require('path');

const { need } = require('./refusal');

const SAFE_NAME = /^(?!\.)[\w.-]{1,100}$/;

/** Replace a trace's name that is no plain file name; the client's file does not depend on it. */
function nameSafely({ params }) {
  if (typeof params.name === 'string' && params.name && !SAFE_NAME.test(params.name))
    params.name = crypto.createHash('sha256').update(params.name).digest('hex').slice(0, 32);
  return undefined;
}

/** Give the recorders of a context, those of its pages and of its requests, folders of their own in `folder`. */
function keepApart(context, folder) {
  for (const tracing of [context.tracing, context.fetchRequest?.tracing?.()]) {
    need(tracing && '_precreatedTracesDir' in tracing, 'the recorder of traces');
    tracing._precreatedTracesDir = path.join(folder, `trace-${crypto.randomUUID()}`);
  }
}

module.exports = { nameSafely, keepApart };
