// The WebSocket that tells what the grid looks like. When it is lost, it is opened again, sooner or later.

import { state } from './state.js';

const FIRST_PAUSE_MS = 500, LONGEST_PAUSE_MS = 8000;
const SILENCE_MS = 8000;  // the proxy says something every second or three
const UNAUTHORIZED = 4401;

/** Follow the feed. `changed` is called whenever something has changed, `refused` if a token is needed. */
export function follow(changed, refused) {
  let pause = FIRST_PAUSE_MS, socket, silence, again;

  const set = link => {
    state.link = link;
    changed();
  };

  function open() {
    clearTimeout(again);
    const opened = socket = new WebSocket(`${state.endpoint}/dashboard/live`);
    expect();
    socket.addEventListener('message', ({ data }) => {
      if (opened !== socket)
        return;
      expect();
      pause = FIRST_PAUSE_MS;
      state.take(JSON.parse(data));
      set('live');
    });
    socket.addEventListener('close', ({ code }) => opened === socket && lost(code));
  }

  /** Treat the feed as lost if nothing comes in time: a machine that is gone closes nothing. */
  function expect() {
    clearTimeout(silence);
    silence = setTimeout(lost, SILENCE_MS);
  }

  function lost(code) {
    clearTimeout(silence);
    const left = socket;
    socket = undefined;
    left.close();
    set(state.isKnown ? 'stale' : 'connecting');
    if (code === UNAUTHORIZED)
      return refused();
    again = setTimeout(open, pause);
    pause = Math.min(LONGEST_PAUSE_MS, pause * 1.7);
  }

  const openAtOnce = () => socket || document.hidden || open();
  document.addEventListener('visibilitychange', openAtOnce);
  addEventListener('online', openAtOnce);
  open();
  return open;
}
