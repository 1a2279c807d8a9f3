"""K input-level methods as one: each applies to its own rows of a stacked batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


class PackedInputs(nn.Module):
    """What a backbone sees of K runs that share its forward passes.

    Rows of one method stand together. Prompts of different lengths are brought to the longest one by masked slots in
    front of them: the prompt still adjoins its tokens, and masked slots are seen by nobody, so that every row is what
    it would be alone (relative distances, in T5's biases and LLaMA's rotations, do not change).

    Args:
        methods: K input-level methods (methods.base.InputMethod); they may be of different classes.

    Raises:
        ValueError: methods with an offset by position disagree on its rows or their alignment.
    """

    kind: ClassVar[str] = "input"
    offset_generated = True  # each method's own switch is read in `shift`

    def __init__(self, methods: Sequence[Any]) -> None:
        super().__init__()
        self.methods = nn.ModuleList(methods)
        shapes = {(m.max_source_length, m.row_alignment) for m in methods if m.max_source_length}
        if len(shapes) > 1:
            raise ValueError(f"packed methods have different offsets by position: {sorted(shapes)}")
        self.max_source_length: int
        self.row_alignment: str
        self.max_source_length, self.row_alignment = shapes.pop() if shapes else (0, "source_end")
        self.owners: Tensor | None = None
        self._used: list[tuple[Any, int]] = []

    def use(self, members: Sequence[int], rows: Sequence[int]) -> None:
        """Say whose rows come next.

        Args:
            members: which methods, in the order of their rows.
            rows: how many rows each has (at least one).
        """
        self._used = [(self.methods[index], count) for index, count in zip(members, rows, strict=True) if count]
        counts = torch.tensor([count for _, count in self._used])
        device = next(self.parameters()).device
        self.owners = torch.arange(len(counts)).repeat_interleave(counts).to(device)

    @property
    def prompt_slots(self) -> int:
        """m of the longest prompt in use."""
        return max(method.prompt_slots for method, _ in self._used)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """All tensors as one group (each run has an optimiser of its own; nothing trains this one)."""
        return {"packed": list(self.parameters())}

    def forward(self, embeds: Tensor, mask: Tensor, ids: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, T, d), (B, T), (B, T), (B, T) -> prompts in front: (B, m + T, d), (B, m + T)."""
        out, seen, start = [], [], 0
        for method, count in self._used:
            part = slice(start, start + count)
            wide, wide_mask = method(embeds[part], mask[part], ids[part], None if rows is None else rows[part])
            lacking = self.prompt_slots - method.prompt_slots
            if lacking:
                wide = torch.cat([wide.new_zeros(count, lacking, wide.shape[2]), wide], 1)
                wide_mask = torch.cat([wide_mask.new_zeros(count, lacking), wide_mask], 1)
            out.append(wide.to(embeds.dtype))
            seen.append(wide_mask)
            start += count
        return torch.cat(out), torch.cat(seen)

    def shift(self, embeds: Tensor, ids: Tensor, rows: Tensor | None = None) -> Tensor:
        """The additive part of generated tokens, row by row: (B, T, d) -> (B, T, d)."""
        out, start = [], 0
        for method, count in self._used:
            part = slice(start, start + count)
            own = embeds[part]
            if method.offset_generated:
                own = method.shift(own, ids[part], None if rows is None else rows[part]).to(embeds.dtype)
            out.append(own)
            start += count
        return torch.cat(out)
