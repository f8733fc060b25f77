// What a driver's node loads before Playwright: `node -r …/preload/index.js …/cli.js launch-server …`.
//
// It takes from Playwright's server what a grid cannot offer. A driver without it would offer all of that, so whatever
// cannot be installed ends the driver at once, with one sentence on stderr.
'use strict';

const fs = require('fs');
const path = require('path');

const PARTS = ['ends.js', 'features.js', 'listeners.js', 'policy.js'];

for (const part of PARTS) {
  try {
    require(path.join(__dirname, part)).install();
  } catch (error) {
    fs.writeSync(2, `Error: the driver is not started, for ${part} cannot be installed in it: ${error.message}\n`);
    process.exit(1);
  }
}
