"""When the dashboard's page draws: its modules in the driver's node, with elements that have no look."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from proxy.dashboard.files import FOLDER
from tests.support.preload import DRIVER

# What the modules use of a document, and answers of the API that come when the test says so.
PAGE = """
  class Element {
    constructor() {
      Object.assign(this, { childNodes: [], names: [], value: '', textContent: '', title: '', open: false });
    }
    setAttribute(name, value) { if (name === 'class') this.names = value.split(' '); }
    set className(value) { this.names = value.split(' '); }
    append(...nodes) { for (const node of nodes) this.insertBefore(node, null); }
    replaceChildren(...nodes) { this.childNodes = []; this.append(...nodes); }
    insertBefore(node, next) {
      const at = this.childNodes.indexOf(next);
      this.childNodes.splice(at < 0 ? this.childNodes.length : at, 0, node);
      if (node instanceof Element) node.parent = this;
    }
    remove() { this.parent.childNodes.splice(this.parent.childNodes.indexOf(this), 1); }
    get children() { return this.childNodes; }
    get firstChild() { return this.childNodes[0] ?? null; }
    get nextSibling() { return this.parent.childNodes[this.parent.childNodes.indexOf(this) + 1] ?? null; }
    get parentElement() { return this.parent ?? this; }
    get text() { return this.textContent + this.childNodes.map(node => node.text ?? node).join(' '); }
    querySelector(selector) {
      const inside = node => node instanceof Element ? [node, ...node.childNodes.flatMap(inside)] : [];
      return inside(this).find(one => one.names.includes(selector.split('.').at(-1)));
    }
    querySelectorAll() { return []; }
    contains() { return false; }
    addEventListener(event, listener) { (this.listeners ??= {})[event] = listener; }
    showModal() { this.open = true; }
    close() { this.open = false; }
  }
  const byId = {};
  const create = () => new Element();
  const element = id => byId[id] ??= create();
  element('history-more').querySelector = create;
  const asked = [];
  Object.assign(globalThis, {
    Node: { TEXT_NODE: 3 },
    IntersectionObserver: class { observe() {} },
    location: { hash: '', host: 'grid', pathname: '/', search: '' },
    history: { replaceState: (_, __, to) => location.hash = to },
    document: { getElementById: element, createElement: create, createElementNS: create, activeElement: null },
    fetch: path => new Promise(resolve => asked.push({
      path, answer: (content, ok = true) => resolve({ ok, status: 500, text: async () => JSON.stringify(content) }),
    })),
  });
  const soon = () => new Promise(resolve => setTimeout(resolve, 5));
  const tell = value => { console.log(JSON.stringify(value)); process.exit(); };
"""


def told(program: str) -> Any:
    """Run a program in node with the page's modules by `load`; return what it tells as JSON."""
    script = f"{PAGE} const load = name => import('{FOLDER}/' + name + '.js'); {program}"
    command = [DRIVER / "node", "--no-warnings", "--input-type=module", "-e", script]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_a_link_that_is_followed_late_opens_nothing_over_a_newer_one() -> None:
    seen = told("""
      const { followLink } = await load('drawer');
      location.hash = '#session=first'; followLink();
      location.hash = '#session=second'; followLink();
      for (const { path, answer } of asked.slice().reverse()) {
        answer({ id: path.split('/').at(-1), status: 'ended', started_ms: 1 }, true);
        await soon();
      }
      const after = location.hash;
      location.hash = '#session=third'; followLink();
      location.hash = '#session=fourth';
      asked.at(-1).answer({}, false); await soon();
      tell([after, location.hash]);
    """)
    assert seen == ["#session=second", "#session=fourth"]


def test_rows_and_their_count_follow_the_appliances_and_the_total() -> None:
    seen = told("""
      const { state } = await load('state'), { drawSessions } = await load('sessions');
      const row = { id: 'a', status: 'active', started_ms: 1, worker: 'one.chromium-00.x', appliance: 'one' };
      const take = message => { state.take({ type: 'state', now_ms: 0, ...message }); drawSessions(); };
      const now = () => [element('session-rows').text.includes(' of one'), element('sessions-count').textContent];
      take({ sessions: { set: [row] }, appliances: { set: [{ id: 'one' }] }, grid: { sessions_total: 1 } });
      const before = now();
      take({ appliances: { set: [{ id: 'two' }] } });
      const joined = now();
      take({ grid: { sessions_total: 2000 } });
      tell([before, joined, now()]);
    """)
    assert seen == [[False, "1"], [True, "1"], [True, "1 of 2,000"]]


def test_a_search_that_fails_late_leaves_what_a_newer_one_found() -> None:
    seen = told("""
      const { prepareHistory } = await load('history');
      prepareHistory();
      const search = () => element('history-cause').listeners.change();
      search(); search();
      asked[1].answer({ sessions: [{ id: 'a', started_ms: 1, ended_ms: 2, ended_by: 'client' }] }); await soon();
      asked[0].answer({ error: { message: 'it failed' } }, false); await soon();
      tell(element('history-count').textContent);
    """)
    assert seen == "1 session"
