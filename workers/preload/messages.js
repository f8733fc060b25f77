'use strict';

// Messages of Playwright's protocol, and what is wrong with one.
//
// The driver trusts its clients to keep to the protocol: a message that is null, or has no metadata, would end it.

// Methods that every object has: they tell of a wait, and take a call back.
const IMPLIED = new Set(['__waitInfo__', '__abort__']);

const LONGEST_TITLE = 1000;
const LONGEST_TEXT = 254 * 2 ** 20;  // V8 ends the process over one of 2^28 characters; 190 MiB in base64 are fewer

/** Return what is wrong with a client's message, or undefined; what it may leave out is filled in. */
function flaw(message) {
  if (!message || typeof message !== 'object' || !isId(message.id) || typeof message.method !== 'string')
    return 'This is no message of Playwright\'s protocol.';
  for (const part of ['params', 'metadata'])
    if (typeof (message[part] ??= {}) !== 'object')
      return `The ${part} of a message must be an object.`;
  if (typeof message.metadata.title === 'string')
    message.metadata.title = plain(message.metadata.title);
  return undefined;
}

/** Keep a title from having the driver write out selectors that are not looked at (parameters.js), or one time and again. */
function plain(title) {
  return title.slice(0, LONGEST_TITLE).replace(/\{[^}]*\./g, '{');  // "{selector}" stands for a parameter, "{x.y}" for one in it
}

/** Whether a client may number a call so: the driver names files by it. */
function isId(id) {
  return Number.isInteger(id) || (typeof id === 'string' && /^[\w@-]{1,100}$/.test(id));
}

/** Return what an error says. One of Playwright's own says nothing if the page or the browser was gone before its answer. */
function sentence(error) {
  return error.message || (error.type === 'crashed' ? 'Target crashed' : 'Target page, context or browser has been closed');
}

/** Return the answer that refuses a client's call. */
function refusal(message, reason) {
  return { id: message?.id, error: { error: { message: reason, stack: `Error: ${reason}`, name: 'Error' } } };
}

/** Answer with an error where an answer cannot be sent: one that is too large for a text of V8's would end the driver. */
function surviveSending(connection) {
  const { onmessage } = connection;
  const refuse = (message, error) => onmessage(refusal(message, `The answer cannot be sent: ${error.message}`));
  connection.onmessage = message => {
    if (Object.values(message.result ?? {}).some(value => typeof value === 'string' && value.length > LONGEST_TEXT))
      return onmessage(refusal(message, `The answer is larger than the ${LONGEST_TEXT / 2 ** 20} MiB that this grid passes on.`));
    return onmessage(message)?.catch(error => refuse(message, error));
  };
}

module.exports = { IMPLIED, flaw, refusal, sentence, surviveSending };
