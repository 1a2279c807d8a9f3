"""What is needed next is made by another thread while this one computes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import torch

from backbones.batch import Batch
from tasks.encode import Encoded

Key = TypeVar("Key", bound=Hashable)
Made = TypeVar("Made")


class Ahead(Generic[Key, Made]):
    """Makes one thing ahead: `make(following)` runs while the caller works with `make(key)`.

    All calls of `make` happen in one thread, one after the other, so that it may keep what it likes; what it makes
    follows from its key alone, so that nothing changes by being made earlier. A key that was not announced is made when
    it is asked for; one that was announced and is not asked for is forgotten, with its failure if it had one.

    Args:
        make: a pure function of its key.
    """

    def __init__(self, make: Callable[[Key], Made]) -> None:
        self.make = make
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._announced: tuple[Key, Future[Made]] | None = None

    def __enter__(self) -> Ahead[Key, Made]:
        return self

    def __exit__(self, *_: object) -> None:
        """The thread ends with what it is making, whatever ended the work."""
        self._announced = None
        self._thread.shutdown(wait=True, cancel_futures=True)

    def take(self, key: Key, following: Key | None = None) -> Made:
        """`make(key)`, and the beginning of `make(following)` (None = nothing follows).

        Raises:
            Exception: whatever `make(key)` raised.
        """
        announced, self._announced = self._announced, None
        if announced is not None and announced[0] == key:
            future = announced[1]
        else:
            if announced is not None:
                announced[1].cancel()
            future = self._thread.submit(self.make, key)
        made = future.result()
        if following is not None:
            self._announced = following, self._thread.submit(self.make, following)
        return made


def collated(backbone: Any, rows: Sequence[Encoded], device: torch.device, *, candidates: bool = False) -> Batch:
    """Some rows as tensors of the host, ready to be sent to the device."""
    batch: Batch = backbone.collate(rows, candidates=candidates)
    return batch.pinned() if device.type == "cuda" else batch
