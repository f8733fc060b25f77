// The page: what draws which part, and when.

import { drawAsides } from './asides.js';
import { drawCharts } from './charts.js';
import { closeByClicksBeside, copy } from './dialogs.js';
import { byId } from './dom.js';
import { followLink } from './drawer.js';
import { follow } from './feed.js';
import { drawGlance } from './glance.js';
import { prepareHistory } from './history.js';
import { linkedSession } from './links.js';
import { askForToken, logOut } from './login.js';
import { drawPools } from './pools.js';
import { drawSessions } from './sessions.js';
import { state } from './state.js';

const TICK_MS = 1000;  // ages and waits grow

let isDue = false, drawnAt = 0, isLinkFollowed = false;

/** Draw everything at the next frame. */
function changed() {
  if (isDue)
    return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    drawnAt = performance.now();
    drawGlance();
    if (!state.isKnown)
      return;
    drawPools();
    drawSessions();
    drawAsides();
    drawCharts();
    byId('log-out').hidden = !state.me.has_cookie;
    if (!isLinkFollowed && linkedSession())
      followLink();
    isLinkFollowed = true;
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

byId('theme').addEventListener('click', window.changeTheme);
byId('log-out').addEventListener('click', logOut);
byId('endpoint').addEventListener('click', () => copy(state.endpoint, 'The endpoint is copied.'));
byId('sessions-filter').addEventListener('input', changed);
document.addEventListener('theme', drawTheme);
document.addEventListener('keydown', press);
addEventListener('resize', changed);
addEventListener('hashchange', followLink);
drawTheme();
closeByClicksBeside();
prepareHistory();
setInterval(() => document.hidden || performance.now() - drawnAt < TICK_MS / 2 || changed(), TICK_MS);  // unless the feed has just told
const open = follow(changed, () => askForToken(() => open()));
