'use strict';

// Looks at a session: pictures of what its browser shows, for the dashboard's live view.
//
// Rules
//  1. A connection whose request has the header `Look: SESSION` (proxy/dashboard/view.py) looks at one session. The proxy
//     decides who may; it lasts until its viewer goes or the session ends.
//  2. It has a DevTools session of its own for the page that it shows. The client's are not touched: its own screencasts
//     and videos go on, and no page is activated.
//  3. Pictures are taken only while a viewer takes them: the next one is asked for when the last one is on its way.
//  4. The viewer is told which pages there are. Left alone, it sees the newest one.
//  5. A viewer's message is a JSON object; one that is not known ends the look. {show: PAGE} is all there is: a look
//     changes nothing in the browser.

const sessions = require('./sessions');
const { Refusal, need } = require('./refusal');
const { warn } = require('./warning');

const LARGEST = 4096;  // bytes of a viewer's message
const LOOK_MS = 500;  // between two looks at the pages
const PICTURE_MS = 100;  // between two pictures
const PICTURE = { format: 'jpeg', quality: 60, maxWidth: 1280, maxHeight: 960 };
const URL_MOST = 1000;  // characters
const NORMAL = 1000, REFUSED = 4000;  // codes of a Close frame
const GONE = 410;  // by which the proxy knows that the session has ended

let server, nullProgress;

/** Prepare for looks. */
function install({ wsServer: WebSocketServer, server: classes }) {
  need(typeof WebSocketServer?.prototype?.handleUpgrade === 'function', 'the WebSocket server');
  ({ nullProgress } = classes);
  server = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: LARGEST, clientTracking: false });
  server.on('headers', headers => headers.push('Look: yes'));  // a driver that does not know of this does not say so
}

/** Let somebody look at a session. */
async function look(request, socket, head) {
  const session = sessions.named(request.headers.look);
  if (!session)
    throw new Refusal('This session has ended, or has no browser yet.', GONE, 'Look again in a moment.');
  server.handleUpgrade(request, socket, head, viewer => new Look(session, viewer));
}

class Look {
  constructor(session, viewer) {
    this._session = session;
    this._viewer = viewer;
    this._numbers = new Map();  // of the pages
    this._chosen = undefined;  // the page that the viewer has asked for
    this._shown = undefined;
    this._devtools = undefined;  // of the page that is shown
    this._said = '';
    this._isOver = false;
    const leave = () => this._end(NORMAL, 'The session has ended.');
    session.whenOver.add(leave);
    viewer.on('error', () => {});  // it is closed then
    viewer.on('close', () => {
      session.whenOver.delete(leave);
      this._end();
    });
    viewer.on('message', data => this._hear(String(data)));
    this._timer = setInterval(() => this._look(), LOOK_MS);
    this._look();
  }

  _hear(text) {
    const number = wish(text), page = [...this._numbers].find(([, one]) => one === number)?.[0];
    if (number === undefined)
      return this._end(REFUSED, 'The message is not known. A look takes {"show": PAGE} only.');
    this._chosen = page;
    this._look();
  }

  /** See which pages there are, and show the one that is wanted. */
  _look() {
    const pages = this._session.pages(), wanted = pages.includes(this._chosen) ? this._chosen : pages.at(-1);
    for (const page of this._numbers.keys())
      if (!pages.includes(page))
        this._numbers.delete(page);
    for (const page of pages)
      if (!this._numbers.has(page))
        this._numbers.set(page, this._next = (this._next ?? 0) + 1);
    this._tell(pages, wanted);
    if (wanted !== this._shown)
      this._show(wanted).catch(error => this._fail(wanted, error));
  }

  _tell(pages, wanted) {
    const described = pages.map(page => ({ id: this._numbers.get(page), url: page.mainFrame().url().slice(0, URL_MOST) }));
    const text = JSON.stringify({ pages: described, shown: this._numbers.get(wanted) ?? 0 });
    if (text !== this._said)
      this._viewer.send(this._said = text, () => {});
  }

  /** Show a page, or none. */
  async _show(page) {
    this._shown = page;
    this._leave();
    if (!page)
      return;
    const context = page.browserContext;
    if (typeof context.newCDPSession !== 'function')
      return this._end(REFUSED, 'The live view shows Chromium only: other browsers have no screencast that leaves the client\'s alone.');
    const devtools = await context.newCDPSession(page);
    if (this._isOver || this._shown !== page)
      return detach(devtools);
    this._devtools = devtools;
    devtools.on('event', ({ method, params }) => method === 'Page.screencastFrame' && this._send(devtools, params));
    await devtools.send(nullProgress, 'Page.enable', {});
    await devtools.send(nullProgress, 'Page.startScreencast', PICTURE);
  }

  /** Send a picture; the browser takes the next one when this one is on its way to a viewer that reads. */
  _send(devtools, { data, sessionId }) {
    if (devtools !== this._devtools)
      return;
    const sentAt = Date.now();
    this._viewer.send(Buffer.from(data, 'base64'), { binary: true }, () => setTimeout(() => {
      if (devtools === this._devtools)
        devtools.send(nullProgress, 'Page.screencastFrameAck', { sessionId }).catch(() => {});  // its page has closed
    }, Math.max(0, PICTURE_MS - (Date.now() - sentAt))));
  }

  /** A page that closes while it is to be shown is no fault. */
  _fail(page, error) {
    if (this._isOver || this._shown !== page)
      return;
    if (!page.isClosed())
      warn('a page is not looked at', error);
    this._shown = undefined;  // the next look tries again
  }

  /** Take no more pictures of the page that is shown. */
  _leave() {
    if (this._devtools)
      detach(this._devtools);
    this._devtools = undefined;
  }

  _end(code, reason) {
    if (this._isOver)
      return;
    this._isOver = true;
    clearInterval(this._timer);
    this._leave();
    if (code)
      this._viewer.close(code, reason);
  }
}

/** Return the number of the page that a message asks for; undefined if it asks for anything else. */
function wish(text) {
  try {
    const { show, ...others } = JSON.parse(text);
    return Number.isInteger(show) && !Object.keys(others).length ? show : undefined;
  } catch {
    return undefined;
  }
}

function detach(devtools) {
  devtools.detach(nullProgress).catch(() => {});  // its page may have closed; with the session, the screencast ends
}

module.exports = { Look, install, look };
