'use strict';

// What a CDP client sends to its own browser, command by command.
//
// What is passed on is written from what was read here, never the text as it came: two readers may take one text for
// different commands, for instance if a key is there twice.

const cdp = require('./cdp');
const urls = require('./urls');

const PARSE_ERROR = -32700, INVALID_REQUEST = -32600, SERVER_ERROR = -32000;  // jsonrpc.org, and Chromium's own for the rest

const FILES_OF_THE_GRID = 'These files would be read from the grid\'s machine. Make the file in the page, with new File(), ' +
  'and give it to the input in a DataTransfer; set_input_files() of Playwright does so with files of up to 50 MB.';

const NO_TARGET = 'No target with given id found';  // as Chromium says it

// They name a folder for downloads, which clients take for one of their own machine. Here it is the session's.
const NAME_A_FOLDER = new Set(['Browser.setDownloadBehavior', 'Page.setDownloadBehavior']);

/**
 * Return {command} to pass on to the browser, or {refusal} to answer with; both are texts.
 *
 * `rights` are {allowFiles, downloads, session, target}: whether file: addresses may be opened, the session's folder for
 * downloads, the browser's session that commands without one are for, if there is one, and the id of our own target.
 */
function judge(text, rights) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    return refused({}, PARSE_ERROR, 'A command must be a JSON object.');
  }
  const { id, method, params = {}, sessionId } = message ?? {};
  if (!Number.isInteger(id) || typeof method !== 'string' || !isObject(params) || !['string', 'undefined'].includes(typeof sessionId))
    return refused({}, INVALID_REQUEST, 'A command must have an id, a method, and perhaps params and a sessionId.');
  try {
    const reason = whyNot(method, params, rights);
    if (reason)
      return refused({ id, sessionId }, SERVER_ERROR, reason);
    const addressed = sessionId || rights.session;  // "" means none to Chromium, too
    return { command: JSON.stringify({ id, method, params, sessionId: addressed }) };
  } catch (error) {  // of an address, or of what cannot be written
    return refused({ id, sessionId }, SERVER_ERROR, error.message);
  }
}

/** Return why a command is not passed on, or undefined; its folder for downloads is replaced. */
function whyNot(method, params, { allowFiles, downloads, target }) {
  if (target && params.targetId === target)
    return NO_TARGET;
  const rights = { allowFiles, isOwn: true };
  urls.check({ method, params }, rights);
  if (method === 'DOM.setFileInputFiles' && !allowFiles)
    return FILES_OF_THE_GRID;
  if (!NAME_A_FOLDER.has(method))
    return cdp.whyNot(method, params, rights);
  if (params.downloadPath !== undefined)
    params.downloadPath = downloads;
  return undefined;
}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function refused(about, code, message) {
  return { refusal: JSON.stringify({ ...about, error: { code, message } }) };
}

module.exports = { judge };
