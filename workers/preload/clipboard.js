'use strict';

// A session does not find what an earlier one has put on the clipboard, of which a browser has only one.
//
// Only a page can write to it. So it is emptied by the first page of a session, before the client is given that page.

const bundle = require('./bundle');

const EMPTY = `() => {
  document.addEventListener('copy', event => {
    event.preventDefault();
    event.clipboardData.setData('text/plain', '');
  }, { capture: true, once: true });
  document.execCommand('copy');
}`;

/** Let the first page that a context's dispatcher opens for its session empty the clipboard. */
function emptyInFirstPage(dispatcher, session) {
  bundle.wrap(dispatcher, 'newPage', newPage => async function(params, progress) {
    const result = await newPage.call(this, params, progress);
    session.emptied ??= empty(result.page._object, progress);
    try {
      await session.emptied;
    } catch (error) {
      session.emptied = undefined;  // the next page tries again
      throw error;
    }
    return result;
  });
}

async function empty(page, progress) {
  const { delegate } = await progress.race(page.mainFrame().utilityContext());
  if (!delegate._client)  // not Chromium
    return await page.mainFrame().evaluateExpression(progress, EMPTY, { isFunction: true, world: 'utility' });
  // Without Playwright's own script in the page, which takes longer than all of the rest.
  const options = { contextId: delegate._contextId, userGesture: true };
  const call = delegate._client.send('Runtime.evaluate', { expression: `(${EMPTY})()`, ...options });
  const { exceptionDetails } = await progress.race(call);
  if (exceptionDetails)
    throw new Error(`The clipboard was not emptied: ${exceptionDetails.text}`);
}

module.exports = { emptyInFirstPage };
