// Beside the sessions: appliances, and what has happened.

import { drainAppliance } from './actions.js';
import { byId, el, keep, say } from './dom.js';
import { state } from './state.js';
import { clock, counted, workerName } from './words.js';

const BAD = /crash|lost|unreadable|over_admitted|failed/;
const SHOWN = 60;

let drawn = [];

export function drawAsides() {
  const { appliances, events, isAdmin } = state, given = [appliances, events, isAdmin];
  if (given.every((one, i) => one === drawn[i]))
    return;
  drawn = given;
  byId('appliances-card').hidden = !isAdmin || appliances.length < 1;
  byId('events-card').hidden = !isAdmin;
  keep(byId('appliance-rows'), appliances, one => one.id, makeAppliance, drawAppliance);
  byId('events-empty').hidden = events.length > 0;
  keep(byId('event-rows'), events.slice(-SHOWN).reverse(), one => one.id, makeEvent, () => {});
}

function makeAppliance({ id }) {
  const button = el('button', { class: 'button', type: 'button', on: { click: () => drainAppliance(state.appliances.find(one => one.id === id)) } });
  return el('div', {}, el('span', { class: 'name' }), el('span', { class: 'chip' }), button);
}

function drawAppliance(row, one) {
  const signature = JSON.stringify(one);
  if (row.drawn === signature)
    return;
  row.drawn = signature;
  const [name, chip, button] = row.children;
  name.title = [one.id, one.drain_reason].filter(Boolean).join(': ');
  name.replaceChildren(one.id, el('small', {}, one.drain_reason || `${counted(one.on_workers, 'session')} on its workers`));
  chip.className = `chip ${one.status}`;
  say(chip, one.status);
  say(button, one.status === 'serving' ? 'Drain' : 'Undrain');
  button.hidden = one.status === 'stopping';
}

function makeEvent(event) {
  const { id, event: what, reason = '', ...fields } = event;
  const tone = BAD.test(what) || /crash|is lost/.test(reason) ? 'bad' : /draining|drained/.test(what) ? 'warn' : '';
  return el('li', { class: tone }, el('time', {}, clock(parseInt(id))), el('p', {}, sentence(what, fields, reason)));
}

/** Return an event as a sentence: "chromium-02 drains: an operator drains it". */
function sentence(what, { session = '', worker = '', appliance = '', lifetime }, reason) {
  const name = session.slice(0, 8), on = worker ? workerName(worker) : '';
  const said = {
    'session.started': `Session ${name} started on ${on}`,
    'session.ended': `Session ${name} ended`,
    'session.kept': `Session ${name} waits for its next client`,
    'session.resumed': `Session ${name} has a client again`,
    'session.given_back': `Session ${name} could not reach ${on}`,
    'worker.started': `${on} started`,
    'worker.promoted': `${on} takes sessions`,
    'worker.draining': `${on} drains`,
    'worker.ended': `${on} ended after ${counted(Number(lifetime), 'session')}`,
    'worker.launching': `A browser is launched on ${appliance}`,
    'worker.over_admitted': `${on} has one session too many`,
    'appliance.drained': `${appliance} is drained`,
    'appliance.undrained': `${appliance} serves again`,
  }[what] ?? [what.replace('.', ' '), on || appliance || name].join(' ');
  return reason ? `${said}: ${reason}` : said;
}
