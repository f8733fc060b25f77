// What the grid looks like, as the feed has told so far.
//
// A message {type: "me"} says who looks. A message {type: "state"} has a part of the grid: rows of `pools`, `workers`,
// `sessions` and `appliances` to set, by their ids, the ids that are gone, and new `events` and `samples`. With `full` it
// is all of it, and what was known is dropped.
//
// A list that is asked for is the same array until something of it has changed: who draws it can tell whether to.

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
    this._lists = new Map();  // made of the tables, by their names
    this.events = [];
    this.samples = [];
  }

  /** Apply a message of the feed. */
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
      if (set.length || gone.length)
        this._forget(name);
      for (const row of set)
        this._tables[name].set(row.id, row);
      for (const id of gone)
        this._tables[name].delete(id);
    }
    if (message.events)
      this.events = [...this.events, ...message.events].slice(-EVENTS_KEPT);
    if (message.samples)
      this.samples = [...this.samples, ...message.samples].slice(-SAMPLES_KEPT);
  }

  _forget(table) {
    for (const [name, list] of this._lists)
      if (list.table === table)
        this._lists.delete(name);
  }

  /** Return a list of a table's rows, which `make` makes when something has changed. */
  _list(table, name, make) {
    if (!this._lists.has(name))
      this._lists.set(name, { table, rows: make([...this._tables[table].values()]) });
    return this._lists.get(name).rows;
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
    return this._list('pools', 'pools', rows => rows.sort(byId));
  }

  get appliances() {
    return this._list('appliances', 'appliances', rows => rows.sort(byId));
  }

  get workers() {
    return this._list('workers', 'workers', rows => rows);
  }

  workersOf({ id }) {
    return this._list('workers', `workers of ${id}`, rows => rows.filter(one => one.pool === id));
  }

  /** The sessions that have a slot, the newest first. */
  get running() {
    return this._list('sessions', 'running', rows => rows.filter(one => one.status !== 'waiting').sort((a, b) => b.started_ms - a.started_ms || byId(a, b)));
  }

  /** The sessions that wait, the first first. */
  get waiting() {
    return this._list('sessions', 'waiting', rows => rows.filter(one => one.status === 'waiting').sort((a, b) => a.started_ms - b.started_ms || byId(a, b)));
  }

  session(id) {
    return this._tables.sessions.get(id);
  }

  worker(id) {
    return this._tables.workers.get(id);
  }
}

function byId(a, b) {
  return a.id < b.id ? -1 : 1;
}

export const state = new State();
