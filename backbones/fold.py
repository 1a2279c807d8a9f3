"""Offsets by token (ADePT's network) folded into a private embedding table, for evaluation."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from methods.base import InputMethod
from methods.source import Prompts, Source


class Folded(InputMethod):
    """An input-level method whose token offsets are looked up instead of computed.

    The frozen table itself stays as it is: T5's decoder and head read it too.

    Args:
        method: the method.
        table: E + f(E), (V, d).
    """

    def __init__(self, method: InputMethod, table: Tensor) -> None:
        super().__init__()
        self.method, self.table = method, table
        self.prompt_slots, self.offset_generated = method.prompt_slots, method.offset_generated
        self.max_source_length, self.row_alignment = method.max_source_length, method.row_alignment
        self.answers_together = method.answers_together

    def read(self, source: Source) -> Prompts | None:
        return self.method.read(source)  # a wrong shape is told under the method's own name

    def prompts(self, source: Source) -> Tensor | Prompts:
        return self.method.prompts(source)

    def weights(self, source: Source, logits: Tensor) -> Tensor:
        return self.method.weights(source, logits)

    def position_offsets(self, count: int) -> Tensor | None:
        return self.method.position_offsets(count)

    def shift(self, embeds: Tensor, ids: Tensor, rows: Tensor | None = None) -> Tensor:
        """As the method's shift: (B, T, d)."""
        return self._placed(F.embedding(ids, self.table), rows)


class FoldCache:
    """Folds a method when it can, and again when its tensors have changed.

    Their values are compared once in an evaluation (`evaluation` tells that one begins) and wherever they were written
    to since: comparing waits for the device.
    """

    def __init__(self) -> None:
        self.seen: Tensor | None = None
        self.written: list[tuple[int, int]] | None = None  # identity and number of writes of each tensor
        self.folded: Folded | None = None

    def evaluation(self) -> None:
        """Another evaluation begins: compare again, whatever the tensors say of themselves."""
        self.written = None

    def __call__(self, method: InputMethod, vocabulary: Callable[[], Tensor]) -> InputMethod:
        """The method folded over the vocabulary, or itself where it has nothing to fold.

        Args:
            method: as it is trained.
            vocabulary: gives the table (V, d); asked when the method's tensors have changed.
        """
        own = [*method.parameters(), *method.buffers()]
        written = [(id(tensor), tensor._version) for tensor in own]
        if self.seen is not None and written == self.written:
            return method if self.folded is None else self.folded
        self.written = written
        tensors = [tensor.detach().flatten() for tensor in own]
        now = torch.cat([t.to(tensors[0].device, torch.float32) for t in tensors]) if tensors else torch.zeros(0)
        if self.seen is None or not torch.equal(self.seen, now):
            table = vocabulary()
            added = method.token_offset(table)
            if added is not None and added.shape != table.shape:
                raise ValueError(
                    f"{type(method).__name__}.token_offset gave shape {tuple(added.shape)} for tokens "
                    f"{tuple(table.shape)}: one offset for every token is wanted, of the same shape."
                )
            self.seen = now
            self.folded = None if added is None else Folded(method, table + added.to(table.dtype))
        return method if self.folded is None else self.folded
