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
//  5. A browser that is to have something of its client's (launch_options.js) is launched for it.
//  6. One that outlives its clients (kept.js) keeps what they have opened in it.

const { AsyncLocalStorage } = require('async_hooks');
const childProcess = require('child_process');
const http = require('http');
const os = require('os');

const bundle = require('./bundle');
const certificates = require('./certificates');
const devtools = require('./devtools');
const kept = require('./kept');
const sessions = require('./sessions');
const looks = require('./looks');
const { Refusal, need } = require('./refusal');
const { Reserve } = require('./reserve');
const { warn } = require('./warning');
const launchOptions = require('./launch_options');

const PATIENCE_MS = 500;
const DRIVERS_REASON = 'Browser closed';  // playwrightConnection.ts, when a browser is disconnected
const WHOLE_TRUTH = 4000;  // a code of our own, by which proxy/relay.py knows that no better reason is to come

let usual;  // the driver's own options
let type;  // of browsers
let SocksProxy;
let reserve;
let arriving = {};  // the session that is being handed over: its id, its socket, and its own browser if it has one
const starts = new AsyncLocalStorage();  // of a launch: {pid} of the process that it has started
const browsers = new WeakMap();  // the browser of a session, by its socket

/** What a browser's server is told to listen on: nobody can connect there. */
class NoPort {
  /** Set the proxy by which the browser reaches its client's network, if it is to. */
  constructor(network) {
    this.network = network;
    this.options = undefined;  // of Playwright's server
    this.server = undefined;
  }

  /** Let a server take this for its port. */
  take(server, isListening) {
    this.server = server;
    server.address = () => 'nowhere';
    process.nextTick(isListening);
    return server;
  }
}

class OwnBrowser {
  constructor(server, port) {
    this._server = server;
    this._port = port;
    this.hasEnded = this.isKilled = false;
    this.session = undefined;  // what its clients share, if it outlives them
    this.farewell = '';  // why it was killed
    const child = server.process(), { pid } = child;
    this.ended = new Promise(resolve => {  // to how its process has ended
      const end = (code, signal) => {
        this.hasEnded = true;
        killGroup(pid);
        port.network?.close();
        resolve(code === 0 || this.isKilled ? 'was closed' : `crashed (${signal ? `signal ${os.constants.signals[signal]}` : `exit code ${code}`})`);
      };
      if (child.exitCode !== null || child.signalCode)
        end(child.exitCode, child.signalCode);
      else
        child.once('exit', end);
    });
  }

  /** Wait until it answers; only Chromium is asked. */
  async answer() {
    await this._port.options.preLaunchedBrowser._session?.send('Browser.getVersion');
  }

  /** Outlive its clients, which find what the others have opened. */
  keep() {
    this._port.options.mode = 'launchServerShared';  // as launchServer({ _sharedBrowser: true })
    this.session = sessions.keep(this.ended);
    this._forgetClient = sessions.trackListeners(this._port.options.preLaunchedBrowser, 'disconnected');
  }

  serve(request, socket, head) {
    browsers.set(socket, this);
    this._leaveNetwork();
    socket.once('close', () => this.session ? this._leaveClient() : this.kill());
    handOver(request, () => this._port.server.emit('upgrade', request, socket, head), this);
  }

  /** Leave a client that has gone; the driver would keep all of its connection for as long as the browser lives. */
  _leaveClient() {
    this._leaveNetwork();
    this._forgetClient();
  }

  /** Close what goes to a client's network; the browser would go on using connections of a client that has gone. */
  _leaveNetwork() {
    this._port.network?._sockets.forEach(socket => socket.destroy());
  }

  /** Wait for the reason of the browser's end. */
  async end() {
    if (!this.hasEnded)
      setTimeout(() => this.kill(), PATIENCE_MS);  // it has closed its pipe, and may live on
    const how = await this.ended;
    return this.farewell || `the browser of this session ${how}`;
  }

  kill(farewell = '') {
    this.isKilled = true;
    this.farewell ||= farewell;
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
function install({ inprocess, server, utils, ws: WebSocket, wsServer: WebSocketServer }) {
  const { reserveBrowsers = 0, ...others } = bundle.options();
  usual = others;
  reserve = new Reserve(reserveBrowsers, launch);
  ({ SocksProxy } = utils);
  type = inprocess.playwright[process.argv[process.argv.indexOf('--browser') + 1]];
  need(typeof type?.launchServer === 'function', 'the method launchServer');
  kept.install({ wsServer: WebSocketServer });
  looks.install({ wsServer: WebSocketServer, server });
  bundle.wrap(childProcess, 'spawn', spawn => function(...args) {
    const child = spawn.apply(this, args), start = starts.getStore();
    if (start)
      start.pid = child.pid;
    return child;
  });
  bundle.wrap(WebSocket.prototype, 'close', close => function(code, reason) {
    const browser = browsers.get(this._socket);
    if (!browser || (browser.isKilled && !browser.farewell) || reason !== DRIVERS_REASON)
      return close.call(this, code, reason);
    this.send = () => {};  // the answers to pending calls say less, and might come before the reason is known
    browser.end().then(truth => close.call(this, WHOLE_TRUTH, truth));
  });
}

/** Launch a browser as its client asks, or as the driver's own is. */
async function launch(asked = { options: {}, network: '' }) {
  const options = launchOptions.merge(asked, usual);
  const port = new NoPort(asked.network ? await networkOf(asked.network) : undefined);
  if (port.network)
    options.proxy = { server: `socks5://${certificates.addressOf(port.network.port())}:${port.network.port()}` };
  const start = { pid: undefined };
  try {
    return new OwnBrowser(await starts.run(start, () => type.launchServer({ ...options, port })), port);
  } catch (error) {
    port.network?.close();
    if (start.pid)
      killGroup(start.pid);  // Playwright asks a browser that is late to close; one that hangs does not
    throw error;
  }
}

/** Launch a browser as its client asks; raises a Refusal if that is why it does not start. */
async function launchFor(asked) {
  try {
    return await launch(asked);
  } catch (error) {
    if (error instanceof Refusal)
      throw error;
    (await launch()).kill();  // raises the error that is not the client's fault
    throw new Refusal(`The browser does not start so: ${firstLine(error)}`);
  }
}

/** Return a proxy to a client's network; it listens as those for client certificates do, for its session alone. */
async function networkOf(pattern) {
  const network = new SocksProxy(), direct = network._directSockets;
  need(direct instanceof Map && network._sockets instanceof Set && network._closed === false, 'the proxy to a client\'s network');
  // Of the hosts beside the client's, one that answers when the session has ended would leave a connection.
  bundle.wrap(direct, 'set', set => (uid, socket) => network._closed ? socket.destroy() : set.call(direct, uid, socket));
  network.setPattern(pattern);
  await network.listen(0, '127.0.0.1');
  return network;
}

/** Serve sessions with a browser of their own among those that come to the driver's server. */
function watch(server) {
  bundle.wrap(server, 'emit', emit => function(event, request, socket, head) {
    if (event !== 'upgrade')
      return emit.apply(this, arguments);
    const { isolation, look, protocol, visit } = request.headers;
    if (look || visit || isolation === 'browser' || protocol === 'cdp') {
      socket.on('error', () => {});  // its close says as much
      const serving = look ? looks.look : visit ? kept.visit : serve;
      serving(request, socket, head).catch(error => refuse(socket, error));
      return true;
    }
    socket.once('close', () => reserve.begin());
    return handOver(request, () => emit.call(this, event, request, socket, head));
  });
}

/** Hand a session over to Playwright's server, which makes its first objects at once. */
function handOver(request, emit, browser) {
  arriving = { browser, name: sessions.nameIn(request.headers), socket: request.socket };
  try {
    return emit();
  } finally {
    arriving = {};
  }
}

async function serve(request, socket, head) {
  const browser = await (request.headers.protocol === 'cdp' ? devtools.take() : take(request.headers)).catch(error => {
    throw error instanceof Refusal ? error : new Error(`it launches no browser: ${error.message}`);
  });
  if (socket.destroyed)
    browser.kill();
  else if (request.headers.keep)
    kept.hold(request, socket, head, browser);
  else
    browser.serve(request, socket, head);
}

/** Return a browser as a client asks for it. */
async function take(headers) {
  const asked = launchOptions.read(headers);
  const browser = await (launchOptions.isEmpty(asked) ? reserve.take() : launchFor(asked));
  reserve.fillSoon();
  return browser;
}

/** Refuse a session: what its client asks for cannot be, or this worker launches no browser. */
function refuse(socket, error) {
  const answer = (status, body) => socket.end(`HTTP/1.1 ${status} ${http.STATUS_CODES[status]}\r\nConnection: close\r\n\r\n${body}\n`, () => socket.destroy());
  const message = firstLine(error), { status, hint } = error;
  if (error instanceof Refusal)
    answer(status, JSON.stringify({ error: { code: status, message, hint } }));
  else
    answer(503, message);  // the session goes elsewhere
}

function firstLine(error) {
  return error.message.split('\n')[0];
}

/** Return the session that is being made: its id, its socket, and its own browser if it has one. */
function ofArriving() {
  return arriving;
}

module.exports = { NoPort, install, ofArriving, watch };
