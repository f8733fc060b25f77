// Questions before something ends, and short words after it.

import { byId, el } from './dom.js';

const TOAST_MS = 5000;

/** Ask before something that cannot be undone; returns whether it is wanted. */
export function confirm(title, text, action) {
  const dialog = byId('confirm');
  const yes = el('button', { class: 'button danger', type: 'button', id: 'confirm-yes' }, action);
  const no = el('button', { class: 'button', type: 'button' }, 'Cancel');
  dialog.replaceChildren(el('h2', { id: 'confirm-title' }, title), el('p', {}, text), el('div', { class: 'acts' }, no, yes));
  return new Promise(resolve => {
    let answer = false;
    yes.addEventListener('click', () => {
      answer = true;
      dialog.close();
    });
    no.addEventListener('click', () => dialog.close());
    dialog.addEventListener('close', () => resolve(answer), { once: true });
    dialog.showModal();
    yes.focus();
  });
}

/** Show a message for some seconds. */
export function toast(text) {
  const shown = el('div', { class: 'toast' }, text);
  byId('toasts').append(shown);
  setTimeout(() => shown.remove(), TOAST_MS);
}

/** Copy a text, and say so; what the browser does not let us copy is shown. */
export async function copy(text, done) {
  try {
    await navigator.clipboard.writeText(text);  // there is none at an http: address beyond loopback
    toast(done);
  } catch {
    toast(text);
  }
}

/** Close dialogs by a click beside them. */
export function closeByClicksBeside() {
  for (const dialog of document.querySelectorAll('dialog'))
    dialog.addEventListener('click', event => {
      if (event.target === dialog && dialog.id !== 'log-in' && isBeside(dialog, event))
        dialog.close();
    });
}

function isBeside(dialog, { clientX, clientY }) {
  const { left, right, top, bottom } = dialog.getBoundingClientRect();
  return clientX < left || clientX > right || clientY < top || clientY > bottom;
}
