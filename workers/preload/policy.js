'use strict';

// What a session may do, decided in the driver itself: the proxy relays bytes and looks at none of them.

const bodies = require('./bodies');
const browsers = require('./browsers');
const bundle = require('./bundle');
const calls = require('./calls');
const clipboard = require('./clipboard');
const crashes = require('./crashes');
const devtools = require('./devtools');
const keyfiles = require('./keyfiles');
const sessions = require('./sessions');
const messages = require('./messages');
const patterns = require('./patterns');
const pictures = require('./pictures');
const sizes = require('./sizes');
const streams = require('./streams');
const uncaught = require('./uncaught');
const urls = require('./urls');
const { warn } = require('./warning');

/** Install the checks, before the driver's own program runs; raises an error if that is not possible. */
function install() {
  const allowFiles = bundle.options().allowFileUrls === true;
  streams.install();
  bodies.install();
  const driver = bundle.load();
  const { iso, server, remote } = driver;
  const Connection = server.DispatcherConnection.prototype;

  // Every message of a client comes this way, so an error here would end the driver.
  bundle.wrap(Connection, 'dispatch', dispatch => function(message) {
    const answer = reason => this.onmessage(messages.refusal(message, reason));
    try {
      const dispatcher = this._dispatcherByGuid.get(message?.guid);
      const session = sessions.sessionOf(this);
      const reason = messages.flaw(message) ?? refused(dispatcher, message, { allowFiles, isOwn: session.hasOwnBrowser });
      if (reason)
        return answer(reason);
      const { method } = message, object = dispatcher?._object;
      const place = () => sessions.placing(this, method, object, () => dispatch.call(this, message));
      const call = method === 'expectScreenshot' ? () => pictures.comparing(object.screenshotter, message.params, place) : place;
      const delays = [keyfiles.opened(method, message.params), clipboard.delay(session, dispatcher?._type, method, object)];
      return (delays.some(Boolean) ? Promise.all(delays).then(call) : call()).catch(error => answer(messages.sentence(error)));
    } catch (error) {
      return answer(messages.sentence(error));
    }
  });
  bundle.wrap(Connection, 'sendEvent', sendEvent => function(dispatcher, event, params) {
    try {
      sendEvent.call(this, dispatcher, event, params);
    } catch (error) {  // it would end the driver: an event with what its client has sent may not be one that can be sent
      warn(`${dispatcher._type}.${event} is not sent`, error);
    }
  });
  bundle.wrap(Connection, 'registerDispatcher', register => function(dispatcher) {
    register.call(this, dispatcher);
    patterns.bound(dispatcher, iso);
    if (dispatcher._type === 'APIRequestContext')
      bodies.bound(dispatcher._object);
    if (dispatcher._type === 'CDPSession')
      sessions.opened(this, dispatcher._object);
    if (dispatcher._type !== 'Root')
      return;
    messages.surviveSending(this);
    sessions.begin(this, browsers.ofArriving());
  });
  browsers.install(driver);
  devtools.install(driver);
  sessions.watchEnds(server);
  bundle.wrap(remote.PlaywrightServer.prototype, 'listen', listen => async function(...args) {
    try {
      devtools.needLaunch(this._options.preLaunchedBrowser);
      const isOwn = args[0] instanceof browsers.NoPort;
      if (isOwn) {
        args[0].options = this._options;
        this._options.preLaunchedSocksProxy = args[0].network;
      }
      confine(this._options.preLaunchedBrowser, server.nullProgress, { allowFiles, isOwn });
    } catch (error) {
      process.stderr.write(`Error: the driver serves nobody: ${error.message}\n`);
      process.exit(1);
    }
    const endpoint = await listen.apply(this, args);
    uncaught.survive();
    patterns.endBacktracking();
    return endpoint;
  });
}

/** Confine what goes to a browser, and what comes from it; raises an error if that is not possible. */
function confine(browser, nullProgress, rights) {
  bundle.wrap(browser?._connection?._transport, 'send', send => function(message) {
    urls.check(message, rights);
    return send.call(this, message);
  });
  sizes.limitAnswers(browser._connection);
  sizes.limitMessages(browser);
  bodies.limitStreams(browser);
  crashes.noteCrashes(browser);
  sessions.watchBrowser(browser, nullProgress, !rights.isOwn);
}

function refused(dispatcher, message, rights) {
  const isJudged = dispatcher && !messages.IMPLIED.has(message.method);
  return isJudged ? calls.whyNot(dispatcher, message, rights) : undefined;
}

module.exports = { install };
