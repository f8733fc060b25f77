// The grid at one glance: a sentence, four figures, the state of the connection.

import { byId, el, fill, label, say } from './dom.js';
import { state } from './state.js';
import { bytes, counted, span } from './words.js';

const BUSY = 0.8;  // of all slots
const LINKS = { connecting: 'Connecting', live: 'Live', stale: 'Reconnecting', late: 'Out of date' };

/** Return the mood, the headline and a sentence. */
export function verdict(totals, waiting, now) {
  const { slots, active, free, available, standby } = totals;
  const one = counted(waiting.length, 'session');
  if (!available && !standby)
    return ['bad', 'No worker is available', waiting.length ? `${one} ${waiting.length === 1 ? 'waits' : 'wait'} for one. \`applctl doctor\` tells what is wrong.` : '`applctl status` shows why workers do not start.'];
  if (waiting.length)
    return ['busy', free ? `${one} ${waiting.length === 1 ? 'waits' : 'wait'}` : 'Every slot is taken', `${one} ${waiting.length === 1 ? 'waits' : 'wait'}; the first for ${span(now - waiting[0].started_ms)}.`];
  if (!active)
    return ['quiet', 'All is quiet', `${counted(slots, 'slot')} on ${counted(available, 'worker')} ${slots === 1 ? 'is' : 'are'} ready for sessions.`];
  if (slots && active / slots >= BUSY)
    return ['fine', `${active} of ${counted(slots, 'slot')} in use`, free ? `Nobody waits. ${counted(free, 'slot')} ${free === 1 ? 'is' : 'are'} left.` : 'Nobody waits yet, but the next session will.'];
  return ['fine', `${active} of ${counted(slots, 'slot')} in use`, `Nobody waits. ${counted(free, 'slot')} ${free === 1 ? 'is' : 'are'} free.`];
}

export function totalsOf(pools) {
  const totals = { slots: 0, active: 0, free: 0, waiting: 0, available: 0, draining: 0, standby: 0 };
  for (const pool of pools) {
    for (const name of ['slots', 'active', 'free', 'waiting'])
      totals[name] += pool[name];
    for (const name of ['available', 'draining', 'standby'])
      totals[name] += pool.workers[name] ?? 0;
  }
  return totals;
}

function tile(id, label) {
  return el('div', { class: 'tile', id: `tile-${id}` }, el('dt', {}, label), el('dd', {}), el('div', { class: 'meter' }, el('i')), el('p', { class: 'note' }));
}

function show(id, value, unit, share, note, mood = '') {
  const shown = byId(`tile-${id}`);
  fill(shown.querySelector('dd'), `${value} ${unit}`, () => [String(value), unit && el('small', {}, unit)].filter(Boolean));
  shown.querySelector('.meter').hidden = share === null;
  shown.querySelector('i').style.width = `${Math.min(100, (share ?? 0) * 100).toFixed(1)}%`;
  label(shown.querySelector('.note'), note);
  shown.dataset.mood = mood;
}

export function drawGlance() {
  const trouble = troubleOf(), link = trouble && state.link === 'live' ? 'late' : state.link;
  say(byId('link').querySelector('b'), LINKS[link]);
  byId('link').dataset.status = link;
  byId('trouble').hidden = !trouble;
  say(byId('trouble'), trouble);
  if (!state.isKnown)
    return;
  byId('main').classList.toggle('is-stale', Boolean(trouble));
  const totals = totalsOf(state.pools), { waiting, workers } = state;
  const [mood, headline, sentence] = verdict(totals, waiting, state.now), said = byId('verdict');
  said.dataset.mood = mood;
  say(said.querySelector('h1'), headline);
  fill(said.querySelector('p'), sentence, () => sentence.split('`').map((part, i) => i % 2 ? el('code', {}, part) : part));
  drawTiles(totals, waiting, workers);
  drawEndpoint();
  say(byId('foot-version'), `Playwright Appliance ${state.grid.version ?? ''}${state.grid.name ? `, as ${state.grid.name}` : ''}`);
}

function drawTiles(totals, waiting, workers) {
  if (!byId('tile-sessions'))
    byId('tiles').append(tile('sessions', 'Sessions'), tile('waiting', 'Waiting'), tile('workers', 'Workers'), tile('memory', 'Memory'));
  const { slots, active, free, available, draining, standby } = totals, all = available + draining + standby;
  show('sessions', active, `of ${slots}`, slots ? active / slots : 0, `${counted(free, 'free slot')}`, slots && !free ? 'busy' : '');
  const longest = waiting.length ? `the first for ${span(state.now - waiting[0].started_ms)}` : 'nobody waits';
  const count = Math.max(totals.waiting, waiting.length);
  show('waiting', count, '', slots ? count / slots : 0, longest, count ? 'busy' : '');
  const others = [draining && `${draining} draining`, standby && `${standby} standby`].filter(Boolean).join(', ');
  show('workers', available, `of ${all}`, all ? available / all : 0, others || (all ? 'all available' : 'none'));
  const [size, unit] = bytes(state.grid.memory_bytes ?? 0).split(' ');
  const mean = workers.length ? `${bytes(state.grid.memory_bytes / workers.length)} a worker` : 'of all workers';
  show('memory', size, unit, null, mean);
}

function drawEndpoint() {
  const button = byId('endpoint');
  button.hidden = false;
  say(button.querySelector('code'), state.endpoint);
}

function troubleOf() {
  if (state.link === 'stale')
    return 'The proxy does not answer; it may be restarting. This page connects again by itself. What you see is old.';
  if (state.trouble)
    return `${state.trouble} ${state.isKnown ? 'What you see is old; sessions that run go on.' : ''} applctl doctor tells what is wrong.`;
  return '';
}
