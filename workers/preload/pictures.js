'use strict';

// Pictures that a session's screenshots are compared with. The driver decodes both, lays them into a frame with room for
// either, and serves nobody meanwhile.
//
// A file of some kilobytes may be a picture that takes all memory, and a page may be of any size. Measured, with pages of
// noise: 0.45 s for a megapixel, and 1.15 s by the other comparator. A driver that is busy for HANG_TIMEOUT is ended, with
// the sessions of the neighbours.

const { AsyncLocalStorage } = require('async_hooks');

const bundle = require('./bundle');
const { Refusal } = require('./refusal');

const LARGEST_MEGAPIXELS = 25;
const LARGEST_BY_COMPARATOR = { 'ssim-cie94': 8 };

const PNG = Buffer.from('89504e470d0a1a0a', 'hex');

const comparison = new AsyncLocalStorage();  // the parameters of the call that takes a screenshot to be compared
const limited = new WeakSet();  // prototypes

/** Return why pictures are not decoded, or undefined; what is no picture the driver itself refuses. */
function whyNot(comparator, ...pictures) {
  const found = pictures.filter(Boolean).flatMap(picture => [...headers(Buffer.from(picture, 'base64'))]);
  const [width, height] = ['width', 'height'].map(side => Math.max(0, ...found.map(header => header[side])));
  const largest = LARGEST_BY_COMPARATOR[comparator] ?? LARGEST_MEGAPIXELS;
  if (width * height > largest * 1e6)
    return `Pictures are compared up to ${largest} megapixels on this grid. These have ${width}x${height} pixels.`;
  if (found.some(header => header.interlaced))
    return 'This grid compares no interlaced PNG. Save the picture without interlacing.';
  return undefined;
}

/** Make a call that compares what `screenshotter` takes, unless that is too large. */
function comparing(screenshotter, params, call) {
  const prototype = Object.getPrototypeOf(screenshotter);
  if (!limited.has(prototype)) {
    for (const name of ['screenshotPage', 'screenshotElement'])
      bundle.wrap(prototype, name, take => async function(...args) {
        const picture = await take.apply(this, args), compared = comparison.getStore();
        const reason = compared && whyNot(compared.comparator, compared.expected, picture);
        if (reason)
          throw new Refusal(reason);
        return picture;
      });
    limited.add(prototype);
  }
  return comparison.run(params, call);
}

function headers(bytes) {
  if (bytes.subarray(0, PNG.length).equals(PNG))
    return pngHeaders(bytes);
  return bytes.toString('latin1', 0, 4) === 'RIFF' && bytes.length >= 30 ? [webpHeader(bytes)] : [];
}

/** Yield each header of a PNG (w3.org/TR/png-3, section 11.2.1): the decoder takes the last of several. */
function* pngHeaders(bytes) {
  for (let at = PNG.length; at + 8 <= bytes.length; at += 12 + bytes.readUInt32BE(at)) {
    if (bytes.toString('latin1', at + 4, at + 8) === 'IHDR' && at + 21 <= bytes.length) {
      // The decoder bounds what it inflates, unless the picture is interlaced.
      yield { width: bytes.readUInt32BE(at + 8), height: bytes.readUInt32BE(at + 12), interlaced: bytes[at + 20] !== 0 };
    }
  }
}

/** Return the size of a WebP (RFC 9649, sections 2.5 to 2.7). */
function webpHeader(bytes) {
  switch (bytes.toString('latin1', 12, 16)) {
    case 'VP8 ':
      return { width: bytes.readUInt16LE(26) & 0x3fff, height: bytes.readUInt16LE(28) & 0x3fff };
    case 'VP8L': {
      const bits = bytes.readUInt32LE(21);
      return { width: (bits & 0x3fff) + 1, height: (bits >>> 14 & 0x3fff) + 1 };
    }
    default:
      return { width: bytes.readUIntLE(24, 3) + 1, height: bytes.readUIntLE(27, 3) + 1 };
  }
}

module.exports = { whyNot, comparing };
