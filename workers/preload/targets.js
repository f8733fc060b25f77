'use strict';

// The pages of a CDP session's browser, for those who look at it (looks.js).

const { Screencast } = require('./cameras');

class Targets {
  constructor(pipe) {
    this._pipe = pipe;
    this._addresses = new Map();  // of the pages by their ids, the oldest first: whoever asks the browser gets another order
  }

  /** Note which pages there are, from now on. */
  async follow() {
    this._pipe.browser.on('event', ({ method, params }) => {
      if (method === 'Target.targetDestroyed')
        this._addresses.delete(params.targetId);
      else if (method === 'Target.targetCreated' || method === 'Target.targetInfoChanged')
        this._addresses.set(params.targetInfo.targetId, params.targetInfo.url);
    });
    await this._pipe.call('Target.setDiscoverTargets', { discover: true, filter: [{ type: 'page' }] });
  }

  /** Return the pages that are open, the oldest first. */
  shown() {
    return [...this._addresses].map(([id, url]) =>
      ({ key: id, url, camera: send => new Screencast(() => this._pipe.attach(id), send) }));
  }
}

module.exports = { Targets };
