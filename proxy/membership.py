"""What a proxy says of its appliance to the grid, and what it is told in return: whether it is drained."""

from __future__ import annotations

import time
from collections.abc import Callable

import gevent
from gevent.lock import BoundedSemaphore

from appliance import logs
from appliance.errors import StoreUnavailable
from appliance.grid.appliances import Appliances
from appliance.grid.sessions import Sessions
from appliance.grid.values import Announcement
from appliance.machine import browsers
from appliance.machine.record import Record, record_of
from appliance.settings.config import Settings
from proxy.departure import Departure
from proxy.loops import in_thread

log = logs.get_logger()


class Membership:
    """The appliance as a member of its grid."""

    def __init__(
        self,
        settings: Settings,
        appliances: Appliances,
        proxy_id: str,
        departure: Departure,
        certificate: Callable[[], str],
    ) -> None:
        """Set whom to tell, what follows from the answer, and what returns the fingerprint of the certificate served.

        Raises LaunchError if there is no driver.
        """
        self.version = browsers.driver_version(settings)
        self._settings = settings
        self._appliances = appliances
        self._proxy_id = proxy_id
        self._departure = departure
        self._certificate = certificate
        self._sessions: Sessions | None = None
        self._seen_rival = self._rival = ""
        self._rival_seen_at = 0.0
        self._announcing = BoundedSemaphore()
        self._began_at = 0.0
        self._failure: StoreUnavailable | None = None
        if record_of(settings).read().drained:  # it stays so, whether Redis can be asked or not
            departure.note(drained=True, others=0)

    def mind(self, sessions: Sessions) -> None:
        """Take the sessions that are to be counted and, when the appliance leaves, refused or ended."""
        self._sessions = sessions

    def announce(self) -> None:
        """Say what this appliance is, and act on whether it is drained; raises StoreUnavailable.

        One after another, or an answer that is late would undo what a newer one said; who had to wait while another
        began and ended one shares what came of it.
        """
        asked_at = time.monotonic()
        with self._announcing:
            if self._began_at <= asked_at:
                self._began_at, self._failure = time.monotonic(), None
                try:
                    self._announce_whole()
                except StoreUnavailable as error:
                    self._failure = error
            if self._failure:
                raise self._failure

    def _announce_whole(self) -> None:
        said = self._announce()
        if said.admits != self._admits:  # for what it was told: who waits for the drain's end need not wait longer
            self._announce()

    @property
    def _admits(self) -> bool:
        return self._departure.refusal() is None

    def _announce(self) -> Announcement:
        """Announce once; gives what was said."""
        settings, memory = self._settings, record_of(self._settings).read()
        announcement = Announcement(
            appliance=settings.appliance_name,
            run=memory.run,
            drained=memory.drained,
            turn=memory.turn,
            stopping=self._departure.is_stopping,
            proxy=self._proxy_id,
            endpoint=settings.endpoint,
            address=settings.private_hostname,
            port=settings.port,
            certificate=self._certificate(),
            version=self.version,
            pools=settings.pools,
            relayed=len(self._sessions or ()),
            admits=self._admits,
            serves_redis=not settings.redis_url,
            rival=self._rival,
            settle_ms=int(settings.lease_ttl * 1000),
            ttl_ms=int(3 * settings.lease_ttl * 1000),
        )
        told = self._appliances.announce(announcement)
        if self._departure.note(told.drained, told.others):
            log.info("appliance.drained" if told.drained else "appliance.undrained", sessions=announcement.relayed)
            if told.drained:
                gevent.spawn(self._announce_the_end_of_the_notice)
        self._remember(Record(memory.run, told.drained, told.turn))
        self._note_rival(told.rival)
        self._heed()
        return announcement

    def _announce_the_end_of_the_notice(self) -> None:
        while left_s := self._departure.notice_left_s():
            gevent.sleep(left_s)
        self.try_to_announce()

    def try_to_announce(self) -> None:
        """Announce; if Redis is away, those who ask it will find that out by themselves."""
        try:
            self.announce()
        except StoreUnavailable as error:
            log.warning("appliance.not_announced", error=str(error))

    def leave(self) -> None:
        """Say that this proxy has ended; if Redis is away, it is forgotten with its lease."""
        try:
            self._appliances.leave(self._proxy_id)
        except StoreUnavailable as error:
            log.warning("proxy.end_not_said", error=str(error))

    def _note_rival(self, where: str) -> None:
        """Say if another appliance goes by this name. One that is seen once may be an earlier run of this one.

        That it is not seen means that this one spoke last, unless that goes on for longer than it could be silent.
        """
        now = time.monotonic()
        if not where:
            if now - self._rival_seen_at > self._settings.lease_ttl:
                self._seen_rival = self._rival = ""
            return
        if where == self._seen_rival:
            self._rival = where
            name = self._settings.appliance_name
            log.error("appliance.name_taken", name=name, by=where, hint="Set APPLIANCE_NAME to another name on one.")
        self._seen_rival, self._rival_seen_at = where, now

    def _remember(self, memory: Record) -> None:
        try:
            in_thread(record_of(self._settings).keep, (memory,))
        except OSError as error:
            log.error("appliance.not_remembered", path=str(record_of(self._settings).path), error=str(error))

    def _heed(self) -> None:
        if self._sessions is None:
            return
        self._sessions.refuse_waiting(self._departure.refusal_of_waiters())
        limit_s = self._settings.drain_timeout
        if self._departure.drained_for_s > limit_s:
            self._sessions.end_all(f"the appliance was drained, and DRAIN_TIMEOUT of {limit_s:g} s is over")
