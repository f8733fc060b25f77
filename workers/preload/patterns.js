'use strict';

// Regular expressions of clients, which the driver runs: page.route(), HARs, WebSocket routes.
//
// V8 has a second engine for them, whose time is linear. It takes over from one that backtracks too often, as `(a+)+$`
// would for hours. It knows no look-around, no back references and no flags i and u.

const v8 = require('v8');

/** Let the second engine take over, in what is compiled from now on. On node's command line it costs 45 ms of a start. */
function endBacktracking() {
  v8.setFlagsFromString('--enable-experimental-regexp-engine-on-excessive-backtracks');
}

module.exports = { endBacktracking };
