"""The thread that a user may ask for: it calls the handlers of a `PubSub`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from clustercache.exceptions import ClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from clustercache._sync.pubsub import PubSub

    ExceptionHandler = Callable[[BaseException, PubSub, "PubSubThread"], object]


class PubSubThread(threading.Thread):
    """Handles messages until `stop`, and closes its PubSub then."""

    def __init__(
        self,
        pubsub: PubSub,
        sleep_time: float,
        exception_handler: ExceptionHandler | None,
        *,
        daemon: bool,
    ) -> None:
        """Start nothing yet."""
        super().__init__(daemon=daemon, name="clustercache-pubsub")
        self._pubsub = pubsub
        self._sleep_time = sleep_time
        self._exception_handler = exception_handler
        self._stopping = threading.Event()

    def run(self) -> None:
        """Handle messages; it ends with the client, too."""
        try:
            while not self._stopping.is_set():
                try:
                    self._pubsub.get_message(True, timeout=self._sleep_time)  # noqa: FBT003
                except ClosedError:
                    return
                except BaseException as error:
                    if self._exception_handler is None:
                        raise
                    self._exception_handler(error, self._pubsub, self)
        finally:
            self._pubsub.close()

    def stop(self) -> None:
        """Let the thread end after what it does now."""
        self._stopping.set()
