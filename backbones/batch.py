"""One padded batch, as tensors. Padding is told by masks that come from lengths, never by ``ids == pad``:
SmolLM2's pad token is its EOS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass
class Batch:
    """B examples. Absent parts are None.

    Attributes:
        examples: example ids, in order.
        source, source_mask: (B, S) token ids and 0/1 mask; padded left on decoder-only models, right elsewhere.
            Encoders with multiple choice: (B * C, S), choices of one example next to each other.
        target, target_mask: (B, L), right-padded, EOS included.
        places: (N,) where the real target tokens stand in the flattened (B * L) target; known before the batch is on
            its device, so that no step waits to find them.
        choices, choices_mask: (B, C, L), right-padded, EOS included; a missing choice has an all-zero mask.
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

    def __len__(self) -> int:
        return len(self.examples)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with every tensor on ``device``."""
        moved: dict[str, Any] = {
            f.name: value.to(device) for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)


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
    ids = torch.full((len(rows), length), value, dtype=torch.long)
    mask = torch.zeros(len(rows), length, dtype=torch.long)
    for index, row in enumerate(rows):
        if row:
            place = slice(length - len(row), length) if left else slice(0, len(row))
            ids[index, place] = torch.tensor(row, dtype=torch.long)
            mask[index, place] = 1
    return ids, mask


def pad_choices(rows: Sequence[Sequence[Sequence[int]]]) -> tuple[Tensor, Tensor]:
    """Pad B lists of candidate answers to (B, C, L) ids and mask; missing candidates have a zero mask."""
    count = max(len(row) for row in rows)
    flat = [list(row[i]) if i < len(row) else [] for row in rows for i in range(count)]
    ids, mask = pad(flat)
    return ids.view(len(rows), count, -1), mask.view(len(rows), count, -1)


def answers(examples: Sequence[Any], *, candidates: bool) -> dict[str, Tensor]:
    """The target part of a text-to-text batch: targets, or candidate answers when ranking."""
    if candidates:
        empty = [e.id for e in examples if not e.choices]
        if empty:
            raise ValueError(
                f"ranking needs candidate answers, and {len(empty)} example(s) have none (first: {empty[0]!r}); "
                "generate instead, or give the task label words."
            )
        ids, mask = pad_choices([e.choices for e in examples])
        return {"choices": ids, "choices_mask": mask}
    ids, mask = pad([e.target for e in examples])
    return {"target": ids, "target_mask": mask, "places": places_of(mask)}


def places_of(mask: Tensor) -> Tensor:
    """Where a mask (B, L) is 1, in the flattened (B * L): (N,) int64."""
    return mask.flatten().nonzero()[:, 0]
