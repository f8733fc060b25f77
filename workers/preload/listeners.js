// A driver listens on one unix socket, that of its worker, and nowhere else.
//
// Rules
//  1. The socket is the one that `launch-server --config` names as its port. It can be opened once.
//  2. What is no WebSocket is answered 404: Playwright's own server would tell its path to whoever asks (GET /json).
//  3. Client certificates need another one, which is closed to all but their session: certificates.js.
//  4. The server of a session's own browser opens none: browsers.js.
//  5. Every other listener is refused with an error, which the client that asked for it reads. It would be a way into
//     the browser, and so into all its sessions: without a token, a slot or an end.
'use strict';

const dgram = require('dgram');
const http = require('http');
const net = require('net');
const { isMainThread } = require('worker_threads');

const browsers = require('./browsers');
const bundle = require('./bundle');
const certificates = require('./certificates');
const { Refusal } = require('./refusal');

const REFUSAL =
  'This grid does not allow browser.bind(), nor anything else that opens a listener in its browsers: ' +
  "connect every client to the grid's own endpoint instead.";

let own; // the path of the driver's socket, until it is opened

function install() {
  if (isMainThread) {
    own = configuredSocket();
    certificates.install(bundle.load());
  }
  const listen = net.Server.prototype.listen;
  replace(net.Server.prototype, 'listen', function (...args) {
    if (certificates.isExpected(this))
      return certificates.listen(this, listen, args.at(-1));
    if (args[0] instanceof browsers.NoPort)
      return args[0].take(this, args.at(-1));
    if (own === undefined || args[0] !== own || !(this instanceof http.Server))
      throw new Refusal(REFUSAL);
    own = undefined;
    answerNothingElse(this);
    browsers.watch(this);
    return listen.apply(this, args);
  });
  replace(dgram.Socket.prototype, 'bind', () => {
    throw new Refusal(REFUSAL);
  });
  process.on('SIGUSR1', () => {}); // or node would open its debugger's port (nodejs.org/api/process.html, "Signal events")
}

function configuredSocket() {
  const { port } = bundle.options();
  if (typeof port !== 'string' || !port.startsWith('/'))
    throw new Error(`the configuration names no socket, but port ${port}`);
  return port;
}

function answerNothingElse(server) {
  server.removeAllListeners('request');
  server.on('request', (request, response) => {
    response.writeHead(404, { Connection: 'close' });
    response.end();
  });
}

// No later code can put the original back.
function replace(object, name, value) {
  if (typeof object[name] !== 'function')
    throw new Error(`node has no ${name} to replace`);
  Object.defineProperty(object, name, { value, writable: false, configurable: false, enumerable: true });
}

module.exports = { install };
