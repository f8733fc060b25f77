"""Whether a proxy takes new sessions, and what it announces of its appliance to the grid.

A proxy leaves its load balancer so that no session fails, when it is drained and when it shuts down. Rules
 1. /readyz fails at once, before anything else changes.
 2. New sessions are served during the notice, DRAIN_NOTICE, in which the load balancer finds that out: by the workers
    of other appliances, for those of this one drain. A shutdown gives half of SHUTDOWN_GRACE at most, for those
    sessions must end in the other half.
 3. After that they are refused with 503; at once, if no other appliance serves. Sessions that wait already go on
    waiting, unless that is in vain.
 4. A load balancer that has seen this proxy drained needs no second notice: neither for a shutdown that follows, nor
    when the proxy is restarted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum

import gevent
from gevent.lock import BoundedSemaphore

from appliance import logs
from appliance.deadline import Deadline
from appliance.grid.grid import Grid
from appliance.grid.sessions import Sessions
from appliance.grid.values import Announcement
from appliance.machine import browsers, pool_file
from appliance.machine.record import Record, record_of
from appliance.names import Browser, minor_version
from appliance.request_errors import Drained, RequestError, ShuttingDown, StoreUnavailable
from appliance.settings.config import Settings
from proxy.loops import in_thread
from proxy.tls import Tls

log = logs.get_logger()


class Status(StrEnum):
    """What a proxy does with new sessions."""

    SERVING = "serving"
    NOTICE = "notice"  # it serves them, and its load balancer should leave
    CLOSED = "closed"  # it refuses them
    STOPPED = "stopped"  # and it announces nothing any more


_TURNS = {
    Status.SERVING: {Status.NOTICE, Status.CLOSED, Status.STOPPED},
    Status.NOTICE: {Status.SERVING, Status.CLOSED, Status.STOPPED},
    Status.CLOSED: {Status.SERVING, Status.NOTICE, Status.STOPPED},  # NOTICE: another appliance has begun to serve
    Status.STOPPED: set[Status](),
}


class Presence:
    """One proxy as its load balancer and its grid see it."""

    def __init__(
        self,
        settings: Settings,
        grid: Grid,
        proxy_id: str,
        sessions: Sessions,
        tls: Tls | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set where to announce, which sessions to refuse or end, and the certificate served.

        Raises LaunchError if there is no driver.
        """
        self.version = browsers.driver_version(settings)
        self._settings, self._record = settings, record_of(settings)
        self._grid, self._proxy_id = grid, proxy_id
        self._sessions, self._tls = sessions, tls
        self._clock = clock
        self._status = Status.SERVING
        self._others = 0  # appliances that serve
        self._stops = ""  # why it shuts down: what completes "The appliance"
        self._is_told = self._record.read().drained  # it stays so, whether Redis can be asked or not
        self._drain = Deadline(settings.drain_timeout, clock) if self._is_told else None
        self._notice = Deadline(0, clock)
        self._seen_rival = self._rival = ""
        self._rival_seen_at = 0.0
        self._announcing = BoundedSemaphore()
        self._began_at = 0.0
        self._failure: StoreUnavailable | None = None

    @property
    def status(self) -> Status:
        """What the proxy does now; a notice ends by itself."""
        if self._status is not Status.STOPPED:
            leaving = Status.NOTICE if self.notice_left_s else Status.CLOSED
            self._turn(leaving if self._is_leaving else Status.SERVING)
        return self._status

    def _turn(self, status: Status) -> None:
        if status is not self._status:
            assert status in _TURNS[self._status], (self._status, status)  # noqa: S101  # else a fault of this class
            self._status = status

    @property
    def _is_leaving(self) -> bool:
        return bool(self._stops or self._drain)

    @property
    def notice_left_s(self) -> float:
        """The seconds for which new sessions are still served by other appliances; 0 if there is none, or no notice."""
        return self._notice.left_s if self._others and self._is_leaving else 0.0

    def reason_to_leave(self) -> RequestError | None:
        """Return why a load balancer should leave this proxy; None while it serves."""
        if self._stops:
            return ShuttingDown(f"The appliance {self._stops}.")
        return Drained("The appliance is drained.") if self._drain else None

    def refusal(self) -> RequestError | None:
        """Return why new sessions are refused; None while they are served."""
        return self.reason_to_leave() if self.status in (Status.CLOSED, Status.STOPPED) else None

    def refusal_of_waiters(self) -> RequestError | None:
        """Return why sessions that wait for a slot are refused; None while they may wait."""
        return self.refusal() if self._stops or not self._others else None

    def heed(self, drained: bool, others: int) -> None:
        """Act on whether the appliance is drained, and on how many other appliances serve."""
        notice_s, self._is_told = self._settings.drain_notice if self._is_told else 0.0, True
        self._others = others
        if drained != bool(self._drain):
            self._drain = Deadline(self._settings.drain_timeout, self._clock) if drained else None
            if not self._stops:
                self._notice = Deadline(notice_s, self._clock)
            log.info("appliance.drained" if drained else "appliance.undrained", sessions=len(self._sessions))
            if drained:
                gevent.spawn(self._announce_the_end_of_the_notice)
        self._sessions.refuse_waiting(self.refusal_of_waiters())
        if self._drain and self._drain.is_over:
            limit_s = self._settings.drain_timeout
            self._sessions.end_all(f"the appliance was drained, and DRAIN_TIMEOUT of {limit_s:g} s is over")

    def leave(self, grace_s: float, why: str = "is shutting down") -> None:
        """Leave for good, with so many seconds for all of it; `why` completes "The appliance"."""
        notice_s = min(self._settings.drain_notice, grace_s / 2)
        self._notice = Deadline(min(notice_s, self._notice.left_s) if self._is_leaving else notice_s, self._clock)
        self._stops = why

    def wait_until_closed(self) -> None:
        """Announce that the proxy leaves, wait until the notice is over, and refuse the sessions that still wait."""
        gevent.spawn(self.try_to_announce)
        gevent.sleep(self.notice_left_s)
        self._sessions.refuse_waiting(self.reason_to_leave())

    def stop(self) -> None:
        """Tell the grid that this proxy has ended; if Redis is away, the proxy is forgotten with its lease."""
        with self._announcing:
            self._turn(Status.STOPPED)
            try:
                self._grid.leave(self._proxy_id)
            except StoreUnavailable as error:
                log.warning("proxy.not_removed", error=str(error))

    def try_to_announce(self) -> None:
        """Announce; log it if Redis is away."""
        try:
            self.announce()
        except StoreUnavailable as error:
            log.warning("appliance.not_announced", error=str(error))

    def announce(self) -> None:
        """Tell the grid about this appliance, and heed the answer; raises StoreUnavailable.

        Serialised, so that a late reply cannot undo a newer one. A caller that waited while another call began and
        ended shares its outcome.
        """
        asked_at = self._clock()
        with self._announcing:
            if self._status is Status.STOPPED:
                return
            if self._began_at <= asked_at:
                self._began_at, self._failure = self._clock(), None
                try:
                    if self._announce_once() != (self.refusal() is None):  # news for those who wait for a drain
                        self._announce_once()
                except StoreUnavailable as error:
                    self._failure = error
            if self._failure:
                raise self._failure

    def _announce_once(self) -> bool:
        """Announce and heed the answer; return whether it was announced that new sessions are served."""
        settings, record, admits = self._settings, self._record.read(), self.refusal() is None
        announcement = Announcement(
            appliance=settings.appliance_name,
            run=record.run,
            drained=record.drained,
            epoch=record.epoch,
            stopping=bool(self._stops),
            proxy=self._proxy_id,
            endpoint=settings.endpoint,
            address=settings.private_hostname,
            port=settings.port,
            certificate=self._tls.certificate if self._tls else "",
            version=self.version,
            pools=self._pools(),
            relayed=len(self._sessions),
            admits=admits,
            serves_redis=not settings.redis_url,
            rival=self._rival,
            settle_ms=int(settings.lease_ttl * 1000),
            ttl_ms=int(3 * settings.lease_ttl * 1000),
        )
        told = self._grid.announce(announcement)
        self.heed(told.drained, told.others)
        self._keep(Record(record.run, told.drained, told.epoch))
        self._note_rival(told.rival)
        return admits

    def _pools(self) -> dict[tuple[Browser, str], int]:
        """Return how many workers serve, by browser and Playwright minor; `applctl scale` may have changed it."""
        pools, own = pool_file.as_written(self._settings).all_pools, minor_version(self.version)
        return {(pool.browser, pool.minor_in_grid(own)): pool.workers for pool in pools}

    def _announce_the_end_of_the_notice(self) -> None:
        while left_s := self.notice_left_s:
            gevent.sleep(left_s)
        self.try_to_announce()

    def _keep(self, record: Record) -> None:
        try:
            in_thread(self._record.keep, (record,))
        except OSError as error:
            log.error("appliance.record_not_written", path=str(self._record.path), error=str(error))

    def _note_rival(self, where: str) -> None:
        """Log another appliance of this name. One that is seen once may be an earlier run of this one.

        If it is not seen, this one spoke last, unless that lasts for longer than the other could be silent.
        """
        now = self._clock()
        if not where:
            if now - self._rival_seen_at > self._settings.lease_ttl:
                self._seen_rival = self._rival = ""
            return
        if where == self._seen_rival:
            self._rival = where
            name = self._settings.appliance_name
            log.error("appliance.name_taken", name=name, by=where, hint="Set APPLIANCE_NAME to another name on one.")
        self._seen_rival, self._rival_seen_at = where, now
