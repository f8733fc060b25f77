'use strict';

// What one session has in the driver: its contexts, and a folder for its traces, HARs, videos, downloads and uploads. When
// it ends, all of that goes, even a context that was still being made when the client hung up.
//
// Browsers report downloads in different ways (Playwright's crBrowser.ts, ffBrowser.ts, wkBrowser.ts), but all of them by
// `downloadCreated`; those of drivers up to 1.59 are made like it in modules.js.

const { AsyncLocalStorage } = require('async_hooks');
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');

const bundle = require('./bundle');
const cameras = require('./cameras');
const clipboard = require('./clipboard');
const { need } = require('./refusal');
const traces = require('./traces');

const PREFIX = 'session-';
const PATIENCE_MS = 5000;
const FOLDERS = ['artifactsDir', 'tracesDir', 'downloadsPath'];  // of a browser's options

// The calls during which the driver asks where to put files.
const PLACING = new Set(['newContext', 'newContextForReuse', 'createTempFiles', 'harStart', 'screencastStart']);

let close;  // a context
let detach;  // a session of DevTools

const current = new AsyncLocalStorage();
const sessions = new WeakMap();  // by connection
const owners = new WeakMap();  // the session of a context
const devtools = new WeakMap();  // the sessions of DevTools that a client has opened, by its connection
const byName = new Map();  // the sessions that have not ended, and browsers of CDP sessions, by the ids that the grid gave them
const living = new Set();  // the names of the folders of sessions that have not ended

class Session {
  constructor() {
    this.contexts = new Set();
    this.ended = false;
    this.folder = '';
    this.hasUsedClipboard = false;
    this.hasOwnBrowser = false;
    this.isKept = false;  // it outlives its connections
    this.whenOver = new Set();  // what is called then
  }

  /** Return the pages that are open. */
  pages() {
    return [...this.contexts].flatMap(context => context.pages());
  }

  /** Return what those see who look at the session (looks.js). */
  async shown(nullProgress) {
    return this.pages().map(page => ({ key: page, url: page.mainFrame().url(), camera: send => cameras.of(page, nullProgress, send) }));
  }

  /** Own a context that was made for this session. */
  own(context) {
    this.contexts.add(context);
    owners.set(context, this);
    traces.keepApart(context, this.folder);
    context.once('close', () => {
      this.contexts.delete(context);
      traces.remove(context);
    });
    if (context._options.recordVideo)
      context._options.recordVideo.dir = this.folder;
  }
}

/**
 * Begin the session of a client's connection, which came by `socket`; `browser` is the one of its own, if it has one,
 * `name` the session's id.
 */
function begin(connection, { browser, name, socket }) {
  if (browser?.session)
    sessions.set(connection, browser.session);
  else
    sessionOf(connection).hasOwnBrowser = Boolean(browser);
  if (!name)
    return;
  const session = sessionOf(connection);
  announce(name, session);
  if (!session.isKept)
    socket.once('close', () => tellOver(session));  // Playwright cleans up only after clients that have said something
}

/** Let a session be looked at, by the id that the grid gave it, until `tellOver`. */
function announce(name, session) {
  if (name)
    byName.set(name, session);
}

/** Return the id that the grid gave a session, from the headers of its client or a further one; "" if there is none. */
function nameIn({ session, visit = '' }) {
  return session ?? visit.split(' ')[0];
}

/** Return the session with an id of the grid's, if it has begun and not ended. */
function named(name) {
  return byName.get(name);
}

/** Tell whoever looks that a session is over. */
function tellOver(session) {
  for (const [name, one] of byName)
    if (one === session)
      byName.delete(name);
  session.whenOver.forEach(tell => tell());
}

/** Return a session that outlives its connections; it ends when a promise is kept. */
function keep(ended) {
  const session = Object.assign(new Session(), { hasOwnBrowser: true, isKept: true });
  ended.then(() => end(session));
  return session;
}

/** Return what removes the listeners to an event that are added from now on. */
function trackListeners(emitter, event) {
  const before = new Set(emitter.listeners(event));
  return () => emitter.listeners(event).filter(one => !before.has(one)).forEach(one => emitter.off(event, one));
}

/** Note a session of DevTools that a client has opened; the driver would leave it in a browser that outlives the client. */
function opened(connection, session) {
  if (!sessionOf(connection).isKept)
    return;
  const all = devtools.get(connection) ?? new Set();
  devtools.set(connection, all.add(session));
  session.once('close', () => all.delete(session));
}

/** Return the session of a client's connection. */
function sessionOf(connection) {
  let session = sessions.get(connection);
  if (!session)
    sessions.set(connection, session = new Session());
  return session;
}

/** Make a call to an object, in the name of its session if the driver may ask where to put files. */
function placing(connection, method, object, call) {
  if (!PLACING.has(method))
    return call();
  // a HAR is put where its recorder puts traces, and goes with them; up to 1.59, its recorder is the context
  const folder = method === 'harStart' && traces.folderOf(object);
  return current.run(folder ? { folder } : sessionOf(connection), call);
}

/** Let a browser put files into the folder of the session that makes it do so. */
function watchBrowser(browser, nullProgress, isShared) {
  close = context => context.close(nullProgress, { reason: 'The session ended' });
  detach = session => session.detach(nullProgress).catch(() => {});  // its page may have closed
  const { options } = browser;
  const common = options.artifactsDir;
  need(FOLDERS.every(name => typeof options[name] === 'string'), 'the choice of folders');
  need(typeof browser.doCreateNewContext === 'function', 'the making of contexts');
  need(typeof browser.downloadCreated === 'function', 'the making of downloads');
  for (const name of FOLDERS) {
    const usual = options[name];
    Object.defineProperty(options, name, { get: () => folderOf(current.getStore(), common) ?? usual });
  }
  const { doCreateNewContext, downloadCreated } = browser;
  browser.doCreateNewContext = async function(...args) {
    const context = await doCreateNewContext.apply(this, args);
    const session = current.getStore();
    session?.own(context);
    if (session?.ended)
      end(session);
    return context;
  };
  browser.downloadCreated = function(page, ...args) {
    return current.run(owners.get(page.browserContext), () => downloadCreated.call(this, page, ...args));
  };
  if (!isShared)  // else a page that DevTools open outside of contexts would download into the account's home
    browser._session?.send('Browser.setDownloadBehavior', { behavior: 'deny' }).catch(() => {});
  else
    clipboard.usePages(use => current.exit(async () => {
      const context = await browser.newContext(nullProgress, {});
      try {
        return await use(await context.newPage(nullProgress));
      } finally {
        await within(close(context));
      }
    }), nullProgress);
}

function folderOf(session, common) {
  if (session && !session.folder) {
    const name = PREFIX + crypto.randomUUID();
    const folder = path.join(common, name);
    fs.mkdirSync(folder, { mode: 0o700 });  // on a full disk it fails: the session's next call then tries again
    living.add(name);
    session.folder = folder;
  }
  return session?.folder;
}

/** Let a session end whatever hangs in it: a call that nothing takes back, or a context that does not close. */
function watchEnds(server) {
  bundle.wrap(server.RootDispatcher.prototype, 'stopPendingOperations', stop => function(reason) {
    return within(stop.call(this, reason));
  });
  bundle.wrap(server.PlaywrightDispatcher.prototype, 'cleanup', cleanup => async function() {
    const session = sessionOf(this.connection);
    if (session.isKept) {
      await within(Promise.all([...devtools.get(this.connection) ?? []].map(detach)));
      return within(cleanup.call(this));
    }
    session.ended = true;
    tellOver(session);
    await within(clipboard.emptyAtTheEnd(session));
    await within(cleanup.call(this));
    await end(session);
  });
}

/** Close what an ended session still has, and remove its files. */
async function end(session) {
  tellOver(session);
  await within(Promise.all([...session.contexts].map(close)));
  await within(Promise.all([...session.contexts].map(context => context.doClose('The session ended'))));
  living.delete(path.basename(session.folder));
  if (session.folder)
    await sweep(path.dirname(session.folder));
}

/** Wait for a promise, but not for ever, and whether it is kept or not. */
async function within(promise) {
  let timer;
  await Promise.race([promise, new Promise(resolve => timer = setTimeout(resolve, PATIENCE_MS))]).catch(() => {});
  clearTimeout(timer);
}

/** Remove the folders of sessions that have ended: also one that a late write has made again. */
async function sweep(common) {
  const names = await fs.promises.readdir(common).catch(() => []);
  const dead = names.filter(name => name.startsWith(PREFIX) && !living.has(name));
  await Promise.all(dead.map(name => fs.promises.rm(path.join(common, name), { recursive: true, force: true })));
}

module.exports = {
  announce, begin, keep, named, nameIn, opened, placing, sessionOf, tellOver, trackListeners, watchBrowser, watchEnds,
};
