'use strict';

// The driver's own modules, and how its methods are replaced.
//
// Only what its bundle exports is hooked, and what it hands to those; no line of it is changed. So it works with
// every version that has these classes, and node's compile cache goes on working.

const fs = require('fs');
const path = require('path');

const modules = require('./modules');
const { need } = require('./refusal');

let loaded;

/** Return what the driver's bundles export; they are loaded here, before the driver's program asks for them. */
function load() {
  return loaded ??= loadFrom(path.join(path.dirname(process.argv[1]), 'lib'));
}

function loadFrom(library) {
  const { ws, wsServer } = require(path.join(library, 'utilsBundle.js'));
  const core = path.join(library, 'coreBundle.js');
  if (!fs.existsSync(core))
    return { ...modules.load(library), ws, wsServer };
  require(path.join(library, 'bootstrap.js'));
  return { ...require(core), ws, wsServer };
}

/** Return the options of `launch-server --config`. */
function options() {
  return JSON.parse(fs.readFileSync(process.argv[process.argv.indexOf('--config') + 1], 'utf8'));
}

/** Replace a method of a class or object; `wrapper` is given the original. */
function wrap(owner, name, wrapper) {
  need(typeof owner?.[name] === 'function', `the method ${name}`);
  owner[name] = wrapper(owner[name]);
}

const wrapped = new WeakMap();  // the names of a prototype's methods

/** Replace a method that an object has from its prototype, for all that have it from there; a second time does nothing. */
function wrapInherited(object, name, wrapper) {
  const prototype = Object.getPrototypeOf(object);
  const names = wrapped.get(prototype) ?? new Set();
  if (!names.has(name))
    wrap(prototype, name, wrapper);
  wrapped.set(prototype, names.add(name));
}

module.exports = { load, options, wrap, wrapInherited };
