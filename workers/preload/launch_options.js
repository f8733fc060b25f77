'use strict';

// What a client asks of its own browser: launch options, and its own network (`exposeNetwork`).
//
// The proxy refuses what this grid never honours (proxy/launch_options.py), and asks for a browser of the session's own
// if there is something left. What only the worker knows is decided here.

const { Refusal } = require('./refusal');

const OPTIONS = 'x-playwright-launch-options';
const NETWORK = 'x-playwright-proxy';
const HONOURED = ['args', 'channel', 'proxy', 'slowMo'];

/** Return what a request asks for: launch options, and the hosts of the client's network; raises a Refusal. */
function read(headers) {
  const asked = parse(headers[OPTIONS] || '{}');
  const options = Object.fromEntries(HONOURED.filter(name => asked[name]).map(name => [name, asked[name]]));
  return { options, network: headers[NETWORK] || '' };
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Refusal(`The header ${OPTIONS} is no JSON.`);
  }
}

/** Whether a browser that is launched without a word will do. */
function isEmpty({ options, network }) {
  return !network && !Object.keys(options).length;
}

/** Return the options to launch with, by those of the driver; raises a Refusal. */
function merge({ options, network }, usual) {
  const { channels = {}, clientArgs = [], ownArgs = [], ...launch } = usual;
  const { args = [] } = launch;
  if (network && (launch.proxy || options.proxy))
    throw new Refusal('exposeNetwork takes the place of a proxy: the launch option proxy, or BROWSER_PROXY of the grid.');
  if (options.channel && options.channel !== launch.channel) {
    if (!channels[options.channel])
      throw new Refusal(`This worker has no ${options.channel}. It has ${Object.keys(channels).join(', ')}.`);
    launch.executablePath = channels[options.channel];
  }
  const refused = options.args?.find(one => !args.includes(one) && !clientArgs.includes(String(one).split('=')[0]));
  if (refused !== undefined)  // another appliance's proxy goes by settings of its own
    throw new Refusal(`This worker's appliance allows no ${refused}. Its LAUNCH_ARGS: ${clientArgs.join(', ') || 'none'}.`);
  const isUsual = launch.executablePath === usual.executablePath;
  return { ...launch, ...options, args: [...args, ...isUsual ? ownArgs : [], ...options.args ?? []] };
}

module.exports = { isEmpty, merge, read };
