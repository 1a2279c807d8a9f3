"""One padded batch, as tensors. Padding is told by masks that come from lengths, never by ``ids == pad``:
SmolLM2's pad token is its EOS.

Whatever follows from lengths and ids alone is made here, on the host, before the batch is on its device: a step that
asked the device where its targets are would wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from backbones.trie import Packed


@dataclass
class Batch:
    """B examples. Absent parts are None.

    Attributes:
        examples: example ids, in order.
        source, source_mask: (B, S) token ids and 0/1 mask; padded left on decoder-only models, right elsewhere.
            Encoders with multiple choice: (B * C, S), choices of one example next to each other.
        target, target_mask: (B, L), right-padded, EOS included.
        choices, choices_mask: (B, C, L), right-padded, EOS included; a missing choice has an all-zero mask.
        places: (N,) where the real tokens stand in the flattened target (B * L), or choices (B * C * L).
        tries: the choices as rows of merged beginnings (decoder-only models).
        counts: (B, C) tokens of every choice, on the host.
        tokens: the source's token ids of every row without padding, on the host; with `types` those of its segments.
        token_types: (B, S) segment ids (encoders).
        labels: (B,) class ids or regression values; (B, S) tag ids with -100 off the first sub-tokens.
    """

    examples: list[str]
    source: Tensor
    source_mask: Tensor
    target: Tensor | None = None
    target_mask: Tensor | None = None
    places: Tensor | None = None
    choices: Tensor | None = None
    choices_mask: Tensor | None = None
    token_types: Tensor | None = None
    labels: Tensor | None = None
    tries: Packed | None = None
    counts: np.ndarray | None = None
    tokens: Sequence[Sequence[int]] | None = None
    types: Sequence[Sequence[int]] | None = None

    def __len__(self) -> int:
        return len(self.examples)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with every tensor on ``device``."""
        return self._each(lambda tensor: sent(tensor, device))

    def pinned(self) -> Batch:
        """The same batch in memory that a GPU reads by itself, so that copying it there holds nobody up."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        made: dict[str, Any] = {
            f.name: change(value) for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)
        }
        if self.tries is not None:
            made["tries"] = self.tries.each(change)
        return replace(self, **made)


def sent(tensor: Tensor, device: torch.device | str) -> Tensor:
    """A tensor of the host on a device; nobody waits until it is there (MPS alone would read it too early)."""
    return tensor.to(device, non_blocking=torch.device(device).type not in ("cpu", "mps"))


def among(ids: Tensor, known: Iterable[int]) -> Tensor:
    """Which token ids are some of a few known ones (a tensor of these would have to be sent to the device)."""
    found = torch.zeros_like(ids, dtype=torch.bool)
    for token in known:
        found |= ids == token
    return found


def pad(rows: Sequence[Sequence[int]], *, left: bool = False, value: int = 0) -> tuple[Tensor, Tensor]:
    """Pad token lists to the longest.

    Args:
        rows: B lists of token ids, of any lengths.
        left: put the padding in front (decoder-only sources).
        value: the padding id; what it is does not matter, the mask hides it.

    Returns:
        ids (B, T) and mask (B, T), both int64; T is at least 1.
    """
    length = max([1, *(len(row) for row in rows)])
    ids = np.full((len(rows), length), value, dtype=np.int64)
    mask = np.zeros((len(rows), length), dtype=np.int64)
    for index, row in enumerate(rows):
        place = slice(length - len(row), length) if left else slice(0, len(row))
        ids[index, place] = row
        mask[index, place] = 1
    return torch.from_numpy(ids), torch.from_numpy(mask)


def pad_choices(rows: Sequence[Sequence[Sequence[int]]]) -> tuple[Tensor, Tensor]:
    """Pad B lists of candidate answers to (B, C, L) ids and mask; missing candidates have a zero mask."""
    count = max(len(row) for row in rows)
    flat = [list(row[i]) if i < len(row) else [] for row in rows for i in range(count)]
    ids, mask = pad(flat)
    return ids.view(len(rows), count, -1), mask.view(len(rows), count, -1)


def answers(examples: Sequence[Any], *, candidates: bool) -> dict[str, Any]:
    """The target part of a text-to-text batch: targets, or candidate answers when ranking."""
    if candidates:
        empty = [e.id for e in examples if not e.choices]
        if empty:
            raise ValueError(
                f"ranking needs candidate answers, and {len(empty)} example(s) have none (first: {empty[0]!r}); "
                "generate instead, or give the task label words."
            )
        ids, mask = pad_choices([e.choices for e in examples])
        counts = mask.sum(-1).numpy()
        return {"choices": ids, "choices_mask": mask, "places": places_of(mask), "counts": counts}
    ids, mask = pad([e.target for e in examples])
    return {"target": ids, "target_mask": mask, "places": places_of(mask)}


def places_of(mask: Tensor) -> Tensor:
    """Where a mask, (B, L) or (B, C, L), is 1 when it is flattened: (N,) int64."""
    return mask.flatten().nonzero()[:, 0]
