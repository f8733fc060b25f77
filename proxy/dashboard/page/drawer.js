// The drawer: the story of one session, or all that is known of a worker.

import { drainWorker, endSession } from './actions.js';
import { call, part } from './api.js';
import { copy, toast } from './dialogs.js';
import { byId, el, icon } from './dom.js';
import { linkedSession, nameSession } from './links.js';
import { state } from './state.js';
import { watch } from './watch.js';
import { bytes, counted, moment, nameOf, runsIn, span, wait, workerName } from './words.js';

let shown;  // the session whose story is fetched

/** Open the drawer; what shows a session has its id, and so a link. */
function open(id, title, chip, ...body) {
  const drawer = byId('drawer');
  nameSession(id);
  const link = id && el('button', { class: 'icon-button', type: 'button', title: 'Copy the link to this story', 'aria-label': 'Copy the link', on: { click: () => copy(location.href, 'The link is copied.') } }, icon('link'));
  const close = el('button', { class: 'icon-button', type: 'button', 'aria-label': 'Close', on: { click: () => drawer.close() } }, icon('close'));
  drawer.replaceChildren(
    el('div', { class: 'dialog-head' }, el('h2', { id: 'drawer-title', title }, title), el('span', { class: `chip ${chip}` }, chip), el('span', { class: 'corner' }, link, close)),
    el('div', { class: 'body' }, ...body));
  if (drawer.open)
    return;
  drawer.showModal();
  drawer.addEventListener('close', () => nameSession(''), { once: true });
}

/** Show the session that the page's address names, or none. */
export async function followLink() {
  const id = linkedSession();
  if (!id)
    return byId('drawer').close();
  try {
    const session = state.session(id) ?? await call(`/sessions/${part(id)}`);
    if (linkedSession() === id)  // not another one meanwhile
      openSession(session);
  } catch (error) {
    if (linkedSession() !== id)
      return;
    nameSession('');
    toast(error.message);
  }
}

function facts(pairs) {
  return el('dl', { class: 'facts' }, pairs.filter(([, value]) => value).flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]));
}

/** Show the story of a session, live or past, and fetch why it waited and ended. */
export function openSession(session) {
  shown = session.id;
  const why = el('ol', { class: 'why' }, el('li', {}, 'Looking it up…'));
  const isLive = session.status !== 'ended';
  const acts = isLive && el('div', { class: 'acts' },
    session.status !== 'waiting' && el('button', { class: 'button main', type: 'button', on: { click: () => watch(session) } }, icon('eye'), 'Watch live'),
    el('button', { class: 'button quiet-danger', type: 'button', on: { click: () => endSession(session) } }, icon('stop'), 'End session'));
  open(session.id, nameOf(session), session.status, acts, facts(factsOn(session)), el('section', {}, el('h3', {}, 'Its story'), why));
  fetchWhy(session.id, why);
}

async function fetchWhy(id, why) {
  const lines = await call(`/sessions/${part(id)}/why`).then(({ why: sentences }) => sentences, error => [error.message]);
  if (shown === id)
    why.replaceChildren(...(lines.length ? lines : ['Nothing is known of it any more.']).map(line => el('li', {}, line)));
}

function factsOn(session) {
  const { started_ms: started, ended_ms: ended, waited_ms: waited } = session;
  const lasted = session.duration_ms || (ended ? ended - (session.granted_ms || started) : state.now - (session.granted_ms || started));
  const labels = Object.entries(session.labels ?? {}).map(([key, value]) => `${key}=${value}`);
  const traffic = (count, messages) => count ? `${bytes(count)}${messages ? ` in ${counted(messages, 'message')}` : ''}` : '';
  return [
    ['Id', el('code', {}, session.id)],
    ['Labels', labels.length ? el('span', {}, ...labels.flatMap(label => [el('span', { class: 'chip' }, label), ' '])) : ''],
    ['Browser', runsIn(session)],
    ['Client', [session.client, session.user_agent].filter(Boolean).join(', ')],
    ['Token', session.token],
    ['Worker', session.worker],
    ['Proxy', session.proxy],
    ['Asked', moment(started)],
    ['Waited', session.status === 'waiting' ? span(state.now - started) : waited === null || waited === undefined || waited === '' ? '' : wait(waited)],
    ['Lasted', session.status === 'waiting' ? '' : span(lasted)],
    ['Ended', ended ? moment(ended) : ''],
    ['Because', session.end_reason],
    ['Caused by', session.ended_by],
    ['From client', traffic(session.bytes_from_client, session.messages_from_client)],
    ['To client', traffic(session.bytes_to_client, session.messages_to_client)],
  ];
}

/** Show a worker, with its sessions. */
export function openWorker(id) {
  const worker = state.worker(id);
  if (!worker)
    return;
  shown = id;
  const sessions = state.running.filter(one => one.worker === id);
  const drain = worker.status !== 'draining' && el('div', { class: 'acts' },
    el('button', { class: 'button', type: 'button', on: { click: () => drainWorker(worker) } }, icon('drain'), 'Drain'));
  open('', workerName(id), worker.suspect ? 'suspect' : worker.status, drain, facts([
    ['Id', el('code', {}, id)],
    ['Appliance', worker.appliance],
    ['Browser', `${worker.browser}, Playwright ${worker.version}`],
    ['Slots', `${worker.active} of ${worker.concurrency} taken`],
    ['Sessions so far', worker.quota ? `${worker.lifetime} of ${worker.quota}` : `${worker.lifetime}, without a quota`],
    ['Memory', bytes(worker.memory_bytes)],
    ['Up for', span(state.now - worker.started_ms)],
    ['Drains because', worker.reason],
  ]), el('section', {}, el('h3', {}, 'Its sessions'), sessions.length ? el('div', {}, ...sessions.map(rowOf)) : el('p', {}, 'It has none now.')));
}

function rowOf(session) {
  return el('div', { class: 'row' }, el('button', { class: 'name', type: 'button', on: { click: () => openSession(session) } }, nameOf(session)));
}
