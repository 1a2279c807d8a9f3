"""SIGTERM, as schedulers send it before they kill: a run stops where it loses nothing, with an exit code of its own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(RuntimeError):
    """SIGTERM came; what was trained is in the checkpoint."""


class StopSignal:
    """Catches SIGTERM while it is entered; the handler that was there is put back.

    Outside `deferred` the signal raises `Stopped` at once (loading and the last scores can be done again). Inside, it
    only sets `came`, and the training loop stops after its step.
    """

    def __init__(self) -> None:
        self.came = False
        self._deferred = False

    @contextmanager
    def caught(self) -> Iterator[StopSignal]:
        try:
            before = signal.signal(signal.SIGTERM, self._note)
        except ValueError:  # not the main thread: whoever owns it handles the signal
            yield self
            return
        try:
            yield self
        finally:
            signal.signal(signal.SIGTERM, before)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        first, self.came = not self.came, True
        if first and not self._deferred:
            raise Stopped("stopped outside the training steps; the same command goes on from the last checkpoint")
