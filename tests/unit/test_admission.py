"""Connections are counted by client, and the unheard ones make room for each other."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from appliance.request_errors import TooManyConnections
from proxy.admission import Connections, Unheard


def test_a_client_has_so_many_connections_and_others_have_theirs() -> None:
    connections = Connections(2)
    with connections.of("a"), connections.of("a"), connections.of("b"), pytest.raises(TooManyConnections):
        connections.of("a").__enter__()
    with connections.of("a"), connections.of("a"):
        pass


class Connection:
    is_cut = False

    def cut(self) -> None:
        self.is_cut = True


def test_one_unheard_connection_too_many_costs_the_oldest() -> None:
    unheard, connections = Unheard(2), [Connection() for _ in range(4)]
    with ExitStack() as held:
        held.enter_context(unheard.hold(connections[0]))
        with unheard.hold(connections[1]):  # this one is heard before the next comes
            pass
        for connection in connections[2:]:
            held.enter_context(unheard.hold(connection))
    assert [connection.is_cut for connection in connections] == [True, False, False, False]
    with unheard.hold(connections[1]), unheard.hold(connections[2]):
        assert not connections[1].is_cut
