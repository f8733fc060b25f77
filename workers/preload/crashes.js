'use strict';

// The crash of a page that is just being made.
//
// Chromium tells it by Inspector.targetCrashed. The driver listens for that only after an answer about the page's window
// (FrameSession._initialize in its server/chromium/crPage.ts), so a crash before would let `newPage` wait for ever.

const bundle = require('./bundle');
const { need } = require('./refusal');

/** Let calls to a page of Chromium's fail as soon as it has crashed; a client's own DevTools session may go on to use it. */
function noteCrashes({ options, _session: session }) {
  if (options.name !== 'chromium')
    return;
  need(typeof session._markAsCrashed === 'function', 'the method _markAsCrashed');
  bundle.wrapInherited(session, '_onMessage', onMessage => function(message) {
    if (message.method === 'Inspector.targetCrashed' && !this._eventListener)
      this._markAsCrashed();
    return onMessage.call(this, message);
  });
}

module.exports = { noteCrashes };
