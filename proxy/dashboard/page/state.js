// What the grid looks like, as the feed has told so far.
//
// A message {type: "me"} says who looks. A message {type: "state"} has a part of the grid: rows of `pools`, `workers`, `sessions` and `appliances` to set, by their
// ids, the ids that are gone, and new `events` and `samples`. With `full` it is all of it, and what was known is dropped.

const TABLES = ['pools', 'workers', 'sessions', 'appliances'];
const EVENTS_KEPT = 100, SAMPLES_KEPT = 360;

class State {
  constructor() {
    this.isKnown = false;
    this.me = { is_admin: false, has_cookie: false, token: '' };
    this.grid = {};
    this.trouble = '';
    this.link = 'connecting';  // or "live", "stale"
    this._ahead = 0;  // of this machine's clock
    this._clear();
  }

  _clear() {
    this._tables = Object.fromEntries(TABLES.map(name => [name, new Map()]));
    this.events = [];
    this.samples = [];
  }

  /** Take a message of the feed. */
  take(message) {
    if (message.type === 'me') {
      this.me = message;
      return;
    }
    if (message.full)
      this._clear();
    this._ahead = message.now_ms - Date.now();
    this.trouble = message.trouble ?? '';
    this.isKnown = this.isKnown || !this.trouble;
    if (message.grid)
      this.grid = message.grid;
    for (const name of TABLES) {
      const { set = [], gone = [] } = message[name] ?? {};
      for (const row of set)
        this._tables[name].set(row.id, row);
      for (const id of gone)
        this._tables[name].delete(id);
    }
    this.events = [...this.events, ...message.events ?? []].slice(-EVENTS_KEPT);
    this.samples = [...this.samples, ...message.samples ?? []].slice(-SAMPLES_KEPT);
  }

  get isAdmin() {
    return this.me.is_admin;
  }

  /** Where clients connect to, as this browser reaches it. */
  get endpoint() {
    return `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}`;
  }

  /** The grid's time. */
  get now() {
    return Date.now() + this._ahead;
  }

  get pools() {
    return [...this._tables.pools.values()].sort((a, b) => a.id < b.id ? -1 : 1);
  }

  get appliances() {
    return [...this._tables.appliances.values()].sort((a, b) => a.id < b.id ? -1 : 1);
  }

  get workers() {
    return [...this._tables.workers.values()];
  }

  /** The sessions that have a slot, the newest first. */
  get running() {
    return this._sessions(true).sort((a, b) => b.started_ms - a.started_ms || (a.id < b.id ? -1 : 1));
  }

  /** The sessions that wait, the first first. */
  get waiting() {
    return this._sessions(false).sort((a, b) => a.started_ms - b.started_ms || (a.id < b.id ? -1 : 1));
  }

  session(id) {
    return this._tables.sessions.get(id);
  }

  worker(id) {
    return this._tables.workers.get(id);
  }

  _sessions(areRunning) {
    return [...this._tables.sessions.values()].filter(one => (one.status !== 'waiting') === areRunning);
  }
}

export const state = new State();
