"""A mailbox: the messages that Redis publishes to one proxy or one worker.

A message is only a hint to look: if it is lost, a later poll finds the same. So a mailbox need not be reliable, but
quick, and it reconnects when Redis was away.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import redis

from appliance import logs
from appliance.grid.store import Store
from appliance.request_errors import StoreUnavailable

log = logs.get_logger()

LOOK_INTERVAL_S = 1.0  # how soon `close` is noticed
RECONNECT_DELAY_S = 0.5


class Mailbox:
    """Listens on one channel and hands each message to a function."""

    def __init__(self, store: Store, kind: str, owner: str, handle: Callable[[dict[str, Any]], None]) -> None:
        """Set the channel, by `kind` ("proxy" or "worker") and the owner's id, and what handles a message."""
        self._store = store
        self._channel = store.key(kind, owner)
        self._handle = handle
        self._closed = False
        self._listening = threading.Event()
        self._subscriptions = 0

    def run(self) -> None:
        """Listen until `close` is called; meant for a greenlet or thread of its own."""
        while not self._closed:
            try:
                with self._store.subscribe(self._channel) as subscription:
                    self._listen(subscription)
            except redis.RedisError as error:
                log.warning("mailbox.disconnected", channel=self._channel, error=str(error))
                time.sleep(RECONNECT_DELAY_S)
            except Exception:  # one failure must not end all listening
                log.exception("mailbox.failed", channel=self._channel)
                time.sleep(RECONNECT_DELAY_S)

    def wait_until_listening(self, longest_s: float) -> bool:
        """Wait until the mailbox is subscribed. Return False if it is not by then."""
        return self._listening.wait(longest_s)

    def close(self) -> None:
        """End `run`, within LOOK_INTERVAL_S."""
        self._closed = True

    def _listen(self, subscription: redis.client.PubSub) -> None:
        while not self._closed:
            message = subscription.get_message(timeout=LOOK_INTERVAL_S)
            if message and message["type"] == "subscribe":
                self._subscriptions += 1
                self._listening.set()
                if self._subscriptions > 1:  # messages were lost meanwhile, and perhaps this is another server
                    self._deliver('{"resubscribed": true}')
            if message and message["type"] == "message":
                self._deliver(message["data"])

    def _deliver(self, data: str) -> None:
        try:
            self._handle(json.loads(data))
        except StoreUnavailable as error:  # a message is a hint only; what it says is found by polling, too
            log.warning("mailbox.message_lost", channel=self._channel, data=data, error=str(error))
        except Exception:  # one message that cannot be handled must not end the listening
            log.exception("mailbox.message_failed", channel=self._channel, data=data)
