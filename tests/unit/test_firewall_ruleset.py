"""The firewall's rules as text, and what they are made of; tests/system/test_firewall.py has them in force."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import FirewallError
from appliance.machine.firewall import Inbound, Values, ruleset, values_of
from appliance.machine.firewall.ruleset import mark_of
from appliance.machine.firewall.values import resolvers
from appliance.settings import config, redis_url
from appliance.settings.networks import networks

BOTH = {"service_user": "daemon", "browser_user": "nobody"}  # two accounts that every Debian has
GROUP = 994
SOME = Values(
    GROUP,
    resolvers=tuple(networks("127.0.0.53 fd00::53")),
    grid=tuple(networks("10.0.0.0/24 10.0.0.7")),
    allowed=tuple(networks("10.0.0.0/8")),
    inbound=Inbound((8080, 22, 22), tuple(networks("10.0.0.0/24")), ("32768-60999", "6379")),
)


def chain(name: str, text: str) -> list[str]:
    """Return the rules of a chain."""
    return [line.strip() for line in text.partition(f"chain {name} {{\n")[2].partition("\n  }")[0].splitlines()]


def position(rules: list[str], begin: str) -> int:
    """Return which rule begins so."""
    return next(number for number, rule in enumerate(rules) if rule.startswith(begin))


def test_only_what_the_browsers_group_sends_is_looked_at() -> None:
    policy, own, others, entry = chain("output", ruleset(SOME))
    assert policy == "type filter hook output priority filter; policy accept;"
    assert {rule.partition(" tcp ")[0] for rule in (own, others)} == {"ip saddr 127.128.0.0/9"}  # nobody else's
    assert entry.startswith(f"meta skgid {GROUP} jump browsers ")


def test_no_other_table_is_touched_and_ours_is_replaced_in_one_step() -> None:
    lines = ruleset(SOME).splitlines()
    assert lines[:3] == ["table inet appliance", "delete table inet appliance", "table inet appliance {"]
    assert sum(line.startswith("table") for line in lines) == 2


def test_names_come_before_this_machine_and_the_grid_before_allowed_networks() -> None:
    rules = chain("browsers", ruleset(SOME))
    order = (
        "ct state established,related accept",
        "ip daddr { 127.0.0.53/32 } udp dport 53 accept",
        "ip6 daddr { fd00::53/128 } tcp dport 53 accept",
        "ip daddr 127.128.0.0/9 tcp",
        "fib daddr type { local, broadcast, anycast, multicast } goto refuse",
        "ip daddr { 100.100.100.200/32, 168.63.129.16/32, 169.254.0.0/16, 192.0.0.192/32 } goto refuse",
        "ip daddr { 10.0.0.0/24 } goto refuse",
        "ip daddr { 10.0.0.0/8 } accept",
        "ip daddr { 0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10",
    )
    positions = [position(rules, begin) for begin in order]
    assert positions == sorted(positions)


def test_a_kind_of_address_that_is_not_named_makes_no_rule() -> None:
    bare = ruleset(Values(GROUP))
    assert "{  }" not in bare
    assert "dport 53" not in bare
    assert not any("input" in line for line in bare.splitlines()), "all may come from outside"


def test_from_outside_only_what_is_named_is_let_in() -> None:
    rules = chain("input", ruleset(SOME))
    assert rules[0] == "type filter hook input priority filter; policy drop;"
    assert [rule for rule in rules if "tcp" in rule] == [
        "tcp dport { 22, 8080 } accept",
        "ip saddr { 10.0.0.0/24 } tcp dport 32768-60999 accept",
        "ip saddr { 10.0.0.0/24 } tcp dport 6379 accept",
    ]


def test_rules_are_told_from_those_of_other_settings_by_their_mark() -> None:
    text = ruleset(SOME)
    others = [replace(SOME, browser_group=995), replace(SOME, allowed=()), replace(SOME, inbound=None)]
    assert mark_of(text) == mark_of(ruleset(replace(SOME))) != ""
    assert mark_of(text) not in {mark_of(ruleset(other)) for other in others}
    assert mark_of("table inet appliance { }") == ""


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("nameserver 10.0.0.53\nsearch example.org\nnameserver fe80::1%eth0\n", {"10.0.0.53/32", "fe80::1/128"}),
        ("nameserver dns.local\nnameserver 10.0.0.0/8/8\nnameserver \udcff\nnameserver 10.0.0.5\n", {"10.0.0.5/32"}),
        ("# nameserver 10.0.0.1\noptions edns0\n", {"127.0.0.1/32", "::1/128"}),
    ],
)
def test_the_resolvers_are_those_of_resolv_conf(content: str, found: set[str], tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text(content, errors="surrogateescape")
    assert set(map(str, resolvers(tmp_path / "resolv.conf"))) == found
    assert set(map(str, resolvers(tmp_path / "none"))) == {"127.0.0.1/32", "::1/128"}


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("unix:///run/redis.sock", []),
        ("redis://:secret@10.0.0.9:6380/2", ["10.0.0.9"]),
        ("rediss://[fd00::9]", ["fd00::9"]),
        ("redis+sentinel://a:26379,b/mymaster", ["a", "b"]),
    ],
)
def test_pages_are_kept_from_all_hosts_of_redis(url: str, found: list[str]) -> None:
    assert redis_url.hosts(url) == found


def test_what_the_settings_name_is_in_the_rules() -> None:
    settings = config.load(**BOTH, redis_url="redis://10.3.0.1", peers="10.2.0.0/16", open_ports="2222", port=9000)
    values = values_of(settings)
    assert set(map(str, values.grid)) == {"10.2.0.0/16", "10.3.0.1/32"}
    assert values.inbound
    assert values.inbound.public_ports == (9000, 2222)
    assert values.inbound.peer_ports == (), "sessions come by PORT, and Redis is elsewhere"
    serving = values_of(config.load(**BOTH, redis_listen="10.0.0.5:6380", redis_password="p" * 16, peers="10.2.0.0/16"))
    assert serving.inbound
    assert serving.inbound.peer_ports == ("6380",)
    assert values_of(config.load(**BOTH, guard_inbound=False)).inbound is None


def test_without_an_account_of_the_browsers_there_is_no_firewall() -> None:
    assert not config.load().has_firewall
    assert not config.load(**BOTH, guard=False).has_firewall
    with pytest.raises(FirewallError, match="BROWSER_USER is not set"):
        values_of(config.load())
