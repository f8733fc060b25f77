"""One word for one thing: all pages use the words of the glossary in docs/architecture.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.cli import reference

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CHANGELOG.md"]
GLOSSARY = (ROOT / "docs" / "architecture.md").read_text().partition("## Glossary\n")[2].partition("\n## ")[0]
WORDS = dict(re.findall(r"^\| ([a-z ]+) \| .+ \| ([a-z, ]*)\|$", GLOSSARY, re.MULTILINE)[1:])
PLAIN = {"anew", "likewise"}  # words that we do without
UNWANTED = PLAIN | {other.strip() for others in WORDS.values() for other in others.split(",") if other.strip()}


def prose(text: str) -> str:
    """Return a page without the glossary, code, addresses of links and names of commands."""
    for code in (re.escape(GLOSSARY), r"```.*?```", r"(?m)^    .*$", r"`[^`]*`", r"\]\([^)]*\)", r"applctl \w+"):
        text = re.sub(code, " ", text, flags=re.DOTALL if code.startswith("```") else 0)
    return text


def unwanted(text: str) -> list[str]:
    """Return the words of a text for which the glossary has another one; settings, in capitals, keep their names."""
    either_case = (f"[{word[0]}{word[0].upper()}]{word[1:]}" for word in sorted(UNWANTED))
    return re.findall(rf"\b(?:{'|'.join(either_case)})s?\b", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_uses_the_words_of_the_glossary(page: Path) -> None:
    assert not unwanted(prose(page.read_text()))


def test_the_help_uses_the_words_of_the_glossary() -> None:
    options_of_settings = r"--spare-workers"  # settings keep their names, in lower case too
    assert not unwanted(re.sub(options_of_settings, " ", reference.commands()))


@pytest.mark.parametrize("word", WORDS)
def test_a_word_of_the_glossary_is_used(word: str) -> None:
    pages = " ".join(prose(page.read_text()) for page in PAGES)
    assert re.search(rf"\b{word}", pages, re.IGNORECASE)
