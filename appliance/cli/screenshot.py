"""`applctl screenshot`: a picture of a page, taken by a browser of the grid."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from appliance.cli.client import connect, open_target, stock_client, target_options
from appliance.cli.command import command
from appliance.cli.output import Output
from appliance.errors import ApplianceError
from appliance.files import save
from appliance.names import Browser

if TYPE_CHECKING:
    from playwright.sync_api import Page

_FORMATS: dict[str, Literal["png", "jpeg"]] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}
_WITHOUT_HOST = ("data:", "about:")
_SMALLEST_ERROR = 400  # of HTTP


class PageFailed(ApplianceError):
    """The page could not be opened."""

    hint = (
        "The grid's machine opens it, not this one: it must be reachable from there, and the firewall keeps browsers "
        "from private networks (`applctl firewall`)."
    )


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture to take; `timeout_s` is for the page to load."""

    url: str
    image: Literal["png", "jpeg"]
    width: int
    height: int
    full_page: bool
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Picture:
    """What is known of a page whose picture was taken; `status` is its HTTP status, None if it has none."""

    url: str
    title: str
    status: int | None
    file: str


@command(
    "applctl screenshot https://example.org page.png",
    "applctl screenshot --full-page --width 1920 https://example.org page.jpg",
    "applctl screenshot --browser firefox --json https://example.org page.png | jq -r .title",
)
@click.argument("address", metavar="URL")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--full-page", is_flag=True, help="The whole page, not only what the window shows.")
@click.option("--width", type=click.IntRange(1, 16_384), default=1280, show_default=True, help="Of the window.")
@click.option("--height", type=click.IntRange(1, 16_384), default=720, show_default=True, help="Of the window.")
@click.option("--browser", type=click.Choice([one.value for one in Browser]), help="Default: DEFAULT_BROWSER_TYPE.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Seconds for the page to load.",
)
@target_options
def screenshot(
    out: Output, address: str, file: Path, browser: str | None, url: str | None, token: str | None, **how: Any
) -> dict[str, Any]:
    """Take a picture of a page with a browser of the grid.

    FILE ends in .png, .jpg or .jpeg. It is written whole or not at all.
    """
    timeout_s: float = how.pop("timeout")
    shot = Shot(_address(address), _format(file), timeout_s=timeout_s, **how)
    if not file.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder {file.absolute().parent}", param_hint="FILE")
    with (
        open_target(url, token) as target,
        stock_client(target) as playwright,
        connect(playwright, target, Browser(browser or target.default_browser), "applctl-screenshot") as connected,
    ):
        page = connected.new_page(viewport={"width": shot.width, "height": shot.height})
        content, status = take(page, shot)
        picture = Picture(page.url, page.title(), status, str(file.absolute()))
    save(content, file)
    if status and status >= _SMALLEST_ERROR:
        out.warn(f"The page answered with the status {status}.")
    out.show(f"{picture.file}: “{picture.title or picture.url[:100]}”, {len(content) / 1024:.0f} KiB")
    return asdict(picture)


def take(page: Page, shot: Shot) -> tuple[bytes, int | None]:
    """Open a page and return its picture and HTTP status. Raises PageFailed if it cannot be opened in time."""
    from playwright.sync_api import Error, TimeoutError

    try:
        response = page.goto(shot.url, timeout=shot.timeout_s * 1000)
    except TimeoutError as error:
        raise PageFailed(f"{shot.url} has not loaded within {shot.timeout_s:g} s", "Try a longer --timeout.") from error
    except Error as error:
        if not page.context.browser or not page.context.browser.is_connected():
            raise  # the grid ended the session, and says why
        raise PageFailed(f"{shot.url} cannot be opened: {_reason(error.message, shot.url)}") from error
    try:
        picture = page.screenshot(full_page=shot.full_page, type=shot.image, timeout=shot.timeout_s * 1000)
    except TimeoutError as error:
        raise PageFailed(f"{shot.url} gives no picture within {shot.timeout_s:g} s", "Try --timeout.") from error
    return picture, response.status if response else None


def _reason(message: str, url: str) -> str:
    """Return what the browser says, such as net::ERR_CONNECTION_REFUSED, without the call and its log."""
    first = message.partition("\n")[0].removeprefix("Page.goto: ").strip()
    return first.removesuffix(f" at {url}").removesuffix(f" at {url}/").removesuffix(f"{url}:").strip(" ,:")


def _address(text: str) -> str:
    if "://" not in text and not text.startswith(_WITHOUT_HOST):
        raise click.BadParameter(f"must begin with https:// or http://, like https://{text}", param_hint="URL")
    return text


def _format(file: Path) -> Literal["png", "jpeg"]:
    try:
        return _FORMATS[file.suffix.lower()]
    except KeyError:
        raise click.BadParameter(f"must end in {', '.join(_FORMATS)}", param_hint="FILE") from None
