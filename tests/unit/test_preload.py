"""What the driver's preload decides, without a driver: asked of its modules in the driver's own node."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from appliance import browsers
from appliance.config import Settings
from workers.driver import PRELOAD

DRIVER = browsers.driver_folder(Settings())
BUNDLE = DRIVER / "package" / "lib" / "coreBundle.js"


def ask(expression: str, *arguments: Any) -> Any:
    """Evaluate an expression in node, with the preload's modules as functions of their names."""
    script = f"const load = name => require('{PRELOAD.parent}/' + name + '.js'); const given = {json.dumps(arguments)};"
    command = [DRIVER / "node", "-e", f"{script} console.log(JSON.stringify({expression}))"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def protocol(bundle: Path) -> dict[str, set[str]]:
    """Return the methods of Playwright's protocol by type, as the driver's validators name them."""
    text = bundle.read_text()
    types = set(re.findall(r'super\([^"\n]*"(\w+)"', text)) | {
        "Playwright",
        "ElementHandle",
        "JSHandle",
        "WebSocketRoute",
    }
    methods: dict[str, set[str]] = {}
    for name in re.findall(r"scheme\.(\w+)Params = ", text):
        kind = max((kind for kind in types if name.startswith(kind)), key=len, default="")
        method = name[len(kind) :]
        if kind and method:
            methods.setdefault(kind, set()).add(method[0].lower() + method[1:])
    return methods


def test_every_method_of_the_drivers_protocol_was_looked_at() -> None:
    elsewhere = {"AndroidDevice", "AndroidSocket", "DebugController", "ElectronApplication", "JsonPipe", "LocalUtils"}
    methods = {kind: sorted(names) for kind, names in protocol(BUNDLE).items() if kind not in elsewhere}
    assert {"Browser", "BrowserContext", "Page", "Frame", "Artifact", "CDPSession"} <= set(methods)
    unknown = ask("Object.entries(given[0]).flatMap(([t, ms]) => ms.filter(m => !load('calls').knows(t, m)))", methods)
    assert unknown == []


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
    assert "does not open file: addresses" in ask("load('urls').whyNot(given[0], false)", address)
    assert ask("load('urls').whyNot(given[0], true) ?? null", address) is None


@pytest.mark.parametrize(
    "address",
    ["chrome://a", "about:config", "about:", "filesystem:file:///a", "jar:file:///a", "devtools://a", "x-y:z"],
)
def test_pages_of_the_browser_are_not_opened(address: str) -> None:
    assert "isolation=browser" in ask("load('urls').whyNot(given[0], true)", address)


@pytest.mark.parametrize(
    "method", ["Target.getTargets", "Page.setDownloadBehavior", "Nothing.known", "Page", "", "Page.x.y"]
)
def test_devtools_commands_that_are_not_listed_are_refused(method: str) -> None:
    assert "isolation=browser" in ask("load('cdp').whyNot(given[0], {}, false)", method)
