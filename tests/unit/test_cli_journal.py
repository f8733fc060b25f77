"""Logs are read as they are written, and across their rotation."""

from pathlib import Path

from appliance.cli.journal import LogFile


def test_the_last_lines_come_first_and_then_only_new_ones(tmp_path: Path) -> None:
    path = tmp_path / "proxy.log"
    path.write_text("1\n2\n3\n")
    log = LogFile(path)
    assert log.last(2) == ["2", "3"]
    with path.open("a") as writer:
        writer.write("4\nha")
        writer.flush()
        assert list(log.new()) == ["4"]
        writer.write("lf\n")
    assert list(log.new()) == ["half"]
    log.close()


def test_a_log_that_is_rotated_is_read_on_without_loss(tmp_path: Path) -> None:
    path = tmp_path / "proxy.log"
    path.write_text("1\n")
    log = LogFile(path)
    assert log.last(10) == ["1"]
    with path.open("a") as writer:
        writer.write("2\n")
    path.rename(tmp_path / "proxy.log.1")
    path.write_text("3\n")
    assert list(log.new()) == ["2", "3"]
    log.close()


def test_a_log_that_does_not_exist_yet_is_waited_for(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "redis.log")
    assert log.last(10) == []
    (tmp_path / "redis.log").write_text("here\n")
    assert list(log.new()) == ["here"]
    log.close()
