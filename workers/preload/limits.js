'use strict';

// Numbers of which a large one would take everything.
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

/** Return which number of a call is too large, or undefined. */
function whyNot(type, method, params) {
  for (const [name, largest] of Object.entries(LARGEST.get(`${type}.${method}`) ?? {})) {
    const value = name.split('.').reduce((inner, part) => inner?.[part], params);
    if (value > largest)
      return `${name} is at most ${largest} on this grid.`;
  }
  return undefined;
}

/** Whether a call has numbers to be looked at. */
function concerns(type, method) {
  return LARGEST.has(`${type}.${method}`);
}

module.exports = { concerns, whyNot };
