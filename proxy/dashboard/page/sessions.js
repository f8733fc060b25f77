// Live sessions, and those that wait, in order.

import { endSession } from './actions.js';
import { byId, el, fill, icon, keep, label, say } from './dom.js';
import { openSession } from './drawer.js';
import { state } from './state.js';
import { watch } from './watch.js';
import { bytes, counted, nameOf, runsIn, span, workerName } from './words.js';

const MOST = 200;  // rows; the filter finds the others

let drawn = {};

export function drawSessions() {
  const all = state.running, wanted = byId('sessions-filter').value.trim().toLowerCase(), { appliances, grid: { sessions_total: total } } = state;
  if (all !== drawn.all || wanted !== drawn.wanted || appliances !== drawn.appliances || total !== drawn.total)
    drawRows(all, wanted);
  drawn = { all, wanted, appliances, total };
  for (const [id, row] of byId('session-rows').kept)
    say(row.age, span(state.now - state.session(id).started_ms));
  drawQueue(state.waiting);
}

function drawRows(all, wanted) {
  const found = wanted ? all.filter(one => textOf(one).includes(wanted)) : all;
  const total = Math.max(all.length, state.grid.sessions_total ?? 0), shown = found.slice(0, MOST);
  say(byId('sessions-count'), total ? (shown.length < total ? `${shown.length} of ${total.toLocaleString('en')}` : String(total)) : '');
  keep(byId('session-rows'), shown, one => one.id, makeRow, drawRow);
  drawEmpty(byId('sessions-empty'), !shown.length && state.isKnown, wanted && all.length);
}

/** Return what the filter looks in: "build=4711" finds a label. */
function textOf(session) {
  const { name, kept_as: kept, id, client, browser, version, worker, token, labels, status, user_agent: agent } = session;
  const pairs = Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`);
  return [name, kept, id, client, browser, version, worker, token, status, agent, ...pairs].join(' ').toLowerCase();
}

function drawEmpty(empty, isEmpty, isFiltered) {
  empty.hidden = !isEmpty;
  if (!isEmpty)
    return;
  const { endpoint } = state;
  fill(empty, `${isFiltered} ${endpoint}`, () => isFiltered ? [el('b', {}, 'No session matches'), 'Sessions that have ended are found in the history below.']
    : [el('b', {}, 'No session is running'), 'Connect with the Playwright client that you have:', el('br'), el('code', {}, `chromium.connect("${endpoint}")`)]);
}

function makeRow(session) {
  const current = () => state.session(session.id) ?? session;
  const open = el('button', { class: `name${session.name || session.kept_as ? '' : ' nameless'}`, type: 'button', on: { click: () => openSession(current()) } });
  const look = el('button', { class: 'icon-button looks', type: 'button', title: 'Watch its browser', 'aria-label': `Watch ${nameOf(session)}`, on: { click: () => watch(current()) } }, icon('eye'));
  const end = el('button', { class: 'icon-button ends', type: 'button', title: 'End this session', 'aria-label': `End ${nameOf(session)}`, on: { click: () => endSession(current()) } }, icon('stop'));
  const age = el('div', { class: 'figure age', title: 'Since it asked for a slot' });
  const row = el('div', { class: 'row live', role: 'listitem', 'data-session': session.id },
    el('div', { class: 'who' }, el('div', { class: 'title' }, open, el('span', { class: 'chip' })), el('div', { class: 'labels' })),
    el('div', { class: 'where' }, el('div'), el('div')),
    age,
    el('div', { class: 'figure traffic' }),
    el('div', { class: 'acts' }, look, end));
  return Object.assign(row, { age });
}

function drawRow(row, session) {
  const find = selector => row.querySelector(selector);
  const isOneOfMany = state.appliances.length > 1;
  if (row.drawn === session && row.isOneOfMany === isOneOfMany)
    return;
  Object.assign(row, { drawn: session, isOneOfMany });
  label(find('.name'), nameOf(session));
  const chip = find('.title .chip');
  chip.hidden = session.status === 'active';
  chip.className = `chip ${session.status}`;
  say(chip, session.status);
  drawLabels(find('.labels'), session.labels);
  const [what, where] = find('.where').children;
  label(what, runsIn(session));
  label(where, [session.client, session.worker && placeOf(session), session.token && `token ${session.token}`].filter(Boolean).join(' · '));
  drawTraffic(find('.traffic'), session);
}

/** Return where a session runs: the worker, and its appliance if there are several. */
function placeOf({ worker, appliance }) {
  return `on ${workerName(worker)}${state.appliances.length > 1 ? ` of ${appliance}` : ''}`;
}

export function drawLabels(element, labels) {
  const pairs = Object.entries(labels ?? {});
  fill(element, JSON.stringify(pairs), () => pairs.map(([key, value]) => el('span', { class: 'chip', title: `${key}=${value}` }, `${key}=${value}`)));
}

function drawTraffic(element, { bytes_from_client: up, bytes_to_client: down }) {
  const isKnown = Boolean(up || down);
  fill(element, `${up} ${down}`, () => isKnown ? [`↓ ${bytes(down)}`, el('small', {}, `↑ ${bytes(up)}`)] : [el('small', {}, '–')]);
}

function drawQueue(waiting) {
  say(byId('queue-count'), waiting.length ? String(waiting.length) : '');
  const rows = byId('queue-rows'), shown = waiting.slice(0, MOST);
  if (waiting !== rows.drawn)
    keep(rows, shown, one => one.id, makeWaiter, () => {});
  rows.drawn = waiting;
  shown.forEach((session, i) => {
    const { place, waits } = rows.kept.get(session.id);
    say(place, String(i + 1));
    say(waits, span(state.now - session.started_ms));
  });
  const empty = byId('queue-empty'), hidden = Math.max(0, state.pools.reduce((sum, pool) => sum + pool.waiting, 0) - waiting.length);
  empty.hidden = waiting.length > 0 || !state.isKnown;
  say(empty, hidden ? `${counted(hidden, 'session')} of others ${hidden === 1 ? 'waits' : 'wait'}.` : 'Nobody waits.');
}

function makeWaiter(session) {
  const open = () => openSession(state.session(session.id) ?? session);
  const place = el('span', { class: 'place' }), waits = el('span', { class: 'waits' });
  const row = el('li', { 'data-session': session.id }, place,
    el('button', { class: 'name', type: 'button', title: `${nameOf(session)}, ${runsIn(session)}, ${session.client}`, on: { click: open } }, nameOf(session), el('small', {}, `${runsIn(session)} · ${session.client}`)),
    waits);
  return Object.assign(row, { place, waits });
}
