"""The REST API over a real Redis: what it tells, to whom, what it changes, and that its document is true."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from werkzeug.test import Client, TestResponse

from appliance.grid.grid import Grid
from appliance.grid.token_table import Principal, digest_of
from appliance.request_errors import Unauthorized
from appliance.settings.config import Settings
from proxy.access import given_tokens
from proxy.api import streams
from proxy.api.application import Api
from proxy.pages import ADMIT
from tests.support.announced import announcement
from tests.support.claims import CONCURRENCY, claim, spec

WORKER = "here.chromium-00.a1"
BEARER = {"Authorization": "Bearer secret"}
ADMIN, ALICE, BOB = Principal(is_admin=True), Principal("alice"), Principal("bob")

Ask = Callable[..., TestResponse]


def application(api: Api, who: Callable[[], Principal]) -> Callable[..., Iterable[bytes]]:
    return lambda environ, start_response: api(environ | {ADMIT: who}, start_response)


@pytest.fixture
def busy(grid: Grid) -> Grid:
    """Return a grid whose one worker has sessions of alice's, and where one of alice's and one of bob's wait."""
    grid.announce(announcement("here"))
    grid.register_worker(spec(WORKER))
    for number in range(CONCURRENCY):
        claim(grid, f"a{number}", token="alice", name=f"run {number}", labels={"build": str(number)})
    claim(grid, "a-waits", token="alice")
    claim(grid, "b-waits", token="bob")
    return grid


@pytest.fixture
def api(busy: Grid) -> Iterator[Api]:
    api = Api(busy, Settings(appliance_name="here"))
    yield api
    api.end_all()


@pytest.fixture
def ask(api: Api) -> Ask:
    """Ask for a path below /api/v1."""

    def ask(path: str, who: Principal = ADMIN, method: str = "GET", **more: Any) -> TestResponse:
        return Client(application(api, lambda: who)).open(f"/api/v1{path}", method=method, **more)

    return ask


def ids(answer: TestResponse) -> list[str]:
    assert answer.status_code == 200
    return [one["id"] for one in answer.json["sessions"]]


def said(answer: TestResponse) -> str:
    assert answer.json.keys() == {"error"}
    assert answer.json["error"]["code"] == answer.status_code
    return f"{answer.json['error']['message']} {answer.json['error']['hint']}"


def test_an_admin_sees_all_sessions_and_a_client_its_own(ask: Ask) -> None:
    assert len(ids(ask("/sessions"))) == CONCURRENCY + 2
    assert ids(ask("/sessions", BOB)) == ["b-waits"]
    assert ids(ask("/sessions?token_name=alice", BOB)) == []
    assert ids(ask("/sessions?token_name=bob")) == ["b-waits"]
    assert ask("/sessions/b-waits", BOB).json["status"] == "waiting"
    assert ask("/sessions/a0", BOB).status_code == 404
    assert ask("/sessions/a0/why", BOB).status_code == 404


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("label.build=1", ["a1"]),
        ("label.build=*&name=run%202", ["a2"]),
        ("status=waiting&token_name=alice", ["a-waits"]),
        ("worker=chromium-00&label.build=0", ["a0"]),
        ("browser=firefox", []),
    ],
)
def test_sessions_are_found_by_what_they_are(ask: Ask, query: str, found: list[str]) -> None:
    assert ids(ask(f"/sessions?{query}")) == found


def test_a_client_ends_its_own_sessions_and_no_others(ask: Ask, busy: Grid) -> None:
    assert ask("/sessions/a0", BOB, "DELETE").status_code == 404
    assert ask("/sessions?all=true", BOB, "DELETE").json == {"ended": ["b-waits"]}
    assert ask("/sessions?label.build=1", ALICE, "DELETE").json == {"ended": ["a1"]}
    assert ask("/sessions/a2", method="DELETE").json == {"ended": ["a2"]}
    (told,) = busy.store.read(("HGETALL", busy.store.key("kills", "p")))
    own = dict.fromkeys(("b-waits", "a1"), "session closed by its owner")
    assert told == {**own, "a2": "session closed by operator"}


def test_a_client_without_a_token_sees_and_ends_no_sessions(ask: Ask, busy: Grid) -> None:
    claim(busy, "anonymous")
    anybody = Principal()
    assert ids(ask("/sessions", anybody)) == []
    assert ask("/sessions?all=true", anybody, "DELETE").json == {"ended": []}
    assert ask("/sessions/anonymous", anybody, "DELETE").status_code == 404
    assert ask("/queue", anybody).json == {"queue": []}
    assert "anonymous" in ids(ask("/sessions"))


def test_all_sessions_are_ended_only_when_that_is_said(ask: Ask) -> None:
    assert "all=true" in said(ask("/sessions", method="DELETE"))
    assert "all=true" in said(ask("/sessions?all=true&name=x", method="DELETE"))
    first = ask("/sessions?all=true", method="DELETE").json["ended"][:2]
    assert set(first) == {"a-waits", "b-waits"}, "who waits is ended first, or would be handed a slot"


def test_the_queue_shows_true_positions(ask: Ask) -> None:
    assert [(one["position"], one["session"]["id"]) for one in ask("/queue").json["queue"]] == [
        (1, "a-waits"),
        (2, "b-waits"),
    ]
    assert [one["position"] for one in ask("/queue", BOB).json["queue"]] == [2]


def test_a_past_session_is_found_in_the_history(ask: Ask, busy: Grid) -> None:
    busy.release("a0", "closed by the client")
    assert ids(ask("/history?label.build=0")) == ["a0"]
    assert ids(ask("/history?search=RUN%200", ALICE)) == ["a0"]
    assert ids(ask("/history", BOB)) == ids(ask("/history?waited_over_s=3600")) == []
    past = ask("/sessions/a0", ALICE).json
    assert (past["status"], past["end_reason"]) == ("ended", "closed by the client")
    assert ids(ask(f"/history?before_ms={past['ended_ms']}")) == []
    assert "before_ms" in said(ask("/history?before_ms=0"))
    assert ask("/sessions/a0/why").json["why"]


def test_workers_and_appliances_drain_and_come_back(ask: Ask, busy: Grid) -> None:
    (worker,) = ask("/workers").json["workers"]
    assert ask(f"/workers/{worker['id']}").json == worker
    assert ask(f"/workers/{WORKER}/drain", method="POST").json == {"draining": WORKER, "sessions": CONCURRENCY}
    assert ask(f"/workers/{WORKER}").json["reason"] == "drained by operator"
    assert ask("/appliances/here/drain", method="POST").status_code == 202
    assert ask("/appliance").json["status"] == "draining"
    assert ask("/appliances/here/undrain", method="POST").json == {"serving": "here"}
    assert [one["status"] for one in ask("/appliances").json["appliances"]] == ["serving"]
    assert "The grid's appliances: here." in said(ask("/appliances/nowhere/drain", method="POST"))
    assert ask("/workers/nobody/drain", method="POST").status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/workers"), ("GET", f"/workers/{WORKER}"), ("POST", f"/workers/{WORKER}/drain"),
        ("GET", "/appliances"), ("POST", "/appliances/here/drain"), ("POST", "/appliances/here/undrain"),
        ("GET", "/events"), ("GET", "/events?follow=true"), ("GET", "/tokens"), ("DELETE", "/tokens/alice"),
    ],
)  # fmt: skip
def test_what_concerns_others_is_for_admins(ask: Ask, busy: Grid, method: str, path: str) -> None:
    assert "an admin's token" in said(answer := ask(path, ALICE, method))
    assert answer.status_code == 403
    assert [worker.status for worker in busy.workers()] == ["available"]


def test_a_client_makes_no_token(ask: Ask, busy: Grid) -> None:
    assert ask("/tokens", ALICE, "POST", json={"name": "mine", "role": "admin"}).status_code == 403
    assert busy.tokens() == {}


def test_a_token_is_created_listed_and_revoked(ask: Ask, busy: Grid) -> None:
    made = ask("/tokens", method="POST", json={"name": "ci", "role": "admin", "ttl_s": 60})
    assert (made.status_code, made.json["role"]) == (201, "admin")
    assert busy.check_token(digest_of(made.json["token"])) == Principal("ci", is_admin=True)
    (listed,) = ask("/tokens").json["tokens"]
    assert (listed["name"], listed["role"], listed["expires_ms"] - listed["created_ms"]) == ("ci", "admin", 60_000)
    assert made.json["token"] not in ask("/tokens").text
    assert ask("/tokens", method="POST", json={"name": "ci"}).status_code == 409
    assert ask("/tokens", method="POST", json={"name": "appliance"}).status_code == 409
    assert ask("/tokens/ci", method="DELETE").json == {"revoked": "ci"}
    assert ask("/tokens/ci", method="DELETE").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "more", "sentence"),
    [
        ("GET", "/sessions?nope=1", {}, "Unknown parameter 'nope'."),
        ("GET", "/workers?label.a=b", {}, "Unknown parameter 'label.a'."),
        ("GET", "/sessions?name=a&name=b", {}, "The parameter 'name' is there twice."),
        ("GET", f"/sessions?name={'n' * 201}", {}, "The parameter 'name' is wrong"),
        ("GET", f"/sessions?label.a={'n' * 201}", {}, "The label a has 201 characters."),
        ("GET", "/history?count=0", {}, "The parameter 'count' is wrong: must be at least 1."),
        ("GET", "/sessions?status=gone", {}, "The parameter 'status' is wrong"),
        ("POST", "/tokens", {"data": "[]", "content_type": "application/json"}, "must be a JSON object"),
        ("POST", "/tokens", {"data": "[" * 20000, "content_type": "application/json"}, "The request's body"),
        ("POST", "/tokens", {"json": {"role": "client"}}, "The field 'name' is missing."),
        ("POST", "/tokens", {"json": {"name": "a b"}}, "The field 'name' is wrong"),
        ("POST", "/tokens", {"json": {"name": "a", "admin": True}}, "Unknown field 'admin'."),
    ],
)
def test_what_is_not_understood_is_refused_in_words(
    ask: Ask, method: str, path: str, more: dict[str, Any], sentence: str
) -> None:
    answer = ask(path, method=method, **more)
    assert answer.status_code == 400
    assert sentence in said(answer)


def test_a_wrong_method_and_a_wrong_path_are_named(ask: Ask) -> None:
    assert ask("/sessions", method="PUT").headers["Allow"] == "DELETE, GET, HEAD"
    assert ask("/sessions", method="OPTIONS").status_code == 405
    assert "no page /api/v1/nothing" in said(ask("/nothing"))
    assert ask("//sessions").status_code == 404
    assert ask("/sessions", method="HEAD").text == ""


def test_nobody_gets_in_unadmitted(api: Api) -> None:
    def refuse() -> Principal:
        raise Unauthorized("This request needs a token.")

    asking = Client(application(api, refuse))
    for rule in api.flask.url_map.iter_rules():
        for method in rule.methods or ():
            path = rule.rule.replace("<", "").replace(">", "")
            assert asking.open(path, method=method).status_code == 401, (method, path)


def test_the_pressure_counts_the_slots_that_are_free(ask: Ask, busy: Grid) -> None:
    full = ask("/pressure", ALICE).json
    assert (full["is_available"], full["limit"]) == (False, "slots")
    assert full["reason"] == f"All {CONCURRENCY} slots of chromium are taken, and 2 sessions wait."
    assert ask("/pressure?browser=firefox").json["reason"] == "No worker of firefox is available."
    assert ask("/pressure?version=1.64").json["reason"] == "No worker of chromium of Playwright 1.64 is available."
    assert (full["isolation"], ask("/pressure?isolation=browser").json["isolation"]) == ("context", "browser")
    assert "isolation" in said(ask("/pressure?isolation=none"))
    for session in ("a-waits", "b-waits", "a0"):
        busy.release(session, "gone")
    assert ask("/pressure").json["free"] == 1


def test_events_are_followed_from_where_a_client_was(ask: Ask, api: Api, busy: Grid) -> None:
    newest = ask("/events?count=2").json["events"]
    assert len(newest) == 2
    stream = ask("/events", headers={"Accept": "text/event-stream", "Last-Event-ID": newest[0]["id"]})
    assert stream.mimetype == "text/event-stream"
    pieces = iter(stream.response)
    assert next(pieces) == b"retry: 2000\n\n"
    first = next(pieces).decode()
    assert first.splitlines()[0] == f"id: {newest[1]['id']}"
    busy.drain_worker(WORKER, "by hand")
    data = json.loads(next(pieces).decode().splitlines()[2].removeprefix("data: "))
    assert (data["event"], data["reason"]) == ("worker.draining", "by hand")
    api.end_all()
    assert list(pieces) == []
    stream.close()


def test_a_stream_ends_when_its_token_is_revoked(api: Api, busy: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0.0)
    monkeypatch.setattr(streams, "LOOK_S", 0.001)
    allowed = [ADMIN, Principal()]
    stream = Client(application(api, lambda: allowed.pop(0))).get("/api/v1/events?follow=true&count=1")
    assert [piece[:6] for piece in stream.response][-1] == b": the "
    assert allowed == []


def test_only_so_many_streams_are_open(api: Api, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "STREAMS_MAX", 1)
    first = ask("/events?follow=true")
    assert ask("/events?follow=true").status_code == 429
    first.close()
    second = ask("/events?follow=true")
    assert second.status_code == 200
    second.close()
    assert "Last-Event-ID" in said(ask("/events?follow=true", headers={"Last-Event-ID": "newest"}))


def test_the_document_is_true(api: Api) -> None:
    api.end_all()  # streams end at once

    def asking(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        def admit() -> Principal:
            if given_tokens(environ.get("HTTP_AUTHORIZATION", ""), environ["QUERY_STRING"]) == ["secret"]:
                return ADMIN
            raise Unauthorized("This request needs a token.")

        return api(environ | {ADMIT: admit}, start_response)

    asked = set()
    for operation in schemathesis.openapi.from_wsgi(
        "/api/v1/openapi.json", asking, headers=BEARER
    ).get_all_operations():

        @given(operation.ok().as_strategy())
        @settings(max_examples=15, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
        def conforms(case: schemathesis.Case) -> None:
            # A document cannot say that one of its parameters is needed.
            excluded = [positive_data_acceptance] if case.method.upper() == "DELETE" else []
            case.call_and_validate(headers=BEARER, excluded_checks=excluded)
            asked.add((case.method.upper(), case.path))

        conforms()
    assert {("POST", "/api/v1/tokens"), ("GET", "/api/v1/history"), ("DELETE", "/api/v1/sessions")} <= asked
