"""ADePT's offsets folded into a private embedding table, for evaluation."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class Folded:
    """An input-level method whose token offsets are looked up instead of computed.

    The frozen table itself stays as it is: T5's decoder and head read it too.

    Args:
        method: a methods.base.InputMethod.
        table: E + f(E), (V, d).
    """

    def __init__(self, method: Any, table: Tensor) -> None:
        self.method, self.table = method, table
        self.prompt_slots = int(method.prompt_slots)
        self.offset_generated = bool(getattr(method, "offset_generated", True))

    def __call__(self, embeds: Tensor, mask: Tensor, ids: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As the method's forward: (B, m + T, d) and (B, m + T)."""
        shifted = self.shift(embeds, ids)
        if not self.prompt_slots:
            return shifted, mask
        prompt = self.method.prompt_vectors().to(embeds.dtype).expand(len(ids), -1, -1)
        return torch.cat([prompt, shifted], 1), torch.cat([mask.new_ones(len(ids), self.prompt_slots), mask], 1)

    def shift(self, embeds: Tensor, ids: Tensor, rows: Tensor | None = None) -> Tensor:
        """As the method's shift: (B, T, d)."""
        return F.embedding(ids, self.table)


class Folder:
    """Folds a method when it can, and again when its tensors have changed."""

    def __init__(self) -> None:
        self.seen: Tensor | None = None
        self.folded: Folded | None = None

    def __call__(self, method: Any, table: Tensor) -> Any:
        """The method folded over the vocabulary's ``table`` (V, d), or itself where it has nothing to fold."""
        if not hasattr(method, "fold"):
            return method
        now = torch.cat([p.detach().flatten() for p in method.parameters()])
        if self.seen is None or not torch.equal(self.seen, now):
            made = method.fold(table)
            self.seen, self.folded = now, None if made is None else Folded(method, made.to(table.dtype))
        return method if self.folded is None else self.folded
