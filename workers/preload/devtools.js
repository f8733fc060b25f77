'use strict';

// CDP sessions: each drives a browser of its own.
//
// Rules
//  1. A session whose request has the header `Protocol: cdp` (proxy/handshake.py) gets a Chromium that is launched as
//     Playwright has launched the driver's own browser: the same program with the same arguments.
//  2. It speaks through a pipe. It has no debugging port, which pages, other sessions or other accounts might reach.
//  3. What it writes lies in a folder of its own, which goes with it: profile, temporary files, downloads.
//  4. A reserve keeps the launch out of the connect. It begins when the first such session has come.
//  5. When its client goes, the browser is killed, unless it is kept for the next one (kept.js): as with Chromium's own
//     port, that one finds the pages of the default context.
//  6. When it ends by itself, its client is told how. It ends by itself with
//     exit code 0 if the client has closed it.

const childProcess = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');

const bundle = require('./bundle');
const { judge } = require('./commands');
const { Pipe } = require('./pipe');
const { need } = require('./refusal');
const { Reserve } = require('./reserve');
const sessions = require('./sessions');
const { Targets } = require('./targets');
const { warn } = require('./warning');

const LOST = 'has ended the DevTools session of this grid';
const LARGEST = 100 * 2 ** 20;  // bytes of a client's message, as for Playwright's (proxy/relay.py, MESSAGE_MAX_MIB)
const NORMAL = 1000, WHOLE_TRUTH = 4000;  // codes by which proxy/relay.py knows that no better reason is to come
// Parts of a full Chromium that are pages of its own (chrome:), to which a client might attach: urls.js.
const OWN_PAGES = 'WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup';
const NO_WINDOW = '--no-startup-window', INCOGNITO = '--incognito';  // for clients that do not use the default context
const LAST_WORDS_MS = 1000;  // for what a browser has said before its end
const ANSWER_MS = 10000;  // for a browser to take a client that comes back
const CLOSING_MS = 5000;  // for a browser to end after its pipe
const REMOVALS = { recursive: true, force: true, maxRetries: 5 };  // a process that was killed may still write for a moment

let options, own, reserve, server;
const running = new Set();  // ids of process groups

/** Prepare for such sessions. */
function install({ wsServer: WebSocketServer }) {
  need(typeof WebSocketServer?.prototype?.handleUpgrade === 'function', 'the WebSocket server');
  options = bundle.options();
  reserve = new Reserve(options.reserveBrowsers ?? 0, launch);
  server = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: LARGEST, clientTracking: false });
  bundle.wrap(childProcess, 'spawn', spawn => function(command, args, ...rest) {
    if (Array.isArray(args) && args.includes('--remote-debugging-pipe'))
      own ??= { command, args };
    return spawn.call(this, command, args, ...rest);
  });
  process.on('exit', () => running.forEach(killGroup));
}

/** Raise an error unless it is known how to launch a browser as the driver's own was. */
function needLaunch(browser) {
  need(browser?.options.name !== 'chromium' || own?.args.some(one => one.startsWith('--user-data-dir=')), 'the launch of Chromium');
}

/** Return the arguments of a session's browser: those of the driver's own, and of other browsers of one session. */
function argumentsIn(folder, args, ownArgs) {
  const others = [...args, ...ownArgs.filter(one => one !== INCOGNITO)]  // among `args`, it is the operator's wish
    .filter(one => one !== NO_WINDOW && !one.startsWith('--user-data-dir='));
  return [...others, `--disable-features=${OWN_PAGES}`, `--user-data-dir=${path.join(folder, 'profile')}`, 'about:blank'];
}

/** Return a browser that is up; raises an error if none can be launched. */
async function take() {
  const browser = await reserve.take();
  reserve.begin();
  return browser;
}

async function launch() {
  if (!own)
    throw new Error('it has no Chromium');
  const folder = await fs.promises.mkdtemp(path.join(os.tmpdir(), 'cdp-'));  // short: the browser makes sockets in it
  try {
    await prepare(folder);
    const browser = new CdpBrowser(folder);
    await browser.isUp();
    return browser;
  } catch (error) {
    fs.promises.rm(folder, REMOVALS).catch(reason => warn(`${folder} is not removed`, reason));
    throw error;
  }
}

/** Let a browser with windows download into its folder, also if its client does not say where to. */
async function prepare(folder) {
  const profile = path.join(folder, 'profile', 'Default');
  await fs.promises.mkdir(path.join(folder, 'downloads'));
  await fs.promises.mkdir(profile, { recursive: true });
  const preferences = { download: { default_directory: path.join(folder, 'downloads'), prompt_for_download: false } };
  await fs.promises.writeFile(path.join(profile, 'Preferences'), JSON.stringify(preferences));
}

class CdpBrowser {
  constructor(folder) {
    this._folder = folder;
    this._process = childProcess.spawn(own.command, argumentsIn(folder, own.args, options.ownArgs), {
      detached: true,  // the leader of a group, which is killed as a whole
      env: { ...process.env, TMPDIR: folder },
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
    });
    this.hasEnded = this._isKilled = this._isKept = false;
    this._farewell = '';  // why it is killed
    this._fault = '';  // for which it is killed
    this._left = undefined;  // a promise that the last client has left nothing
    this.whenOver = new Set();  // what is called then
    this.ended = new Promise(resolve => {
      this._process.once('error', error => resolve(`cannot be started: ${error.code}`));
      this._process.once('exit', (code, signal) => resolve(this._clean(code, signal)));
    });
    if (!this._process.pid)
      return;  // and it may have no streams; `isUp` says why
    running.add(this._process.pid);
    [, , this._errors, this._input, this._output] = this._process.stdio;
    this._said = '';  // on stderr, until it is up
    this._errors.on('data', data => this._said = this._isUp ? '' : (this._said + data).slice(-1000));
    for (const stream of [this._errors, this._input, this._output])
      stream.on('error', () => {});  // its end is told by its process
    this._pipe = new Pipe(this._input, this._output);
    this._pipe.lost.then(() => setTimeout(() => this._giveUp(LOST), CLOSING_MS).unref());
    this._targets = new Targets(this._pipe);
    this._silent = new Promise(resolve => this._output.once('close', resolve));
    this._silent.then(() => setTimeout(() => this.kill(), CLOSING_MS).unref());
  }

  /** Wait until it answers; raises an error if it does not. */
  async isUp() {
    if (!this._process.pid)
      throw new Error(`it ${await this.ended}`);
    let timer;
    const ended = this.ended.then(how => how || 'was closed');
    const late = new Promise(resolve => timer = setTimeout(resolve, options.timeout, `has not answered in ${options.timeout} ms`));
    const failure = await Promise.race([this._open(), ended, late]);
    clearTimeout(timer);
    if (failure) {
      this.kill();
      throw new Error(`it ${failure}${this._said && `: ${this._said.trim().split('\n').at(-1)}`}`);
    }
    this._isUp = true;
  }

  /** Get a session of our own, before it has a client; returns "". */
  async _open() {
    await this._pipe.open();
    await this._targets.follow();
    return '';
  }

  /** Wait until it answers. */
  async answer() {
    await this._pipe.call('Browser.getVersion');
  }

  /** Return its pages, for those who look at its session (looks.js). */
  async shown() {
    return this._targets.shown();
  }

  /** Outlive its clients. */
  keep() {
    this._isKept = true;
  }

  /** Let the client that sends a request drive it. */
  serve(request, socket, head) {
    sessions.announce(sessions.nameIn(request.headers), this);
    if (!this._isKept)
      socket.once('close', () => this.kill());
    server.handleUpgrade(request, socket, head, client => this._serve(client));
  }

  async _serve(client) {
    client.on('error', () => {});  // it is closed then
    const gone = new Promise(resolve => client.once('close', resolve));
    if (this._isKept)
      await Promise.race([this._visit(client, gone).catch(() => this._giveUp(LOST)), this.ended]);
    else
      this._connect(client);
    client.resume();
    const how = await Promise.race([this.ended, gone.then(() => '')]);
    await Promise.race([this._silent, gone, new Promise(resolve => setTimeout(resolve, LAST_WORDS_MS))]);
    if (how || this._farewell)
      client.close(WHOLE_TRUTH, this._farewell || `the browser of this session ${how}`);
    else
      client.close(NORMAL, 'closed');
  }

  /** Let a client have the browser until it goes; the next one has a session of the browser of its own. */
  async _visit(client, gone) {
    client.pause();
    const late = setTimeout(() => this._giveUp(`has not answered in ${ANSWER_MS / 1000} s`), ANSWER_MS);  // nobody would see that a client goes which is not read
    const before = this._left;
    let leave;
    this._left = new Promise(resolve => leave = resolve);  // set now: the next client may come before this one is let in
    await before;
    const { sessionId } = await this._pipe.call('Target.attachToBrowserTarget');
    clearTimeout(late);
    const disconnect = this._connect(client, sessionId);
    gone.then(() => {
      disconnect();
      return this._pipe.call('Target.detachFromTarget', { sessionId });
    }).catch(() => {}).then(leave);  // the browser has ended that session, as its client may ask it to
  }

  /** Kill it for a fault, unless it has ended. */
  _giveUp(fault) {
    this._fault = fault;
    this.kill();
  }

  /** Pass the messages of a client; return what ends that. */
  _connect(client, session) {
    const rights = { allowFiles: options.allowFileUrls === true, downloads: path.join(this._folder, 'downloads'), session, target: this._pipe.target };
    return this._pipe.connect(client, text => judge(text, rights), session);
  }

  /** End it; a client that is there reads the reason, if there is one. */
  kill(farewell = '') {
    this._isKilled = true;
    this._farewell ||= farewell;
    if (running.has(this._process.pid))
      killGroup(this._process.pid);
  }

  /** Leave nothing of a process that has ended; return how it ended, "" if it was closed, or killed without a fault. */
  _clean(code, signal) {
    const { pid } = this._process;
    this.hasEnded = true;
    sessions.tellOver(this);
    killGroup(pid);
    running.delete(pid);
    fs.promises.rm(this._folder, REMOVALS).catch(error => warn(`${this._folder} is not removed`, error));
    if (code === 0 || this._isKilled)
      return this._fault;
    return `crashed (${signal ? `signal ${os.constants.signals[signal]}` : `exit code ${code}`})`;
  }
}

function killGroup(pid) {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Nothing is left.
  }
}

module.exports = { CdpBrowser, argumentsIn, install, needLaunch, take };
