// What ends or drains something, asked for once more before it is done.

import { call, part } from './api.js';
import { confirm, toast } from './dialogs.js';
import { counted, nameOf, workerName } from './words.js';

async function attempt(what, path, method) {
  try {
    await call(path, { method });
    toast(what);
  } catch (error) {
    toast(error.message);
  }
}

export async function endSession(session) {
  const name = nameOf(session);
  const isWanted = await confirm(`End session ${name}?`, 'Its client reads that an operator has ended it. What it has not saved is lost.', 'End session');
  if (isWanted)
    await attempt(`Session ${name} is being ended.`, `/sessions/${part(session.id)}`, 'DELETE');
}

export async function drainWorker(worker) {
  const name = workerName(worker.id);
  const text = `It gets no new sessions. ${worker.active ? `Its ${counted(worker.active, 'session')} may finish; then it` : 'It'} starts again with a new browser.`;
  if (await confirm(`Drain worker ${name}?`, text, 'Drain'))
    await attempt(`Worker ${name} drains.`, `/workers/${part(worker.id)}/drain`, 'POST');
}

export async function drainAppliance({ id, status }) {
  if (status !== 'serving')
    return attempt(`Appliance ${id} serves again.`, `/appliances/${part(id)}/undrain`, 'POST');
  const text = 'It gets no new sessions until it is undrained or restarted. The sessions that run there may finish.';
  if (await confirm(`Drain appliance ${id}?`, text, 'Drain'))
    await attempt(`Appliance ${id} drains.`, `/appliances/${part(id)}/drain`, 'POST');
}
