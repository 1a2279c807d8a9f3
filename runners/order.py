"""Which examples make up which batch: a pure function of (seed, step), so that resuming needs no sampler state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

BUCKET = 16  # batches whose examples are sorted by length together


@dataclass
class BatchOrder:
    """Batches of indices, epoch after epoch.

    Each epoch is a fresh permutation from (seed, epoch); its last batch may be smaller (as in the papers' trainers).
    With `by_length`, stretches of `BUCKET` batches are sorted by length and the batches within are shuffled again, so
    that a batch pads little and the order stays random.

    Attributes:
        lengths: tokens per example; its size is the size of the training set.
        batch_size: global batch size.
    """

    lengths: Sequence[int]
    batch_size: int
    seed: int
    by_length: bool = False
    _epochs: dict[int, list[list[int]]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.lengths:
            raise ValueError(
                "the training split is empty: there is nothing to train on (see data= and runner.train_rows)"
            )

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def batch(self, step: int) -> list[int]:
        """Indices of the global batch of optimiser step `step` (0-based)."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch not in self._epochs:
            self._epochs = {epoch: self._epoch(epoch)}  # keep one epoch only
        return self._epochs[epoch][place]

    def _epoch(self, epoch: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        if not self.by_length:
            return [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
        batches: list[list[int]] = []
        for start in range(0, len(order), self.batch_size * BUCKET):
            stretch = sorted(order[start : start + self.batch_size * BUCKET], key=lambda index: self.lengths[index])
            batches += [stretch[at : at + self.batch_size] for at in range(0, len(stretch), self.batch_size)]
        shuffled = torch.randperm(len(batches), generator=generator).tolist()
        return [batches[index] for index in shuffled]


def share(batch: Sequence[int], rank: int, world: int) -> list[int]:
    """The part of a global batch that one process takes; the parts are disjoint and cover the batch."""
    return list(batch[rank::world])


def micro_batches(batch: Sequence[int], size: int | None) -> list[list[int]]:
    """Pieces of at most `size` rows (all at once where size is None); none of an empty batch."""
    size = size or max(len(batch), 1)
    return [list(batch[start : start + size]) for start in range(0, len(batch), size)]
