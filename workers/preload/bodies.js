'use strict';

// Bodies that the driver has in its memory: it fetches them for a session (context.request, route.fetch), reads them of a
// browser's streams (response.body(), page.pdf()), or gives them to a browser (route.fulfill). A body that is too large is
// its session's fault alone.
//
// The driver collects what it fetches whole and unpacked, however few bytes came, and sends it to the client in base64.
// V8 ends the process over a text of 2^28 characters, which are 192 MiB of a body. So what is larger than LARGEST is
// refused while it comes.

const { AsyncLocalStorage } = require('async_hooks');
const http = require('http');
const https = require('https');
const zlib = require('zlib');

const bundle = require('./bundle');
const { Refusal, need } = require('./refusal');
const { LARGEST_MESSAGE } = require('./sizes');

const LARGEST = 190 * 2 ** 20;
const LARGEST_FULFILLED = 74 * 2 ** 20;  // base64 makes it 98.7 MiB
const LONGEST_URL = 200;  // in a sentence

const fetches = new AsyncLocalStorage();  // the request that is sent for a session: {url, refusal}
const streams = new WeakMap();  // by DevTools session: how many bytes were read of each stream

/** Bound what node receives and unpacks for requests of sessions. */
function install() {
  for (const protocol of [http, https])
    bundle.wrap(protocol, 'request', request => function(...args) {
      const fetch = fetches.getStore(), receive = args.at(-1);
      if (fetch && typeof receive === 'function')
        args.splice(-1, 1, response => fetches.run(fetch, receive, bounded(response, fetch)));
      return request.apply(this, args);
    });
  for (const name of ['createGunzip', 'createBrotliDecompress', 'createInflate']) {
    Object.defineProperty(zlib, name, { writable: true });
    bundle.wrap(zlib, name, create => function(...args) {
      return bounded(create.apply(this, args), fetches.getStore());
    });
  }
}

/** Let the requests of a context be known by what they fetch; `context` is the driver's APIRequestContext. */
function bound(context) {
  bundle.wrapInherited(context, '_sendRequest', send => async function(...args) {
    const fetch = { url: args.find(one => one instanceof URL), refusal: undefined };  // 1.60 has no log before it
    need(fetch.url, 'the sending of requests');
    try {
      return await fetches.run(fetch, () => send.apply(this, args));
    } catch (error) {
      throw fetch.refusal ?? error;
    }
  });
}

/** Bound what the driver reads of a stream of Chromium's; what a client reads by its own DevTools session, comes in parts. */
function limitStreams({ options, _session: session }) {
  if (options.name === 'chromium')
    bundle.wrapInherited(session, 'send', send => function(method, params) {
      const answer = send.call(this, method, params);
      return method === 'IO.read' && !this._eventListener ? counted(this, params.handle, answer) : answer;
    });
}

async function counted(session, handle, answer) {
  const part = await answer, read = streams.get(session) ?? new Map();
  streams.set(session, read.set(handle, (read.get(handle) ?? 0) + Buffer.byteLength(part.data, part.base64Encoded ? 'base64' : 'utf8')));
  const isTooLarge = read.get(handle) > LARGEST;
  if (part.eof || isTooLarge)
    read.delete(handle);
  if (!isTooLarge)
    return part;
  session.send('IO.close', { handle }).catch(() => {});
  throw tooLarge('The body');
}

/** Return a stream that ends with an error when it has had too much. */
function bounded(stream, fetch) {
  let size = 0;
  if (fetch)
    bundle.wrap(stream, 'push', push => function(chunk, ...others) {
      size += chunk?.length ?? 0;
      if (size <= LARGEST)
        return push.call(this, chunk, ...others);
      fetch.refusal ??= tooLarge(`The answer of ${(fetch.url.origin + fetch.url.pathname).slice(0, LONGEST_URL)}`);
      this.destroy(fetch.refusal);
      return false;
    });
  return stream;
}

function tooLarge(what) {
  return new Refusal(`${what} is larger than ${LARGEST / 2 ** 20} MiB, more than this grid passes on. Ask for it in parts, ` +
    'or let a page download it.');
}

/** Return why a route is not fulfilled, or undefined: Chromium ends over a message that is too large for it. */
function whyNotFulfilled({ params, dispatcher }) {
  const { _browser: browser, fetchRequest } = dispatcher._object._request._context;
  if (browser.options.name !== 'chromium' || sizeOf(params, fetchRequest) <= LARGEST_FULFILLED)
    return undefined;
  return `A route is fulfilled with at most ${LARGEST_FULFILLED / 2 ** 20} MiB on this grid: Chromium takes no message of ` +
    `more than ${LARGEST_MESSAGE / 2 ** 20} MiB. Use route.continue_(), or answer with less.`;
}

function sizeOf({ body, isBase64, fetchResponseUid }, fetchRequest) {
  if (body === undefined && fetchResponseUid)
    return fetchRequest.constructor.findResponseBody(fetchResponseUid)?.length ?? 0;
  return Buffer.byteLength(body ?? '', isBase64 ? 'base64' : 'utf8');
}

module.exports = { bound, install, limitStreams, whyNotFulfilled };
