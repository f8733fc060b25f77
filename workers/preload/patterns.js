'use strict';

// Patterns of clients, which the driver compares with URLs and cookies: of routes, of HARs, of cookies to be cleared.
//
// V8 has a second engine for regular expressions, whose time is linear. It takes over from one that backtracks too often,
// as `(a+)+$` would for hours. It knows no look-around, no back references and no flags i and u, and it is slow where
// repetitions are repeated (measured: 141 s for `(a{1,1000}){1,1000}b`, and 2 s for a glob of 500 times `**/`).
//
// So the patterns of routes have LONGEST_MS for each URL. If they take longer, all URLs count as matching from then on:
// clients look at what they are asked about, and let pass what they did not want. HARs then record all URLs. Patterns of
// cookies have LONGEST_CLEARING_MS for a call, which fails if they take longer.

const v8 = require('v8');
const vm = require('vm');

const bundle = require('./bundle');
const { Refusal, need } = require('./refusal');

const LONGEST_MS = 100;
const LONGEST_CLEARING_MS = 1000;

let place, script;  // of the work that is bounded; made when they are first used, for they take a part of a start

/** Let the second engine take over, in what is compiled from now on. On node's command line it costs 45 ms of a start. */
function endBacktracking() {
  v8.setFlagsFromString('--enable-experimental-regexp-engine-on-excessive-backtracks');
}

/** Bound the time of the patterns that a dispatcher is about to have. */
function bound(dispatcher, iso) {
  need(iso.urlMatches && iso.deserializeURLMatch, 'the matching of URLs');
  if (['BrowserContext', 'Page'].includes(dispatcher._type))
    boundRoutes(dispatcher, iso);
  if (dispatcher._type === 'BrowserContext')
    boundContext(dispatcher._object, iso);
}

function boundContext(context, iso) {
  bundle.wrapInherited(context, 'clearCookies', clear => function(filters) {
    return clear.call(this, boundClearing(filters));
  });
  // Up to 1.59, contexts record HARs themselves.
  bundle.wrapInherited('harStart' in context ? context : context.tracing, 'harStart', start => function(...args) {
    const id = start.apply(this, args);
    boundHar((this.harRecorders ?? this._harRecorders).get(id)._tracer, iso);
    return id;
  });
}

function boundHar(tracer, { urlMatches }) {
  const { urlFilter } = tracer._options;
  if (urlFilter)
    tracer._options.urlFilter = new Matcher(url => urlMatches(tracer._baseURL, url, urlFilter));
}

function boundClearing(filters) {
  let left = LONGEST_CLEARING_MS;
  const test = RegExp.prototype.test;
  for (const pattern of Object.values(filters).filter(filter => filter instanceof RegExp))
    pattern.test = text => {
      const began = performance.now();
      try {
        return within(Math.max(1, Math.ceil(left)), () => test.call(pattern, text));
      } catch {
        throw new Refusal('It takes too long to compare these patterns with the cookies. Name the cookies to be cleared.');
      } finally {
        left -= performance.now() - began;
      }
    };
  return filters;
}

function boundRoutes(dispatcher, { urlMatches, deserializeURLMatch }) {
  const { _object: object } = dispatcher;
  const matches = (url, pattern, ofWebSocket) =>
    urlMatches((object.browserContext ?? object)._options.baseURL, url, pattern, ofWebSocket);
  replaceWhenSet(dispatcher, '_interceptionUrlMatchers', patterns =>
    new Matcher(url => patterns.some(pattern => matches(url, pattern))));
  replaceWhenSet(dispatcher, '_webSocketInterceptionPatterns', patterns =>
    ({ glob: new Matcher(url => patterns.some(pattern => matches(url, deserializeURLMatch(pattern), true))) }));
}

/** Replace the patterns that are set as a property by one for all of them. */
function replaceWhenSet(dispatcher, name, together) {
  let kept = [];
  Object.defineProperty(dispatcher, name, {
    get: () => kept,
    set: patterns => { kept = patterns.length ? [together(patterns)] : []; },
  });
}

/** What the driver takes for a regular expression. A pattern that is none counts as one that takes too long. */
class Matcher {
  constructor(matches) {
    let isTooSlow = false;
    this[Symbol.toStringTag] = 'RegExp';
    this.test = url => {
      try {
        return isTooSlow || within(LONGEST_MS, () => matches(url));
      } catch {
        isTooSlow = true;
        return true;
      }
    };
  }
}

/** Return what some work returns; raises an error if it takes longer. */
function within(timeout, work) {
  place ??= vm.createContext();
  script ??= new vm.Script('work()');
  place.work = work;
  return script.runInContext(place, { timeout });
}

module.exports = { bound, endBacktracking };
