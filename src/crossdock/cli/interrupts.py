"""Ctrl-C at a moment when it could not be said what becomes of the job."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class HeldInterrupt:
    """Keeps a first Ctrl-C back until :meth:`release`; a second one is let through at once.

    While a submit is under way nobody knows yet whether there is a job that Ctrl-C should be asked about.
    """

    def __init__(self) -> None:
        self._held = False
        self._previous: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._hold)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._restore()
        if self._held and error is None:
            raise KeyboardInterrupt

    def release(self) -> None:
        """Raise ``KeyboardInterrupt`` if there was a Ctrl-C; let each further one through."""
        self._restore()
        if self._held:
            self._held = False
            raise KeyboardInterrupt

    def _hold(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._held:
            raise KeyboardInterrupt
        self._held = True

    def _restore(self) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None
