"""Log lines leave from a thread: whoever writes them never waits for who reads them."""

from __future__ import annotations

import _thread
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.log_writer import LINES_MAX, LogWriter
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
PIPE_BYTES = 4096  # the least that Linux gives a pipe


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Provide both ends of a small pipe."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    yield reader, writer
    os.close(reader)


def start(descriptor: int) -> LogWriter:
    return LogWriter(descriptor, lambda count: f"{count} dropped\n", _thread.start_new_thread)


def read_lines(descriptor: int, last: str) -> list[str]:
    """Read up to a line."""
    text = ""
    while not text.endswith(f"{last}\n"):
        text += os.read(descriptor, 65536).decode()
    return text.splitlines()


def test_lines_that_find_no_reader_are_dropped_and_counted_where_they_are_missing(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    log = start(writer)
    log.write("x" * PIPE_BYTES + "\n")
    until(lambda: not log.waiting, "the thread stands still, as the pipe is full")
    for number in range(LINES_MAX + 7):
        log.write(f"{number}\n")
    assert log.waiting == LINES_MAX
    assert read_lines(reader, str(LINES_MAX - 1))[1:] == [str(number) for number in range(LINES_MAX)]
    until(lambda: not log.waiting, "there is room again")
    log.write("after\n")
    assert read_lines(reader, "after") == ["7 dropped", "after"]


def test_without_a_thread_lines_are_written_at_once_until_one_can_be_started(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    tried: list[object] = []

    def start_third_time(*arguments: Any) -> object:
        tried.append(arguments)
        if len(tried) < 3:
            raise RuntimeError("can't start new thread")
        return _thread.start_new_thread(*arguments)

    log = LogWriter(writer, str, start_third_time)
    for number in range(3):
        log.write(f"{number}\n")
    assert read_lines(reader, "2") == ["0", "1", "2"]
    assert len(tried) == 3


def test_the_last_lines_are_written_before_the_process_ends(pipe: tuple[int, int]) -> None:
    code = """
from gevent import monkey
monkey.patch_all()
from appliance import logs
logs.configure("INFO", "text", start_thread=monkey.get_original("_thread", "start_new_thread"), worker="w")
for number in range(1000):
    logs.get_logger().info("counted", number=number)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 1000
    assert lines[-1].endswith("level=info event=counted worker=w number=999")


def test_a_process_whose_log_nobody_reads_ends_all_the_same(pipe: tuple[int, int]) -> None:
    code = """
from appliance import logs
logs.configure("INFO", "json")
for number in range(1000):
    logs.get_logger().info("counted", number=number)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=pipe[1], check=True, timeout=30)
