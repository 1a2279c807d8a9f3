"""What a method is shown of a batch, and the prompts that it gives back.

A method sees the source: never a target, never a candidate answer. By construction no prompt can peek.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Source:
    """The source tokens of B examples.

    Attributes:
        embeds: Frozen token embeddings (B, T, d). Padding stands in them too: read them under `mask`.
        ids: Token ids (B, T).
        mask: (B, T), 1 at source tokens, 0 at padding (left on decoder-only models, right elsewhere).
        rows: Row of a position-indexed offset for every token (B, T), -1 = none; None = 0..T-1.
        fields: Which text of the template a token belongs to (B, T), counted from 0; None = the family tells none.
        specials: Ordinal of every special token within its row, counted from 0, -1 at the others (B, T); None = the
            family tells none.
        padding: Frozen embedding of the padding token (d); None = the tokenizer has none.
        reader: Gives `features`.
    """

    embeds: Tensor
    ids: Tensor
    mask: Tensor
    rows: Tensor | None = None
    fields: Tensor | None = None
    specials: Tensor | None = None
    padding: Tensor | None = None
    reader: Callable[[Source], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def features(self) -> Tensor:
        """One frozen vector per example, (B, d): what the backbone, without prompt and prefix, makes of the source.

        The last layer's first token on encoders, the mean of the encoder's states on T5, the last source token on
        decoder-only models. Every example is read alone and once (then remembered), so that its features are the same
        to the bit in any batch. No gradient.

        Raises:
            ValueError: This source has no backbone behind it.
        """
        if self.reader is None:
            raise ValueError("these source tokens come without a backbone: no features can be read from them.")
        return self.reader(self)

    def part(self, rows: slice) -> Source:
        """Some examples."""
        cut = {name: value[rows] for name in _BY_ROW if (value := getattr(self, name)) is not None}
        reader = None if self.reader is None else lambda _: self.features()[rows]
        return replace(self, **cut, reader=reader)

    def mean(self) -> Tensor:
        """Mean of the token embeddings, padding left out: (B, d), float32."""
        weights = self.mask[..., None].float()
        return (self.embeds.float() * weights).sum(1) / weights.sum(1).clamp(min=1)

    def maximum(self) -> Tensor:
        """Maximum of the token embeddings over positions, padding left out: (B, d), float32."""
        hidden = self.mask[..., None] == 0
        return self.embeds.float().masked_fill(hidden, torch.finfo(torch.float32).min).amax(1)


_BY_ROW = ("embeds", "ids", "mask", "rows", "fields", "specials")


@dataclass(frozen=True)
class Prompts:
    """K prompts and who has which.

    Attributes:
        vectors: (K, m, d).
        index: Which prompt each example has, (B,); which several answer it together, (B, K'); None = all share the one
            (K = 1).
        mask: (K, m), 0 at the slots that stand in front of a shorter prompt; None = all slots are real.
    """

    vectors: Tensor
    index: Tensor | None = None
    mask: Tensor | None = None

    @classmethod
    def of(cls, given: Tensor | Prompts, batch: int) -> Prompts:
        """From what a method gives: (m, d) for all examples, (B, m, d) one for each, or `Prompts`.

        Raises:
            ValueError: Another shape.
        """
        if isinstance(given, Prompts):
            return given
        if not isinstance(given, Tensor):
            raise ValueError(f"prompts gave {type(given).__name__}: a tensor is wanted (is its `return` missing?)")
        if given.dim() == 2:
            return cls(given[None])
        if given.dim() == 3 and len(given) == batch:
            return cls(given, torch.arange(batch, device=given.device))
        raise ValueError(
            f"prompts have shape {tuple(given.shape)} for a batch of {batch}: a method gives (m, d), shared by all "
            "examples, or (B, m, d), one prompt for each, or methods.source.Prompts(vectors (K, m, d), index (B,))."
        )

    @property
    def slots(self) -> int:
        """m."""
        return self.vectors.shape[1]

    @property
    def together(self) -> bool:
        """Whether several answer each example together."""
        return self.index is not None and self.index.dim() == 2

    @property
    def rows(self) -> int:
        """Rows that each example takes: K', 1 where one prompt answers."""
        return self.index.shape[1] if self.index is not None and self.index.dim() == 2 else 1

    def flat(self) -> Prompts:
        """The same with a row for each prompt that answers, those of an example next to each other."""
        return replace(self, index=None if self.index is None else self.index.flatten())

    def by_row(self, batch: int) -> Tensor:
        """The prompt of each row, (B, m, d)."""
        return self.vectors.expand(batch, -1, -1) if self.index is None else self.vectors[self.index]

    def seen(self, mask: Tensor) -> Tensor:
        """The mask of each row's slots, (B, m), in the kind of `mask` (B, T)."""
        if self.mask is None:
            return mask.new_ones(len(mask), self.slots)
        own = self.mask if self.index is None else self.mask[self.index]
        return own.to(mask).expand(len(mask), -1)
