"""`Source.features`: what the frozen backbone makes of a source, without prompt and prefix, once per example."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from backbones.batch import Batch, sent

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

    def __call__(self, batch: Batch) -> Tensor:
        """(B, d) in the backbone's precision, without gradient.

        Args:
            batch: the examples; their tokens are known on the host, so that the device is not asked for them.
        """
        assert batch.tokens is not None
        kinds = batch.types or [()] * len(batch.tokens)
        return torch.stack([self._of(list(ids), list(types)) for ids, types in zip(batch.tokens, kinds, strict=True)])

    def _of(self, tokens: list[int], types: list[int]) -> Tensor:
        key, device = (*tokens, *types), self.backbone.device
        if key not in self.known:
            row = sent(torch.tensor([tokens]), device)
            with torch.no_grad(), self.backbone.bare():
                found = self.backbone.summary(row, sent(torch.tensor([types]), device) if types else None)[0]
            self._fits(found.shape[-1])
            self.known[key] = found.clone()
            most = max(1, MOST_BYTES // max(1, found.numel() * found.element_size()))
            while len(self.known) > most:
                self.known.popitem(last=False)
        self.known.move_to_end(key)
        return self.known[key]

    def _fits(self, width: int) -> None:
        """Methods stand among the embeddings and are built for their width d.

        Raises:
            ValueError: the model's states have another width (ALBERT, ELECTRA small).
        """
        wanted = self.backbone.facts.at_input().width
        if width != wanted:
            raise ValueError(
                f"the states of backbone {self.backbone.config.name!r} have width {width}, its embeddings {wanted}: "
                "features of the frozen model do not fit a method among the embeddings. Take the summary from the "
                "embeddings (method=idpg: method.summary=embeddings), or choose another backbone."
            )
