'use strict';

// What a session may ask of the driver, method by method.
//
// The driver is made for a client that has it, its browser and its machine for itself. Here it serves sessions that
// share all three, so each method of its protocol was looked at, and is named below as allowed, refused, or allowed
// after a look at its parameters. A method that is not named is refused: a later driver may do anything with it.

const path = require('path');

const bodies = require('./bodies');
const cdp = require('./cdp');
const parameters = require('./parameters');
const pictures = require('./pictures');
const { needsOwnBrowser } = require('./refusal');
const traces = require('./traces');

const ALLOWED = {
  APIRequestContext: `
    addCookies clearCookies cookies dispose disposeAPIResponse fetch fetchLog fetchResponseBody storageState
  `,
  Artifact: 'cancel delete failure saveAsStream stream',
  BindingCall: 'reject resolve',
  Browser: 'close defaultUserAgentForTest newContext',
  BrowserContext: `
    addCookies addInitScript clearCookies clearPermissions clockFastForward clockInstall clockPauseAt clockResume
    clockRunFor clockSetFixedTime clockSetSystemTime close cookies createTempFiles credentialsCreate
    credentialsDelete credentialsGet credentialsInstall disableRecorder exposeBinding exposeConsoleApi
    grantPermissions harExport harStart newCDPSession newPage pause registerSelectorEngine setExtraHTTPHeaders
    setGeolocation setHTTPCredentials setNetworkInterceptionPatterns setOffline setStorageState
    setTestIdAttributeName setWebSocketInterceptionPatterns startRecording stopRecording storageState
    updateSubscription waitForEventInfo
  `,
  CDPSession: 'detach send',
  Debugger: 'enable next requestPause resume runTo waitForEventInfo',
  Dialog: 'accept dismiss',
  Disposable: 'dispose',
  ElementHandle: `
    boundingBox check click contentFrame dblclick dispatchEvent dispose evalOnSelector evalOnSelectorAll
    evaluateExpression evaluateExpressionHandle fill focus getAttribute getProperty getPropertyList hover innerHTML
    innerText inputValue isChecked isDisabled isEditable isEnabled isHidden isVisible jsonValue ownerFrame press
    querySelector querySelectorAll screenshot scrollIntoViewIfNeeded selectOption selectText setInputFiles tap
    textContent type uncheck waitForElementState waitForSelector
  `,
  Frame: `
    addScriptTag addStyleTag ariaSnapshot ariaSnapshotJSON blur check click content dblclick dispatchEvent
    dragAndDrop drop evalOnSelector evalOnSelectorAll evaluateExpression evaluateExpressionHandle expect fill focus
    frameElement getAttribute goto hideHighlight highlight hover innerHTML innerText inputValue isChecked isDisabled
    isEditable isEnabled isHidden isVisible press queryCount querySelector querySelectorAll resolveSelector
    selectOption setContent setInputFiles tap textContent title type uncheck waitForFunction waitForSelector
    waitForTimeout webmcpCallTool webmcpTools
  `,
  JSHandle: 'dispose evaluateExpression evaluateExpressionHandle getProperty getPropertyList jsonValue',
  Page: `
    addInitScript bringToFront cancelPickLocator clearConsoleMessages clearPageErrors close consoleMessages
    emulateMedia expectScreenshot exposeBinding goBack goForward hideHighlight keyboardDown keyboardInsertText
    keyboardPress keyboardType keyboardUp mouseClick mouseDown mouseMove mouseUp mouseWheel pageErrors pdf
    pickLocator registerLocatorHandler reload requestGC requests resolveLocatorHandlerNoReply runBeforeUnload
    screencastChapter screencastFrameAck screencastHideActions screencastRemoveOverlay screencastSetOverlayVisible
    screencastShowActions screencastShowOverlay screencastStart screencastStop screenshot setExtraHTTPHeaders
    setNetworkInterceptionPatterns setViewportSize setWebSocketInterceptionPatterns snapshotForAI startCSSCoverage
    startJSCoverage stopCSSCoverage stopJSCoverage touchscreenTap unregisterLocatorHandler updateSubscription
    webStorageClear webStorageGetItem webStorageItems webStorageRemoveItem webStorageSetItem waitForEventInfo
  `,
  Request: 'rawRequestHeaders response',
  Response: 'body httpVersion rawResponseHeaders securityDetails serverAddr sizes',
  Root: 'initialize',
  Route: 'abort continue fulfill redirectNavigationRequest',
  SocksSupport: 'socksConnected socksData socksEnd socksError socksFailed',
  Stream: 'close read',
  Tracing: 'harExport harStart tracingGroup tracingGroupEnd tracingStart tracingStartChunk tracingStop tracingStopChunk',
  WebSocket: 'waitForEventInfo',
  WebSocketRoute: 'closePage closeServer connect ensureOpened sendToPage sendToServer',
  Worker: 'disconnect evaluateExpression evaluateExpressionHandle updateSubscription waitForEventInfo',
  WritableStream: 'close write',
};

const ON_THE_GRID = 'would be done on the grid\'s machine';
const NO_FURTHER_WAY = 'This grid does not allow browser.bind(), which is a further way into a browser. Connect every ' +
  'client to the grid\'s own endpoint.';
const NO_LAUNCH = 'This grid launches its browsers itself. Connect to it, and use browser.new_context().';

const REFUSED = {
  'Android.devices': 'This grid has no Android devices.',
  'Artifact.pathAfterFinished': 'The file lies on the grid. Use save_as(), which brings it to you.',
  'Artifact.saveAs': `Saving to that path ${ON_THE_GRID}. Use a client's save_as(), which brings the file to you.`,
  'Browser.disconnectFromReusedContext': needsOwnBrowser('reused contexts', 'Use browser.new_context().'),
  'Browser.killForTests': needsOwnBrowser('calls that end it', 'Use browser.close(), which ends your session.'),
  'Browser.newBrowserCDPSession':
    needsOwnBrowser('browser-wide DevTools sessions', 'Use context.new_cdp_session(page) for page-level commands.'),
  'Browser.newContextForReuse': needsOwnBrowser('reused contexts', 'Use browser.new_context().'),
  'Browser.startServer': NO_FURTHER_WAY,
  'Browser.startTracing':
    needsOwnBrowser('performance traces of the whole browser', 'Use context.tracing, or the Profiler of a page.'),
  'Browser.stopServer': NO_FURTHER_WAY,
  'Browser.stopTracing':
    needsOwnBrowser('performance traces of the whole browser', 'Use context.tracing, or the Profiler of a page.'),
  'BrowserContext.enableRecorder': `The recorder opens a window, which ${ON_THE_GRID}. Record with a local browser.`,
  'BrowserContext.showRecorder': `The recorder opens a window, which ${ON_THE_GRID}. Record with a local browser.`,
  'BrowserType.connectOverCDP': NO_LAUNCH,
  'BrowserType.connectOverCDPTransport': NO_LAUNCH,
  'BrowserType.connectToWorker': NO_LAUNCH,
  'BrowserType.launch': NO_LAUNCH,
  'BrowserType.launchPersistentContext': NO_LAUNCH,
  'Electron.launch': 'This grid has no Electron applications.',
  'Page.agent': `This would ask a language model and write files, which ${ON_THE_GRID}. Use /mcp with an agent of yours.`,
  'Page.setDockTile': needsOwnBrowser('changes to its icon'),
  'Playwright.newRequest': 'This grid makes no requests without a browser context. Use context.request.',
};

// What is refused above only because others share the browser.
const OWN = new Set([
  'Browser.disconnectFromReusedContext', 'Browser.killForTests', 'Browser.newBrowserCDPSession',
  'Browser.startTracing', 'Browser.stopTracing', 'Page.setDockTile',
]);

const FILES_OF_THE_GRID = 'These files would be read from the grid\'s machine. Pass local files to set_input_files() ' +
  'of a client that is connected, which uploads them.';

// Each returns a sentence or undefined. `call` is {params, dispatcher, rights}.
const CHECKED = {
  'Browser.newContext': ({ params }) => params.acceptDownloads === 'internal-browser-default' ?
    `Downloads in the browser's own way ${ON_THE_GRID}. Leave acceptDownloads as it is.` : undefined,
  'BrowserContext.createTempFiles': ({ params }) => staysInside(params.rootDirName) ? undefined :
    'A folder to be uploaded needs a name.',
  'CDPSession.send': ({ params, rights }) => cdp.whyNot(params.method, params.params ??= {}, rights),
  'ElementHandle.setInputFiles': noFilesOfTheGrid,
  'Frame.drop': noFilesOfTheGrid,
  'Frame.setInputFiles': noFilesOfTheGrid,
  'Page.expectScreenshot': ({ params }) => pictures.whyNot(params.comparator, params.expected),
  'Route.fulfill': bodies.whyNotFulfilled,
  'Tracing.tracingStart': traces.nameSafely,
  'Tracing.tracingStartChunk': traces.nameSafely,
  'WritableStream.write': ({ dispatcher }) => dispatcher._object?.streamOrDirectory?.errored?.message,
};

function noFilesOfTheGrid({ params }) {
  return params.localPaths || params.localDirectory ? FILES_OF_THE_GRID : undefined;
}

/** Whether a folder of this name lies in the folder that it is put into. */
function staysInside(name) {
  return !name || !['', '.', '..'].includes(path.basename(String(name)));
}

const RULES = new Map();  // by type, by method: true, a sentence, or a check

function rule(type, method, value) {
  if (!RULES.has(type))
    RULES.set(type, new Map());
  RULES.get(type).set(method, value);
}

for (const [type, methods] of Object.entries(ALLOWED))
  methods.split(/\s+/).filter(Boolean).forEach(method => rule(type, method, true));
for (const [name, value] of Object.entries({ ...REFUSED, ...CHECKED }))
  rule(...name.split('.'), value);
for (const [type, methods] of RULES)
  for (const [method, value] of methods)
    if (parameters.concerns(type, method))
      rule(type, method, call => parameters.whyNot(type, method, call.params) ?? (value === true ? undefined : value(call)));

/**
 * Return why a session may not make this call, or undefined; a call that is allowed may be changed.
 *
 * `rights` are {allowFiles, isOwn}: whether sessions may open file: addresses, and whether this one has its browser for
 * itself.
 */
function whyNot(dispatcher, message, rights) {
  if (rights.isOwn && OWN.has(`${dispatcher._type}.${message.method}`))
    return undefined;
  const { params } = message;
  const method = rights.isOwn && message.method === 'newContextForReuse' ? 'newContext' : message.method;  // it takes the same
  const found = RULES.get(dispatcher._type)?.get(method);
  if (found === true || typeof found === 'function')
    return parameters.whyTooLong(method, params) ??
      (found === true ? undefined : found({ params, dispatcher, rights }));
  return found ?? `This grid does not know ${dispatcher._type}.${message.method} of Playwright's protocol, and ` +
    'refuses what it does not know.';
}

/** Whether a method was looked at. */
function knows(type, method) {
  return RULES.get(type)?.has(method) === true;
}

module.exports = { knows, whyNot };
