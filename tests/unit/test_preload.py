"""What the driver's preload decides, without a driver: asked of its modules in the driver's own node."""

from __future__ import annotations

import base64
import re
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.preload import DRIVER, ask, told
from workers.driver import PRELOAD
from workers.reasons import last_words

LIBRARY = DRIVER / "package" / "lib"


def protocol(library: Path) -> dict[str, dict[str, str]]:
    """Return the methods of Playwright's protocol by type, with the text that describes their parameters."""
    bundle = library / "coreBundle.js"  # up to 1.59 there is none
    modules = [library / "protocol" / "validator.js", *(library / "server" / "dispatchers").glob("*.js")]
    text = "\n".join(file.read_text() for file in ([bundle] if bundle.exists() else modules))
    types = set(re.findall(r'super\([^"\n]*"(\w+)"', text)) | {
        "Playwright",
        "ElementHandle",
        "JSHandle",
        "PageAgent",
        "WebSocketRoute",
    }
    methods: dict[str, dict[str, str]] = {}
    for name, parameters in re.findall(r"scheme\.(\w+)Params = (.*?);\n", text, re.DOTALL):
        kind = max((kind for kind in types if name.startswith(kind)), key=len, default="")
        method = name[len(kind) :]
        if kind and method:
            methods.setdefault(kind, {})[method[0].lower() + method[1:]] = parameters
    return methods


# Types that the driver does not have here: of the client alone, or of calls that the grid refuses.
ELSEWHERE = {
    "AndroidDevice", "AndroidSocket", "DebugController", "ElectronApplication", "JsonPipe", "LocalUtils", "PageAgent",
}  # fmt: skip


def test_every_method_of_the_drivers_protocol_was_looked_at() -> None:
    methods = {kind: sorted(names) for kind, names in protocol(LIBRARY).items() if kind not in ELSEWHERE}
    assert {"Browser", "BrowserContext", "Page", "Frame", "Artifact", "CDPSession"} <= set(methods)
    unknown = ask("Object.entries(given[0]).flatMap(([t, ms]) => ms.filter(m => !load('calls').knows(t, m)))", methods)
    assert unknown == []


def test_every_number_of_clicks_or_steps_has_a_limit() -> None:
    counts = [
        (kind, method, name)
        for kind, methods in protocol(LIBRARY).items()
        for method, parameters in methods.items()
        for name in re.findall(r"\b(steps|clickCount): ", parameters)
        if kind not in ELSEWHERE
    ]
    assert ("Frame", "dblclick", "steps") in counts
    unlimited = "given[0].filter(([type, method, name]) => !load('parameters').whyNot(type, method, { [name]: 1e9 }))"
    assert ask(unlimited, counts) == []


def test_what_the_driver_does_not_have_here_is_not_known() -> None:
    kinds = ["AndroidDevice", "DebugController", "ElectronApplication", "JsonPipe", "LocalUtils"]
    assert ask("given[0].filter(type => load('calls').knows(type, 'close'))", kinds) == []
    assert ask("['constructor', '__proto__', 'toString'].filter(m => load('calls').knows('Browser', m))") == []


@pytest.mark.parametrize(
    "address",
    ["https://a/", "http://a", "about:blank", "about:blank#x", "about:srcdoc", "data:text/html,file:", "blob:http://a/1",
     "view-source:https://a/", "javascript:1", "no scheme", "", "view-source:"],
)  # fmt: skip
def test_addresses_of_the_web_are_opened(address: str) -> None:
    assert ask("load('urls').whyNot(given[0], false) ?? null", address) is None


@pytest.mark.parametrize(
    "address",
    [
        "file:///a",
        "FILE:/a",
        "\x00 \x1ffile:///a",
        "f\ti\nl\re:///a",
        "view-source:file:///a",
        "view-source: FILE:///a",
    ],
)
def test_files_are_opened_only_where_they_are_allowed(address: str) -> None:
    assert "does not open file: addresses" in ask("load('urls').whyNot(given[0], {})", address)
    assert ask("load('urls').whyNot(given[0], { allowFiles: true }) ?? null", address) is None


@pytest.mark.parametrize(
    "address",
    [
        "chrome://a",
        "about:config",
        "about:",
        "filesystem:file:///a",
        "jar:file:///a",
        "DevTools://a",
        "view-source:devtools://a",
        "chrome-extension:a",
        "mailto:a@b",
        "x-y:z",
        "view-source:tel:1",
        "ftp://a",
    ],
)
def test_no_other_addresses_are_opened(address: str) -> None:
    refusal = ask("load('urls').whyNot(given[0], { allowFiles: true, isOwn: true })", address)
    assert re.match(r"This grid opens no [a-z-]+: addresses\. ", refusal)


def test_a_session_whose_folder_could_not_be_made_gets_it_when_there_is_room(tmp_path: Path) -> None:
    """It is a missing folder that keeps it from being made here, and may be a full disk elsewhere."""
    calls = """(() => {
      const { placing, watchBrowser } = load('sessions');
      const options = { artifactsDir: given[0], tracesDir: given[0], downloadsPath: given[0] };
      watchBrowser({ options, doCreateNewContext() {}, downloadCreated() {} });
      const connection = {}, fs = require('fs');
      const call = () => placing(connection, 'newContext', {}, () => fs.existsSync(options.artifactsDir));
      try { call() } catch { fs.mkdirSync(given[0]) }
      return call();
    })()"""
    assert ask(calls, str(tmp_path / "artifacts")) is True


def test_the_listeners_of_a_client_that_has_gone_are_removed() -> None:
    script = """
      const { EventEmitter } = require('events'), browser = new EventEmitter(), own = () => {};
      browser.on('disconnected', own);
      const forget = load('sessions').trackListeners(browser, 'disconnected');
      const counts = [];
      for (let client = 0; client < 2; client++) {
        browser.on('disconnected', () => {}).on('disconnected', () => {});
        forget();
        counts.push(browser.listeners('disconnected').map(one => one === own));
      }
      console.log(JSON.stringify(counts));
    """
    assert told(script) == [[True], [True]]


def test_a_session_is_known_until_its_connection_closes_unless_it_is_kept() -> None:
    script = """
      const { EventEmitter } = require('events'), { begin, keep, named } = load('sessions');
      const kept = keep(new Promise(() => {}));
      const seen = [undefined, { session: kept }].map((browser, number) => {
        const socket = new EventEmitter(), name = `session-${number}`, told = [];
        begin({}, { browser, name, socket });
        named(name).whenOver.add(() => told.push('over'));
        const before = Boolean(named(name));
        socket.emit('close');
        return [before, Boolean(named(name)), told.length];
      });
      console.log(JSON.stringify(seen));
    """
    assert told(script) == [[True, False, 1], [True, True, 0]]


def test_a_kept_sessions_newest_client_takes_over_even_from_one_that_reads_nothing() -> None:
    script = """
      const { EventEmitter } = require('events'), kept = load('kept'), served = [];
      const socket = says => Object.assign(new EventEmitter(), {
        bytesRead: 0, bytesWritten: 0, destroyed: false, sent: [],
        write(data) { this.sent.push(data.subarray(4).toString()); if (says === 'reads') this.destroy(); },
        destroy() { this.destroyed = true; process.nextTick(() => this.emit('close')); },
      });
      const holder = Object.assign(new EventEmitter(), { send() {}, close() {} });
      const wsServer = class extends EventEmitter { handleUpgrade(request, from, head, take) { take(holder); } };
      kept.install({ wsServer });
      const ended = new Promise(() => {}), serve = (request, from) => served.push(from);
      const browser = { ended, keep() {}, kill() {}, serve };
      kept.hold({ headers: { keep: 's 0' } }, socket(), null, browser);
      const clients = ['reads', 'is gone', 'reads', 'reads'].map(socket);
      const visit = client => kept.visit({ headers: { visit: 's 0' } }, client, null);
      (async () => {
        for (const client of clients.slice(0, 2))
          await visit(client);
        await Promise.all(clients.slice(2).map(visit));
        const order = served.map(one => clients.indexOf(one));
        console.log(JSON.stringify([order, clients.map(one => one.destroyed), clients.map(one => one.sent.length)]));
        process.exit();
      })();
    """
    assert told(script) == [[0, 1, 2, 3], [True, True, True, False], [1, 1, 1, 0]]


def test_pages_outside_of_the_contexts_of_a_browser_of_ones_own_download_nothing(tmp_path: Path) -> None:
    sent = """(() => {
      const sent = [], options = { artifactsDir: given[0], tracesDir: given[0], downloadsPath: given[0] };
      const _session = { send: async (...command) => sent.push(command) };
      const browser = { options, _session, doCreateNewContext() {}, downloadCreated() {} };
      load('sessions').watchBrowser(browser, {}, given[1]);
      return sent;
    })()"""
    assert ask(sent, str(tmp_path), False) == [["Browser.setDownloadBehavior", {"behavior": "deny"}]]
    assert ask(sent, str(tmp_path), True) == []


def png(width: int, height: int, interlaced: bool = False, before: bytes = b"") -> str:
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, interlaced)
    chunks = before + struct.pack(">I", len(header)) + b"IHDR" + header + bytes(4)
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunks).decode()


def webp(kind: bytes, header: bytes) -> str:
    return base64.b64encode(b"RIFF" + bytes(4) + b"WEBP" + kind + bytes(4) + header.ljust(14, b"\0")).decode()


SIDE = 16383  # the longest that WebP has
LARGE = {
    "PNG": png(9000, 9000),
    "PNG for a slower comparator": png(3000, 3000),
    "second header of a PNG": png(9000, 9000, before=base64.b64decode(png(1, 1))[8:]),
    "VP8": webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", SIDE, SIDE)),
    "VP8L": webp(b"VP8L", b"\x2f" + struct.pack("<I", (SIDE - 1) | (SIDE - 1) << 14)),
    "VP8X": webp(b"VP8X", bytes(4) + (SIDE - 1).to_bytes(3, "little") * 2),
}


@pytest.mark.parametrize("picture", LARGE.values(), ids=LARGE)
def test_a_picture_that_would_take_all_memory_is_not_compared(picture: str) -> None:
    assert "up to 8 megapixels" in ask("load('pictures').whyNot('ssim-cie94', given[0])", picture)


def test_pictures_are_compared_if_a_frame_with_room_for_both_is_small_enough() -> None:
    said = "Pictures are compared up to 25 megapixels on this grid. These have 6000x6000 pixels."
    assert ask("load('pictures').whyNot('', ...given[0])", [png(6000, 1), png(1, 6000)]) == said
    assert ask("load('pictures').whyNot('', ...given[0]) ?? ''", [png(6000, 1), png(6000, 4000)]) == ""


def test_other_pictures_are_compared_unless_what_they_inflate_to_has_no_bound() -> None:
    usual = [png(1280, 19_000), webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 1280, SIDE)), "", "YQ==", None]
    assert ask("given[0].filter(picture => load('pictures').whyNot('', picture))", usual) == []
    assert "interlaced" in ask("load('pictures').whyNot('', given[0])", png(10, 10, interlaced=True))


def test_a_title_names_few_parameters_and_none_inside_of_others() -> None:
    message = {
        "id": 1,
        "method": "click",
        "metadata": {"title": "Click {selector} or {a.b.selector}" + "{selector}" * 1000},
    }
    title = ask("(load('messages').flaw(given[0]), given[0].metadata.title)", message)
    assert title.startswith("Click {selector} or {selector}{selector}")
    assert len(title) <= 1000


def survivor(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a node that survives errors that nobody catches; it is told to as often as a driver."""
    script = f"for (const _ of [1, 2]) require('{PRELOAD.parent}/uncaught.js').survive(); {code}"
    return subprocess.run([DRIVER / "node", "-e", script], capture_output=True, text=True, check=False)


def test_a_listener_that_fails_costs_one_line_that_is_not_taken_for_the_last_words() -> None:
    done = survivor("Promise.reject(new Error('a\\nError: a client says so' + 'x'.repeat(1e4))); Promise.reject(null)")
    assert done.returncode == 0
    long, short = done.stderr.splitlines()
    assert long.startswith('Warning: a listener failed: "a\\nError: a client says so')
    assert len(long) < 400
    assert short == 'Warning: a listener failed: "null"'
    assert last_words([long, short]) == ""


def test_a_timer_or_stream_that_fails_costs_one_line_too() -> None:
    done = survivor("setTimeout(() => { throw new Error('ENOSPC') }); require('fs').createReadStream('/none')")
    assert done.returncode == 0
    one, other = sorted(done.stderr.splitlines())
    assert one.startswith('Warning: nobody caught an error: "ENOENT')
    assert other == 'Warning: nobody caught an error: "ENOSPC"'


@pytest.mark.parametrize(
    "method", ["Target.getTargets", "Page.setDownloadBehavior", "Nothing.known", "Page", "", "Page.x.y"]
)
def test_devtools_commands_that_are_not_listed_are_refused(method: str) -> None:
    assert "isolation=browser" in ask("load('cdp').whyNot(given[0], {})", method)


@pytest.mark.parametrize(
    "method",
    [
        "Browser.setDownloadBehavior",
        "Browser.executeBrowserCommand",
        "Cast.startTabMirroring",
        "DOM.setFileInputFiles",
        "Extensions.loadUnpacked",
        "PWA.install",
        "Page.setDownloadBehavior",
        "Target.exposeDevToolsProtocol",
        "Target.openDevTools",
        "Target.sendMessageToTarget",
        "Target.setRemoteLocations",
        "Tethering.bind",
        "Nothing.known",
    ],
)
def test_devtools_of_a_browser_of_ones_own_do_not_reach_the_machine(method: str) -> None:
    said = ask("load('cdp').whyNot(given[0], {}, { isOwn: true })", method)
    assert said.startswith(f"{method} reaches beyond the browser, to the grid's machine.")


def test_other_devtools_of_a_browser_of_ones_own_are_allowed() -> None:
    methods = ["Target.getTargets", "Target.attachToTarget", "Browser.close", "Storage.getCookies", "Tracing.start"]
    whole = "given[0].filter(method => load('cdp').whyNot(method, { browserContextId: '1' }, { isOwn: true }))"
    assert ask(whole, methods) == []
    drag = "load('cdp').whyNot('Input.dispatchDragEvent', { data: { files: ['/a'] } }, { isOwn: true })"
    assert "Drag data must not name files" in ask(drag)


def test_what_a_client_wishes_is_merged_into_the_drivers_options() -> None:
    usual = {"args": ["--a"], "executablePath": "/shell", "channels": {"chrome": "/chrome"}, "proxy": None}
    usual["clientArgs"] = ["--b"]
    merge = "load('launch_options').merge(given[0], given[1])"
    wished = {"options": {"args": ["--a", "--b=1"], "channel": "chrome", "slowMo": 5}, "network": ""}
    assert ask(merge, wished, usual) == {
        "args": ["--a", "--a", "--b=1"],
        "channel": "chrome",
        "executablePath": "/chrome",
        "proxy": None,
        "slowMo": 5,
    }


def test_a_sessions_own_browser_has_further_arguments_unless_it_is_another_program() -> None:
    usual = {"args": ["--a"], "ownArgs": ["--own"], "executablePath": "/shell", "channels": {"chrome": "/chrome"}}
    merged = "load('launch_options').merge({ options: given[0], network: '' }, given[1]).args"
    assert ask(merged, {"args": ["--a"]}, usual) == ["--a", "--own", "--a"]
    assert ask(merged, {"channel": "chrome"}, usual) == ["--a"]


@pytest.mark.parametrize(
    ("options", "network", "sentence"),
    [
        ({"channel": "msedge"}, "", "This worker has no msedge. It has chrome."),
        ({"proxy": {"server": "http://a"}}, "*", "exposeNetwork takes the place of a proxy"),
        ({"args": ["--a", "--b=1"]}, "", "This worker's appliance allows no --b=1. Its LAUNCH_ARGS: --a."),
    ],
)
def test_what_a_worker_cannot_fulfil_is_refused(options: dict[str, Any], network: str, sentence: str) -> None:
    merge = "load('launch_options').merge(given[0], given[1])"
    attempt = f"(() => {{ try {{ {merge} }} catch (error) {{ return error.message }} }})()"
    said = ask(
        attempt, {"options": options, "network": network}, {"channels": {"chrome": "/chrome"}, "clientArgs": ["--a"]}
    )
    assert said.startswith(sentence)


CRASHED = """
class Session {
  crashed = false;
  _markAsCrashed() { this.crashed = true; }
  _onMessage(message) { this.heard = message.method; }
}
const [pages, clients] = [new Session(), Object.assign(new Session(), { _eventListener: () => {} })];
const seen = [];
load('crashes').noteCrashes({ options: { name: 'chromium' }, _session: new Session() });
for (const method of ['Inspector.detached', 'Inspector.targetCrashed']) {
  pages._onMessage({ method });
  clients._onMessage({ method });
  seen.push([pages, clients].map(({ crashed, heard }) => [crashed, heard]));
}
console.log(JSON.stringify(seen));
"""


def test_a_page_that_crashes_while_it_is_made_fails_the_call_that_makes_it() -> None:
    before, after = told(CRASHED)
    assert before == [[False, "Inspector.detached"]] * 2
    crashed = "Inspector.targetCrashed"
    assert after == [[True, crashed], [False, crashed]], "a client's own DevTools session may load the page again"


FAILING_PAGES = """
(async () => {
  const clipboard = load('clipboard'), session = { hasUsedClipboard: true, pages: () => [] };
  clipboard.usePages(async () => { throw Object.assign(new Error(''), { type: given[0] }); });
  await clipboard.emptyAtTheEnd(session);
  const said = [];
  for (const _ of [1, 2])
    await clipboard.delay(session, 'Browser', 'newContext').catch(error => said.push(error.message));
  clipboard.usePages(async use => true);
  await clipboard.delay(session, 'Browser', 'newContext');
  said.push(clipboard.delay(session, 'Browser', 'newContext') ?? 'no delay');
  console.log(JSON.stringify(said));
})()
"""


@pytest.mark.parametrize("kind", ["crashed", "closed"])
def test_a_context_that_the_clipboard_delays_for_ever_is_refused_in_words(kind: str) -> None:
    cause = {"crashed": "Target crashed", "closed": "Target page, context or browser has been closed"}[kind]
    refused = f"The clipboard of an earlier session cannot be emptied: {cause}"
    assert told(FAILING_PAGES, kind) == [refused, refused, "no delay"]


@pytest.mark.parametrize(
    ("arguments", "disabled", "enabled"),
    [
        (["--disable-features=A,B", "--enable-features=C", "--enable-features=D:x/1"], "A,B", "C,D:x/1"),
        (["--enable-features=C", "--disable-features=A", "--disable-features=D<Trial,,E"], "A,D<Trial,E", "C"),
        (["--disable-features=A,B", "--enable-features=A:x/1"], "B", "A:x/1"),
        (["--enable-features=A:x/1", "--enable-features=A:x/2", "--disable-features=B"], "B", "A:x/2"),
    ],
)
def test_lists_of_features_are_joined_and_the_last_word_on_a_feature_counts(
    arguments: list[str], disabled: str, enabled: str
) -> None:
    found = ask("load('features').joined(given[0])", ["--headless", *arguments, "about:blank"])
    assert found == [f"--disable-features={disabled}", f"--enable-features={enabled}", "--headless", "about:blank"]


def test_arguments_without_a_feature_stay_as_they_are() -> None:
    assert ask("load('features').joined(given[0])", ["-a", "b"]) == ["-a", "b"]


LIKE_1_58 = {  # what the preload needs of a driver without a bundle, as it is there
    "inprocess": "module.exports = {}",
    "utils/isomorphic/urlMatch": "exports.urlMatches = () => true",
    "remote/playwrightServer": "",
    "server/utils/socksProxy": "",
    "server/dispatchers/dispatcher": "",
    "server/dispatchers/playwrightDispatcher": "",
    "server/browser": "exports.Browser = class { _downloadCreated(page) { return `file of ${page}`; } }",
    "server/browserContext": "exports.BrowserContext = class { close(options) { return options.reason; } }",
    "server/chromium/crConnection": "exports.CDPSession = class { send(method) { return method; } detach() {} }",
    "server/frames": "exports.Frame = class { _utilityContext() {} evaluateExpression(text) { return text; } }",
}


def test_the_modules_of_an_older_driver_are_used_like_the_bundle_of_a_later_one(tmp_path: Path) -> None:
    _write_modules(tmp_path, LIKE_1_58)
    said = told(
        """
        const { iso, server: { nullProgress } } = load('modules').load(given[0]);
        const of = (name, kind) => new (require(`${given[0]}/server/${name}.js`)[kind])();
        console.log(JSON.stringify([
          of('browserContext', 'BrowserContext').close(nullProgress, { reason: 'told' }),
          of('browserContext', 'BrowserContext').close({ reason: 'of the driver' }),
          of('frames', 'Frame').evaluateExpression(nullProgress, '1 + 1'),
          of('browser', 'Browser')._downloadCreated('page'),
          iso.deserializeURLMatch({ glob: '**' }),
          iso.deserializeURLMatch({ regexSource: 'a', regexFlags: 'i' }).flags,
        ]));""",
        str(tmp_path),
    )
    assert said == ["told", "of the driver", "1 + 1", "file of page", "**", "i"]


def test_an_older_driver_that_lacks_a_method_is_not_served(tmp_path: Path) -> None:
    _write_modules(tmp_path, LIKE_1_58 | {"server/browser": "exports.Browser = class {}"})
    with pytest.raises(subprocess.CalledProcessError) as raised:
        told("load('modules').load(given[0])", str(tmp_path))
    assert "the method _downloadCreated of this Playwright version is not as expected" in raised.value.stderr


def _write_modules(folder: Path, modules: dict[str, str]) -> None:
    for name, text in modules.items():
        file = folder / f"{name}.js"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
