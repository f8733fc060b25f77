'use strict';

// The pipe of a CDP session's browser: messages of its client, and of our own beside them.
//
// Rules
//  1. The browser ends each message with a zero byte. A large one is sent in parts while it comes, so that its size is
//     the client's concern alone.
//  2. We have a session of the browser of our own, from before the first client on. What comes from a session is known by
//     its end (Chromium, content/browser/devtools/devtools_session.cc). A command for a session that has ended is answered
//     without one, so our commands have ids that a client's do not have. Nothing else of a message is read, but for rule 4.
//  3. Clients that follow each other on one pipe have a session of the browser each, which is not theirs to see: commands
//     without a session are for it (commands.js).
//  4. Our session is a target, too, which a client would find that asks for targets of all types. It is not told of it,
//     and may not name it (commands.js): it would end our session.
//  5. A message that cannot be read is reported; those after it are passed.

const { EventEmitter } = require('events');

const { Outbox } = require('./outbox');
const { warn } = require('./warning');

const WHOLE = 16 * 2 ** 20;  // bytes of a message that are kept, for clients that know no messages in parts; ours are smaller
const TAIL = 64;  // bytes, of which the end of a message has fewer that names its session
const HEAD = 200;  // bytes, of which the beginning of a message has fewer that says what it is about
const OF_SESSION = /,"sessionId":"([^"]+)"\}$/;
const ABOUT_A_TARGET = '{"method":"Target.target', LIST_OF_TARGETS = /^\{"id":\d+,"result":\{"targetInfos":\[/;
const END = '{"method":"Target.detachedFromTarget",';
const TO_NO_SESSION = /^\{"id":(\d+),"error":\{"code":-32001,/;  // the beginning of an answer (crdtp/dispatch.cc)
const ENDED = 'The DevTools session has ended.';
const HIGHEST_ID = 2 ** 31 - 1;  // of a command; clients count from 1 up, we count from here down

class Pipe {
  constructor(toBrowser, fromBrowser) {
    this._toBrowser = toBrowser;
    this._fromBrowser = fromBrowser;
    this._outbox = undefined;  // of the client that is there
    this._parts = [];  // of the message that comes
    this._size = 0;  // of these
    this._isBegun = false;  // a part of it was passed
    this.browser = undefined;  // our session of the browser
    this.target = '';  // by which others would find that
    this.lost = new Promise(resolve => this._lose = resolve);  // that session has ended
    this._sessions = new Map();  // our own, by their ids
    this._calls = new Map();  // which the browser has not answered, by their ids
    this._nextId = HIGHEST_ID;
    fromBrowser.on('data', chunk => this._hear(chunk));
  }

  /** Get a session of the browser, while there is no client. */
  async open() {
    await this._ask('Target.attachToBrowserTarget', {}, undefined, ({ sessionId }) => this.browser = this._begin(sessionId));
  }

  /** Send a command of our own; return its result. Raises an error if its session has ended. */
  call(method, params = {}, sessionId = this.browser?.id) {
    return this._ask(method, params, sessionId, result => result);
  }

  /** Open a session of a target; it has `send` and `detach`, and tells of each event. */
  attach(targetId) {
    return this._ask('Target.attachToTarget', { targetId, flatten: true }, this.browser.id, ({ sessionId }) => this._begin(sessionId));
  }

  /** Send a command; return what `take` makes of its result before the browser's next message is read. */
  _ask(method, params, sessionId, take) {
    if (sessionId && !this._sessions.has(sessionId))
      return Promise.reject(new Error(ENDED));
    const id = this._nextId--;
    this._toBrowser.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => this._calls.set(id, { sessionId, take, resolve, reject }));
  }

  _begin(id) {
    const session = Object.assign(new EventEmitter(), {
      id,
      send: (method, params) => this.call(method, params, id),
      detach: () => this.call('Target.detachFromTarget', { sessionId: id }),
    });
    this._sessions.set(id, session);
    return session;
  }

  /**
   * Pass messages both ways, until the function that is returned is called.
   *
   * `judge` is given a client's message, and returns {command} or {refusal}. `session` is the browser's session that the
   * client does not see, if there is one.
   */
  connect(client, judge, session) {
    const outbox = this._outbox = new Outbox(client, this._fromBrowser, session), { brake } = outbox;
    const released = () => brake.release('the browser reads');
    this._toBrowser.on('drain', released);
    client.on('message', data => {
      const { command, refusal } = judge(data.toString());
      if (refusal)
        outbox.answer(refusal);
      else if (!this._toBrowser.write(`${command}\0`))
        brake.hold('the browser reads');
    });
    return () => {
      this._toBrowser.off('drain', released);
      this._outbox = undefined;
      this._fromBrowser.resume();
    };
  }

  /** Take bytes from the browser. */
  _hear(chunk) {
    let start = 0;
    for (let end = chunk.indexOf(0); end >= 0; end = chunk.indexOf(0, start)) {
      this._keep(chunk.subarray(start, end));
      this._tryToPass();
      start = end + 1;
    }
    this._keep(chunk.subarray(start));
    if (this._size > (this._isBegun ? TAIL : WHOLE))
      this._pass(false);
    this._outbox?.restrain();
  }

  /** Pass a message, or the end of one. An error costs the others nothing. */
  _tryToPass() {
    try {
      this._pass(true);
    } catch (error) {
      warn('a message of a browser is not passed on', error);
    }
  }

  _keep(part) {
    if (part.length)
      this._parts.push(part);
    this._size += part.length;
  }

  /** Pass what has come to whom it is for. */
  _pass(isEnd) {
    const all = this._parts.length === 1 ? this._parts[0] : Buffer.concat(this._parts), isWhole = isEnd && !this._isBegun;
    const data = isEnd ? all : all.subarray(0, all.length - TAIL);
    this._parts = [];
    this._size = 0;
    if (!isEnd)
      this._keep(all.subarray(data.length));
    this._isBegun = !isEnd;
    if (isWhole && this._takeOwn(data))
      return;
    const shown = isWhole ? this._shown(data) : data;
    if (shown)
      this._outbox?.add(shown, isEnd);
  }

  /** Take a message that is for us; return whether it is. */
  _takeOwn(data) {
    const from = OF_SESSION.exec(data.toString('latin1', Math.max(0, data.length - TAIL)))?.[1];
    const isOurs = from ? this._sessions.has(from) : data.length && (this._isAlone() || this._answersUs(data) || this._endsOurs(data));
    if (!isOurs)
      return false;
    const { id, method, params, error, result } = JSON.parse(data.toString());
    if (id !== undefined)
      this._answer(id, error, result);
    else if (!from)
      this._takeRoot(method, params);
    else if (method === 'Target.detachedFromTarget')
      this._end(params.sessionId);
    else
      this._sessions.get(from).emit('event', { method, params });
    return true;
  }

  /** Return whether nobody but us can be sent a message without a session. */
  _isAlone() {
    return !this.browser && !this._outbox;
  }

  /** Return whether a message without a session is the answer to a command that we sent to one that has ended. */
  _answersUs(data) {
    return this._calls.has(Number(TO_NO_SESSION.exec(data.toString('latin1', 0, HEAD))?.[1]));
  }

  /** Return whether a message without a session tells that our session of the browser has ended. */
  _endsOurs(data) {
    const isEnd = this.browser && data.toString('latin1', 0, END.length) === END;
    return isEnd && JSON.parse(data.toString()).params.sessionId === this.browser.id;
  }

  /** Take an event about our session of the browser. */
  _takeRoot(method, { sessionId, targetInfo }) {
    if (method === 'Target.detachedFromTarget') {
      this._end(sessionId);
      this._lose();
    } else if (method === 'Target.attachedToTarget') {
      this.target = targetInfo?.targetId ?? '';
    }
  }

  _answer(id, error, result) {
    const { take, resolve, reject } = this._calls.get(id) ?? {};
    this._calls.delete(id);
    if (error)
      reject?.(new Error(error.message));
    else
      resolve?.(take(result));
  }

  /** Forget a session that has ended. Its calls fail; they stay known, for the browser may answer them yet. */
  _end(sessionId) {
    if (!this._sessions.delete(sessionId))
      return;
    for (const call of this._calls.values())
      if (call.sessionId === sessionId)
        call.reject(new Error(ENDED));
  }

  /** Return a message without our session's target; undefined if it is about that alone. */
  _shown(data) {
    if (!this.target)
      return data;
    const head = data.toString('latin1', 0, HEAD);
    if (head.startsWith(ABOUT_A_TARGET))
      return head.includes(`"targetId":"${this.target}"`) ? undefined : data;
    if (!LIST_OF_TARGETS.test(head))
      return data;
    const message = JSON.parse(data.toString());
    if (!Array.isArray(message.result?.targetInfos))
      return data;
    message.result.targetInfos = message.result.targetInfos.filter(({ targetId }) => targetId !== this.target);
    return Buffer.from(JSON.stringify(message));
  }
}

module.exports = { Pipe };
