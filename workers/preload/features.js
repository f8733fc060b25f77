// One list of features for each browser: Chromium reads only the last --enable-features, and the last --disable-features.
//
// Playwright's own lists come first, then the appliance's, those of BROWSER_ARGS, and a client's. Each would undo all of
// the lists before it, so they are joined. What is said last of a feature counts.
'use strict';

const childProcess = require('child_process');

const bundle = require('./bundle');

const SWITCH = /^--(enable|disable)-features=(.*)$/s;

function install() {
  bundle.wrap(childProcess, 'spawn', spawn => function(command, args, ...rest) {
    return spawn.call(this, command, Array.isArray(args) ? joined(args) : args, ...rest);
  });
}

/** Return a browser's arguments with one list of the features that it enables, and one of those that it disables. */
function joined(args) {
  const features = new Map();  // by its name: whether it is enabled or disabled, and how it was written
  for (const [, what, list] of args.map(one => SWITCH.exec(one)).filter(Boolean)) {
    for (const feature of list.split(',').filter(Boolean))
      features.set(nameOf(feature), { what, feature });
  }
  if (!features.size)
    return args;
  const listed = what => [...features.values()].filter(one => one.what === what).map(one => one.feature).join(',');
  const lists = ['disable', 'enable'].map(what => `--${what}-features=${listed(what)}`);
  return [...lists, ...args.filter(one => !SWITCH.test(one))];
}

/** Return the name of a feature, which may have parameters or a trial: "Name:parameter/value", "Name<Trial". */
function nameOf(feature) {
  return feature.split(/[:<]/)[0];
}

module.exports = { install, joined };
