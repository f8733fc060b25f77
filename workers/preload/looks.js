'use strict';

// Looks at a session: pictures of what its browser shows, for the dashboard's live view.
//
// Rules
//  1. A connection whose request has the header `Look: SESSION` (proxy/dashboard/view.py) looks at one session. The proxy
//     decides who may; it lasts until its viewer goes or the session ends.
//  2. Pictures are taken only while a viewer takes them, and the client notices nothing of it: cameras.js.
//  3. The viewer is told which pages there are. Left alone, it sees the newest one.
//  4. A viewer's message is a JSON object; one that is not known ends the look. {show: PAGE} is all there is: a look
//     changes nothing in the browser.

const sessions = require('./sessions');
const { Refusal, need } = require('./refusal');

const LARGEST = 4096;  // bytes of a viewer's message
const LOOK_MS = 500;  // between two looks at the pages
const FAILURES = 10;  // in a row, of which the last one ends the look
const URL_MOST = 1000;  // characters
const NORMAL = 1000, REFUSED = 4000;  // codes of a Close frame
const GONE = 410;  // by which the proxy knows that the session has ended
const REASON_MOST = 100;  // characters of an error, in a Close frame that has room for 123 bytes

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

/**
 * What one viewer sees of a session, which tells by `whenOver` that it has ended.
 *
 * Its `shown(nullProgress)` returns a promise of the pages that are open: {key, url, camera}.
 */
class Look {
  constructor(session, viewer) {
    this._session = session;
    this._viewer = viewer;
    this._numbers = new Map();  // of the pages, by their keys
    this._last = 0;  // of these
    this._chosen = undefined;  // the page that the viewer has asked for
    this._shown = undefined;
    this._camera = undefined;  // for the page that is shown
    this._failures = 0;  // in a row
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
    this._look();
  }

  _hear(text) {
    const number = wish(text);
    if (number === undefined)
      return this._end(REFUSED, 'The message is not known. A look takes {"show": PAGE} only.');
    this._chosen = [...this._numbers].find(([, one]) => one === number)?.[0];
    this._show(this._pages);
  }

  /** See which pages there are, again and again. */
  async _look() {
    const pages = await this._session.shown(nullProgress).catch(error => this._fail(error));
    if (this._isOver)
      return;
    if (pages)
      this._show(this._pages = pages);
    this._timer = setTimeout(() => this._look(), LOOK_MS);
  }

  /** Show the page that is wanted, or none. */
  _show(pages = []) {
    const keys = pages.map(({ key }) => key);
    for (const key of this._numbers.keys())
      if (!keys.includes(key))
        this._numbers.delete(key);
    for (const key of keys)
      if (!this._numbers.has(key))
        this._numbers.set(key, ++this._last);
    const wanted = keys.includes(this._chosen) ? this._chosen : [...this._numbers.keys()].at(-1);
    this._tell(pages, wanted);
    if (wanted === this._shown)
      return;
    this._camera?.close();
    this._shown = wanted;
    const camera = this._camera = pages.find(({ key }) => key === wanted)?.camera(picture => this._send(camera, picture));
    camera?.open().catch(error => camera === this._camera && this._fail(error));
  }

  _tell(pages, wanted) {
    const described = pages.map(({ key, url }) => ({ id: this._numbers.get(key), url: url.slice(0, URL_MOST) })).sort((a, b) => a.id - b.id);
    const text = JSON.stringify({ pages: described, shown: this._numbers.get(wanted) ?? 0 });
    if (text !== this._said)
      this._viewer.send(this._said = text, () => {});
  }

  /** Send a picture; the promise is kept when it is on its way to a viewer that reads. */
  _send(camera, picture) {
    if (camera !== this._camera || this._isOver)
      return Promise.resolve();
    this._failures = 0;
    return new Promise(resolve => this._viewer.send(picture, { binary: true }, resolve));
  }

  /** Try again, but not for ever: a page that closes or goes elsewhere while it is to be shown is no fault. */
  _fail(error) {
    this._camera?.close();
    this._camera = this._shown = undefined;
    if (++this._failures >= FAILURES)
      this._end(REFUSED, `There is no picture: ${error.message.split('\n')[0].slice(0, REASON_MOST)}`);
  }

  _end(code, reason) {
    if (this._isOver)
      return;
    this._isOver = true;
    clearTimeout(this._timer);
    this._camera?.close();
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

module.exports = { Look, install, look };
