// Sessions that have ended: the newest, or those that a search finds.

import { call, part } from './api.js';
import { byId, el, fill } from './dom.js';
import { openSession } from './drawer.js';
import { drawLabels } from './sessions.js';
import { counted, moment, nameOf, runsIn, span } from './words.js';

const COUNT = 50;
const GOOD = new Set(['client']);

let found = [], isAsked = false;

export function prepareHistory() {
  byId('history-form').addEventListener('submit', event => {
    event.preventDefault();
    search();
  });
  byId('history-search').addEventListener('search', search);
  byId('history-more').querySelector('button').addEventListener('click', () => search(found.at(-1).ended_ms));
  new IntersectionObserver(entries => {
    if (entries.some(one => one.isIntersecting) && !isAsked)
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

async function search(before) {
  const text = byId('history-search').value.trim(), isMore = typeof before === 'number';
  isAsked = true;
  try {
    const answer = await call(`/history?count=${COUNT}${isMore ? `&before_ms=${before}` : ''}${queryOf(text)}`);
    found = isMore ? [...found, ...answer.sessions] : answer.sessions;
    byId('history-more').hidden = answer.sessions.length < COUNT;
    draw(text ? `No past session matches “${text}”` : 'No session has ended yet');
  } catch (error) {
    isAsked = false;
    found = [];
    draw(error.message);
  }
}

function draw(ifNone) {
  fill(byId('history-rows'), found.map(one => one.id).join(), () => found.map(row));
  byId('history-empty').hidden = found.length > 0;
  byId('history-empty').replaceChildren(el('b', {}, ifNone));
  byId('history-count').textContent = found.length ? counted(found.length, 'session') : '';
}

function row(session) {
  const open = el('button', { class: `name${session.name ? '' : ' nameless'}`, type: 'button' }, nameOf(session));
  const labels = el('div', { class: 'labels' });
  drawLabels(labels, session.labels);
  const chip = GOOD.has(session.ended_by) ? false : el('span', { class: `chip ${session.ended_by === 'operator' ? 'warn' : 'bad'}` }, session.ended_by);
  return el('div', { class: 'row past', role: 'listitem', 'data-session': session.id, on: { click: () => openSession({ ...session, status: 'ended' }) } },
    el('div', { class: 'who' }, el('div', { class: 'title' }, open, chip), labels),
    el('div', { class: 'where' }, el('div', {}, runsIn(session)), el('div', {}, session.client)),
    el('div', { class: 'reason', title: session.end_reason }, session.end_reason),
    el('div', { class: 'figure span' }, span(session.duration_ms || 0)),
    el('div', { class: 'figure' }, moment(session.ended_ms)));
}
