"""What is simulated: one pool, its load, and how long its workers take to come back."""

from __future__ import annotations

from dataclasses import asdict, dataclass

FEWEST_SESSIONS = 500
HEARTBEAT_S = 5.0
HEARTBEATS = 4  # of all workers, for each session, at most


@dataclass(frozen=True)
class Case:
    """One pool under one load. `load` 1 is a client per slot that never pauses; below, arrivals are Poisson."""

    workers: int = 5  # that serve, on all appliances together
    concurrency: int = 5
    quota: int = 50
    length_s: float = 1.0  # mean of a session
    load: float = 1.0
    spares: int = 1  # on each appliance
    appliances: int = 1
    fixed: bool = False  # all sessions take length_s; else it is the mean of an exponential distribution
    generations: float = 3.0  # how often the sessions use up the quotas of all workers
    sessions: int = 0  # instead of generations
    launch_s: float = 1.0  # from a launch turn to the registration
    respawn_s: float = 1.0  # from a worker's end to the start of its successor, in supervisord
    stagger_s: float = 0.5
    heartbeat_s: float = 0.0  # 0: see `beat_s`
    seed: int = 1

    def __str__(self) -> str:
        """Name the case by all that belongs to it: "workers=5 concurrency=5 …"."""
        return " ".join(f"{name}={value:g}" for name, value in asdict(self).items())

    @property
    def total(self) -> int:
        """How many sessions are simulated."""
        return self.sessions or max(FEWEST_SESSIONS, round(self.generations * self.workers * self.quota))

    @property
    def rate(self) -> float:
        """Sessions per second that are offered; at load 1 at most so many are served."""
        return self.load * self.workers * self.concurrency / self.length_s

    @property
    def beat_s(self) -> float:
        """Seconds between two heartbeats of a worker, and between a proxy's renewals.

        The library works at heartbeats, too, so they come as often as they really do, unless that were more than
        HEARTBEATS for each session.
        """
        everyone = self.workers + self.spares * self.appliances
        return self.heartbeat_s or max(HEARTBEAT_S, everyone / (HEARTBEATS * self.rate))

    @property
    def bearable(self) -> int:
        """How many workers may be away at once while (N-1)/N of the capacity is there."""
        return 1 + self.spares * self.appliances

    @property
    def least_away_s(self) -> float:
        """Seconds that a recycled worker is away if sessions are spread: its last ones, its respawn and launch."""
        together = max(1.0, min(self.load * self.concurrency, self.quota))
        drain_s = self.length_s if self.fixed else self.length_s * harmonic(together)
        return drain_s + self.respawn_s + self.launch_s

    def demand(self, away_s: float) -> float:
        """Return how many workers are away at once on average, whatever the policy, if each is for so long."""
        return self.rate / self.quota * away_s


def harmonic(count: float) -> float:
    """Return the mean of the longest of so many exponential times of mean 1; in between, a straight line."""
    whole = int(count)
    return sum(1 / n for n in range(1, whole + 1)) + (count - whole) / (whole + 1)
