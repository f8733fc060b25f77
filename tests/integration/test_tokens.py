"""Tokens on a real Redis: made, revoked, and brought back when Redis has lost everything."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from appliance import files
from appliance.cli.token_ledger import Ledger
from appliance.grid.grid import Grid
from appliance.grid.mailbox import Mailbox
from appliance.grid.store import Store
from appliance.grid.token_copy import TokenFile
from appliance.grid.token_table import Principal, Role, Token, digest_of, valid
from appliance.grid.tokens import Tokens
from appliance.request_errors import StoreUnavailable, Unauthorized
from appliance.settings import config
from proxy.access import Access
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]

SECRET, OTHER = "pwa_secret", "pwa_other"

StartProxy = Callable[[str], Tokens]


@pytest.fixture
def start_proxy(grid: Grid, tmp_path: Path) -> StartProxy:
    """Start the tokens of proxies, each on an appliance of its own."""

    def start(name: str) -> Tokens:
        (tmp_path / name).mkdir(exist_ok=True)
        tokens = Tokens(grid, TokenFile(tmp_path / name, grid.store.url, "test"))
        tokens.load()
        tokens.sync()
        return tokens

    return start


def empty(grid: Grid) -> None:
    grid.store.read(("FLUSHALL",))


def test_a_token_is_valid_until_it_is_revoked_and_its_name_is_taken_as_long(grid: Grid) -> None:
    digest = digest_of(SECRET)
    assert grid.check_token(digest) is None
    assert grid.create_token(digest, "ci")
    assert grid.create_token(digest, "ci")  # the same call again, whose answer was lost
    assert not grid.create_token(digest_of(OTHER), "ci")
    assert grid.check_token(digest) == Principal("ci")
    assert grid.check_token(digest_of(OTHER)) is None
    assert grid.tokens_used_ms().keys() == {digest}
    assert (grid.revoke_token("ci"), grid.revoke_token("ci")) == (1, 0)
    assert grid.check_token(digest) is None
    assert grid.create_token(digest_of(OTHER), "ci")
    assert grid.check_token(digest) is None


def test_a_token_that_expires_lets_nobody_in_after_that_and_is_forgotten(grid: Grid) -> None:
    assert grid.create_token(digest_of(SECRET), "demo", ttl_s=1.5)
    assert grid.check_token(digest_of(SECRET)) == Principal("demo")
    until(lambda: grid.check_token(digest_of(SECRET)) is None, "the token has expired")
    assert grid.create_token(digest_of(OTHER), "demo")
    assert grid.tokens().keys() == {digest_of(OTHER)}


def test_a_token_is_a_clients_unless_it_was_made_for_an_admin(grid: Grid, start_proxy: StartProxy) -> None:
    grid.create_token(digest_of(SECRET), "alice", role=Role.ADMIN)
    grid.create_token(digest_of(OTHER), "ci")
    tokens = start_proxy("a")
    for _ in range(2):
        assert tokens.check(SECRET) == Principal("alice", is_admin=True)
        assert tokens.check(OTHER) == Principal("ci")
        empty(grid)


def test_the_boot_token_is_an_admins_also_if_an_older_release_wrote_it(grid: Grid) -> None:
    older = OlderRelease(grid)
    older.write(SECRET, "appliance")
    older.write(OTHER, "ci")
    assert grid.check_token(digest_of(SECRET)) == Principal("appliance", is_admin=True)
    assert grid.check_token(digest_of(OTHER)) == Principal("ci")


def test_an_admins_token_is_one_again_after_an_older_release_restored_it(grid: Grid, start_proxy: StartProxy) -> None:
    grid.create_token(digest_of(SECRET), "alice", role=Role.ADMIN)
    tokens = start_proxy("a")
    empty(grid)
    grid.restore_tokens({digest_of(SECRET): Token("alice", 1)})
    assert grid.check_token(digest_of(SECRET)) == Principal("alice")
    tokens.sync()
    assert grid.check_token(digest_of(SECRET)) == Principal("alice", is_admin=True)


class OlderRelease:
    """A release of an older schema beside this one: it knows only the table under its own prefix."""

    def __init__(self, grid: Grid, schema: int = 4) -> None:
        self._store, self._key = grid.store, grid.store.shared_key(str(schema), "tokens")

    def write(self, secret: str, name: str, revoked_ms: int = 0) -> None:
        text = json.dumps(asdict(Token(name, 1, revoked_ms)))
        self._store.read(("HSET", self._key, digest_of(secret), text))

    def lets_in(self, secret: str) -> bool:
        (text,) = self._store.read(("HGET", self._key, digest_of(secret)))
        return bool(text) and not json.loads(text)["revoked_ms"]


def test_a_token_of_an_older_release_goes_on_being_valid_after_its_table_is_gone(
    grid: Grid, start_proxy: StartProxy
) -> None:
    older = OlderRelease(grid)
    older.write(SECRET, "ci")
    grid.store.read(("HSET", grid.store.shared_key("4", "tokens:used"), digest_of(SECRET), "7"))
    assert grid.check_token(digest_of(SECRET)) == Principal("ci")
    start_proxy("a")
    grid.store.read(("DEL", grid.store.shared_key("4", "tokens")))
    assert grid.check_token(digest_of(SECRET)) == Principal("ci")
    assert grid.tokens_used_ms().keys() == {digest_of(SECRET)}


def test_a_token_revoked_in_one_release_is_revoked_at_once_in_the_other(grid: Grid) -> None:
    older = OlderRelease(grid)
    for secret, name in ((SECRET, "ci"), (OTHER, "cd")):
        older.write(secret, name)
    grid.revoke_token("ci")
    assert not older.lets_in(SECRET)
    assert grid.check_token(digest_of(SECRET)) is None
    grid.restore_tokens({})
    older.write(OTHER, "cd", revoked_ms=5)
    assert grid.check_token(digest_of(OTHER)) is None
    assert valid(grid.tokens()) == {}
    assert grid.restore_tokens({digest_of(OTHER): Token("cd", 1)})[digest_of(OTHER)].revoked_ms == 5


def test_a_token_made_beside_an_older_release_is_valid_there_too(grid: Grid) -> None:
    older = OlderRelease(grid)
    older.write(SECRET, "ci", revoked_ms=5)
    grid.create_token(digest_of(OTHER), "ci")
    assert older.lets_in(OTHER)
    assert not older.lets_in(SECRET)
    assert valid(grid.tokens()).keys() == {digest_of(OTHER)}


def test_tokens_mean_the_same_to_every_schema(grid: Grid) -> None:
    grid.create_token(digest_of(SECRET), "ci")
    grid.check_token(digest_of(SECRET))
    assert set(grid.store.read(("KEYS", "*tokens*"))[0]) == {"{test}:tokens", "{test}:tokens:used"}


def test_a_change_is_told_to_every_proxy(grid: Grid) -> None:
    said: list[object] = []
    mailbox = Mailbox(grid.store, "proxy", "p", said.append)
    grid.renew("p", {}, 60_000)
    grid.renew("another", {}, 60_000)
    listener = threading.Thread(target=mailbox.run)
    listener.start()
    assert mailbox.wait_until_listening(30)
    grid.create_token(digest_of(SECRET), "ci")
    grid.revoke_token("ci")
    until(lambda: said == [{"tokens": True}] * 2, "two messages came")
    mailbox.close()
    listener.join()


def test_a_redis_that_lost_everything_has_the_tokens_before_a_client_is_refused(
    grid: Grid, start_proxy: StartProxy
) -> None:
    grid.create_token(digest_of(SECRET), "ci")
    tokens = start_proxy("a")
    empty(grid)
    assert tokens.are_required()
    assert tokens.check(OTHER) is None
    assert tokens.check(SECRET) == Principal("ci")
    assert valid(grid.tokens()).keys() == {digest_of(SECRET)}


def test_a_proxy_that_starts_brings_the_tokens_of_its_file(grid: Grid, start_proxy: StartProxy) -> None:
    grid.create_token(digest_of(SECRET), "ci")
    start_proxy("a")
    empty(grid)
    assert start_proxy("a").check(SECRET) == Principal("ci")


def test_a_revoked_token_stays_revoked_though_a_proxy_that_missed_it_restores_first(
    grid: Grid, start_proxy: StartProxy
) -> None:
    for secret, name in ((SECRET, "ci"), (OTHER, "cd")):
        grid.create_token(digest_of(secret), name)
    told, missed = start_proxy("a"), start_proxy("b")
    grid.revoke_token("ci")
    told.sync()
    empty(grid)
    missed.sync()
    told.sync()
    missed.sync()
    assert (told.check(SECRET), missed.check(SECRET)) == (None, None)
    assert (told.check(OTHER), missed.check(OTHER)) == (Principal("cd"), Principal("cd"))
    assert start_proxy("b").check(SECRET) is None


def test_a_revocation_whose_message_was_lost_is_found_in_the_file(
    grid: Grid, start_proxy: StartProxy, tmp_path: Path
) -> None:
    grid.create_token(digest_of(SECRET), "ci")
    tokens = start_proxy("a")
    grid.revoke_token("ci")
    TokenFile(tmp_path / "a", grid.store.url, "test").join(grid.tokens())  # as applctl does
    empty(grid)
    assert tokens.check(SECRET) is None


def test_a_grid_whose_last_token_was_revoked_lets_nobody_in(grid: Grid, start_proxy: StartProxy) -> None:
    tokens = start_proxy("a")
    assert not tokens.are_required()
    grid.create_token(digest_of(SECRET), "ci")
    grid.revoke_token("ci")
    tokens.sync()
    empty(grid)
    assert tokens.are_required()
    assert start_proxy("a").are_required()


def admit(tokens: Tokens, authorization: str, allow_anonymous: bool = True) -> str:
    """Return the name of the token with which a proxy admits a request."""
    settings = config.load(allow_anonymous=allow_anonymous)
    with socket.socket() as connection:
        return Access(tokens, settings, os.geteuid()).admit(connection, {"authorization": authorization}, "/", "").name


def test_who_is_admitted_without_a_token_is_an_admin_unless_anybody_is(grid: Grid, start_proxy: StartProxy) -> None:
    tokens = start_proxy("a")
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        connection = listener.accept()[0]
        with connection:
            for anybody in (False, True):
                access = Access(tokens, config.load(allow_anonymous=anybody), os.geteuid())
                assert access.admit(connection, {}, "/api/v1/sessions", "") == Principal("", is_admin=not anybody)


def test_a_cookie_is_a_token_for_operators_pages_alone(grid: Grid, start_proxy: StartProxy) -> None:
    grid.create_token(digest_of(SECRET), "alice", role=Role.ADMIN)
    access, headers = Access(start_proxy("a"), config.load(), -1), {"cookie": f"appliance_token={SECRET}"}
    with socket.socket() as connection:
        for path in ("/api/v1/sessions", "/dashboard"):
            assert access.admit(connection, headers, path, "") == Principal("alice", is_admin=True)
        for path in ("/", "/metrics", "/mcp"):
            with pytest.raises(Unauthorized):
                access.admit(connection, headers, path, "")


def test_nobody_is_let_in_while_redis_could_not_be_asked(tmp_path: Path) -> None:
    store = Store(f"unix://{tmp_path}/none.sock", "test")
    tokens = Tokens(Grid(store), TokenFile(tmp_path, store.url, "test"))
    for allow_anonymous in (False, True):
        with pytest.raises(StoreUnavailable):
            admit(tokens, "Bearer x", allow_anonymous)
    with pytest.raises(StoreUnavailable):
        admit(tokens, "", allow_anonymous=False)


def test_anonymous_clients_are_let_in_if_that_is_allowed_but_not_with_a_wrong_token(
    grid: Grid, start_proxy: StartProxy
) -> None:
    grid.create_token(digest_of(SECRET), "ci")
    tokens = start_proxy("a")
    assert admit(tokens, "") == ""
    assert admit(tokens, f"Bearer {SECRET}") == "ci"
    with pytest.raises(Unauthorized):
        admit(tokens, f"Bearer {OTHER}")


def test_a_proxy_beyond_loopback_whose_grid_has_no_token_refuses_to_listen(grid: Grid, tmp_path: Path) -> None:
    log = tmp_path / "log"
    own = {
        "RUN_DIR": str(tmp_path),
        "REDIS_URL": grid.store.url,
        "APPLIANCE_ENV": os.devnull,
        "HOST": "192.0.2.1",  # no machine has it (RFC 5737), so that nothing is opened if this fails
    }
    with log.open("w") as output:
        proxy = subprocess.Popen([sys.executable, "-m", "proxy"], env=os.environ | own, cwd=ROOT, stderr=output)
    try:
        until(lambda: "applctl token create" in log.read_text(), "the proxy says why, and what to do", within_s=60)
    finally:
        proxy.kill()
        proxy.wait()
    assert "HOST is not loopback, and the grid has no token" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_the_file_is_for_its_grid_alone(tmp_path: Path) -> None:
    file = TokenFile(tmp_path, "redis://:old@h", "grid")
    file.join({"d": Token("ci", 1), "old": Token("demo", 1, expires_ms=2)})
    assert file.read().keys() == {"d"}
    assert TokenFile(tmp_path, "redis://:new@h", "grid").read().keys() == {"d"}  # only the password changed
    assert not TokenFile(tmp_path, "redis://:old@other", "grid").read()
    assert not TokenFile(tmp_path, "redis://:old@h", "another").read()


# As in the proxy: gevent's os.close closes a folder only when its loop comes round.
TWO_CHANGES = """
from gevent import monkey
monkey.patch_all()
import gevent, pathlib, sys
from appliance.grid.token_copy import TokenFile
file = TokenFile(pathlib.Path(sys.argv[1]), "redis://h", "grid")
gevent.sleep(0)
for _ in range(2):
    file.join({})
"""


def test_the_file_can_be_changed_twice_in_one_turn_of_the_proxys_loop(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", TWO_CHANGES, str(tmp_path)], check=True, timeout=60)


def test_a_revocation_that_could_not_be_saved_is_saved_as_soon_as_there_is_room(
    grid: Grid, start_proxy: StartProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid.create_token(digest_of(SECRET), "ci")
    proxy = start_proxy("here")
    grid.revoke_token("ci")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(files, "replace", fail)
        proxy.sync()
    assert valid(proxy._file.read())
    proxy.sync()
    assert not valid(proxy._file.read())
    empty(grid)
    assert start_proxy("here").check(SECRET) is None


def test_a_restored_token_that_the_grid_revoked_is_revoked_in_the_copy_too(grid: Grid, tmp_path: Path) -> None:
    copy, digest = TokenFile(tmp_path, grid.store.url, "test"), digest_of(SECRET)
    grid.create_token(digest, "ci")
    saved = grid.tokens()
    grid.revoke_token("ci")
    Ledger(copy, grid).join(saved)
    assert (valid(copy.read()), valid(grid.tokens())) == ({}, {})
