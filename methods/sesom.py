"""SESoM (Peng et al., ICLR 2023), after the abstract: source prompts answer each example together, weighted for it."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Facts, InputMethod
from methods.draw import linear
from methods.source import Prompts, Source


class SESoM(InputMethod):
    """An answer's logits are sum_j w_j(x) l_j over t frozen source prompts, each read in a pass of its own.

    w = softmax_j(k_j . q / tau) with q = LN(W_2 silu(W_1 x)), x the maximum of the token embeddings, and
    k_j = LN(W_4 silu(W_3 l_j)), l_j (V) what source j gives for the answer's first token: nothing of the answer is
    read. Only W_1..W_4 and both LayerNorms are trained. That an attention between the input and the sources' logits
    weights the logits is the paper's; all else here is inferred.

    Args:
        facts: The backbone's facts.
        prompt_length: m, as in the source runs.
        bottleneck: h, inner width and width of q and k.
        temperature: tau; None = sqrt(h).
        sources: (t, m, d) prompts of finished runs (`method.sources`).
        init_rows: Cannot be given.
        generator: Source of random numbers.

    Raises:
        ValueError: No sources, or of another shape; `init_rows` is given.
    """

    takes_sources: ClassVar[bool] = True
    answers_together = True
    sources: Tensor

    def __init__(
        self,
        facts: Facts,
        *,
        prompt_length: int = 100,
        bottleneck: int = 64,
        temperature: float | None = None,
        sources: Tensor | None = None,
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        d, h = facts.width, bottleneck
        if sources is None or sources.dim() != 3 or tuple(sources.shape[1:]) != (prompt_length, d):
            seen = "none" if sources is None else tuple(sources.shape)
            raise ValueError(f"SESoM lets source prompts (t, {prompt_length}, {d}) answer; given are {seen}.")
        if init_rows is not None:
            raise ValueError("SESoM trains no prompt; init_rows cannot be given (init: null).")
        self.prompt_slots, self.vocab = prompt_length, facts.vocab
        self.temperature = math.sqrt(h) if temperature is None else temperature
        self.register_buffer("sources", sources.detach().float().clone())
        self.w1, self.w2 = linear(h, d, generator), linear(h, h, generator)
        self.w3, self.w4 = linear(h, facts.vocab, generator), linear(h, h, generator)
        self.query_weight, self.query_bias = nn.Parameter(torch.ones(h)), nn.Parameter(torch.zeros(h))
        self.key_weight, self.key_bias = nn.Parameter(torch.ones(h)), nn.Parameter(torch.zeros(h))

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """Sizes of at least one, a temperature above zero, and a vocabulary to answer in."""
        o = cls.complete(options)
        said = [f"method.{k}={o[k]}: must be 1 or more." for k in ("prompt_length", "bottleneck") if o[k] < 1]
        if o["temperature"] is not None and o["temperature"] <= 0:
            said.append(f"method.temperature={o['temperature']}: must be above 0.")
        if not facts.traits.writes:
            said.append(
                "method=sesom weights the sources' logits over the vocabulary; on an encoder every source run has a "
                "task head of its own, and these have no output in common: choose a T5 or decoder-only backbone."
            )
        return said

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """h d + h V + 2 h^2 + 4 h (T5-base, h=64: 2,113,792); no published count is known."""
        h = cls.complete(options)["bottleneck"]
        return int(h * facts.width + h * facts.vocab + 2 * h * h + 4 * h)

    @classmethod
    def start_rows(cls, options: dict[str, Any]) -> int:
        """None: its prompts are finished."""
        return 0

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """One group: `attention`."""
        return {"attention": list(self.parameters())}

    def prompts(self, source: Source) -> Prompts:
        """All t sources for each example, (t, m, d) with an index (B, t)."""
        count = len(self.sources)
        return Prompts(self.sources, torch.arange(count, device=self.sources.device).expand(len(source), -1))

    def weights(self, source: Source, logits: Tensor) -> Tensor:
        """w, (B, t), from the source and the sources' logits (B, t, V)."""
        if logits.shape[-1] != self.vocab:
            raise ValueError(f"the model's head gives {logits.shape[-1]} logits and its table has {self.vocab} rows.")
        h = (len(self.query_weight),)
        seen, told = source.maximum().to(self.w1.dtype), logits.to(self.w3.dtype)
        query = F.layer_norm(F.linear(F.silu(F.linear(seen, self.w1)), self.w2), h, self.query_weight, self.query_bias)
        keys = F.layer_norm(F.linear(F.silu(F.linear(told, self.w3)), self.w4), h, self.key_weight, self.key_bias)
        return (torch.einsum("bjh,bh->bj", keys, query) / self.temperature).softmax(-1)
