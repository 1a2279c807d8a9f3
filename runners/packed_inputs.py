"""K input-level methods as one: each applies to its own rows of a stacked batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from methods.base import InputMethod
from methods.source import Prompts, Source


def draws(method: InputMethod, source: Source) -> bool:
    """Whether a method draws random numbers while it trains: in a pack they are not those of the run alone."""
    training, before = method.training, torch.get_rng_state()
    method.train()
    try:
        with torch.no_grad():
            made = [method(source)[0] for _ in range(2)]
        return not (torch.equal(torch.get_rng_state(), before) and torch.equal(*made))
    finally:
        method.train(training)
        torch.set_rng_state(before)


class PackedInputs(InputMethod):
    """What a backbone sees of K runs that share its forward passes.

    Rows of one method stand together. Prompts of different lengths are brought to the longest one by masked slots in
    front of them: the prompt still adjoins its tokens, and masked slots are seen by nobody, so that every row is what
    it would be alone (relative distances, in T5's biases and LLaMA's rotations, do not change).

    Args:
        methods: K input-level methods; they may be of different classes.

    Raises:
        ValueError: methods with an offset by position disagree on its rows or their alignment, or several prompts of
            one answer a row together.
    """

    def __init__(self, methods: Sequence[InputMethod]) -> None:
        super().__init__()
        if names := [type(m).__name__ for m in methods if m.answers_together]:
            raise ValueError(f"in a pack each row has one prompt; several of {names[0]} answer each: it runs alone")
        self.methods = nn.ModuleList(methods)
        shapes = {(m.max_source_length, m.row_alignment) for m in methods if m.max_source_length}
        if len(shapes) > 1:
            raise ValueError(f"packed methods have different offsets by position: {sorted(shapes)}")
        self.max_source_length, self.row_alignment = shapes.pop() if shapes else (0, "source_end")
        self._used: list[tuple[InputMethod, int]] = []

    def use(self, members: Sequence[int], rows: Sequence[int]) -> None:
        """Say whose rows come next.

        Args:
            members: which methods, in the order of their rows.
            rows: how many rows each has (at least one).
        """
        pairs = zip(members, rows, strict=True)
        self._used = [(self.methods[index], count) for index, count in pairs if count]  # type: ignore[misc]

    @property
    def prompt_slots(self) -> int:  # type: ignore[override]
        """m of the longest prompt in use."""
        return max((method.prompt_slots for method, _ in self._used), default=0)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """All tensors as one group (each run has an optimiser of its own; nothing trains this one)."""
        return {"packed": list(self.parameters())}

    def _blocks(self) -> Iterator[tuple[InputMethod, int, slice]]:
        start = 0
        for method, count in self._used:
            yield method, count, slice(start, start + count)
            start += count

    def prompts(self, source: Source) -> Prompts:
        """The prompts of all methods in use; each row has one of its own method's."""
        made, masks, owners, first = [], [], [], 0
        for method, count, rows in self._blocks():
            own = method.read(source.part(rows))
            if own is None:
                own = Prompts(source.embeds.new_zeros(1, 0, source.embeds.shape[2]))
            kinds, lacking = len(own.vectors), self.prompt_slots - own.slots
            real = source.mask.new_ones(kinds, own.slots) if own.mask is None else own.mask
            made.append(torch.cat([own.vectors.new_zeros(kinds, lacking, own.vectors.shape[2]), own.vectors], 1))
            masks.append(torch.cat([real.new_zeros(kinds, lacking), real], 1))
            index = source.mask.new_zeros(count) if own.index is None else own.index
            owners.append(index + first)
            first += kinds
        return Prompts(torch.cat(made), torch.cat(owners), torch.cat(masks))

    def shift(self, embeds: Tensor, ids: Tensor, rows: Tensor | None = None) -> Tensor:
        """The additive part, row by row: (B, T, d) -> (B, T, d)."""
        parts = [m.shift(embeds[r], ids[r], None if rows is None else rows[r]) for m, _, r in self._blocks()]
        return torch.cat(parts)

    def answered(self, embeds: Tensor, ids: Tensor) -> Tensor:
        """Answer tokens, row by row (each method's own `offset_generated` counts)."""
        return torch.cat([method.answered(embeds[rows], ids[rows]) for method, _, rows in self._blocks()])
