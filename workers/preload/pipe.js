'use strict';

// Messages between a CDP client's WebSocket and the pipe of its browser.
//
// Rules
//  1. The browser ends each message with a zero byte. None is looked at; a large one is sent in parts while it comes, so
//     that its size is the client's concern alone.
//  2. Whoever sends faster than the other side reads has to wait: nothing piles up here.
//  3. Clients that follow each other on one pipe have a session of the browser each, which is not theirs to see: commands
//     without a session are for it (commands.js), and its name is the end of what comes from it (Chromium,
//     content/browser/devtools/devtools_session.cc).
//  4. A client that has to wait is not read, so its end would not be seen. It is pinged meanwhile, which fails if it is
//     gone.

const WHOLE = 16 * 2 ** 20;  // bytes of a message that are kept, for clients that know no messages in parts
const FULL = 2 ** 20;  // bytes on their way to a client
const ANSWERS = 100;  // that wait for the end of one of the browser's messages
const PULSE_MS = 1000;
const BRACE = Buffer.from('}');
const OWN_ID = 2 ** 31 - 1;  // of our own commands
const OWN_ANSWER = 4096;  // characters that are kept of what may be the answer

/** Send a command of our own while there is no client; return its result. All else that comes until then is dropped. */
function call(toBrowser, fromBrowser, method, params = {}) {
  toBrowser.write(`${JSON.stringify({ id: OWN_ID, method, params })}\0`);
  return new Promise(resolve => {
    let message = '';
    fromBrowser.on('data', function hear(chunk) {
      const parts = chunk.toString().split('\0');
      for (const [i, part] of parts.entries()) {
        message = (message + part).slice(0, OWN_ANSWER);
        if (i === parts.length - 1)
          return;
        const result = ownResult(message);
        if (result) {
          fromBrowser.off('data', hear).pause();
          return resolve(result);
        }
        message = '';
      }
    }).resume();
  });
}

/** Return the result in a message if it answers us; a client may have numbered its commands so, but they have a session. */
function ownResult(message) {
  if (!message.startsWith(`{"id":${OWN_ID},`))
    return undefined;
  try {
    const { result = {}, sessionId } = JSON.parse(message);
    return sessionId ? undefined : result;
  } catch {  // it is long, or the end of one whose beginning a client has read
    return undefined;
  }
}

/**
 * Pass messages both ways, until the function that is returned is called.
 *
 * `judge` is given a client's message, and returns {command} or {refusal}. `session` is the browser's session that the
 * client does not see, if there is one.
 */
function connect(client, toBrowser, fromBrowser, judge, session) {
  const brake = new Brake(client), outbox = new Outbox(client, fromBrowser, brake, session);
  const released = () => brake.release('the browser reads'), received = chunk => outbox.add(chunk);
  toBrowser.on('drain', released);
  fromBrowser.on('data', received);
  client.on('message', data => {
    const { command, refusal } = judge(data.toString());
    if (refusal)
      outbox.answer(refusal);
    else if (!toBrowser.write(`${command}\0`))
      brake.hold('the browser reads');
  });
  fromBrowser.resume();
  return () => {
    toBrowser.off('drain', released);
    fromBrowser.off('data', received);
  };
}

/** Keeps a client waiting until all that it waits for has come. */
class Brake {
  constructor(client) {
    this._client = client;
    this._reasons = new Set();
    client._socket.once('close', () => clearInterval(this._pulse));
  }

  hold(reason) {
    if (!this._reasons.size) {
      this._client.pause();
      this._pulse = setInterval(() => this._client.ping(), PULSE_MS);
    }
    this._reasons.add(reason);
  }

  release(reason) {
    if (this._reasons.delete(reason) && !this._reasons.size) {
      clearInterval(this._pulse);
      this._client.resume();
    }
  }
}

/** What goes to the client. */
class Outbox {
  constructor(client, source, brake, session) {
    this._client = client;
    this._source = source;
    this._brake = brake;
    this._hidden = Buffer.from(session ? `,"sessionId":"${session}"}` : '');  // the end of a message that is not to be seen
    this._parts = [];  // of the message that comes
    this._size = 0;  // of these
    this._isBegun = false;  // a part of it was sent
    this._answers = [];  // which wait for its end
  }

  /** Take bytes from the browser. */
  add(chunk) {
    let start = 0;
    for (let end = chunk.indexOf(0); end >= 0; end = chunk.indexOf(0, start)) {
      this._keep(chunk.subarray(start, end));
      this._send(true);
      start = end + 1;
    }
    this._keep(chunk.subarray(start));
    if (this._size > (this._isBegun ? this._hidden.length : WHOLE))
      this._send(false);
    if (this._client.bufferedAmount > FULL)
      this._source.pause();
  }

  /** Send a message of our own, between two of the browser's. */
  answer(text) {
    this._answers.push(text);
    this._sendAnswers();
    if (this._client.bufferedAmount > FULL || this._answers.length > ANSWERS)
      this._brake.hold('it reads itself');
  }

  _keep(part) {
    if (part.length)
      this._parts.push(part);
    this._size += part.length;
  }

  _send(isEnd) {
    const all = this._parts.length === 1 ? this._parts[0] : Buffer.concat(this._parts);
    const data = isEnd ? this._shown(all) : all.subarray(0, all.length - this._hidden.length);
    this._parts = [];
    this._size = 0;
    if (!isEnd)
      this._keep(all.subarray(data.length));
    this._isBegun = !isEnd;
    this._client.send(data, { binary: false, fin: isEnd }, () => this._sent());
    this._sendAnswers();
  }

  /** Return the end of a message without what the client is not to see. */
  _shown(data) {
    const { length } = this._hidden;
    return length && data.subarray(-length).equals(this._hidden) ? Buffer.concat([data.subarray(0, -length), BRACE]) : data;
  }

  _sendAnswers() {
    if (!this._isBegun)
      for (const text of this._answers.splice(0))
        this._client.send(text, () => this._sent());
  }

  _sent() {
    if (this._client.bufferedAmount > FULL)
      return;
    this._source.resume();
    if (this._answers.length <= ANSWERS)
      this._brake.release('it reads itself');
  }
}

module.exports = { call, connect };
