"""What the driver's preload does with the commands of CDP clients: asked of its modules in the driver's own node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.preload import DRIVER, ask, told

RIGHTS = {"allowFiles": False, "downloads": "/session/downloads"}


def judged(message: Any, **rights: object) -> dict[str, Any]:
    """Return what is made of a client's message: its text, or what becomes it."""
    text = message if isinstance(message, str) else json.dumps(message)
    answer: dict[str, Any] = ask("load('commands').judge(given[0], given[1])", text, RIGHTS | rights)
    return {kind: json.loads(content) for kind, content in answer.items()}


def refusal(method: str, **params: object) -> str:
    """Return why a command is refused."""
    answer = judged({"id": 7, "method": method, "params": params, "sessionId": "S"})["refusal"]
    assert (answer["id"], answer["sessionId"], answer["error"]["code"]) == (7, "S", -32000)
    return str(answer["error"]["message"])


@pytest.mark.parametrize(
    "command",
    [
        {"id": 1, "method": "Target.getTargets", "params": {}},
        {"id": 0, "method": "Browser.close", "params": {}, "sessionId": "A"},
        {"id": 2, "method": "Page.navigate", "params": {"url": "https://example.org/é\ud800"}},
        {"id": 3, "method": "Target.createBrowserContext", "params": {"proxyServer": "http://proxy:1"}},
        {"id": 4, "method": "Input.dispatchDragEvent", "params": {"type": "drop", "data": {"items": [], "files": []}}},
    ],
)
def test_commands_to_the_browser_are_passed_on(command: dict[str, Any]) -> None:
    assert judged(command) == {"command": command}


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("DOM.setFileInputFiles", {"files": ["/etc/passwd"]}),
        ("Input.dispatchDragEvent", {"data": {"files": ["/etc/passwd"]}}),
        ("Target.exposeDevToolsProtocol", {"targetId": "T"}),
        ("Target.sendMessageToTarget", {"message": "{}"}),
        ("Target.setRemoteLocations", {"locations": [{"host": "127.0.0.1", "port": 1}]}),
        ("Tethering.bind", {"port": 9222}),
        ("Extensions.loadUnpacked", {"path": "/tmp"}),
        ("Browser.executeBrowserCommand", {"commandId": "openTabSearch"}),
        ("Unknown.command", {}),
        ("Page.navigate", {"url": "file:///etc/passwd"}),
        ("Target.createTarget", {"url": " FILE:///etc/passwd"}),
        ("Fetch.continueRequest", {"url": "view-source:file:///etc/passwd"}),
        ("Network.loadNetworkResource", {"url": "file:///etc/passwd"}),
    ],
)
def test_commands_that_reach_the_machine_are_refused_in_words(method: str, params: dict[str, Any]) -> None:
    assert "grid" in refusal(method, **params)


def test_files_are_allowed_where_the_setting_allows_them() -> None:
    for method, params in (("Page.navigate", {"url": "file:///x"}), ("DOM.setFileInputFiles", {"files": ["/x"]})):
        command = {"id": 1, "method": method, "params": params}
        assert judged(command, allowFiles=True) == {"command": command}


@pytest.mark.parametrize("named", [{}, {"sessionId": ""}])
def test_a_command_without_a_session_is_for_the_one_that_its_client_does_not_see(named: dict[str, str]) -> None:
    command = {"id": 1, "method": "Target.setDiscoverTargets", "params": {"discover": True}}
    assert judged(command | named, session="HIDDEN") == {"command": command | {"sessionId": "HIDDEN"}}
    assert judged(command | {"sessionId": "A"}, session="HIDDEN") == {"command": command | {"sessionId": "A"}}


@pytest.mark.parametrize("method", ["Target.detachFromTarget", "Target.attachToTarget", "Target.autoAttachRelated"])
def test_a_client_that_knows_our_target_may_not_name_it(method: str) -> None:
    command = {"id": 1, "method": method, "params": {"targetId": "OURS"}, "sessionId": "A"}
    refused = judged(command, target="OURS")["refusal"]
    assert refused["error"] == {"code": -32000, "message": "No target with given id found"}
    assert judged(command, target="OTHER") == judged(command, target="") == {"command": command}


@pytest.mark.parametrize("method", ["Browser.setDownloadBehavior", "Page.setDownloadBehavior"])
def test_downloads_go_to_a_folder_of_the_sessions_whichever_is_named(method: str) -> None:
    named = judged({"id": 1, "method": method, "params": {"behavior": "allow", "downloadPath": "/etc"}})
    assert named["command"]["params"] == {"behavior": "allow", "downloadPath": "/session/downloads"}
    unnamed = judged({"id": 1, "method": method, "params": {"behavior": "deny"}})
    assert unnamed["command"]["params"] == {"behavior": "deny"}


@pytest.mark.parametrize("text", ["", "x", "{", "null", "1", "[]", "[" * 1000, '{"id":1}', '{"id":"1","method":"a"}'])
def test_what_is_no_command_is_answered_with_an_error(text: str) -> None:
    assert judged(text)["refusal"]["error"]["code"] in (-32700, -32600)


@pytest.mark.parametrize("part", [{"params": []}, {"params": None}, {"params": "x"}, {"sessionId": 1}, {"method": 1}])
def test_a_command_with_a_part_of_the_wrong_kind_is_answered_with_an_error(part: dict[str, Any]) -> None:
    assert judged({"id": 1, "method": "Page.enable"} | part)["refusal"]["error"]["code"] == -32600


def test_a_deep_nesting_does_not_end_the_driver() -> None:
    build = 'load(\'commands\').judge(\'{"id":1,"method":"Page.enable","params":{"a":\' + '
    answer = ask(f"Object.keys({build} '['.repeat(1e6) + ']'.repeat(1e6) + '}}}}', given[0]))", RIGHTS)
    assert answer in (["command"], ["refusal"])


def test_a_key_that_is_there_twice_is_passed_on_as_it_was_judged() -> None:
    twice = '{"id":1,"method":"DOM.setFileInputFiles","method":"Page.enable"}'
    assert judged(twice)["command"]["method"] == "Page.enable"


def test_a_cdp_sessions_browser_has_a_profile_and_the_arguments_of_its_like() -> None:
    own = ["--headless", "--disable-features=A", "--user-data-dir=/shared", "--remote-debugging-pipe"]
    own += ["--no-startup-window", "--incognito"]
    arguments = ask("load('devtools').argumentsIn('/s', given[0], given[1])", own, ["--incognito", "--own"])
    assert arguments == [
        "--headless",
        "--disable-features=A",
        "--remote-debugging-pipe",
        "--incognito",  # of BROWSER_ARGS
        "--own",
        "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup",
        "--user-data-dir=/s/profile",
        "about:blank",
    ]


def test_a_driver_whose_launch_of_chromium_is_unknown_does_not_serve() -> None:
    with_name = "{ options: { name: given[0] } }"
    script = f"try {{ load('devtools').needLaunch({with_name}); console.log('1') }} catch (e) {{ console.log('0') }}"
    assert [told(script, name) for name in ("chromium", "firefox")] == [0, 1]


def test_the_next_client_is_let_in_when_the_one_before_has_ended_its_own_session() -> None:
    script = """
      const browser = Object.create(load('devtools').CdpBrowser.prototype);
      browser._connect = () => () => {};
      browser._pipe = { call: async method => {
        if (method === 'Target.detachFromTarget')
          throw new Error('No session with given id');
        return { sessionId: 'HIDDEN' };
      } };
      const late = new Promise(resolve => setTimeout(resolve, 3000, false));
      browser._visit({ pause: () => {} }, Promise.resolve())
        .then(() => Promise.race([browser._left.then(() => true), late]))
        .then(isFree => { console.log(isFree); process.exit(); });
    """
    assert told(script) is True


# A client of the driver's own WebSocket package, and streams in place of a browser's pipe.
PASSING = """
const http = require('http'), { PassThrough } = require('stream');
const { ws, wsServer } = require(given[0]);
const server = new wsServer({ noServer: true }), listener = http.createServer().listen(given[1]);
const input = new PassThrough(), output = new PassThrough({ highWaterMark: 65536 });
const judge = text => text === 'refused' ? { refusal: 'no' } : { command: text };
let pipe;
const heard = [], client = new ws(`ws+unix:${given[1]}:/`);
const done = value => { console.log(JSON.stringify(value)); process.exit(); };
const until = (condition, then) => condition() ? then() : setTimeout(until, 5, condition, then);
client.on('message', data => heard.push(data.length > 100 ? data.length : String(data)));
listener.on('upgrade', (request, socket, head) => server.handleUpgrade(request, socket, head, accepted => {
  pipe = new (load('pipe').Pipe)(input, output);
  pipe.connect(accepted, judge);
  client.on('open', () => test(accepted));
}));
"""


def passed(test: str, folder: Path) -> Any:
    """Run a test of what passes between a client and streams."""
    bundle = str(DRIVER / "package" / "lib" / "utilsBundle.js")
    return told(f"{PASSING} function test(accepted) {{ {test} }}", bundle, str(folder / "socket"))


def test_messages_of_the_browser_are_told_apart_wherever_they_are_cut(tmp_path: Path) -> None:
    script = r"""
      for (const part of ['{"a"', ':1}\0{', '"b":2', '}', '\0\0{"c"', ':3}\0'])
        output.write(part);
      until(() => heard.length === 4, () => done(heard));
    """
    assert passed(script, tmp_path) == ['{"a":1}', '{"b":2}', "", '{"c":3}']


def test_a_large_message_comes_as_one_and_an_answer_waits_for_its_end(tmp_path: Path) -> None:
    script = r"""
      const part = Buffer.alloc(2 ** 20, 'x');
      for (let i = 0; i < 40; i++) output.write(part);
      until(() => accepted._sender._firstFragment === false, () => client.send('refused'));
      accepted.on('message', () => setTimeout(() => output.write('x\0{"after":1}\0'), 50));
      until(() => heard.length === 3, () => done(heard));
    """
    assert passed(script, tmp_path) == [40 * 2**20 + 1, "no", '{"after":1}']


def test_commands_come_to_the_browser_one_by_one(tmp_path: Path) -> None:
    script = r"""
      client.send('one'); client.send(Buffer.from('two'));
      let got = '';
      input.on('data', data => got += data);
      until(() => got.length >= 8, () => done(got.split('\0')));
    """
    assert passed(script, tmp_path) == ["one", "two", ""]


def test_a_browser_that_does_not_read_stops_its_client_until_it_does(tmp_path: Path) -> None:
    script = r"""
      let pings = 0;
      client.on('ping', () => pings++);
      for (let i = 0; i < 300; i++) client.send('x'.repeat(2 ** 16));
      until(() => pings, () => {
        const waiting = client.bufferedAmount > 2 ** 20 && input.readableLength < 2 ** 20;
        let size = 0;
        input.on('data', data => size += data.length);
        until(() => size === 300 * (2 ** 16 + 1), () => done(waiting));
      });
    """
    assert passed(script, tmp_path) is True


def test_a_client_that_does_not_read_stops_its_browser(tmp_path: Path) -> None:
    script = r"""
      client.pause();
      const message = Buffer.concat([Buffer.alloc(2 ** 18, 'x'), Buffer.from([0])]);
      let written = 0;
      const write = () => ++written < 100 && (output.write(message) ? write() : output.once('drain', write));
      write();
      until(() => output.isPaused() && output.writableNeedDrain, () => {
        const stopped = written < 50;
        client.resume();
        until(() => heard.length === 99, () => done(stopped));
      });
    """
    assert passed(script, tmp_path) is True


def test_a_client_that_does_not_read_its_refusals_is_not_read(tmp_path: Path) -> None:
    script = r"""
      client.pause();
      for (let i = 0; i < 5e5; i++) client.send('refused');
      until(() => accepted.isPaused, () => {
        const waiting = client.bufferedAmount > 0 && accepted.bufferedAmount < 2 ** 23;
        client.resume();
        until(() => heard.length === 5e5, () => done(waiting));
      });
    """
    assert passed(script, tmp_path) is True


def test_a_client_that_goes_while_it_waits_is_noticed(tmp_path: Path) -> None:
    script = r"""
      for (let i = 0; i < 300; i++) client.send('x'.repeat(2 ** 16));
      accepted.on('error', () => {});
      accepted._socket.once('close', () => done('closed'));
      until(() => accepted.isPaused, () => client.terminate());
    """
    assert passed(script, tmp_path) == "closed"


# A browser's pipe with our session S, whose target is T, as Chromium answers.
OPENED = r"""
const { PassThrough } = require('stream'), input = new PassThrough(), output = new PassThrough();
const pipe = new (load('pipe').Pipe)(input, output);
const say = message => output.write(`${typeof message === 'string' ? message : JSON.stringify(message)}\0`);
const soon = () => new Promise(resolve => setImmediate(resolve));
const OURS = 2 ** 31 - 2;  // the id of the first command after the session is there
const told = [], client = { on: () => {}, _socket: { once: () => {} }, send: data => told.push(String(data)) };
(async () => {
  const opened = pipe.open();
  say({ method: 'Target.attachedToTarget', params: { sessionId: 'S', targetInfo: { targetId: 'T' } } });
  say({ id: OURS + 1, result: { sessionId: 'S' } });
  await opened;
  await test();
})();
"""


def opened(test: str, *arguments: Any) -> Any:
    """Run a test of a pipe on which we have a session of our own."""
    return told(f"async function test() {{ {test} }} {OPENED}", *arguments)


@pytest.mark.parametrize("rest", ['},"sessionId":"A"}', "}}}", ',"text":"' + "x" * 5000 + '"}}'])
def test_an_answer_to_a_client_is_not_taken_for_our_own(rest: str) -> None:
    script = r"""
      pipe.call('Browser.getVersion').then(result => console.log(JSON.stringify(result)));
      say(`{"id":${OURS},"result":{"no":1${given[0]}`);
      say({ id: OURS, result: { yes: 1 }, sessionId: 'S' });
    """
    assert opened(script, rest) == {"yes": 1}


def test_a_client_is_told_nothing_of_our_sessions_and_we_nothing_of_its_own() -> None:
    script = r"""
      pipe.connect(client, text => ({ command: text }));
      const attached = pipe.attach('page');
      say({ method: 'Target.attachedToTarget', params: { sessionId: 'P' }, sessionId: 'S' });
      say({ id: OURS, result: { sessionId: 'P' }, sessionId: 'S' });
      const events = [], page = await attached;
      page.on('event', event => events.push(event));
      for (const sessionId of ['P', 'A', undefined])
        say({ method: 'Page.screencastFrame', params: {}, sessionId });
      say({ id: 2, result: {} });
      await soon();
      console.log(JSON.stringify({ told, events }));
    """
    seen = opened(script)
    assert [json.loads(text).get("sessionId", "root") for text in seen["told"]] == ["A", "root", "root"]
    assert seen["events"] == [{"method": "Page.screencastFrame", "params": {}}]


def test_a_client_that_asks_for_targets_of_all_types_does_not_find_ours() -> None:
    script = r"""
      pipe.connect(client, text => ({ command: text }));
      for (const targetId of ['T', 'U'])
        say({ method: 'Target.targetCreated', params: { targetInfo: { targetId } } });
      say({ id: 7, result: { targetInfos: [{ targetId: 'T' }, { targetId: 'U' }] }, sessionId: 'A' });
      say({ method: 'Runtime.consoleAPICalled', params: { text: 'T' }, sessionId: 'A' });
      await soon();
      console.log(JSON.stringify(told));
    """
    created, listed, other = (json.loads(text) for text in opened(script))
    assert created["params"] == {"targetInfo": {"targetId": "U"}}
    assert listed == {"id": 7, "result": {"targetInfos": [{"targetId": "U"}]}, "sessionId": "A"}
    assert other["params"] == {"text": "T"}


@pytest.mark.parametrize(
    "result",
    [
        {"result": {"type": "object", "value": {"result": {"targetInfos": [1]}}}},
        {"targetInfos": [1], "more": {}},
        {"targetInfos": {"length": 1}},
    ],
)
def test_an_answer_that_only_resembles_a_list_of_targets_reaches_its_client(result: dict[str, Any]) -> None:
    script = r"""
      pipe.connect(client, text => ({ command: text }));
      for (const message of [{ id: 7, result: given[0], sessionId: 'A' }, { id: 8, result: {} }])
        say(message);
      await soon();
      console.log(JSON.stringify(told));
    """
    first, second = (json.loads(text) for text in opened(script, result))
    assert first == {"id": 7, "result": result, "sessionId": "A"}
    assert second == {"id": 8, "result": {}}


def test_a_message_that_cannot_be_read_costs_the_others_nothing() -> None:
    script = r"""
      pipe.connect(client, text => ({ command: text }));
      output.write('{"id":1,"result":{}}\0{"id":7,"result":{"targetInfos":[}\0{"id":2,"result":{}}\0{"id":3,');
      output.write('"result":{}}\0');
      await soon();
      console.log(JSON.stringify(told));
    """
    assert [json.loads(text)["id"] for text in opened(script)] == [1, 2, 3]


# A command of ours to a page's session P.
TO_A_PAGE = r"""
  pipe.connect(client, text => ({ command: text }));
  const attached = pipe.attach('page');
  say({ id: OURS, result: { sessionId: 'P' }, sessionId: 'S' });
  const page = await attached, ends = [];
  const send = () => page.send('Page.enable').catch(error => ends.push(error.message));
  const gone = { method: 'Target.detachedFromTarget', params: { sessionId: 'P' }, sessionId: 'S' };
  const unknown = id => ({ id, error: { code: -32001, message: 'Session with given id not found.' } });
  const tell = async () => { await soon(); console.log(JSON.stringify({ told, ends })); };
"""


def test_an_answer_from_no_session_to_a_command_of_ours_does_not_reach_the_client() -> None:
    script = "send(); say(unknown(OURS - 1)); say(unknown(1)); say({ id: OURS - 1, result: {} }); await tell();"
    seen = opened(f"{TO_A_PAGE} {script}")
    assert [json.loads(text)["id"] for text in seen["told"]] == [1, 2**31 - 3]
    assert seen["ends"] == ["Session with given id not found."]


@pytest.mark.parametrize("order", ["send(); say(gone);", "say(gone); await soon(); send();"])
def test_a_command_to_an_ended_session_fails_and_its_late_answer_stays_ours(order: str) -> None:
    late = "await soon(); if (pipe._calls.size) say(unknown(OURS - 1)); await tell();"
    assert opened(f"{TO_A_PAGE} {order} {late}") == {"told": [], "ends": ["The DevTools session has ended."]}


def test_a_session_that_ends_as_it_begins_is_not_kept() -> None:
    script = r"""
      const attached = pipe.attach('page');
      const answer = { id: OURS, result: { sessionId: 'P' }, sessionId: 'S' };
      const gone = { method: 'Target.detachedFromTarget', params: { sessionId: 'P' }, sessionId: 'S' };
      output.write(`${JSON.stringify(answer)}\0${JSON.stringify(gone)}\0`);
      const end = await (await attached).send('Page.enable').catch(error => error.message);
      console.log(JSON.stringify([end, pipe._sessions.size]));
    """
    assert opened(script) == ["The DevTools session has ended.", 1]


def test_the_end_of_our_session_of_the_browser_is_noticed_and_not_told() -> None:
    script = r"""
      pipe.connect(client, text => ({ command: text }));
      let isLost = false;
      pipe.lost.then(() => isLost = true);
      const seen = [];
      for (const sessionId of ['A', 'S']) {
        say({ method: 'Target.detachedFromTarget', params: { sessionId, targetId: 'T' } });
        await soon();
        seen.push(isLost);
      }
      const end = await pipe.call('Browser.getVersion').catch(error => error.message);
      console.log(JSON.stringify({ seen, end, told: told.map(text => JSON.parse(text).params.sessionId) }));
    """
    assert opened(script) == {"seen": [False, True], "end": "The DevTools session has ended.", "told": ["A"]}
