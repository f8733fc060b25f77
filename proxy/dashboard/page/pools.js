// Pools as staircases: each worker is a step, as high as its lifetime on the way to its quota.

import { byId, el, fill, keep, say } from './dom.js';
import { openWorker } from './drawer.js';
import { state } from './state.js';
import { counted, workerName } from './words.js';

const TONES = { available: 'available', draining: 'draining', standby: 'on standby', suspect: 'suspect' };
const COLUMN_PX = 132, DENSE_PX = 76, ABOVE_PX = 7;  // figures.css
const MANY = 4;  // pools, from which on their stairs are lower
const DOTS = 10;  // slots that are drawn one by one

export function toneOf(worker) {
  return worker.suspect || worker.stale ? 'suspect' : worker.status;
}

let drawn = [];

export function drawPools() {
  const given = [state.pools, state.workers];
  if (given.every((one, i) => one === drawn[i]))
    return;
  drawn = given;
  byId('pool-cards').classList.toggle('is-dense', state.pools.length > MANY);
  keep(byId('pool-cards'), state.pools, pool => pool.id, makePool, drawPool);
  if (state.isKnown && !state.pools.length)
    fill(byId('pool-cards'), 'none', () => [el('div', { class: 'card' }, el('div', { class: 'empty' }, el('b', {}, 'No pool yet'), 'A pool appears when its first worker has started.'))]);
  else if (byId('pool-cards').filledWith) {
    byId('pool-cards').filledWith = undefined;
    byId('pool-cards').querySelector(':scope > .card:not(.pool)')?.remove();
  }
}

function makePool() {
  return el('article', { class: 'card pool' },
    el('div', { class: 'pool-head' }, el('h3'), el('span', { class: 'chip' }), el('span', { class: 'figure' })),
    el('p', { class: 'words' }),
    el('div', { class: 'stair' }, el('div', { class: 'steps' })),
    el('div', { class: 'slot-bar' }),
    el('div', { class: 'legend' }));
}

function drawPool(card, pool) {
  const find = selector => card.querySelector(selector);
  say(find('h3'), pool.browser);
  say(find('.chip'), pool.version);
  fill(find('.figure'), `${pool.active}/${pool.slots}`, () => [`${pool.active} of ${pool.slots} `, el('small', {}, 'slots taken')]);
  say(find('.words'), wordsOn(pool));
  const workers = state.workersOf(pool);
  find('.stair').hidden = !workers.length;
  find('.slot-bar').hidden = workers.length > 0;
  if (workers.length)
    drawStair(card, pool, workers);
  else
    drawSlots(find('.slot-bar'), pool);
  const tones = [...new Set(workers.map(toneOf))].filter(tone => tone !== 'available');
  fill(find('.legend'), tones.join(), () => (tones.length ? ['available', ...tones] : []).map(tone => el('span', { class: 'tone', 'data-tone': tone }, TONES[tone])));
}

function wordsOn(pool) {
  const { available = 0, draining = 0, standby = 0 } = pool.workers;
  const parts = [available && `${counted(available, 'worker')}`, draining && `${draining} draining`, standby && `${standby} on standby`].filter(Boolean);
  if (pool.waiting)
    parts.push(`${pool.waiting} waiting`);
  if (pool.kind)
    parts.push(pool.kind);
  parts.push(pool.quota ? `new browser after ${counted(pool.quota, 'session')}` : 'browsers are never recycled');
  return (available || draining || standby ? parts : ['no worker', ...parts]).join(' · ');
}

function drawStair(card, pool, workers) {
  const steps = card.querySelector('.steps');
  const top = pool.quota || Math.max(10, ...workers.map(one => one.lifetime));
  const sorted = workers.toSorted((a, b) => rank(a) - rank(b) || b.lifetime - a.lifetime || (a.id < b.id ? -1 : 1));
  keep(steps, sorted, worker => worker.id, makeStep, (step, worker) => drawStep(step, worker, top));
  const stair = card.querySelector('.stair');
  drawMark(stair, 'quota', pool.quota, pool.quota, top);
  drawMark(stair, 'margin', pool.quota && pool.margin, pool.quota - pool.margin, top);
}

/** Standby workers stand at the end, whatever they have had. */
function rank(worker) {
  return worker.status === 'standby' ? 1 : 0;
}

function drawMark(stair, kind, value, height, top) {
  let mark = stair.querySelector(`.${kind}`);
  if (!value) {
    mark?.remove();
    return;
  }
  if (!mark)
    stair.append(mark = el('div', { class: `mark ${kind}`, title: kind === 'margin' ? 'Only workers above this line are near their quota: they get a session when no other worker has a free slot.' : 'At this number of sessions a worker gets a new browser.' }, el('span')));
  say(mark.querySelector('span'), `${kind} ${value}`);
  const column = state.pools.length > MANY ? DENSE_PX : COLUMN_PX;
  mark.style.top = `${ABOVE_PX + column * (1 - height / top)}px`;
  mark.classList.toggle('is-tight', kind === 'margin' && value / top < .16);
}

function makeStep(worker) {
  return el('button', { class: 'step', type: 'button', on: { click: () => openWorker(worker.id) } },
    el('span', { class: 'column' }, el('span', { class: 'fill' }), el('span', { class: 'number' })),
    el('span', { class: 'slots' }), el('span', { class: 'label' }));
}

function drawStep(step, worker, top) {
  const { lifetime, quota, active, concurrency } = worker, name = workerName(worker.id);
  const signature = [lifetime, quota, active, concurrency, worker.status, worker.suspect, worker.stale, top].join();
  if (step.drawn === signature)
    return;
  step.drawn = signature;
  const tone = toneOf(worker);
  step.dataset.tone = tone;
  step.setAttribute('aria-label', `${name}, ${TONES[tone]}, ${counted(lifetime, 'session')}${quota ? ` of ${quota}` : ''}, ${active} of ${concurrency} slots taken`);
  step.title = `${name} on ${worker.appliance}: ${TONES[tone]}`;
  step.querySelector('.fill').style.height = `${Math.min(100, 100 * lifetime / top)}%`;
  say(step.querySelector('.number'), String(lifetime));
  say(step.querySelector('.label'), name.split('-').at(-1));
  drawSlotsOf(step.querySelector('.slots'), active, concurrency);
}

function drawSlotsOf(slots, active, concurrency) {
  slots.classList.toggle('many', concurrency > DOTS);
  if (concurrency > DOTS) {
    const bar = el('i', { class: 'taken' });
    bar.style.width = `${100 * active / concurrency}%`;
    slots.replaceChildren(bar);
    return;
  }
  slots.replaceChildren(...Array.from({ length: concurrency }, (_, i) => el('i', { class: i < active ? 'taken' : '' })));
}

/** Draw a pool's slots alone, for those who may not see its workers. */
function drawSlots(bar, { active, slots }) {
  fill(bar, `${active}/${slots}`, () => Array.from({ length: Math.min(slots, 400) }, (_, i) => el('i', { class: i < active ? 'taken' : '' })));
}
