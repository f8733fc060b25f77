'use strict';

// A message that is too large, from the browser or to it, is its session's fault alone.
//
// V8 ends the process when it parses a JSON text with a string of 2^28 characters or more ("Zone Allocation failed",
// measured with node 26). So an answer of about that size is thrown away while it comes, and its call fails.
//
// Chromium ends when a message of more than LARGEST_MESSAGE comes by its pipe (content/browser/devtools/
// devtools_pipe_handler.cc). A client's message has at most as much, but may grow: a body in base64, a script in quotes.

const bundle = require('./bundle');
const { Refusal, need } = require('./refusal');

const LARGEST_MESSAGE = 100 * 2 ** 20;
const LARGEST = 250 * 2 ** 20;
const TOO_LARGE = `The answer is larger than ${LARGEST / 2 ** 20} MiB, more than this grid passes on. ` +
  'Ask for it in parts, or let the page offer it as a download.';

// Where an answer says what it is one to: {"id":1,"result":…,"sessionId":"A1"}
const BEGINNING = 64;
const END = 128;

/** Refuse to write messages to Chromium that would end it; their calls fail. */
function limitMessages({ options, _connection: connection }) {
  if (options.name !== 'chromium')
    return;
  const pipe = connection._transport._pipeWrite;
  need(pipe, 'the pipe to the browser');
  bundle.wrap(pipe, 'write', write => function(data, ...others) {
    if (data.length > LARGEST_MESSAGE / 3 && Buffer.byteLength(data) > LARGEST_MESSAGE)
      throw new Refusal(`This call would need a message to the browser of more than ${LARGEST_MESSAGE / 2 ** 20} MiB, which ` +
        'Chromium does not take. Pass less at a time.');
    return write.call(this, data, ...others);
  });
}

/** Throw answers away that are too large, where a connection reads them from a pipe, each ended by a zero byte. */
function limitAnswers(connection) {
  const transport = connection._transport;
  if (typeof transport._dispatch !== 'function')
    return;  // a WebSocket, which has a limit of its own
  let size = 0;  // of what has come of a message
  let discarded;  // a message that is too large: its beginning, and its end so far
  bundle.wrap(transport, '_dispatch', dispatch => function(chunk) {
    const end = chunk.indexOf(0);
    if (discarded) {
      discarded.end = Buffer.concat([discarded.end, chunk.subarray(0, end < 0 ? chunk.length : end)]).subarray(-END);
      if (end < 0)
        return;
      fail(connection, discarded);
      discarded = undefined;
      size = 0;
      this._dispatch(chunk.subarray(end + 1));
      return;
    }
    size = end < 0 ? size + chunk.length : chunk.length - 1 - chunk.lastIndexOf(0);
    dispatch.call(this, chunk);
    if (size > LARGEST) {
      discarded = { beginning: beginningOf(this._pendingBuffers), end: chunk.subarray(-END) };
      this._pendingBuffers = [];
    }
  });
}

function beginningOf(buffers) {
  const [first, ...others] = buffers.filter(buffer => buffer.length);
  return first.length < BEGINNING ? Buffer.concat([first, others[0]]) : first.subarray(0, BEGINNING);
}

/** Let the call fail that a discarded message answers; an event is lost. */
function fail(connection, { beginning, end }) {
  const id = Number(/^\{"id":(\d+)[,}]/.exec(beginning.toString('latin1'))?.[1]);
  const sessionId = /"sessionId":"(\w+)"/.exec(end.toString('latin1') + beginning.toString('latin1'))?.[1];
  if (id)
    setImmediate(() => connection._transport.onmessage?.call(null, { id, sessionId, ...failureOf(connection, id, sessionId) }));
}

/** Return the failure of a call in a form whose words reach the client: of an evaluation, as if the page had thrown it. */
function failureOf(connection, id, sessionId = '') {
  const { method } = connection._sessions?.get(sessionId)?._callbacks?.get(id)?.error ?? {};
  if (!method?.startsWith('Runtime.'))
    return { error: { code: -32000, message: TOO_LARGE } };
  const exceptionDetails = { exceptionId: 0, lineNumber: 0, columnNumber: 0, text: TOO_LARGE };
  return { result: { result: { type: 'undefined' }, exceptionDetails } };
}

module.exports = { LARGEST_MESSAGE, limitAnswers, limitMessages };
