'use strict';

// What goes from a browser's pipe (pipe.js) to a CDP client's WebSocket, and what keeps a client waiting.
//
// Rules
//  1. Whoever sends faster than the other side reads has to wait: nothing piles up here.
//  2. A client that has to wait is not read, so its end would not be seen. It is pinged meanwhile, which fails if it is
//     gone.

const FULL = 2 ** 20;  // bytes on their way to a client
const ANSWERS = 100;  // that wait for the end of one of the browser's messages
const PULSE_MS = 1000;
const BRACE = Buffer.from('}');

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
  constructor(client, source, session) {
    this._client = client;
    this._source = source;
    this.brake = new Brake(client);
    this._hidden = Buffer.from(session ? `,"sessionId":"${session}"}` : '');  // the end of a message that is not to be seen
    this._isBegun = false;  // a part of the browser's message was sent
    this._answers = [];  // which wait for its end
  }

  /** Send a message of the browser's, or the next part of one. */
  add(data, isEnd) {
    this._isBegun = !isEnd;
    this._client.send(isEnd ? this._shown(data) : data, { binary: false, fin: isEnd }, () => this._sent());
    this._sendAnswers();
  }

  /** Let the browser wait if the client does not read. */
  restrain() {
    if (this._client.bufferedAmount > FULL)
      this._source.pause();
  }

  /** Send a message of our own, between two of the browser's. */
  answer(text) {
    this._answers.push(text);
    this._sendAnswers();
    if (this._client.bufferedAmount > FULL || this._answers.length > ANSWERS)
      this.brake.hold('it reads itself');
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
      this.brake.release('it reads itself');
  }
}

module.exports = { Outbox };
