'use strict';

// The bounds of a session, kept in the driver itself: the proxy relays bytes and looks at none of them.

const bundle = require('./bundle');
const calls = require('./calls');
const clipboard = require('./clipboard');
const leftovers = require('./leftovers');
const messages = require('./messages');
const streams = require('./streams');
const urls = require('./urls');

/** Install the bounds, before the driver's own program runs; raises an error if that is not possible. */
function install() {
  const allowFiles = bundle.options().allowFileUrls === true;
  streams.install();
  const { server, remote } = bundle.load();
  const Connection = server.DispatcherConnection.prototype;

  bundle.wrap(Connection, 'dispatch', dispatch => async function(message) {
    try {
      const reason = messages.flaw(message) ?? refused(this, message, allowFiles);
      if (reason)
        return this.onmessage(messages.refusal(message, reason));
      await leftovers.inFolderOf(this, message.method, () => dispatch.call(this, message));
    } catch (error) {  // it would end the driver
      this.onmessage(messages.refusal(message, error.message));
    }
  });
  bundle.wrap(Connection, 'registerDispatcher', register => function(dispatcher) {
    register.call(this, dispatcher);
    if (dispatcher._type === 'BrowserContext')
      clipboard.emptyInFirstPage(dispatcher, leftovers.sessionOf(this));
  });
  bundle.wrap(server.PlaywrightDispatcher.prototype, 'cleanup', cleanup => async function() {
    await cleanup.call(this).finally(() => leftovers.end(leftovers.sessionOf(this.connection)));
  });
  bundle.wrap(remote.PlaywrightServer.prototype, 'listen', listen => async function(...args) {
    try {
      const browser = this._options.preLaunchedBrowser;
      bundle.wrap(browser?._connection?._transport, 'send', send => function(message) {
        urls.check(message, allowFiles);
        return send.call(this, message);
      });
      leftovers.watchBrowser(browser, server.nullProgress);
    } catch (error) {
      process.stderr.write(`Error: the driver serves nobody: ${error.message}\n`);
      process.exit(1);
    }
    return await listen.apply(this, args);
  });
}

function refused(connection, message, allowFiles) {
  if (messages.IMPLIED.has(message.method))
    return undefined;
  const dispatcher = connection._dispatcherByGuid.get(message.guid);
  return dispatcher && calls.whyNot(dispatcher, message, allowFiles);
}

module.exports = { install };
