'use strict';

/** An error whose message is meant for the user of a session, without the driver's own lines. */
class Refusal extends Error {
  /** Set the message, and for a session that is refused the HTTP status and the hint. */
  constructor(message, status = 400, hint = 'Leave it out, or ask who runs the grid.') {
    super(message);
    Object.defineProperties(this, { status: { value: status }, hint: { value: hint } });  // which no client is sent
    this.name = 'Error';
    this.stack = `Error: ${message}`;
  }
}

/** Return the sentence that refuses what needs a browser of one's own, and what to do instead. */
function needsOwnBrowser(what, instead = '') {
  const sentence = `This browser is shared: ${what} need isolation=browser in the URL that you connect to.`;
  return instead ? `${sentence} ${instead}` : sentence;
}

/** Raise an error unless the driver is as expected: one whose rules cannot be kept must not serve. */
function need(condition, what) {
  if (!condition)
    throw new Error(`${what} of this Playwright version is not as expected`);
}

module.exports = { Refusal, needsOwnBrowser, need };
