"""A look at a session, without a browser: whom it shows, what it takes from a viewer, and how it ends."""

from __future__ import annotations

from typing import Any

from tests.support.preload import told

# A viewer, and a session whose pages are made by their number. What the viewer is sent, and how it is closed, is noted.
STAGE = """
  const { EventEmitter } = require('events');
  const said = [], viewer = Object.assign(new EventEmitter(), {
    send: (data, options, done = options) => {
      said.push(typeof data === 'string' ? JSON.parse(data) : `picture ${data}`);
      done?.();
    },
    close: (code, reason) => said.push([code, reason]),
  });
  const devtools = [];
  class Devtools extends EventEmitter {
    constructor(number) { super(); this.number = number; this.sent = []; devtools.push(this); }
    async send(_, method) { this.sent.push(method); }
    async detach() { this.sent.push('detached'); }
  }
  const firefox = { _browser: { options: { name: 'firefox' } } };
  const chromium = number => ({ newCDPSession: async () => { await tick(); return new Devtools(number); } });
  const page = (number, isChromium = true) => ({
    number,
    browserContext: isChromium ? chromium(number) : firefox,
    emulatedSize: () => ({ viewport: { width: 3000, height: 700 } }),
    delegate: { takeScreenshot: async (...args) => still(...args) },
  });
  let pages = [], look, still;
  const cameras = load('cameras'), { Look } = load('looks');
  const shown = page => ({ key: page, url: `about:${page.number}`, camera: send => cameras.of(page, null, send) });
  const session = { shown: async () => pages.map(shown), whenOver: new Set() };
  const tick = () => new Promise(resolve => setImmediate(resolve));
  const soon = async () => { await tick(); await tick(); };
  const tell = () => { look._end(); console.log(JSON.stringify({ said, devtools: devtools.map(one => one.sent) })); };
"""


def played(scene: str) -> dict[str, Any]:
    """Play a scene on the stage; return what the viewer was sent and what each DevTools session was."""
    return told(f"{STAGE} (async () => {{ {scene} tell(); }})();")


def test_the_newest_page_is_shown_until_the_viewer_chooses_another() -> None:
    seen = played("""
      pages = [page(1), page(2)];
      look = new Look(session, viewer); await soon();
      viewer.emit('message', '{"show": 1}'); await soon();
    """)
    both = [{"id": 1, "url": "about:1"}, {"id": 2, "url": "about:2"}]
    assert seen["said"] == [{"pages": both, "shown": 2}, {"pages": both, "shown": 1}]
    start = ["Page.startScreencast", "detached"]
    assert seen["devtools"] == [start, start]


def test_a_picture_is_sent_and_the_next_one_asked_for_when_it_is_on_its_way() -> None:
    seen = played("""
      pages = [page(1)];
      look = new Look(session, viewer); await soon();
      const params = { data: Buffer.from('jpeg').toString('base64'), sessionId: 1 };
      devtools[0].emit('event', { method: 'Page.screencastFrame', params });
      await new Promise(resolve => setTimeout(resolve, 150));
    """)
    assert seen["said"][-1] == "picture jpeg"
    assert seen["devtools"] == [["Page.startScreencast", "Page.screencastFrameAck", "detached"]]


def test_a_look_ends_with_its_session_and_tells_the_viewer() -> None:
    seen = played("""
      pages = [page(1)];
      look = new Look(session, viewer); await soon();
      session.whenOver.forEach(end => end());
      viewer.emit('close');
      said.push(session.whenOver.size);
    """)
    assert seen["said"][1:] == [[1000, "The session has ended."], 0]
    assert seen["devtools"][0][-1] == "detached"


def test_a_viewer_that_goes_leaves_nothing() -> None:
    seen = played("""
      pages = [page(1)];
      look = new Look(session, viewer);
      while (!look._camera) await Promise.resolve();
      viewer.emit('close'); await soon();
      said.push(session.whenOver.size);
    """)
    assert seen["said"][-1] == 0
    assert seen["devtools"] == [["detached"]]  # the session came when the viewer had gone


def test_an_unknown_message_ends_the_look() -> None:
    for text in ("{}", '{"show": 1, "click": 2}', '{"show": "1"}', "no JSON"):
        seen = played(f"look = new Look(session, viewer); viewer.emit('message', {text!r}); await soon();")
        assert seen["said"][-1][0] == 4000
        assert seen["said"][-1][1].startswith("The message is not known.")


def test_of_other_browsers_a_picture_a_second_is_taken_of_what_fits_a_screen() -> None:
    seen = played("""
      let taken = 0;
      still = (progress, format, whole, shown) => Buffer.from(`${format} ${shown.width}x${shown.height} ${++taken}`);
      pages = [page(1, false)];
      look = new Look(session, viewer);
      const began = Date.now();
      while (taken < 2) await soon();
      said.push(Date.now() - began);
    """)
    _, first, *_, ms = seen["said"]
    assert first == "picture jpeg 1920x700 1"
    assert ms >= 900


def test_a_look_without_a_picture_ends_and_says_why() -> None:
    seen = played("""
      still = () => { throw new Error('it is too large\\n  at page'); };
      pages = [page(1, false)];
      look = new Look(session, viewer);
      while (!Array.isArray(said.at(-1))) { look._look(); await soon(); }
    """)
    assert seen["said"][-1] == [4000, "There is no picture: it is too large"]
