'use strict';

// Pictures that a session sends to be compared, which the driver decodes: 4 bytes for each pixel, several times over.
//
// A file of some kilobytes may be a picture that takes all memory (measured: 9000x9000 pixels took 1.1 GiB).

const LARGEST_MEGAPIXELS = 64;
const LONGEST_SIDE = 32768;  // the driver compares pictures of two sizes in a frame with room for both

const PNG = Buffer.from('89504e470d0a1a0a', 'hex');

/** Return why a picture, in base64, is not decoded, or undefined; what is no picture the driver itself refuses. */
function whyNot(picture) {
  if (typeof picture !== 'string')
    return undefined;
  const bytes = Buffer.from(picture, 'base64');
  for (const { width, height, interlaced } of headers(bytes)) {
    if (width * height > LARGEST_MEGAPIXELS * 1e6 || Math.max(width, height) > LONGEST_SIDE)
      return `A picture to compare has at most ${LARGEST_MEGAPIXELS} megapixels, and ${LONGEST_SIDE} pixels in a row or ` +
        `column, on this grid. This one has ${width}x${height} pixels.`;
    if (interlaced)
      return 'This grid compares no interlaced PNG. Save the picture without interlacing.';
  }
  return undefined;
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

module.exports = { whyNot };
