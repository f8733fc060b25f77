"""Which bodies the driver gives to a browser, without a driver: asked of its preload in the driver's own node."""

from __future__ import annotations

from tests.support.preload import told

ASK = """
const context = name => ({ _browser: { options: { name } }, fetchRequest: {} });
const dispatcher = name => ({ _object: { _request: { _context: context(name) } } });
const refuses = (name, params) => Boolean(load('bodies').whyNotFulfilled({ params, dispatcher: dispatcher(name) }));
const text = (letter, mebibytes) => ({ body: letter.repeat(mebibytes * 2 ** 20), isBase64: false });
const base64 = mebibytes => ({ body: 'eHh4'.repeat(mebibytes * 2 ** 20 / 3), isBase64: true });
"""


def test_a_route_is_fulfilled_by_what_the_browser_takes_once_it_is_in_base64() -> None:
    cases = "[text('x', 74), text('x', 75), text('é', 37), text('é', 38), base64(74.25), base64(73.5), {}]"
    refused = told(f"{ASK} console.log(JSON.stringify({cases}.map(params => refuses('chromium', params))))")
    assert refused == [False, True, False, True, True, False, False]


def test_another_browser_takes_more() -> None:
    assert told(f"{ASK} console.log(JSON.stringify(refuses('firefox', text('x', 80))))") is False
