"""The dashboard's files: nothing in them needs another host, a script in the markup, or markup from a client."""

from __future__ import annotations

import re

import pytest

from proxy.dashboard import files

FILES = files.load()
OWN = {path: file.content.decode() for path, file in FILES.items() if "/vendor/" not in path}


def test_the_page_is_served_at_its_path_with_and_without_a_slash() -> None:
    assert FILES["/dashboard"] is FILES["/dashboard/"]
    assert FILES["/dashboard"].content_type.startswith("text/html")
    assert "/dashboard/index.html" not in FILES


def test_every_file_that_the_page_names_is_there() -> None:
    named = {path for text in OWN.values() for path in re.findall(r"""["'](/dashboard/[\w./-]+\.\w+)["']""", text)}
    for path, text in OWN.items():
        folder = path.rsplit("/", 1)[0]
        named |= {f"{folder}/{name}" for name in re.findall(r"from '\./([\w-]+\.js)'", text)}
    assert len(named) > 20
    assert named - FILES.keys() == set()


def test_no_file_is_left_that_the_page_does_not_name() -> None:
    texts = "\n".join(OWN.values())
    files_of_the_page = {path.rsplit("/", 1)[1] for path in FILES} - {"dashboard", "", "uplot.LICENSE.txt"}
    assert [name for name in files_of_the_page if name not in texts] == []


def test_the_markup_has_no_script_style_or_handler_of_its_own() -> None:
    markup = OWN["/dashboard"]
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", markup)


@pytest.mark.parametrize("path", [path for path in OWN if path.endswith(".js")])
def test_no_script_turns_text_into_markup_or_code(path: str) -> None:
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|eval\(|new Function", OWN[path]
    )


def test_nothing_comes_from_another_host() -> None:
    found = {address for text in OWN.values() for address in re.findall(r"https?://[^\s'\"`)]+", text)}
    assert found <= {"http://www.w3.org/2000/svg"}


def test_the_policy_allows_no_script_or_style_in_the_markup_and_no_frame() -> None:
    policy = dict(part.split(" ", 1) for part in files.POLICY.split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert dict(files.HEADERS)["Content-Security-Policy"] == files.POLICY


def test_the_chart_library_comes_with_its_licence() -> None:
    assert "Permission is hereby granted" in FILES["/dashboard/vendor/uplot.LICENSE.txt"].content.decode()
