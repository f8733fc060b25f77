'use strict';

// Browsers that outlive their clients: `?session=NAME&keep=300`.
//
// Rules
//  1. A connection whose request has the header `Keep: SESSION SECONDS` (proxy/handshake.py) holds a browser, which lives
//     as long as the connection does. It is the proxy's that has the session's slot; nothing is driven by it.
//  2. A connection with the header `Visit: SESSION SECONDS` drives that browser. There is one at a time: the newest. The one
//     before it is ended, for nobody can tell a client that is gone from one that is silent.
//  3. When it closes, the browser waits for the next one for that many seconds, and is killed if none has come.
//  4. The holder is told whether a client is there, and how the browser ended.

const { Refusal, need } = require('./refusal');
const launchOptions = require('./launch_options');

const LARGEST = 4096;  // bytes of a holder's message; it sends none but a Close frame
const FIRST_MS = 30000;  // for the client that the browser was launched for
const LEAVING_MS = 1000;  // for a client that another one takes over from
const TAKEN_OVER = 'another client took over this session';
const NORMAL = 1000, WHOLE_TRUTH = 4000;  // codes by which proxy/keeping.py knows that no better reason is to come
const GONE = 410;  // by which proxy/handler.py knows that the session has ended, or has not begun

const sessions = new Map();  // by id
let server;

/** Prepare for such sessions. */
function install({ wsServer: WebSocketServer }) {
  need(typeof WebSocketServer?.prototype?.handleUpgrade === 'function', 'the WebSocket server');
  server = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: LARGEST, clientTracking: false });
  server.on('headers', headers => headers.push('Kept: yes'));  // a driver that does not know of this does not say so
}

function parse(header) {
  const [id, seconds] = header.split(' ');
  return { id, ms: Number(seconds) * 1000 };
}

/** Hold a browser for as long as a connection lasts. */
function hold(request, socket, head, browser) {
  const { id } = parse(request.headers.keep);
  const asked = launchOptions.read(request.headers), drop = () => browser.kill();
  socket.once('close', drop);  // for a handshake that the server refuses
  server.handleUpgrade(request, socket, head, holder => {
    socket.off('close', drop);
    new Kept(id, browser, holder, asked);
  });
}

/** Let a client drive the browser that its session has. */
async function visit(request, socket, head) {
  const { id, ms } = parse(request.headers.visit), session = sessions.get(id);
  if (!session)
    throw ended();
  session.compare(launchOptions.read(request.headers));
  while (session.hasClient && !socket.destroyed)
    await session.dismissClient();  // then another one may have come
  session.visit(request, socket, head, ms);
}

/** Return a Close frame from a server (RFC 6455, section 5.5.1). */
function closeFrame(code, reason) {
  const payload = Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]);
  return Buffer.concat([Buffer.from([0x88, payload.length]), payload]);
}

function ended() {
  return new Refusal('This session has ended.', GONE, 'Connect again.');
}

class Kept {
  constructor(id, browser, holder, asked) {
    this._id = id;
    this._browser = browser;
    this._holder = holder;
    this._asked = asked;  // what the browser was launched with
    this._client = undefined;  // the socket of the client that is there
    this._dismissal = undefined;  // the promise of its close, if it has to go
    sessions.set(id, this);
    browser.keep();
    holder.on('error', () => {});  // it is closed then
    holder.on('close', (code, reason) => this._release(String(reason)));
    browser.ended.then(how => this._end(how));
    this._wait(FIRST_MS, 'its client did not come');
  }

  /** Raise a Refusal if a client asks for what the browser was not launched with. */
  compare(asked) {
    if (!launchOptions.isEmpty(asked) && JSON.stringify(asked) !== JSON.stringify(this._asked))
      throw new Refusal('The browser of this session was launched with other options.', 409, 'Leave the options out, or use another name for `session`.');
  }

  get hasClient() {
    return Boolean(this._client);
  }

  /** End the connection of the client that is there; it reads the reason. Return when it is closed. */
  dismissClient() {
    return this._dismissal ??= this._dismiss(this._client).finally(() => this._dismissal = undefined);
  }

  async _dismiss(client) {
    const closed = new Promise(resolve => client.once('close', resolve));
    const late = setTimeout(() => client.destroy(), LEAVING_MS);  // nobody reads what it is sent
    client.write(closeFrame(WHOLE_TRUTH, TAKEN_OVER));  // between two frames, which are written whole
    await closed;
    clearTimeout(late);
  }

  visit(request, socket, head, ms) {
    if (socket.destroyed)
      return;
    if (!sessions.has(this._id))
      throw ended();
    clearTimeout(this._timer);
    this._client = socket;
    this._say(false, 0);
    socket.once('close', () => {
      this._client = undefined;
      this._say(true, socket.bytesRead + socket.bytesWritten);
      this._wait(ms, ms ? `no client came back within ${ms / 1000} s` : 'closed');
    });
    this._browser.serve(request, socket, head);
  }

  /** Tell the proxy whether the session is kept for a next client, and the bytes of the last one. */
  _say(kept, bytes) {
    this._holder.send(JSON.stringify({ kept, bytes }), () => {});
  }

  _wait(ms, reason) {
    if (sessions.has(this._id))
      this._timer = setTimeout(() => this._close(NORMAL, reason), ms);
  }

  /** The browser has ended, perhaps by itself. */
  _end(how) {
    if (!sessions.has(this._id))
      return;
    if (how)
      this._close(WHOLE_TRUTH, `the browser of this session ${how}`);
    else
      this._close(NORMAL, 'closed');
  }

  /** End the session from here. */
  _close(code, reason) {
    this._holder.close(code, reason);
    this._release(reason);
  }

  /** Kill the browser; a client that is there reads the reason. */
  _release(reason) {
    clearTimeout(this._timer);
    sessions.delete(this._id);
    this._browser.kill(reason || 'the appliance that holds this session is gone');
  }
}

module.exports = { hold, install, visit };
