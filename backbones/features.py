"""`Source.features`: what the frozen backbone makes of a source, without prompt and prefix, once per example."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from methods.source import Source

if TYPE_CHECKING:
    from backbones.base import Backbone

MOST_BYTES = 512 << 20  # what is remembered; the examples that were asked for longest ago go first


class Features:
    """Reads every example alone and unpadded, and remembers what it read by the example's tokens.

    So an example's features are the same to the bit whatever batch asks for them first: a resumed run equals one that
    was never stopped.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.known: OrderedDict[tuple[int, ...], Tensor] = OrderedDict()

    def __call__(self, source: Source, types: Tensor | None = None) -> Tensor:
        """(B, d) in the backbone's precision, without gradient.

        Args:
            source: the examples.
            types: their token types (B, T), where the model reads them.
        """
        ids, real = source.ids.tolist(), source.mask.tolist()  # one look at the device for the whole batch
        kinds = [None] * len(source) if types is None else types.tolist()
        return torch.stack([self._of(*row, source.ids.device) for row in zip(ids, real, kinds, strict=True)])

    def _of(self, ids: list[int], real: list[int], kinds: list[int] | None, device: torch.device) -> Tensor:
        tokens = [token for token, seen in zip(ids, real, strict=True) if seen]
        types = None if kinds is None else [kind for kind, seen in zip(kinds, real, strict=True) if seen]
        key = (*tokens, *(types or ()))
        if key not in self.known:
            row = torch.tensor([tokens], device=device)
            with torch.no_grad(), self.backbone.bare():
                found = self.backbone.summary(row, None if types is None else torch.tensor([types], device=device))[0]
            self.known[key] = found.clone()
            most = max(1, MOST_BYTES // max(1, found.numel() * found.element_size()))
            while len(self.known) > most:
                self.known.popitem(last=False)
        self.known.move_to_end(key)
        return self.known[key]
