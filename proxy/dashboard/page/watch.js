// The live view: what the browser of a session shows. The driver sends pictures only while somebody looks.
//
// From the driver come JPEG pictures, and {pages: [{id, title, url}], shown: id}; to it goes {show: id}. Taking over the
// mouse and the keyboard would be further messages to it: each is a JSON object, and an unknown one is refused.

import { byId, el, fill, icon, label, say } from './dom.js';
import { part } from './api.js';
import { state } from './state.js';
import { nameOf } from './words.js';

let socket;

/** Look at a session until the dialog is closed. */
export function watch(session) {
  const dialog = byId('watch'), canvas = el('canvas', { width: 1280, height: 720, hidden: true, 'aria-label': 'What the browser shows' });
  const said = el('p', { class: 'say', role: 'status' }, 'Asking its browser for a picture…');
  const tabs = el('div', { class: 'tabs', role: 'tablist', hidden: true }), address = el('div', { class: 'address' });
  dialog.replaceChildren(
    el('div', { class: 'dialog-head' }, el('span', { class: 'live-dot' }), el('h2', { id: 'watch-title', title: nameOf(session) }, nameOf(session)), el('span', { class: 'chip' }, 'look only'),
      el('button', { class: 'icon-button', type: 'button', 'aria-label': 'Close', on: { click: () => dialog.close() } }, icon('close'))),
    tabs, address, el('div', { class: 'screen' }, said, canvas));
  if (!dialog.open)
    dialog.showModal();
  dialog.addEventListener('close', () => socket?.close(), { once: true });
  connect(session, { canvas, said, tabs, address });
}

function connect(session, view) {
  socket?.close();
  const opened = socket = new WebSocket(`${state.endpoint}/dashboard/view?session=${part(session.id)}`);
  opened.binaryType = 'blob';
  opened.addEventListener('message', ({ data }) => {
    if (opened !== socket)
      return;
    if (typeof data === 'string')
      drawPages(JSON.parse(data), view, opened);
    else
      drawPicture(data, view);
  });
  opened.addEventListener('close', async ({ reason }) => {
    const why = reason || await refusalOf(session) || 'The look has ended.';
    if (opened === socket)
      stop(view, why);
  });
}

/** Return why a session is not shown; a refused handshake does not tell. */
async function refusalOf(session) {
  const answer = await fetch(`/dashboard/view?session=${part(session.id)}`).catch(() => undefined);
  if (!answer)
    return 'The proxy does not answer. Is it restarting?';
  return answer.ok ? '' : (await answer.json()).error.message;
}

function stop({ canvas, said }, reason) {
  said.hidden = false;
  canvas.hidden = true;
  byId('watch').classList.add('is-over');
  say(said, reason);
}

async function drawPicture(data, { canvas, said }) {
  const picture = await createImageBitmap(data);
  if (canvas.width !== picture.width || canvas.height !== picture.height)
    Object.assign(canvas, { width: picture.width, height: picture.height });
  canvas.getContext('2d').drawImage(picture, 0, 0);
  picture.close();
  canvas.hidden = false;
  said.hidden = true;
  byId('watch').classList.remove('is-over');
}

function drawPages({ pages, shown }, view, opened) {
  const { tabs, address } = view;
  tabs.hidden = pages.length < 2;
  fill(tabs, JSON.stringify([pages, shown]), () => pages.map(page => el('button', {
    type: 'button', role: 'tab', 'aria-selected': String(page.id === shown), title: page.url,
    on: { click: () => opened.send(JSON.stringify({ show: page.id })) },
  }, page.title || page.url || 'New page')));
  label(address, pages.find(page => page.id === shown)?.url ?? '');
  if (!pages.length)
    stop(view, 'This session has no page open. The picture comes with its first one.');
}
