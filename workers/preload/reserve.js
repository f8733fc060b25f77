'use strict';

// Browsers that are launched before a session asks for one: they keep the launch out of the connect.

const { warn } = require('./warning');

const REFILL_AFTER_MS = 300;  // when the session that took one has had its first page
const ANSWER_MS = 3000;

class Reserve {
  /** Set how many browsers are kept, and what launches one; there are none before `begin`. */
  constructor(size, launch) {
    this._size = size;
    this._launch = launch;
    this._hasBegun = false;
    this._isFilling = false;
    this._kept = [];  // promises: one may still be starting, and of one that does not start nothing comes
  }

  /** Keep browsers from now on. */
  begin() {
    this._hasBegun = true;
    this.fillSoon();
  }

  /** Return a browser that lives: one of the reserve, or one that is launched now. */
  async take() {
    while (this._kept.length) {
      const kept = this._kept.shift();
      if (await isAlive(kept))
        return kept;
      kept.then(browser => browser?.kill());
    }
    let browser;
    do
      browser = await this._launch();
    while (browser.hasEnded);
    return browser;
  }

  fillSoon() {
    setTimeout(() => this._fill(), REFILL_AFTER_MS);
  }

  /** Launch what is lacking, one after another. */
  async _fill() {
    if (!this._hasBegun || this._isFilling || this._kept.length >= this._size)
      return;
    this._isFilling = true;
    const launch = this._launch().catch(error => warn('no browser is launched for the reserve', error));
    this._kept.push(launch);
    const isUp = Boolean(await launch);
    this._isFilling = false;
    if (isUp)
      await this._fill();
    else
      this._kept = this._kept.filter(one => one !== launch);  // the next session tries again
  }
}

/** Whether a browser that is kept answers; it may have hung, or hang at its start. */
async function isAlive(kept) {
  let timer;
  const late = new Promise(resolve => timer = setTimeout(resolve, ANSWER_MS, false));
  const answered = kept.then(browser => Boolean(browser) && !browser.hasEnded && browser.answer().then(() => true, () => false));
  const alive = await Promise.race([answered, late]);
  clearTimeout(timer);
  return alive;
}

module.exports = { Reserve };
