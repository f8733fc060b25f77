// Sessions that have ended: the newest, or those that a search finds.

import { call, part } from './api.js';
import { toast } from './dialogs.js';
import { byId, el, keep } from './dom.js';
import { openSession } from './drawer.js';
import { drawLabels } from './sessions.js';
import { counted, moment, nameOf, runsIn, span } from './words.js';

const COUNT = 50;
const GOOD = new Set(['client']);

let found = [], asked, searches = 0;

export function prepareHistory() {
  byId('history-form').addEventListener('submit', event => {
    event.preventDefault();
    search();
  });
  byId('history-search').addEventListener('search', event => event.target.value || search());  // it was emptied
  byId('history-cause').addEventListener('change', search);
  byId('history-more').querySelector('button').addEventListener('click', () => search(found.at(-1).ended_ms));
  new IntersectionObserver(entries => {
    if (entries.some(one => one.isIntersecting) && !asked)
      search();
  }).observe(byId('history-rows').parentElement);
}

/** Return what a search asks for: "build=4711" is a label, anything else any text. */
export function queryOf(text) {
  const label = /^(?:label\.)?([A-Za-z0-9_.-]{1,40})=(.*)$/.exec(text);
  if (label)
    return `&label.${part(label[1])}=${part(label[2])}`;
  return text ? `&search=${part(text)}` : '';
}

/** Search anew, or show what is older than a time of what was asked last. */
async function search(before) {
  const isMore = typeof before === 'number', said = byId('history-search').value.trim(), cause = byId('history-cause').value;
  if (!isMore)
    asked = { query: `${cause && `&ended_by=${cause}`}${queryOf(said)}`, isFiltered: Boolean(said || cause) };
  const { query, isFiltered } = asked, number = ++searches;
  try {
    const { sessions } = await call(`/history?count=${COUNT}${isMore ? `&before_ms=${before}` : ''}${query}`);
    if (number !== searches)
      return;  // something else was asked meanwhile
    found = isMore ? [...found, ...sessions] : sessions;
    byId('history-more').hidden = sessions.length < COUNT;
    if (isFiltered)
      draw('No past session matches', 'Search for less of it, or for any end.');
    else
      draw('No session has ended yet', 'Each one leaves its story here when it ends.');
  } catch (error) {
    if (number !== searches)
      return;
    if (isMore)
      return toast(error.message);
    asked = undefined;
    found = [];
    byId('history-more').hidden = true;
    draw(error.message);
  }
}

function draw(ifNone, whatNow = '') {
  keep(byId('history-rows'), found, one => one.id, row, () => {});
  byId('history-empty').hidden = found.length > 0;
  byId('history-empty').replaceChildren(el('b', {}, ifNone), whatNow);
  byId('history-count').textContent = found.length ? `${counted(found.length, 'session')}${byId('history-more').hidden ? '' : ', and older'}` : '';
}

function row(session) {
  const open = el('button', { class: `name${session.name || session.kept_as ? '' : ' nameless'}`, type: 'button', title: nameOf(session) }, nameOf(session));
  const labels = el('div', { class: 'labels' }), from = [session.client, session.token && `token ${session.token}`].filter(Boolean).join(' · ');
  drawLabels(labels, session.labels);
  const chip = GOOD.has(session.ended_by) ? false : el('span', { class: `chip ${['operator', 'owner'].includes(session.ended_by) ? 'warn' : 'bad'}` }, session.ended_by);
  return el('div', { class: 'row past', role: 'listitem', 'data-session': session.id, on: { click: () => openSession({ ...session, status: 'ended' }) } },
    el('div', { class: 'who' }, el('div', { class: 'title' }, open, chip), labels),
    el('div', { class: 'where' }, el('div', { title: runsIn(session) }, runsIn(session)), el('div', { title: from }, from)),
    el('div', { class: 'reason', title: session.end_reason }, session.end_reason),
    el('div', { class: 'figure span' }, span(session.duration_ms || 0)),
    el('div', { class: 'figure' }, moment(session.ended_ms)));
}
