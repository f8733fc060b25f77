'use strict';

// Which addresses a session may make the browser open.
//
// Checked at the one place that all of the driver's messages to the browser pass, so that it does not matter how an
// address gets there: page.goto, a base URL, a redirect by a route, or a raw DevTools command. What a page opens by
// itself, the browser checks: pages of the web may not open file: or chrome: addresses.
//
// A browser's own pages are refused even to a session that has the browser for itself: the page devtools: of a full
// Chromium reads every file of its account (InspectorFrontendHost.loadNetworkResource), and chrome: ones write files.

const { Refusal } = require('./refusal');

const WEB = new Set(['http', 'https', 'ws', 'wss', 'data', 'blob', 'javascript']);
const BLANK = new Set(['blank', 'srcdoc']);

const OPENED = 'Addresses of the web, data: and about:blank can be opened here.';

// Messages that make a browser load an address, and the parameter that holds it: Chromium's DevTools protocol,
// Playwright's own for Firefox and WebKit, and WebDriver BiDi.
const LOADS = new Map([
  ['Page.navigate', 'url'],
  ['Playwright.navigate', 'url'],
  ['browsingContext.navigate', 'url'],
  ['Target.createTarget', 'url'],
  ['Fetch.continueRequest', 'url'],
  ['Network.loadNetworkResource', 'url'],
  ['network.continueRequest', 'url'],
  ['Network.resumeInterceptedRequest', 'url'],
  ['Network.interceptWithRequest', 'url'],
]);

/** Return the scheme of an address and what follows it, as browsers read them (url.spec.whatwg.org). */
function split(address) {
  // They drop control characters and blanks at the ends, and tabs and line ends everywhere.
  const clean = address.replace(/^[\u0000-\u0020]+|[\u0000-\u0020]+$/g, '').replace(/[\t\r\n]/g, '');
  const colon = clean.indexOf(':');
  const scheme = colon > 0 ? clean.slice(0, colon).toLowerCase() : '';
  return /^[a-z][a-z0-9+.-]*$/.test(scheme) ? { scheme, rest: clean.slice(colon + 1) } : { scheme: '', rest: clean };
}

/** Return why an address may not be opened, or undefined. */
function whyNot(address, { allowFiles } = {}) {
  if (typeof address !== 'string')
    return 'An address must be a string.';
  const { scheme, rest } = split(address);
  if (!scheme || WEB.has(scheme))
    return undefined;  // without a scheme the browser itself refuses it
  if (scheme === 'view-source')
    return split(rest).scheme ? whyNot(rest, { allowFiles }) : undefined;
  if (scheme === 'about' && BLANK.has(rest.split(/[?#]/)[0]))
    return undefined;
  if (scheme === 'file')
    return allowFiles ? undefined : 'This grid does not open file: addresses, which are files of its own machine. ' +
      'Serve the files by HTTP, or set ALLOW_FILE_URLS=true on the grid.';
  return `This grid opens no ${scheme}: addresses. ${OPENED}`;
}

/** Raise a Refusal if a message to the browser would make it open what it may not. */
function check(message, rights) {
  const parameter = LOADS.get(message.method);
  const address = parameter && message.params && message.params[parameter];
  const reason = address === undefined || address === null ? undefined : whyNot(address, rights);
  if (reason)
    throw new Refusal(reason);
}

module.exports = { check, whyNot };
