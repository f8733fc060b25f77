'use strict';

// The traces of sessions do not mix.
//
// The driver writes the traces of all contexts into one folder, into files with the names that clients choose, and
// with screenshots that are named by the number of a client's message. Here each recorder has a folder of its own
// inside its session's, and the names of files are made of letters, digits and a few signs that lead nowhere else.

const crypto = require('crypto');
const fs = require('fs');
const path = require('path');

const bundle = require('./bundle');
const { need } = require('./refusal');

const SAFE_NAME = /^(?!\.)[\w.-]{1,100}$/;

/** Replace a trace's name that is no plain file name; the client's file does not depend on it. */
function nameSafely({ params }) {
  if (typeof params.name === 'string' && params.name && !SAFE_NAME.test(params.name))
    params.name = crypto.createHash('sha256').update(params.name).digest('hex').slice(0, 32);
  return undefined;
}

// What a recorder is told of while it runs. Stopped by a second call while the first one stops it, it may still be told.
const TOLD = ['_appendTraceEvent', '_appendResource', 'onEntryFinished', 'flushHarEntries', 'onContentBlob',
  'onContentBlobAppend', 'onSnapshotterBlob'];

/** Give the recorders of a context folders of their own in `folder`. */
function keepApart(context, folder) {
  for (const recorder of recordersOf(context)) {
    need(recorder && '_precreatedTracesDir' in recorder, 'the recorder of traces');
    recorder._precreatedTracesDir = path.join(folder, `trace-${crypto.randomUUID()}`);
    for (const name of TOLD.filter(name => typeof recorder[name] === 'function'))
      bundle.wrap(recorder, name, tell => function(...args) {
        return this._state && tell.apply(this, args);  // without a state it would end the driver
      });
  }
}

/** Remove what the recorders of a closed context have written, but for what its client may still fetch: the archives. */
async function remove(context) {
  for (const folder of recordersOf(context).map(folderOf)) {
    const names = await fs.promises.readdir(folder).catch(() => []);
    const written = names.filter(name => !name.endsWith('.zip')).map(name => path.join(folder, name));
    await Promise.all(written.map(file => fs.promises.rm(file, { recursive: true, force: true })));
  }
}

/** Return the recorders of a context's pages and of its requests. */
function recordersOf(context) {
  return [context.tracing, context.fetchRequest?.tracing?.()];
}

function folderOf(recorder) {
  return recorder._precreatedTracesDir;
}

module.exports = { nameSafely, keepApart, remove, folderOf };
