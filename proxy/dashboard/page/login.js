// The log-in: a token is exchanged for a cookie that scripts cannot read.

import { byId, el } from './dom.js';

/** Ask for a token until one is taken; then call `admitted`. */
export function askForToken(admitted) {
  const dialog = byId('log-in');
  if (dialog.open)
    return;
  const input = el('input', { type: 'password', name: 'token', autocomplete: 'current-password', placeholder: 'Token', 'aria-label': 'Token', required: true });
  const error = el('p', { class: 'error', role: 'alert', hidden: true });
  const form = el('form', {}, el('h2', { id: 'log-in-title' }, 'This grid asks for a token'),
    el('p', {}, 'The same that clients connect with. `applctl token create NAME --admin` makes one that sees the whole grid; any other sees its own sessions.'.replaceAll('`', '')),
    input, error, el('div', { class: 'acts' }, el('button', { class: 'button main', type: 'submit' }, 'Log in')));
  form.addEventListener('submit', async event => {
    event.preventDefault();
    const refusal = await logIn(input.value.trim());
    error.hidden = !refusal;
    error.textContent = refusal;
    if (!refusal) {
      dialog.close();
      admitted();
    }
  });
  dialog.replaceChildren(form);
  dialog.addEventListener('cancel', event => event.preventDefault());
  dialog.showModal();
}

/** Return why a token is refused, "" if it is taken. */
async function logIn(token) {
  try {
    const answer = await fetch('/dashboard/log-in', { method: 'POST', headers: { Authorization: `Bearer ${token}` } });
    return answer.ok ? '' : (await answer.json()).error.message;
  } catch {
    return 'The proxy does not answer. Is it restarting?';
  }
}

export async function logOut() {
  await fetch('/dashboard/log-out', { method: 'POST' }).catch(() => {});
  location.reload();
}
