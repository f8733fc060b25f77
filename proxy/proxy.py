"""The proxy process: what runs beside the connections, and its start and stop."""

from __future__ import annotations

import os
import secrets
import signal
from typing import Any

import gevent
from gevent.event import Event
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer

from appliance import logs
from appliance.deadline import Deadline, wait_until
from appliance.errors import OpenToAll, SettingsError
from appliance.grid.grid import Grid
from appliance.grid.mailbox import Mailbox
from appliance.grid.reach import Reach
from appliance.grid.samples import SAMPLE_MS, Samples
from appliance.grid.sessions import Sessions
from appliance.grid.store import Store
from appliance.grid.token_copy import token_copy_of
from appliance.grid.tokens import Tokens
from appliance.grid.values import Grant
from appliance.machine import addresses, pool_file
from appliance.request_errors import StoreRefuses, StoreUnavailable
from appliance.settings.config import Settings
from proxy import loops
from proxy.access import Access
from proxy.admission import Connections, Unheard
from proxy.api.application import Api
from proxy.dashboard.pages import Dashboard
from proxy.dial import Connection, dial_worker
from proxy.door.answering import InnerDoor
from proxy.door.dialling import Neighbours
from proxy.door.keys import Keys
from proxy.handler import DoorHandler, SessionHandler
from proxy.handshake import Headers
from proxy.limits import Watchdog
from proxy.loops import RETRY_S, in_thread, repeat
from proxy.mcp.agents import LOOK_S, Agents
from proxy.mcp.browsers import Browsers
from proxy.measured import collectors
from proxy.metrics.metrics import Metrics
from proxy.pages import Pages
from proxy.predecessors import Predecessors
from proxy.presence import Presence
from proxy.probing import Prober
from proxy.reaper import Reaper
from proxy.self_audit import INTERVAL_S as AUDIT_S
from proxy.self_audit import SelfAudit
from proxy.services import Services
from proxy.tls import Tls

log = logs.get_logger()

BACKLOG = 1024
UNHEARD_MAX = 1024  # connections whose request is awaited
CERTIFICATE_LOOK_S = 2.0
MAILBOX_S = 2.0  # a mailbox that does not listen yet loses messages; polls make up for them
IDLE_LOOK_S = 0.05
LAST_WORDS_S = 5.0  # for the reasons to reach the clients


class Server(WSGIServer):
    """A listener at PORT; its handlers find their services here."""

    def __init__(self, services: Services, host: str, handler: type[SessionHandler]) -> None:
        """Set what the connections share, the address, and what serves a connection; nobody listens yet."""
        self.services = services
        super().__init__(
            (host, services.settings.port),
            Pages(services),
            backlog=BACKLOG,
            spawn=Pool(),  # so that `stop` waits for the handlers
            handler_class=handler,
            log=None,
            error_log=None,
        )


class Proxy:
    """One proxy: a stateless hub between clients and workers. All state is in Redis."""

    def __init__(self, settings: Settings) -> None:
        """Set the settings; nothing is started or connected yet. Raises SettingsError for an unusable certificate."""
        settings = settings.model_copy(update={"private_hostname": addresses.private_hostname(settings)})
        self.settings = settings
        self.id = f"{settings.appliance_name}.{secrets.token_hex(3)}"
        self.grid = Grid(Store(settings.effective_redis_url, settings.grid_namespace))
        self.tls = Tls(settings.tls_cert, settings.tls_key) if settings.tls_cert and settings.tls_key else None
        reach, self._metrics = Reach(), Metrics()
        self.presence: Presence  # made of the sessions, below
        leave = lambda: self.presence.reason_to_leave()  # noqa: E731
        self.sessions = Sessions(self.grid, settings, self.id, self._announce, reach, leave, self._metrics)
        self._reaper = Reaper(self.grid, self.sessions, settings, self._metrics)
        self._audit = SelfAudit(settings, self.grid)
        self._prober = Prober(reach, self.grid, self._dial)
        reach.on_change(self._prober.wake)
        self.presence = Presence(settings, self.grid, self.id, self.sessions, self.tls)
        self._tokens = Tokens(self.grid, token_copy_of(settings), in_thread)
        self._mailbox = Mailbox(self.grid.store, "proxy", self.id, self.handle)
        self._watchdog = Watchdog(settings)
        self._keys = Keys(self.grid)
        self._door = InnerDoor(settings, self._keys, self._watchdog)
        self._neighbours = Neighbours(settings, self.grid, self._keys)
        self._agents = Agents(settings, self.presence)
        self._api = Api(self.grid, settings)
        self._dashboard = Dashboard(self.grid, settings)
        self._samples = Samples(self.grid)
        self._unheard = Unheard(UNHEARD_MAX)
        self._stop = Event()
        self._has_failed = False
        self.services = Services(
            settings=settings,
            current=pool_file.Current(settings),
            grid=self.grid,
            sessions=self.sessions,
            reach=reach,
            presence=self.presence,
            access=Access(self._tokens, settings, os.geteuid()),
            connections=Connections(settings.max_connections_per_client),
            visits=Connections(settings.max_connections_per_client),
            unheard=self._unheard,
            watchdog=self._watchdog,
            metrics=self._metrics,
            tls=self.tls,
            door=self._door,
            agents=self._agents,
            api=self._api,
            dashboard=self._dashboard,
            dial=self._dial,
        )
        self._metrics.read_also(collectors(self.services, self._audit))
        self._servers = [Server(self.services, settings.host, SessionHandler)]
        if beside := addresses.door_beside_host(settings):
            self._servers.append(Server(self.services, beside, DoorHandler))
        self._browsers = Browsers(self.services, self._agents)

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT, then stop in order; return the exit code, 1 after a fault.

        Raises SettingsError if the listener would be open to anybody.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, self._stop.set)
        settings = self.settings
        self._require_redis()
        self._require_tokens()
        running = self.start_loops()
        loops.end_with(running, self._fail)
        try:
            self._mailbox.wait_until_listening(MAILBOX_S)
            if not self.stopping:
                self._listen()
                log.info("proxy.started", endpoint=settings.endpoint, version=self.presence.version)
            self._stop.wait()
            self._shut_down()
        finally:
            gevent.killall(running)
            self.presence.stop()
        log.info("proxy.stopped")
        return 1 if self._has_failed else 0

    def _fail(self) -> None:
        """Stop because of a fault, which is logged; supervisord starts the proxy again."""
        self._has_failed = True
        self._stop.set()

    def _listen(self) -> None:
        """Open the endpoint, and the inner door beside it if others do not reach it there; raises SettingsError."""
        for server in self._servers:
            try:
                server.start()
            except OSError as error:
                where = f"{server.server_host} port {self.settings.port}"
                raise SettingsError(f"the proxy cannot listen on {where}: {error.strerror}") from error
        if self.settings.mcp:
            gevent.spawn(self._browsers.start)

    def start_loops(self) -> list[gevent.Greenlet[..., None]]:
        """Start what runs beside the connections, and return it."""
        settings = self.settings
        started: list[gevent.Greenlet[..., None]] = [
            gevent.spawn(self._mailbox.run),
            gevent.spawn(repeat, 0, self._watchdog.make_round),
            gevent.spawn(repeat, settings.lease_renew_interval, self._renew),
            gevent.spawn(repeat, 0, self._reaper.reap, self._reaper.pause),
            gevent.spawn(self._prober.run),
            gevent.spawn(self._release_predecessors),
            gevent.spawn(repeat, settings.lease_renew_interval, self._tokens.sync),
            gevent.spawn(repeat, settings.lease_renew_interval, self._keys.sync),
            gevent.spawn(repeat, LOOK_S, self._agents.end_idle),
            gevent.spawn(repeat, SAMPLE_MS / 1000, self._samples.take),
            gevent.spawn(repeat, settings.lease_renew_interval, self._dashboard.renew),
            gevent.spawn(self._metrics.loop_lag.run),
            gevent.spawn(repeat, AUDIT_S, self._audit.look),
        ]
        if self.tls:
            started.append(gevent.spawn(repeat, CERTIFICATE_LOOK_S, self._reload_certificate))
        return started

    def _require_redis(self) -> None:
        """Raise StoreRefuses if Redis does not keep its data; log it if Redis is away."""
        try:
            self.grid.store.require_keeping()
        except StoreRefuses:
            raise
        except StoreUnavailable as error:
            log.warning("redis.away", error=str(error))

    def _require_tokens(self) -> None:
        """Raise OpenToAll if a listener beyond loopback has no token; wait for Redis if only Redis may have one."""
        self._tokens.load()
        while self.settings.requires_token and not self.stopping:
            try:
                if not self._tokens.are_required():
                    raise OpenToAll
                return
            except StoreUnavailable:  # it could not be asked yet
                self._stop.wait(RETRY_S)

    def _shut_down(self) -> None:
        """Leave the load balancer, let the sessions finish within SHUTDOWN_GRACE, then end them, and say why."""
        grace_s = self.settings.shutdown_grace
        why = "restarts its proxy after an internal error" if self._has_failed else "is shutting down"
        log.info("proxy.stopping", sessions=len(self.sessions), inner=len(self._door), grace_s=grace_s)
        deadline = Deadline(grace_s)
        self.presence.leave(grace_s, why)
        self.presence.wait_until_closed()
        self.sessions.keep_no_more(f"appliance {why}")
        if not wait_until(lambda: not (len(self.sessions) or len(self._door)), deadline.left_s, IDLE_LOOK_S):
            self.sessions.end_all(f"appliance {why}")
            self._door.end_all(f"appliance {self.settings.appliance_name} {why}")
        for server in self._servers:
            server.close()
        self._agents.end_all(f"appliance {why}")
        self._api.end_all()
        self._dashboard.end_all(f"appliance {why}")
        self._unheard.cut_all()
        for server in self._servers:
            server.stop(timeout=LAST_WORDS_S)  # a handler has given its slot back before it says its last words
        self._browsers.stop(LAST_WORDS_S)

    def handle(self, message: dict[str, Any]) -> None:
        """Act on a message to this proxy."""
        if message.get("tokens"):
            self._tokens.sync()
        elif message.get("appliance") is True:  # other messages name one
            self._announce()
        elif message.get("resubscribed"):
            self._renew()
        else:
            self.sessions.handle(message)

    def _reload_certificate(self) -> None:
        """Serve new files and announce them at once: other appliances' proxies connect to the announced certificate."""
        if self.tls and self.tls.reload():
            self._announce()

    def _announce(self) -> None:
        self.presence.announce()

    def _renew(self) -> None:
        self.sessions.renew()
        self._announce()

    def _release_predecessors(self) -> None:
        Predecessors(self.settings.run_dir, self.id).run(self.grid)

    def _dial(self, forwarded: Headers, grant: Grant) -> Connection:
        """Connect to a worker of this appliance or another one, and ask it for a session with the client's headers.

        Raises DialFailed.
        """
        if grant.appliance != self.settings.appliance_name:
            return self._neighbours.dial(forwarded, grant)
        return dial_worker(forwarded, self.settings.run_dir, grant.worker_id)
