"""ADePT: adaptive decomposed prompt tuning (Tang, Hu and Liu, ICLR 2025)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Facts, InputMethod, prompt_parameter
from methods.source import Source


class ADePT(InputMethod):
    """A short prompt P (m, d) and one feed-forward offset for all tokens: the backbone reads [P; X + f(X)].

    f(x) = ReLU(Drop(x W1 + b1)) W2 + b2 with W1 (d, r) and W2 (r, d); no scale, and P does not pass through f
    (authors' code). f depends on the token alone, so that it folds into a private embedding table.

    Args:
        facts: The backbone's facts.
        prompt_length: m; 0 leaves the offset alone.
        rank: r, the bottleneck.
        bottleneck_dropout: Dropout probability on the pre-activation while training (authors' code: 0.1).
        offset_generated: Decoder-only models: target tokens at scoring and generation pass through f as in
            training. The authors' code trains with it and generates without (false).
        init_rows: (m, d) starting vectors; None = U(-0.5, 0.5).
        generator: Source of random numbers.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        prompt_length: int = 60,
        rank: int = 19,
        bottleneck_dropout: float = 0.1,
        offset_generated: bool = True,
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.prompt_slots = prompt_length
        self.offset_generated = offset_generated
        self.dropout = bottleneck_dropout
        self.prompt = prompt_parameter(prompt_length, facts.width, init_rows, generator)
        self.w1 = nn.Parameter(torch.empty(facts.width, rank))
        # On a (d, r) tensor PyTorch takes r as the fan-in: U(-1/sqrt(r), 1/sqrt(r)). nn.Linear would give 1/sqrt(d).
        nn.init.kaiming_uniform_(self.w1, a=math.sqrt(5), generator=generator)
        self.b1 = nn.Parameter(torch.zeros(rank))
        self.w2 = nn.Parameter(torch.zeros(rank, facts.width))
        self.b2 = nn.Parameter(torch.zeros(facts.width))

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """The network needs a bottleneck; dropout is a probability."""
        o = cls.complete(options)
        said = []
        if o["prompt_length"] < 0:
            said.append(f"method.prompt_length={o['prompt_length']}: must be 0 or more.")
        if o["rank"] < 1:
            said.append(f"method.rank={o['rank']}: the bottleneck needs at least 1 unit (use method=pt for none).")
        if not 0 <= o["bottleneck_dropout"] < 1:
            said.append(f"method.bottleneck_dropout={o['bottleneck_dropout']}: must be from 0 up to, not at, 1.")
        return said

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """m d + 2 r d + r + d (T5-base, m=60, r=19: 76,051)."""
        o = cls.complete(options)
        return o["prompt_length"] * facts.width + 2 * o["rank"] * facts.width + o["rank"] + facts.width

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """`prompt` at the large rate, `offset` (W1, b1, W2, b2) at the small one."""
        offset = [self.w1, self.b1, self.w2, self.b2]
        return {"offset": offset} if self.prompt is None else {"prompt": [self.prompt], "offset": offset}

    def prompts(self, source: Source) -> Tensor:
        """P, (m, d)."""
        assert self.prompt is not None
        return self.prompt

    def token_offset(self, embeds: Tensor) -> Tensor:
        """f(x) of every token, (..., d); at inference it folds into a private table E + f(E)."""
        hidden = embeds.to(self.w1.dtype) @ self.w1 + self.b1
        hidden = F.relu(F.dropout(hidden, self.dropout, self.training))
        return hidden @ self.w2 + self.b2
