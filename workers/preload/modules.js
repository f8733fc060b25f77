'use strict';

// The server of drivers up to 1.59: hundreds of modules, given here as later drivers' bundle gives it.
//
// Rules
//  1. A class is the one of the module that defines it, so what is replaced in it holds for all modules.
//  2. What has another name there, or takes no progress, is made like that of later drivers: no other file of the preload
//     knows of these modules.
//  3. What is missing is an error, which ends the driver (index.js).

const path = require('path');

const { need } = require('./refusal');

/** Stand for a call without a time-out, as `nullProgress` of later drivers does. */
const nullProgress = {
  timeout: 0,
  deadline: 0,
  disableTimeout() {},
  log() {},
  race: promise => [promise].flat().length ? Promise.race([promise].flat()) : Promise.resolve(),
  wait: ms => new Promise(resolve => setTimeout(resolve, ms)),
  signal: new AbortController().signal,
  metadata: { id: '', startTime: 0, endTime: 0, type: '', method: '', params: {}, log: [], internal: true },
};

/** Return what is needed of the modules below a folder, by the names of later drivers' bundle. */
function load(library) {
  const module = name => require(path.join(library, name));
  const playwright = module('inprocess.js');  // first: it loads those that need each other in an order that works
  const iso = module('utils/isomorphic/urlMatch.js');
  const { BrowserContext } = module('server/browserContext.js');
  const { CDPSession } = module('server/chromium/crConnection.js');
  const { Frame } = module('server/frames.js');
  renameDownloads(module('server/browser.js').Browser.prototype);
  takeProgress(BrowserContext.prototype, 'close');
  takeProgress(CDPSession.prototype, 'send');
  takeProgress(CDPSession.prototype, 'detach');
  takeProgress(Frame.prototype, 'evaluateExpression');
  Frame.prototype.utilityContext = present(Frame.prototype, '_utilityContext');
  return {
    inprocess: { playwright },
    iso: { deserializeURLMatch, ...iso },
    remote: module('remote/playwrightServer.js'),
    server: { nullProgress, ...module('server/dispatchers/dispatcher.js'), ...module('server/dispatchers/playwrightDispatcher.js') },
    utils: module('server/utils/socksProxy.js'),
  };
}

/** Return a method, which must be there. */
function present(owner, name) {
  need(typeof owner?.[name] === 'function', `the method ${name}`);
  return owner[name];
}

/** Let a method be called with a progress before its other parameters; the driver itself gives none. */
function takeProgress(owner, name) {
  const original = present(owner, name);
  owner[name] = function(...args) {
    return original.apply(this, args[0] === nullProgress ? args.slice(1) : args);
  };
}

/** Let the driver begin a download by the name that later ones have for it. */
function renameDownloads(prototype) {
  prototype.downloadCreated = present(prototype, '_downloadCreated');
  prototype._downloadCreated = function(...args) {
    return this.downloadCreated(...args);
  };
}

/** Return a pattern of a client as urlMatches takes it; 1.58 has no function for it. */
function deserializeURLMatch({ glob, regexSource, regexFlags }) {
  return regexSource === undefined ? glob : new RegExp(regexSource, regexFlags);
}

module.exports = { load };
