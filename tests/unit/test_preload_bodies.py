"""Which bodies the driver takes and gives, without a driver: asked of its preload in the driver's own node."""

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


READ = """
class Session {
  closed = [];
  async send(method, { handle }) {
    if (method === 'IO.close')
      this.closed.push(handle);
    return { data: 'A'.repeat(2 ** 20 / 3 * 4 * 12), base64Encoded: true, eof: false };
  }
}
const read = async (session, handle, times) => {
  for (let time = 1; time <= times; time++)
    await session.send('IO.read', { handle });
};
const [own, clients] = [new Session(), Object.assign(new Session(), { _eventListener: () => {} })];
load('bodies').limitStreams({ options: { name: 'chromium' }, _session: own });
(async () => {
  await read(own, 'one', 15);  // 180 MiB
  await read(own, 'another', 15);
  await read(clients, 'one', 20);
  const told = await read(own, 'one', 1).catch(error => error.message);
  console.log(JSON.stringify([told, own.closed, clients.closed]));
})();
"""


def test_a_browsers_stream_is_read_as_far_as_its_content_can_be_passed_on() -> None:
    refusal, closed, closed_by_client = told(READ)
    assert refusal.startswith("The body is larger than 190 MiB, more than this grid passes on.")
    assert closed == ["one"]
    assert closed_by_client == []


SENT = """
const sent = [];
const connection = { onmessage: message => { sent.push(message.result ? 'sent' : message.error.error.message) } };
load('messages').surviveSending(connection);
for (const mebibytes of [254, 255])
  connection.onmessage({ id: 1, result: { binary: 'A'.repeat(mebibytes * 2 ** 20) } });
console.log(JSON.stringify(sent));
"""


def test_an_answer_with_a_text_that_would_end_the_driver_is_refused() -> None:
    assert told(SENT) == ["sent", "The answer is larger than the 254 MiB that this grid passes on."]
