"""PASTA (Yang et al., EACL 2023): trained vectors on the hidden states of special tokens, layer by layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Body, Facts, InputMethod, Method
from methods.draw import normal


class PASTA(Method):
    """In front of layer i: h_j <- h_j + Drop(v^(i)_p) where token j is the p-th special token of its row.

    Special tokens are those that the encoder's tokenizer puts around texts ([CLS] and [SEP], <s> and </s>), counted
    within each row (the authors' code takes the first row's for the whole batch).

    Args:
        facts: The backbone's facts.
        specials: Vectors per layer; at least as many as a row has special tokens (BERT: 2 for one text, 3 for a pair;
            RoBERTa pairs: 4).
        added_dropout: Dropout on the added vectors while training; None = the backbone's hidden dropout.
        init_rows: Cannot be given.
        generator: Source of random numbers.

    Raises:
        ValueError: `init_rows` is given.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        specials: int = 3,
        added_dropout: float | None = None,
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if init_rows is not None:
            raise ValueError("PASTA has no prompt vectors; init_rows cannot be given (init: null).")
        self.dropout = facts.dropout if added_dropout is None else added_dropout
        self.vectors = normal((facts.layers, specials, facts.width), 0.02, generator)  # BERT's rule

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """Encoders alone have special tokens around texts."""
        o = cls.complete(options)
        said = []
        if facts.traits.writes:
            said.append(
                f"method=pasta adds to the special tokens around texts; a backbone of family {facts.family} has none: "
                "choose an encoder (bert_base, roberta_base, ...)."
            )
        if o["specials"] < 1:
            said.append(f"method.specials={o['specials']}: must be 1 or more (BERT pairs: 3).")
        if o["added_dropout"] is not None and not 0 <= o["added_dropout"] < 1:
            said.append(f"method.added_dropout={o['added_dropout']}: must be from 0 up to, not at, 1.")
        return said

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """L p d (BERT-large: p=3 73,728; p=2 49,152; p=4 98,304)."""
        return int(facts.layers * cls.complete(options)["specials"] * facts.width)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """One group: `vectors`."""
        return {"vectors": [self.vectors]}

    def attach(self, body: Body) -> InputMethod | None:
        """A hook in front of every layer."""

        def add(hidden: Tensor, stack: str, layer: int) -> Tensor:
            source = body.current
            assert source is not None and source.specials is not None
            most = int(source.specials.max()) + 1 if layer == 0 else 0  # asked once a pass: it waits for the device
            if most > self.vectors.shape[1]:
                raise ValueError(
                    f"a row has {most} special tokens, and method.specials={self.vectors.shape[1]}: set it to {most}."
                )
            which = F.pad(source.specials, (hidden.shape[1] - source.specials.shape[1], 0), value=-1)
            added = F.embedding(which.clamp_min(0), self.vectors[layer]) * (which >= 0)[..., None]
            return hidden + F.dropout(added, self.dropout, self.training).to(hidden.dtype)

        body.before_layers(add)
        return None
