'use strict';

// One agent's browser: the tools of Playwright's own MCP server, for one session of the grid.
//
// `node session.js PACKAGE`, started by listener.py with a connection of the proxy's (proxy/mcp/process.py) as file 0.
// The proxy speaks MCP to the agent, and only tells this process which tools to run.
//
// Rules
//  1. It reads lines of JSON. The first is {endpoint, headers, browser}: where the grid gives it a browser; or
//     {list: true}: it says which tools there are, and ends. The others are {call, name, arguments} or {cancel}.
//  2. It answers with frames, "NUMBER LENGTH\n" and so many bytes of JSON. "closed\n" says that it ends as the agent
//     wished. A connection that ends without it has lost its browser.
//  3. One process, one browser: it ends with it, and it ends when the proxy hangs up.
//  4. It runs no code of the agent's, and neither reads nor writes files for it: `TOOLS` names what is offered, without
//     the parameters that name files. A later Playwright's further tools are left out until they are named here.

const fs = require('fs');
const net = require('net');
const path = require('path');

const FRAME_MAX_BYTES = 16 * 1024 * 1024;  // proxy/mcp/process.py takes no larger one
const NOWHERE = '/dev/null/files';  // no folder can be there, whoever makes it

const FILES = 'This grid keeps no files for agents';
const NO_FILES = ['filename', 'paths'];
const TOOLS = new Set([
  'browser_click', 'browser_close', 'browser_console_messages', 'browser_drag', 'browser_drop', 'browser_emulate_media',
  'browser_evaluate', 'browser_file_upload', 'browser_fill_form', 'browser_find', 'browser_handle_dialog',
  'browser_hover', 'browser_navigate', 'browser_navigate_back', 'browser_network_request', 'browser_network_requests',
  'browser_press_key', 'browser_resize', 'browser_select_option', 'browser_snapshot', 'browser_tabs',
  'browser_take_screenshot', 'browser_type', 'browser_wait_for',
]);
const DESCRIPTIONS = {
  browser_file_upload: `Dismiss an open file chooser. ${FILES}, so there is none to upload.`,
};

const CONFIG = {
  browser: { contextOptions: { viewport: { width: 1280, height: 720 } } },
  capabilities: [],
  console: { level: 'error' },
  outputDir: NOWHERE,
  snapshot: { mode: 'full' },
  timeouts: { action: 5000, navigation: 60000, expect: 5000, settle: 500 },
  webmcp: false,  // a page's own tools would speak to the agent as the grid's
};

const library = path.join(process.argv[2], 'lib');
require(path.join(library, 'bootstrap.js'));
const { inprocess, tools } = require(path.join(library, 'coreBundle.js'));
const { z } = require(path.join(library, 'utilsBundle.js'));

const offered = tools.filteredTools(CONFIG).filter(tool => TOOLS.has(tool.schema.name)).map(withoutFiles);

/** Return a tool that neither takes files nor makes any, and shows the page in its answer. */
function withoutFiles(tool) {
  const { name, inputSchema } = tool.schema;
  const left = NO_FILES.filter(parameter => parameter in inputSchema.shape);
  const schema = {
    ...tool.schema,
    description: DESCRIPTIONS[name] ?? tool.schema.description,
    inputSchema: inputSchema.omit(Object.fromEntries(left.map(parameter => [parameter, true]))).strict(),
  };
  const handle = (context, parameters, response, signal) =>
    tool.handle(context, parameters, inline(name, response), signal);
  return { ...tool, schema, handle };
}

function inline(name, response) {
  response.setIncludeSnapshot = () => response.setIncludeFullSnapshot();
  response.resolveClientOutputFile = async ({ prefix, ext }, title) => {
    if (name !== 'browser_take_screenshot')
      throw new Error(`${FILES}: ${title.toLowerCase()} cannot be shown as text.`);
    return { fileName: NOWHERE, relativeName: `${prefix}.${ext}`, printableLink: '' };
  };
  response.addFileResult = async () => {};  // a screenshot is in the answer, as an image
  return response;
}

function described({ schema: { name, title, description, inputSchema, type } }) {
  const readOnlyHint = type === 'readOnly' || type === 'assertion';
  const annotations = { title, readOnlyHint, destructiveHint: !readOnlyHint, openWorldHint: true };
  return { name, description, inputSchema: z.toJSONSchema(inputSchema), annotations };
}

class Session {
  constructor(link, { endpoint, headers, browser }) {
    this._link = link;
    this._connect = () => inprocess.playwright[browser].connect(endpoint, { headers });
    this._calls = new Map();  // what cancels each
    this._isOver = false;
  }

  /** Do what a line asks for. */
  async hear({ call, name, arguments: given, cancel }) {
    if (cancel !== undefined)
      return this._calls.get(cancel)?.abort();
    const controller = new AbortController();
    this._calls.set(call, controller);
    const result = await this._run(name, given, controller.signal).catch(failed);
    this._calls.delete(call);
    say(this._link, call, result);
    if (this._isOver && !this._calls.size)
      this._link.end('closed\n');  // the proxy closes its side, and main() ends the process
  }

  async _run(name, given, signal) {
    this._backend ??= this._open();
    const backend = await this._backend;
    return await backend.callTool(name, given, signal);
  }

  async _open() {
    try {
      const browser = await this._connect();
      const context = await browser.newContext(CONFIG.browser.contextOptions);
      const dispose = async () => {
        this._isOver = true;
        await browser.close();
      };
      const backend = new tools.BrowserBackend(CONFIG, context, offered, { dispose });
      backend.once('disconnected', () => this._isOver || process.exit(0));  // the proxy knows why
      await backend.initialize({ cwd: NOWHERE, clientName: 'agent' });
      return backend;
    } catch (error) {
      this._isOver = true;
      throw error;
    }
  }
}

/** Return an error as a tool's answer: of a refusal by the grid, its own words. */
function failed(error) {
  const refusal = /^\{"error": \{.*\}\}$/m.exec(error.message);
  const { message, hint } = refusal ? JSON.parse(refusal[0]).error : { message: error.message.split('\nCall log:')[0], hint: '' };
  return { content: [{ type: 'text', text: `### Error\n${message} ${hint}`.trimEnd() }], isError: true };
}

function say(link, number, value) {
  let body = Buffer.from(JSON.stringify(value));
  if (body.length > FRAME_MAX_BYTES)
    body = Buffer.from(JSON.stringify(failed(new Error('The answer is larger than 16 MiB. Ask for less of the page.'))));
  link.write(`${number} ${body.length}\n`);
  link.write(body);
}

function main() {
  const link = new net.Socket({ fd: 0, readable: true, writable: true });
  link.on('error', () => process.exit(0));
  link.on('close', () => process.exit(0));
  let session;
  require('readline').createInterface({ input: link }).on('line', line => {
    const order = JSON.parse(line);
    if (session)
      session.hear(order);
    else if (order.list)
      link.end(`0 ${Buffer.byteLength(listed)}\n${listed}closed\n`);
    else
      session = new Session(link, order);
  });
}

const listed = JSON.stringify(offered.map(described));
process.on('uncaughtException', error => {
  fs.writeSync(2, `Error: nobody caught an error: ${error.stack}\n`);
  process.exit(1);
});
main();
