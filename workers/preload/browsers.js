'use strict';

// Browsers of one session each: isolation=browser.
//
// The driver launches them beside the one that its other sessions share. Rules:
//  1. A session whose request has the header `Isolation: browser` (proxy/handshake.py) gets a browser that nobody has
//     used. When its connection closes, the browser is killed and its files are removed.
//  2. A reserve of browsers that are up already keeps the launch out of the connect. It begins when the first session
//     has ended: the worker's own check, by when the worker knows which browser is the shared one.
//  3. A browser's server opens no listener. It is handed connections that came to the driver's own socket.
//  4. A browser that ends by itself ends its own session, which is told how it ended.

const os = require('os');

const bundle = require('./bundle');
const { need } = require('./refusal');
const { warn } = require('./warning');

const REFILL_AFTER_MS = 300;  // when the session that took one has had its first page
const DRIVERS_REASON = 'Browser closed';  // playwrightConnection.ts, when a browser is disconnected
const WHOLE_TRUTH = 4000;  // a code of our own, by which proxy/relay.py knows that no better reason is to come
const INNER = Symbol('no listener');

let launch;  // launches a browser with its server
let wanted = 0;  // browsers in the reserve
let hasBegun = false;
let launching = 0;  // for the reserve
let arriving = false;  // a session of a browser of its own is being handed over
const reserve = [];
const inners = new Map();  // the servers that open no listener, by the places that they are told to have
const browsers = new WeakMap();  // the browser of a session, by its socket

class OwnBrowser {
  constructor(server) {
    const place = server.wsEndpoint().split('/')[0];
    this._server = server;
    this._inner = inners.get(place);
    this._end = '';  // how its process has ended
    this._tell = undefined;  // tells the session of it
    this.isKilled = false;
    inners.delete(place);
    const { pid } = server.process().once('exit', (code, signal) => {
      this._end = code === 0 ? 'was closed' : `crashed (${signal ? `signal ${os.constants.signals[signal]}` : `exit code ${code}`})`;
      killGroup(pid);
      this._tell?.();
    });
  }

  get hasEnded() {
    return Boolean(this._end);
  }

  serve(request, socket, head) {
    browsers.set(socket, this);
    socket.once('close', () => this.kill());
    arriving = true;
    try {
      this._inner.emit('upgrade', request, socket, head);
    } finally {
      arriving = false;
    }
  }

  /** Call a function with the reason of the browser's end, as soon as that is known. */
  whenEnded(tell) {
    this._tell = () => tell(`the browser of this session ${this._end}`);
    if (this._end)
      this._tell();
    else
      this.kill();  // it has closed its pipe and lives on
  }

  kill() {
    this.isKilled = true;
    this._server.kill().catch(error => warn('a browser is not killed', error));
  }
}

/** Kill what a browser that has ended may have left: its processes are a group. */
function killGroup(pid) {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Nothing is left.
  }
}

/** Prepare for such browsers, of the kind and with the options of the driver's own. */
function install({ playwright }, WebSocket) {
  const { reserveBrowsers, ...options } = bundle.options();
  const type = playwright[process.argv[process.argv.indexOf('--browser') + 1]];
  need(typeof type?.launchServer === 'function', 'the method launchServer');
  wanted = reserveBrowsers ?? 0;
  launch = () => type.launchServer({ ...options, port: INNER });
  bundle.wrap(WebSocket.prototype, 'close', close => function(code, reason) {
    const browser = browsers.get(this._socket);
    if (!browser || browser.isKilled || reason !== DRIVERS_REASON)
      return close.call(this, code, reason);
    return browser.whenEnded(truth => close.call(this, WHOLE_TRUTH, truth));
  });
}

/** Let a server have a place at which nobody can connect. */
function adopt(server, isListening) {
  const place = `inner-${process.hrtime.bigint()}`;
  inners.set(place, server);
  server.address = () => place;
  process.nextTick(isListening);
  return server;
}

/** Serve sessions with a browser of their own among those that come to the driver's server. */
function watch(server) {
  bundle.wrap(server, 'emit', emit => function(event, request, socket, head) {
    if (event !== 'upgrade')
      return emit.apply(this, arguments);
    if (request.headers.isolation === 'browser') {
      serve(request, socket, head);
      return true;
    }
    socket.once('close', begin);
    return emit.call(this, event, request, socket, head);
  });
}

async function serve(request, socket, head) {
  socket.on('error', () => {});  // its close says as much
  let browser;
  try {
    do
      browser = reserve.shift() ?? new OwnBrowser(await launch());
    while (browser.hasEnded);
  } catch (error) {
    const reason = `it launches no browser: ${error.message.split('\n')[0]}`;
    socket.end(`HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n${reason}`);
    return;
  }
  setTimeout(refill, REFILL_AFTER_MS);
  if (socket.destroyed)
    reserve.push(browser);
  else
    browser.serve(request, socket, head);
}

function begin() {
  hasBegun = true;
  refill();
}

/** Launch what the reserve lacks, one after another. */
async function refill() {
  if (!hasBegun || launching || reserve.length >= wanted)
    return;
  launching++;
  try {
    reserve.push(new OwnBrowser(await launch()));
  } catch (error) {  // the next session tries again
    warn('no browser is launched for the reserve', error);
    return;
  } finally {
    launching--;
  }
  await refill();
}

/** Whether the session that is being made has a browser of its own. */
function isArriving() {
  return arriving;
}

module.exports = { INNER, adopt, install, isArriving, watch };
