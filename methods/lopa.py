"""LoPA: low-rank prompt adaptation (Jain et al., NeurIPS 2024): a task prompt gated by one of the example."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Facts, InputMethod
from methods.draw import linear, normal
from methods.source import Source


class LoPA(InputMethod):
    """Z = Z_S (.) sigmoid(Z_I) with Z_S (m, d) trained and Z_I = U V^T of each example, U (m, r), V (d, r).

    U and V come from the example's features s (d), read by the frozen backbone without prompt:
    U = W2 tanh(W1 Drop(s) + b1) + b2, and V by a head of its own.

    Args:
        facts: The backbone's facts.
        prompt_length: m.
        rank: r.
        hidden: h, the heads' inner width.
        combine: `gate` (the paper), or the authors' ablations: `add` Z_S + Z_I, `max` their element-wise maximum,
            `concat` [Z_S; Z_I] (2 m slots); these take Z_I without the sigmoid.
        network_dropout: Dropout on s while training; None = the backbone's hidden dropout (authors' code).
        init_rows: (m, d) starting vectors of Z_S; None = N(0, 1) (authors' code).
        generator: Source of random numbers.
    """

    choices: ClassVar[dict[str, tuple[Any, ...]]] = {"combine": ("gate", "add", "max", "concat")}

    def __init__(
        self,
        facts: Facts,
        *,
        prompt_length: int = 10,
        rank: int = 4,
        hidden: int = 256,
        combine: str = "gate",
        network_dropout: float | None = None,
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        d, m = facts.width, prompt_length
        self.prompt_slots = 2 * m if combine == "concat" else m
        self.length, self.rank, self.combine = m, rank, combine
        self.dropout = facts.dropout if network_dropout is None else network_dropout
        start = (
            normal((m, d), 1.0, generator) if init_rows is None else nn.Parameter(init_rows.detach().float().clone())
        )
        self.prompt = start
        for head, out in (("u", m * rank), ("v", d * rank)):
            setattr(self, f"{head}_w1", normal((hidden, d), 0.02, generator))
            setattr(self, f"{head}_b1", nn.Parameter(linear(hidden, d, generator)[:, 0].detach().clone()))
            setattr(self, f"{head}_w2", normal((out, hidden), 0.02, generator))
            setattr(self, f"{head}_b2", nn.Parameter(torch.zeros(out)))

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """Sizes of at least one; dropout is a probability."""
        o = cls.complete(options)
        said = [f"method.{k}={o[k]}: must be 1 or more." for k in ("prompt_length", "rank", "hidden") if o[k] < 1]
        if o["network_dropout"] is not None and not 0 <= o["network_dropout"] < 1:
            said.append(f"method.network_dropout={o['network_dropout']}: must be from 0 up to, not at, 1.")
        return said

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """m d + 2 (d + 1) h + (h + 1) m r + (h + 1) d r (d=1024, m=10, h=256: r=4 1,597,992; r=1 800,778)."""
        o, d = cls.complete(options), facts.width
        m, r, h = o["prompt_length"], o["rank"], o["hidden"]
        return int(m * d + 2 * (d + 1) * h + (h + 1) * (m + d) * r)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """`prompt` (Z_S) and `network` (both heads)."""
        network = [p for name, p in self.named_parameters() if name != "prompt"]
        return {"prompt": [self.prompt], "network": network}

    def _head(self, name: str, features: Tensor) -> Tensor:
        w1, b1, w2, b2 = (getattr(self, f"{name}_{part}") for part in ("w1", "b1", "w2", "b2"))
        seen = F.dropout(features.to(w1.dtype), self.dropout, self.training)
        return F.linear(torch.tanh(F.linear(seen, w1, b1)), w2, b2).view(len(features), -1, self.rank)

    def prompts(self, source: Source) -> Tensor:
        """Z, (B, m, d); (B, 2 m, d) for `concat`."""
        features = source.features()
        own = self._head("u", features) @ self._head("v", features).transpose(1, 2)
        if self.combine == "gate":
            return self.prompt * torch.sigmoid(own)
        if self.combine == "concat":
            return torch.cat([self.prompt.expand_as(own), own], 1)
        return self.prompt + own if self.combine == "add" else torch.maximum(self.prompt.expand_as(own), own)
