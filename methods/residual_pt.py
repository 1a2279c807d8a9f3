"""Residual prompt tuning (Razdaibiedina et al., Findings of ACL 2023)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Facts, InputMethod, prompt_parameter
from methods.source import Source


class ResidualPT(InputMethod):
    """A prompt through a shared residual network: P'_i = P_i + LayerNorm(Drop(W2 ReLU(W1 P_i + b1) + b2)).

    P' alone is needed at inference. Only the shared two-layer network is here (the paper's main setting), not the
    LSTM, the Transformer or one network per vector.

    Args:
        facts: The backbone's facts.
        prompt_length: m.
        bottleneck: b, the network's hidden width (authors' code: 800; 400 gives the 925K quoted for T5-large).
        network_dropout: Dropout before the LayerNorm while training.
        init_rows: (m, d) starting vectors (authors' code: rows of the vocabulary); None = U(-0.5, 0.5).
        generator: Source of random numbers.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        prompt_length: int = 10,
        bottleneck: int = 800,
        network_dropout: float = 0.0,
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        d = facts.width
        self.prompt_slots, self.dropout = prompt_length, network_dropout
        self.prompt = prompt_parameter(prompt_length, d, init_rows, generator)
        self.w1, self.b1 = _linear(bottleneck, d, generator)
        self.w2, self.b2 = _linear(d, bottleneck, generator)
        self.norm_weight = nn.Parameter(torch.ones(d))
        self.norm_bias = nn.Parameter(torch.zeros(d))

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """A prompt and a network of at least one unit each."""
        o = cls.complete(options)
        said = [f"method.{k}={o[k]}: must be 1 or more." for k in ("prompt_length", "bottleneck") if o[k] < 1]
        if not 0 <= o["network_dropout"] < 1:
            said.append(f"method.network_dropout={o['network_dropout']}: must be from 0 up to, not at, 1.")
        return said

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """m d + 2 d b + b + d + 2 d (T5-large, m=100, b=400: 925,072)."""
        o, d = cls.complete(options), facts.width
        return o["prompt_length"] * d + 2 * d * o["bottleneck"] + o["bottleneck"] + 3 * d

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """`prompt` and `network`."""
        assert self.prompt is not None
        network = [self.w1, self.b1, self.w2, self.b2, self.norm_weight, self.norm_bias]
        return {"prompt": [self.prompt], "network": network}

    def prompts(self, source: Source) -> Tensor:
        """P', (m, d)."""
        assert self.prompt is not None
        hidden = F.relu(F.linear(self.prompt, self.w1, self.b1))
        out = F.dropout(F.linear(hidden, self.w2, self.b2), self.dropout, self.training)
        return self.prompt + F.layer_norm(out, (out.shape[-1],), self.norm_weight, self.norm_bias)


def _linear(out: int, width: int, generator: torch.Generator | None) -> tuple[nn.Parameter, nn.Parameter]:
    """PyTorch's defaults of a linear layer, drawn from a generator: U(-1/sqrt(width), 1/sqrt(width))."""
    weight, bias = torch.empty(out, width), torch.empty(out)
    for tensor in (weight, bias):
        nn.init.uniform_(tensor, -1 / math.sqrt(width), 1 / math.sqrt(width), generator=generator)
    return nn.Parameter(weight), nn.Parameter(bias)
