'use strict';

// Numbers, selectors and lists: a large one would take everything.
//
// The driver clicks as often as it is told without a pause, and keeps a promise for each click; it makes a picture of
// the size of a film; ffmpeg writes each of a film's pictures. One call would take all memory, or a core for hours, and
// with it the sessions of the neighbours (measured: one call with clickCount 2^31 ended the driver at 4 GiB).

const CLICKS = { clickCount: 1000, steps: 100000 };

const LARGEST = new Map(Object.entries({
  'Browser.newContext': { 'recordVideo.size.width': 8192, 'recordVideo.size.height': 8192, 'recordVideo.fps': 240 },
  'ElementHandle.click': CLICKS,
  'ElementHandle.dblclick': CLICKS,
  'Frame.click': CLICKS,
  'Frame.dblclick': CLICKS,
  'Frame.dragAndDrop': CLICKS,
  'Page.mouseClick': CLICKS,
  'Page.mouseDown': CLICKS,
  'Page.mouseMove': CLICKS,
  'Page.mouseUp': CLICKS,
  'Page.screencastStart': { 'size.width': 8192, 'size.height': 8192, fps: 240 },
}));

// The driver takes a selector apart in a time that grows with the square of its parts (measured: 24 s for 300,000 of them).
const LONGEST_SELECTOR = 50000;
const SELECTORS = ['selector', 'source', 'target', 'locator.selector'];  // where the parameters of calls have them
const HAS_SOURCE = new Set(['addInitScript', 'registerSelectorEngine']);  // whose source is a script

// So it does with headers, as it seeks each among all, and with what a page's aria snapshot is compared with.
const MOST_HEADERS = 1000;
const LONGEST_SNAPSHOT = 50000;

/** Return which text or list of any call is too long, or undefined. */
function whyTooLong(method, params) {
  if ([params.headers, params.extraHTTPHeaders].some(headers => headers?.length > MOST_HEADERS))
    return `A call has at most ${MOST_HEADERS} headers on this grid.`;
  if (params.expression === 'to.match.aria' && params.expectedValue?.value?.s?.length > LONGEST_SNAPSHOT)
    return `An aria snapshot to be compared has at most ${LONGEST_SNAPSHOT} characters on this grid. Compare parts of the page.`;
  return whyNotSelectors(method, params);
}

/** Return why the selectors of a call are not taken apart, or undefined. */
function whyNotSelectors(method, params) {
  const found = SELECTORS.filter(name => name !== 'source' || !HAS_SOURCE.has(method)).map(name => inside(params, name));
  const masks = Array.isArray(params.mask) ? params.mask.map(mask => mask?.selector) : [];
  if ([...found, ...masks].some(selector => typeof selector === 'string' && selector.length > LONGEST_SELECTOR))
    return `A selector has at most ${LONGEST_SELECTOR} characters on this grid.`;
  return undefined;
}

function inside(params, name) {
  return name.split('.').reduce((inner, part) => inner?.[part], params);
}

/** Return which number of a call is too large, or undefined. */
function whyNot(type, method, params) {
  for (const [name, largest] of Object.entries(LARGEST.get(`${type}.${method}`) ?? {})) {
    if (inside(params, name) > largest)
      return `${name} is at most ${largest} on this grid.`;
  }
  return undefined;
}

/** Whether a call has numbers to be looked at. */
function concerns(type, method) {
  return LARGEST.has(`${type}.${method}`);
}

module.exports = { concerns, whyNot, whyTooLong };
