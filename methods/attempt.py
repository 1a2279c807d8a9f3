"""ATTEMPT: attentional mixtures of source prompts (Asai et al., EMNLP 2022), its single-task form."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Facts, InputMethod, prompt_parameter
from methods.draw import linear
from methods.source import Source


class ATTEMPT(InputMethod):
    """P + sum_j a_j P_j over t frozen source prompts and the target prompt P itself: an own prompt for each example.

    a = softmax_j(max(P_j) . q / tau) with q = LayerNorm(W_up SiLU(W_down x)) and x the maximum of the token embeddings;
    max(P_j) is over the prompt's rows. The target is in the sum and added once more (authors' code).

    Args:
        facts: The backbone's facts.
        prompt_length: m, as in the source runs.
        bottleneck: Width between W_down and W_up.
        attention: `network`, or the authors' ablations `linear` (one d x d map) and `constant` (1/(t+1) each).
        temperature: tau; None = d e (authors' configs: 2087 at d=768).
        ignore_target: Ablation: the target prompt is not in the sum.
        summary: `masked` (maximum over tokens), or `padded` (authors' code: padding stands in it too, as their inputs
            are padded to the maximal length).
        sources: (t, m, d) prompts of finished runs (`method.sources`).
        init_rows: (m, d) start of P; None = U(-0.5, 0.5).
        generator: Source of random numbers.

    Raises:
        ValueError: No sources, or of another shape.
    """

    takes_sources: ClassVar[bool] = True
    choices: ClassVar[dict[str, tuple[Any, ...]]] = {
        "attention": ("network", "linear", "constant"),
        "summary": ("masked", "padded"),
    }
    sources: Tensor

    def __init__(
        self,
        facts: Facts,
        *,
        prompt_length: int = 100,
        bottleneck: int = 100,
        attention: str = "network",
        temperature: float | None = None,
        ignore_target: bool = False,
        summary: str = "masked",
        sources: Tensor | None = None,
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        d = facts.width
        if sources is None or sources.dim() != 3 or tuple(sources.shape[1:]) != (prompt_length, d):
            seen = "none" if sources is None else tuple(sources.shape)
            raise ValueError(f"ATTEMPT mixes source prompts (t, {prompt_length}, {d}); given are {seen}.")
        self.prompt_slots, self.attention, self.summary = prompt_length, attention, summary
        self.temperature = d * math.e if temperature is None else temperature
        self.ignore_target = ignore_target
        self.prompt = prompt_parameter(prompt_length, d, init_rows, generator)
        self.register_buffer("sources", sources.detach().float().clone())
        if attention == "network":
            self.down, self.up = linear(bottleneck, d, generator), linear(d, bottleneck, generator)
            self.norm_weight, self.norm_bias = nn.Parameter(torch.ones(d)), nn.Parameter(torch.zeros(d))
        elif attention == "linear":
            self.map = linear(d, d, generator)

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """Sizes of at least one, and a temperature above zero."""
        o = cls.complete(options)
        said = [f"method.{k}={o[k]}: must be 1 or more." for k in ("prompt_length", "bottleneck") if o[k] < 1]
        if o["temperature"] is not None and o["temperature"] <= 0:
            said.append(
                f"method.temperature={o['temperature']}: must be above 0 (authors' configs: 2087 at width 768)."
            )
        return said

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """m d + 2 b d + 2 d (T5-base, m=100, b=100: 231,936); linear: m d + d^2; constant: m d."""
        o, d = cls.complete(options), facts.width
        own = {"network": 2 * o["bottleneck"] * d + 2 * d, "linear": d * d, "constant": 0}[o["attention"]]
        return int(o["prompt_length"] * d + own)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """`prompt` and `attention` (one rate for both in the authors' runs; theirs for the attention had no effect)."""
        assert self.prompt is not None
        rest = [p for name, p in self.named_parameters() if name != "prompt"]
        return {"prompt": [self.prompt]} | ({"attention": rest} if rest else {})

    def weights(self, source: Source, mixed: Tensor) -> Tensor:
        """a, (B, t+1) over the prompts `mixed` (t+1, m, d)."""
        if self.attention == "constant":
            return mixed.new_full((len(source), len(mixed)), 1 / len(mixed))
        seen = source.maximum()
        if self.summary == "padded" and source.padding is not None:
            seen = torch.maximum(seen, source.padding.float())
        seen = seen.to(mixed.dtype)
        if self.attention == "linear":
            query = F.linear(seen, self.map)
        else:
            hidden = F.linear(F.silu(F.linear(seen, self.down)), self.up)
            query = F.layer_norm(hidden, (hidden.shape[-1],), self.norm_weight, self.norm_bias)
        return (query @ mixed.amax(1).T / self.temperature).softmax(-1)

    def prompts(self, source: Source) -> Tensor:
        """(B, m, d)."""
        assert self.prompt is not None
        others = self.sources.to(self.prompt.dtype)
        mixed = others if self.ignore_target else torch.cat([others, self.prompt[None]])
        return self.prompt + torch.einsum("bj,jmd->bmd", self.weights(source, mixed), mixed)
