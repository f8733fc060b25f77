// The page: what draws which part, and when.

import { drawAsides } from './asides.js';
import { drawCharts } from './charts.js';
import { closeByClicksBeside, toast } from './dialogs.js';
import { byId } from './dom.js';
import { follow } from './feed.js';
import { drawGlance } from './glance.js';
import { prepareHistory } from './history.js';
import { askForToken, logOut } from './login.js';
import { drawPools } from './pools.js';
import { drawSessions } from './sessions.js';
import { state } from './state.js';

const TICK_MS = 1000;  // ages and waits grow

let isDue = false;

/** Draw everything at the next frame. */
function changed() {
  if (isDue)
    return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    drawGlance();
    if (!state.isKnown)
      return;
    drawPools();
    drawSessions();
    drawAsides();
    drawCharts();
    byId('log-out').hidden = !state.me.has_cookie;
  });
}

function press(event) {
  const isTyping = /^(INPUT|TEXTAREA)$/.test(event.target.tagName);
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]'))
    return;
  if (isTyping) {
    if (event.key === 'Escape')
      event.target.blur();
    return;
  }
  const does = { '/': () => byId('sessions-filter').focus(), h: () => byId('history-search').focus(), t: () => window.changeTheme() }[event.key];
  if (does) {
    event.preventDefault();
    does();
  }
}

function drawTheme() {
  const isDark = document.documentElement.dataset.theme === 'dark';
  byId('theme').querySelector('use').setAttribute('href', isDark ? '#icon-sun' : '#icon-moon');
  changed();
}

async function copyEndpoint() {
  await navigator.clipboard?.writeText(state.endpoint).then(() => toast('The endpoint is copied.'), () => toast(state.endpoint));
}

byId('theme').addEventListener('click', window.changeTheme);
byId('log-out').addEventListener('click', logOut);
byId('endpoint').addEventListener('click', copyEndpoint);
byId('sessions-filter').addEventListener('input', changed);
document.addEventListener('theme', drawTheme);
document.addEventListener('keydown', press);
addEventListener('resize', changed);
drawTheme();
closeByClicksBeside();
prepareHistory();
setInterval(() => document.hidden || changed(), TICK_MS);
const open = follow(changed, () => askForToken(() => open()));
