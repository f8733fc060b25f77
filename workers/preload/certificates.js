// Client certificates: the one further listener that a driver may open, and only for its own session.
//
// A context with client certificates uses a SOCKS proxy in the driver, which presents them to servers (Playwright's
// socksClientCertificatesInterceptor.ts). Whoever reaches that proxy is who the certificates say. It asks for no
// password, as Chromium knows none for SOCKS, so it is made unreachable for all others:
//
//  1. It listens on an address of 127.128.0.0/9 that is drawn at random, as is its port: 37 bits that another session
//     would have to guess. Only the context's own settings name them.
//  2. It serves connections of the driver's own account alone, as the kernel tells whose they are. So other accounts,
//     which can read /proc/net/tcp, get nowhere, nor do the browsers of other workers that have accounts of their own.
//  3. The firewall lets browsers connect to these addresses, and there to nothing but what their own group listens on
//     (appliance/machine/firewall/ruleset.py).
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const net = require('net');
const os = require('os');

const bundle = require('./bundle');

const ESTABLISHED = '01'; // include/net/tcp_states.h

const addresses = new Map(); // of the proxies that listen, by port
let expected; // the server that is just about to listen

/** Hook into Playwright's classes; raises an error if they are not as they were. */
function install({ utils, remote }) {
  bundle.wrap(utils.SocksProxy.prototype, 'listen', listen => function (port, host) {
    expected = port === 0 && host === '127.0.0.1' ? this._server : undefined;
    try {
      return listen.call(this, port, host);
    } finally {
      expected = undefined;
    }
  });
  bundle.wrap(remote.PlaywrightServer.prototype, 'listen', listen => function (...args) {
    bundle.wrap(this._options.preLaunchedBrowser, 'doCreateNewContext', create => function (options) {
      const { proxyOverride } = options;
      return create.call(this, proxyOverride ? { ...options, proxyOverride: atItsAddress(proxyOverride) } : options);
    });
    return listen.apply(this, args);
  });
}

/** Return the address at which the proxy with this port listens. */
function addressOf(port) {
  return addresses.get(port);
}

/** Return whether a server is such a proxy's, and is just being told to listen. */
function isExpected(server) {
  return expected !== undefined && server === expected && Object.getPrototypeOf(server) === net.Server.prototype;
}

/** Let it listen where nobody finds it, and serve nobody else. */
function listen(server, original, onListening) {
  const address = randomAddress();
  const emit = server.emit;
  server.emit = function (event, socket) {
    if (event !== 'connection')
      return emit.apply(this, arguments);
    admit(socket, () => emit.call(this, 'connection', socket));
    return true;
  };
  server.once('listening', () => addresses.set(server.address().port, address));
  server.once('close', () => addresses.forEach((one, port) => one === address && addresses.delete(port)));
  return original.call(server, 0, address, onListening);
}

function randomAddress() {
  const bytes = crypto.randomBytes(3);
  const [first, second, third] = [128 | bytes[0] & 127, bytes[1], bytes[2]];
  return first === 255 && second === 255 && third === 255 ? randomAddress() : `127.${first}.${second}.${third}`;
}

function atItsAddress({ server, ...rest }) {
  const { protocol, port } = new URL(server);
  const address = addresses.get(Number(port));
  if (address === undefined)
    throw new Error(`the proxy for client certificates is not known: ${server}`);
  return { ...rest, server: `${protocol}//${address}:${port}` };
}

function admit(socket, serve) {
  const ends = [[socket.remoteAddress, socket.remotePort], [socket.localAddress, socket.localPort]].map(asInProc);
  const ignore = () => {};
  socket.on('error', ignore);
  fs.readFile('/proc/net/tcp', 'latin1', (error, table) => {
    if (error || ownerOf(table, ends) !== process.getuid())
      return socket.destroy();
    serve();
    socket.off('error', ignore);
  });
}

/** Return the account whose socket has these two ends; undefined if it is gone. */
function ownerOf(table, [local, remote]) {
  for (const line of table.split('\n')) {
    const fields = line.trim().split(/\s+/); // proc_pid_net(5): sl local_address rem_address st … uid
    if (fields[1] === local && fields[2] === remote && fields[3] === ESTABLISHED)
      return Number(fields[7]);
  }
  return undefined;
}

function asInProc([address, port]) {
  const bytes = Buffer.from(address.split('.').map(Number)); // the kernel prints the number as this machine has it
  const number = os.endianness() === 'LE' ? bytes.readUInt32LE() : bytes.readUInt32BE();
  const hex = (value, digits) => value.toString(16).toUpperCase().padStart(digits, '0');
  return `${hex(number, 8)}:${hex(port, 4)}`;
}

module.exports = { addressOf, install, isExpected, listen };
