'use strict';

// Pictures of a page, for those who look at its session (looks.js).
//
// Rules
//  1. The next picture is taken when the last one is on its way, and not before its time.
//  2. Chromium's come from a screencast with a DevTools session of its own: the client's are not touched, its own
//     screencasts and videos go on, and no page is activated.
//  3. Other browsers have one screencast, which is the client's. Of them a screenshot is taken, below what Playwright does
//     for a client's screenshot: nothing is changed in the page, and no screenshot of the client's waits for it.

const CAST = { format: 'jpeg', quality: 60, maxWidth: 1280, maxHeight: 960 };
const CAST_MS = 100, STILL_MS = 1000;  // between two pictures
const STILL_QUALITY = 60, STILL_WIDTH = 1920, STILL_HEIGHT = 1200;

const pause = ms => new Promise(resolve => setTimeout(resolve, Math.max(0, ms)));

/** Return the camera for a page of Playwright's; `send` is given each picture, and keeps a promise when it is on its way. */
function of(page, nullProgress, send) {
  const context = page.browserContext;
  if (typeof context.newCDPSession !== 'function')
    return new Stills(page, nullProgress, send);
  return new Screencast(async () => {
    const session = await context.newCDPSession(page);
    return {
      send: (method, params) => session.send(nullProgress, method, params),
      detach: () => session.detach(nullProgress),
      on: (event, listener) => session.on(event, listener),
    };
  }, send);
}

class Screencast {
  constructor(attach, send) {
    this._attach = attach;
    this._send = send;
    this._isOver = false;
  }

  /** Begin; raises an error if that fails. */
  async open() {
    const devtools = await this._attach();
    if (this._isOver)
      return detach(devtools);
    this._devtools = devtools;
    devtools.on('event', ({ method, params }) => method === 'Page.screencastFrame' && this._take(params));
    await devtools.send('Page.startScreencast', CAST);
  }

  async _take({ data, sessionId }) {
    if (this._isOver)
      return;
    const began = Date.now();
    await this._send(Buffer.from(data, 'base64'));
    await pause(CAST_MS - (Date.now() - began));
    if (!this._isOver)
      this._devtools.send('Page.screencastFrameAck', { sessionId }).catch(() => {});  // its page has closed
  }

  close() {
    this._isOver = true;
    if (this._devtools)
      detach(this._devtools);
  }
}

function detach(devtools) {
  devtools.detach().catch(() => {});  // its page may have closed; with the session, the screencast ends
}

class Stills {
  constructor(page, nullProgress, send) {
    this._page = page;
    this._nullProgress = nullProgress;
    this._send = send;
    this._isOver = false;
  }

  /** Take pictures until it is closed; raises an error if one fails. */
  async open() {
    while (!this._isOver) {
      const began = Date.now(), picture = await this._take();
      if (this._isOver)
        return;
      await this._send(picture);
      await pause(STILL_MS - (Date.now() - began));
    }
  }

  async _take() {
    const page = this._page, isFirefox = page.browserContext._browser.options.name === 'firefox';
    const { width, height } = page.emulatedSize()?.viewport ??
      await page.mainFrame().waitForFunctionValueInUtility(this._nullProgress, () => ({ width: innerWidth, height: innerHeight }));
    const shown = { x: 0, y: 0, width: Math.min(width, STILL_WIDTH), height: Math.min(height, STILL_HEIGHT) };
    // WebKit gives a PNG, of which the driver would make anything else itself.
    return page.delegate.takeScreenshot(this._nullProgress, isFirefox ? 'jpeg' : 'png', undefined, shown, STILL_QUALITY, true, isFirefox ? 'css' : 'device');
  }

  close() {
    this._isOver = true;
  }
}

module.exports = { Screencast, of };
