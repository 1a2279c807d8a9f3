"""XPrompt (Ma et al., EMNLP 2022): a trained prompt is pruned by tokens and pieces, rewound and trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from methods.base import Facts
from methods.pt import PT
from methods.source import Source


class XPrompt(PT):
    """The backbone reads [P (.) M; E(x)], M a mask found once, before training, on the prompt of an earlier run.

    Token level: the fraction `prune_tokens` of the rows with the smallest I_i = mean over examples of |<p_i, dL/dp_i>|
    goes. Piece level: of every kept row, cut into `pieces` equal pieces, the fraction `prune_pieces` with the smallest
    importance (the same product, over the piece) goes. Training then begins at the earlier run's values (rewinding)
    with M fixed. With both fractions at 0 this is prompt tuning that goes on.

    Args:
        facts: The backbone's facts.
        prompt_length: m, as in the earlier run.
        prune_tokens: Fraction of rows that go.
        prune_pieces: Fraction of pieces that go, of each row.
        pieces: k (the paper: 16); it divides d.
        control: `none`, or the paper's controls: `reversed` (keep what would go), `random` (an equal number by chance).
        init_rows: (m, d); what the prompt is before the earlier run's replaces it.
        generator: Source of random numbers.
    """

    needs_source: ClassVar[bool] = True
    choices: ClassVar[dict[str, tuple[Any, ...]]] = {"control": ("none", "reversed", "random")}
    mask: Tensor
    seed: Tensor

    def __init__(
        self,
        facts: Facts,
        *,
        prompt_length: int = 20,
        prune_tokens: float = 0.3,
        prune_pieces: float = 0.3,
        pieces: int = 16,
        control: str = "none",
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(facts, prompt_length=prompt_length, init_rows=init_rows, generator=generator)
        self.fractions, self.pieces, self.control = (prune_tokens, prune_pieces), pieces, control
        self.register_buffer("mask", torch.ones(prompt_length, facts.width))
        self.register_buffer("seed", torch.randint(2**31, (), generator=generator))

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """Something must be left, and pieces are equal."""
        o = cls.complete(options)
        said = super().check(options, facts)
        for key in ("prune_tokens", "prune_pieces"):
            if not 0 <= o[key] < 1:
                said.append(f"method.{key}={o[key]}: must be from 0 up to, not at, 1 (the paper: 0.1 to 0.9).")
        if o["pieces"] < 1 or facts.width % o["pieces"]:
            both = [k for k in range(1, 65) if facts.width % k == 0]
            said.append(
                f"method.pieces={o['pieces']} must divide the width {facts.width}: {', '.join(map(str, both))}."
            )
        return said

    def prompts(self, source: Source) -> Tensor:
        """P (.) M, (m, d)."""
        assert self.prompt is not None
        return self.prompt * self.mask

    def prepare(self, gradients: Callable[[], Iterator[None]]) -> None:
        """Find M from the gradients of single examples, at the prompt that is there."""
        assert self.prompt is not None
        tokens, pieces = self.fractions
        length, width = self.prompt.shape
        self.mask.fill_(1.0)
        if tokens:
            kept = self._kept(self._importance(gradients, (length, 1))[:, 0], tokens)
            self.mask *= kept[:, None]
        if pieces:
            rows = self._importance(gradients, (length, self.pieces))
            chosen = torch.stack([self._kept(row, pieces) for row in rows])
            self.mask *= chosen.repeat_interleave(width // self.pieces, 1)

    def _importance(self, gradients: Callable[[], Iterator[None]], shape: tuple[int, int]) -> Tensor:
        """Mean over examples of |<p, dL/dp>| over equal parts of every row, `shape`."""
        assert self.prompt is not None
        total, count = torch.zeros(shape, dtype=torch.float64), 0
        for _ in gradients():
            assert self.prompt.grad is not None
            product = (self.prompt.detach() * self.prompt.grad).double().cpu()
            total += product.view(*shape, -1).sum(-1).abs()
            count += 1
        return total / max(count, 1)

    def _kept(self, importance: Tensor, fraction: float) -> Tensor:
        """1 at what stays: all but the least important `fraction` (rounded down)."""
        gone = int(fraction * len(importance) + 1e-9)
        order = importance.argsort(stable=True)
        if self.control == "reversed":
            order = order.flip(0)
        elif self.control == "random":
            drawn = torch.Generator().manual_seed(int(self.seed))
            self.seed += 1
            order = torch.randperm(len(importance), generator=drawn)
        kept = torch.ones(len(importance), device=self.mask.device)
        kept[order[:gone].to(kept.device)] = 0.0
        return kept

    def diagnostics(self) -> dict[str, Any]:
        """`pruned`: what is left of the prompt."""
        rows = self.mask.any(1)
        return {"pruned": {"tokens": int(rows.sum()), "entries": int(self.mask.sum()), "of": self.mask.numel()}}
