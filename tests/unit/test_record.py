"""What an appliance remembers of itself in RUN_DIR."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.machine.record import Record, RecordFile


def test_each_run_is_another_and_is_not_drained(tmp_path: Path) -> None:
    file = RecordFile(tmp_path)
    file.begin_run()
    first = file.read()
    file.keep(Record(first.run, drained=True, epoch=3))
    assert file.read() == Record(first.run, drained=True, epoch=3)
    file.begin_run()
    assert (file.read().drained, file.read().epoch) == (False, 0)
    assert file.read().run not in ("", first.run)
    assert [path.name for path in tmp_path.iterdir()] == ["appliance.json"]


@pytest.mark.parametrize("content", [None, "", "[]", '{"run": "a"}', "null"])
def test_what_is_not_there_or_damaged_is_nothing(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "appliance.json").write_text(content)
    assert RecordFile(tmp_path).read() == Record()


def test_one_written_before_turns_were_counted_is_understood(tmp_path: Path) -> None:
    (tmp_path / "appliance.json").write_text('{"run": "a", "drained": true}')
    assert RecordFile(tmp_path).read() == Record("a", drained=True)


def test_workers_of_another_account_can_read_it(tmp_path: Path) -> None:
    file = RecordFile(tmp_path)
    file.begin_run()
    assert file.path.stat().st_mode & 0o777 == 0o644
