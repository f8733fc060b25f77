"""A session does not read or write files of the grid's machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, Playwright

from tests.support.appliance import Appliance, StartGrid
from tests.support.raw_client import RawClient

SENTENCE = "This grid does not open file: addresses"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret.txt"
    file.write_text("SECRET")
    return file


@pytest.fixture(scope="module")
def browser(grid: Appliance, level: str, clients: Playwright) -> Browser:
    return clients.chromium.connect(grid.endpoint + level)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_context() as context:
        yield context.new_page()


@pytest.mark.parametrize(
    "form",
    ["file://{}", "file:{}", "FILE://{}", "FiLe:///{}", " \x01file://{}", "fi\tle\n://{}", "file://localhost{}",
     "view-source:file://{}", "View-Source:FILE://{}", "view-source:view-source:file://{}"],
)  # fmt: skip
def test_no_spelling_of_a_file_address_is_opened(page: Page, secret: Path, form: str) -> None:
    with pytest.raises(Error, match=SENTENCE):
        page.goto(form.format(secret))
    assert "SECRET" not in page.content()


@pytest.mark.parametrize("address", ["chrome://version", "about:version", "devtools://devtools/bundled/inspector.html"])
def test_the_browsers_own_pages_are_not_opened(page: Page, address: str) -> None:
    with pytest.raises(Error, match=r"This grid opens no [a-z]+: addresses"):
        page.goto(address)


def test_a_base_url_does_not_lead_to_files(browser: Browser, secret: Path) -> None:
    with browser.new_context(base_url=f"file://{secret.parent}/") as context, pytest.raises(Error, match=SENTENCE):
        context.new_page().goto(secret.name)


def test_devtools_do_not_lead_to_files(page: Page, site: str, secret: Path) -> None:
    page.goto(site)
    cdp = page.context.new_cdp_session(page)
    resource = {"url": f"file://{secret}", "options": {"disableCache": True, "includeCredentials": False}}
    for method, params in (("Page.navigate", {"url": f"file://{secret}"}), ("Network.loadNetworkResource", resource)):
        with pytest.raises(Error, match=SENTENCE):
            cdp.send(method, params)
    document = cdp.send("DOM.getDocument")["root"]["nodeId"]
    node = cdp.send("DOM.querySelector", {"nodeId": document, "selector": "input"})["nodeId"]
    with pytest.raises(Error, match=r"(isolation=browser|the grid's machine).*set_input_files"):
        cdp.send("DOM.setFileInputFiles", {"files": [str(secret)], "nodeId": node})
    data = {"items": [], "files": [str(secret)], "dragOperationsMask": 1}
    with pytest.raises(Error, match="must not name files"):
        cdp.send("Input.dispatchDragEvent", {"type": "drop", "x": 1, "y": 1, "data": data})


@pytest.mark.parametrize(
    "script",
    [
        "location.href = '{}'",
        "window.open('{}')",
        "document.body.append(Object.assign(document.createElement('iframe'), {{src: '{}'}}))",
        "fetch('{}').then(answer => answer.text()).then(text => document.title = text).catch(() => 0)",
    ],
)
def test_a_page_does_not_open_files(page: Page, site: str, secret: Path, script: str) -> None:
    page.goto(site)
    page.evaluate(script.format(f"file://{secret}"))
    page.wait_for_timeout(300)  # for what must not come
    frames = [frame for tab in page.context.pages for frame in tab.frames]
    assert not [frame.url for frame in frames if frame.url.startswith("file:")]
    assert page.title() != "SECRET"


def test_a_redirect_does_not_lead_to_files(page: Page, secret: Path) -> None:
    location = {"location": f"file://{secret}"}
    page.route("**/*", lambda route: route.fulfill(status=302, headers=location))
    with pytest.raises(Error, match="ERR_UNSAFE_REDIRECT"):
        page.goto("https://site.test/")


def test_requests_do_not_read_files(page: Page, secret: Path) -> None:
    with pytest.raises(Error, match="not supported"):
        page.context.request.get(f"file://{secret}")


def test_no_file_or_folder_of_the_grid_is_uploaded(grid: Appliance, level: str, site: str, secret: Path) -> None:
    with RawClient(grid, level) as client:
        context = client.context()
        client.call(context, "newPage")
        frame = client.guid("Frame")
        client.call(frame, "setContent", html="<input type=file webkitdirectory><input id=one type=file>")
        for params in ({"localDirectory": str(secret.parent)}, {"localPaths": [str(secret)]}):
            answer = client.call(frame, "setInputFiles", selector="input", **params)
            assert "read from the grid's machine" in answer["error"]
        assert "needs a name" in client.call(context, "createTempFiles", rootDirName="..", items=[])["error"]


def test_no_file_of_the_grid_is_written(grid: Appliance, level: str, tmp_path: Path) -> None:
    target = tmp_path / "written"
    with RawClient(grid, level) as client:
        context = client.context()
        (tracing,) = client.guids["Tracing"][-1:]
        client.call(tracing, "tracingStart", name=f"../../../../../../../../../../../..{target}", snapshots=True)
        client.call(tracing, "tracingStartChunk", name=f"../../../../../../../../../../../..{target}2")
        client.call(tracing, "tracingStopChunk", mode="archive")
        artifact = client.guid("Artifact")
        assert "on the grid's machine" in client.call(artifact, "saveAs", path=str(target))["error"]
        assert "lies on the grid" in client.call(artifact, "pathAfterFinished")["error"]
        assert "on the grid's machine" in client.call(context, "showRecorder", outputFile=str(target))["error"]
        odd = {"id": f"../../..{target}", "guid": context, "method": "newPage", "params": {}, "metadata": {}}
        assert "no message of Playwright's protocol" in client.send(odd)["error"]
    assert not list(tmp_path.iterdir())


def test_uploads_and_downloads_go_on_working(page: Page, site: str, tmp_path: Path) -> None:
    page.goto(site)
    (tmp_path / "small.txt").write_text("small")
    page.set_content("<input type=file><a download=x href='data:application/octet-stream,down'>x</a>")
    page.set_input_files("input", tmp_path / "small.txt")
    assert page.evaluate("document.querySelector('input').files[0].text()") == "small"
    with page.expect_download() as download:
        page.click("a")
    download.value.save_as(tmp_path / "down")
    assert (tmp_path / "down").read_text() == "down"


def test_files_are_opened_where_the_operator_allows_it(
    start_grid: StartGrid, clients: Playwright, secret: Path
) -> None:
    page = clients.chromium.connect(start_grid(ALLOW_FILE_URLS="true").endpoint).new_page()
    page.goto(f"file://{secret}")
    assert page.inner_text("body") == "SECRET"
    with pytest.raises(Error, match="This grid opens no chrome: addresses"):
        page.goto("chrome://version")
