"""The references in docs/ are what `applctl` says, and its pages are complete and lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from appliance import request_errors
from appliance.cli import application, reference
from appliance.settings.config import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), ROOT / "README.md"]
FOREIGN = {"launchOptions", "reuseContext", "DynamicUser", "no_new_privs", "seccomp_profile", "cubic", "bbr", "timeit"}
OWN = {path.name for path in ROOT.iterdir()}  # what a path that a page names begins with, if it is ours


@pytest.mark.parametrize(("name", "made"), [("commands", reference.commands), ("settings", reference.settings)])
def test_a_generated_reference_is_up_to_date(name: str, made: object) -> None:
    assert callable(made)
    assert (DOCS / f"{name}.md").read_text() == made(), "run `make docs`"


def test_the_map_of_the_house_names_every_folder() -> None:
    text = (DOCS / "development.md").read_text()
    folders = [path.parent for part in ("appliance", "proxy", "workers") for path in (ROOT / part).rglob("__init__.py")]
    assert not [folder for folder in folders if f"| `{folder.relative_to(ROOT)}/` |" not in text]
    assert not [folder.name for folder in (ROOT / "tests").glob("[a-z]*/") if f"`tests/{folder.name}`" not in text]


def test_the_map_says_which_settings_are_in_which_file() -> None:
    text = (DOCS / "development.md").read_text()
    row = text.partition("| a setting, by subject |")[2].partition("| how a setting")[0]
    assert not [base for base in Settings.__bases__ if f"`{base.__module__.rpartition('.')[2]}.py`" not in row]


def test_every_setting_is_in_the_reference() -> None:
    text = reference.settings()
    assert not [name for name in Settings.model_fields if f"| `{name.upper()}` |" not in text]


def test_completion_is_documented_for_each_shell() -> None:
    text = (DOCS / "commands.md").read_text()
    assert all(f"_APPLCTL_COMPLETE={shell}_source" in text for shell in ("bash", "zsh", "fish"))


def test_the_index_names_every_page() -> None:
    index = (DOCS / "README.md").read_text()
    assert not [page.name for page in DOCS.glob("*.md") if page.name != "README.md" and f"]({page.name})" not in index]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(r"(?<![\w/.~-])([\w.-]+(?:/[\w.-]+)*/?)", " ".join(re.findall(r"`[^`]+`", page.read_text())))
    ours = {name for name in named if "/" in name and name.partition("/")[0] in OWN - {"run", "build", ".venv"}}
    assert not [name for name in ours if not (ROOT / name).exists()]


@pytest.fixture(scope="module")
def words() -> set[str]:
    """Return all words of our files that are no documentation, and the names of all settings."""
    folders = [ROOT / name for name in ("appliance", "proxy", "workers", "tests", "packer", "docs/examples")]
    paths = [path for folder in folders for path in folder.rglob("*") if "node_modules" not in path.parts]
    files = [path for path in paths if path.is_file() and path.suffix not in (".pyc", ".md", ".svg")]
    text = " ".join(path.read_text() for path in [*files, *(ROOT / name for name in ("Makefile", "supervisord.conf"))])
    return {*re.findall(r"\w+", text), *(name.upper() for name in Settings.model_fields)}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_every_name_in_back_ticks_exists(words: set[str], page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    names = re.findall(r"`([\w.]+)(?:\(\)|=[^`]*)?`", text)
    parts = {part for name in names for part in re.findall(r"[A-Za-z_]\w{2,}", name)}
    assert not parts - words - FOREIGN


def commands(group: click.Group, *above: str) -> Iterator[tuple[str, ...]]:
    """Return all commands and groups below a group, each with the names of the groups above it."""
    for name, command in group.commands.items():
        yield (*above, name)
        if isinstance(command, click.Group):
            yield from commands(command, *above, name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    known, text = set(commands(application.main)), page.read_text()
    code = re.findall(r"`([^`\n]+)`|^ {4}(.+)$", text, re.MULTILINE)
    named = re.findall(r"\bapplctl ([a-z]+)(?: ([a-z]+))?", " ; ".join("".join(pair) for pair in code))
    targets = re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)(?![\w.-])", " ; ".join("".join(pair) for pair in code))
    groups = {one[0] for one in known if len(one) == 2}
    assert not [one for one in named if (one if one[0] in groups and one[1] else one[:1]) not in known]
    assert not [one for one in targets if f"\n{one}: " not in (ROOT / "Makefile").read_text()]


@pytest.mark.parametrize("page", [DOCS / "clients.md", ROOT / "README.md"], ids=lambda page: page.name)
def test_the_examples_install_the_version_that_the_grid_serves(page: Path) -> None:
    served = re.findall(r'"playwright==(1\.\d+)', (ROOT / "setup.py").read_text())
    assert set(re.findall(r"playwright(?:-core)?(?:==|@)(\d+\.\d+)", page.read_text())) == set(served)


def test_troubleshooting_explains_every_status_that_refuses_a_session() -> None:
    pages_only = {405, 406, 408, 413, 426, 431, 500}  # for who is no Playwright client
    statuses = {one.status for one in vars(request_errors).values() if isinstance(one, type) and hasattr(one, "status")}
    text = (DOCS / "troubleshooting.md").read_text()
    assert not [status for status in statuses - pages_only if f"| {status} |" not in text]
