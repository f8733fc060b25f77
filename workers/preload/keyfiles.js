'use strict';

// The files of client certificates, which a passphrase opens. How long that takes is said in the file: in one of two
// kilobytes, it may be an hour (measured: 1.2 s of a core for a million rounds), in which the driver serves nobody.
//
// So a process of its own opens them first. It ends after LONGEST_S of a core.

const { execFile } = require('child_process');

const { Refusal } = require('./refusal');

const LONGEST_S = 2;

const TOO_SLOW = `Opening these client certificates takes longer than ${LONGEST_S} seconds, more than this grid allows. ` +
  'Save them with fewer rounds of their passphrase (openssl pkcs12 -iter).';

const OPEN_ALL = `
  const bytes = text => Buffer.from(String(text), 'base64');
  for (const { cert, key, pfx, passphrase } of JSON.parse(require('fs').readFileSync(0, 'utf8'))) {
    const options = pfx ? { pfx: bytes(pfx) } : { cert: cert && bytes(cert), key: key && bytes(key) };
    try { require('tls').createSecureContext({ ...options, passphrase }); } catch {}  // the driver says what is wrong
  }`;

/** Return a promise if a new context has certificates; it is rejected if they take too long to be opened. */
function opened(method, { clientCertificates }) {
  if (method !== 'newContext' || !Array.isArray(clientCertificates) || !clientCertificates.length)
    return undefined;
  return new Promise((resolve, reject) => {
    const limited = ['-c', `ulimit -t ${LONGEST_S} && exec "$@"`, 'sh', process.execPath, '-e', OPEN_ALL];
    const child = execFile('/bin/sh', limited, error =>
      error ? reject(new Refusal(error.signal ? TOO_SLOW : 'The client certificates could not be opened.')) : resolve());
    child.stdin.on('error', () => {});  // it has ended before it had read them
    child.stdin.end(JSON.stringify(clientCertificates));
  });
}

module.exports = { opened };
