'use strict';

// A browser has one clipboard. A session does not find what an earlier one has put there.
//
// Only a page can write to it. So a session that had pages empties it when its last page closes, or when the session
// ends, by that page: a later session cannot hinder that. Where that page does not answer, or crashed or closed itself
// before, a page of the driver's own does it. Until it is done no session is given a new context.

const { sentence } = require('./messages');

const EMPTY = `(() => {
  let emptied = false;
  document.addEventListener('copy', event => {
    event.preventDefault();
    event.stopImmediatePropagation();
    event.clipboardData.setData('text/plain', '');
    emptied = true;
  }, { capture: true, once: true });
  document.execCommand('copy');
  return emptied;
})()`;

const PATIENCE_MS = 1000;  // with a page of a session

const underWay = new Set();  // promises
let isFull = false;  // what is on it could not be removed

let withPage;  // calls a function with a page of the driver's own, in a context of its own
let nullProgress;

/** Set what opens a page of the driver's own for a function and closes it again, and the progress that has no limit. */
function usePages(use, progress) {
  withPage = use;
  nullProgress = progress;
}

/** Return what a session's call must wait for, or undefined; `target` is the object that is called. */
function delay(session, type, method, target) {
  if (session.hasOwnBrowser)
    return undefined;
  if (method === 'newContext')
    return underWay.size || isFull ? empty() : undefined;
  if (method === 'newPage')
    session.hasUsedClipboard = true;
  if (method === 'close' && type === 'Page')
    return emptyBeforeClosing(session, [target]);
  if (method === 'close' && type === 'BrowserContext')
    return emptyBeforeClosing(session, target.pages());
  return undefined;
}

/** Empty the clipboard by the last pages of a session, which are about to close. */
function emptyBeforeClosing(session, pages) {
  if (!session.hasUsedClipboard || !pages.length || session.pages().some(page => !pages.includes(page)))
    return undefined;
  return emptyBy(pages[0]).then(isEmptied => session.hasUsedClipboard = !isEmptied);
}

/** Empty the clipboard at the end of a session, while its pages are still open. */
async function emptyAtTheEnd(session) {
  if (!session.hasUsedClipboard)
    return;
  const [page] = session.pages();
  const work = (async () => {
    if (!(page && await emptyBy(page)))
      await emptyByOwnPage();
  })();
  underWay.add(work);
  await work.catch(() => {}).finally(() => underWay.delete(work));
}

/** Wait until the clipboard is empty; raises an error if it cannot be emptied. */
async function empty() {
  await Promise.allSettled(underWay);
  if (isFull)
    await emptyByOwnPage();
}

async function emptyByOwnPage() {
  isFull = true;
  try {
    isFull = !await withPage(emptyBy);
  } catch (error) {  // the browser opens no page
    throw new Error(`The clipboard of an earlier session cannot be emptied: ${sentence(error)}`);
  }
  if (isFull)
    throw new Error('The clipboard of an earlier session cannot be emptied.');
}

/** Empty the clipboard by a page; returns whether it did. */
async function emptyBy(page) {
  let timer;
  const late = new Promise(resolve => timer = setTimeout(resolve, PATIENCE_MS, false));
  const isEmptied = await Promise.race([evaluate(page.mainFrame()), late]).catch(() => false);
  clearTimeout(timer);
  return isEmptied === true;
}

/** Evaluate EMPTY out of reach of the page's own scripts, as if a person had pressed a key. */
async function evaluate(frame) {
  const { delegate } = await frame.utilityContext();
  if (!delegate._client)  // not Chromium
    return await frame.evaluateExpression(nullProgress, EMPTY, { world: 'utility' });
  // Without Playwright's own script in the page, which would take longer than all of the rest.
  const options = { contextId: delegate._contextId, userGesture: true, returnByValue: true };
  const { result } = await delegate._client.send('Runtime.evaluate', { expression: EMPTY, ...options });
  return result.value;
}

module.exports = { delay, emptyAtTheEnd, usePages };
