"""SMoP: sparse mixture of prompts (Choi et al., EMNLP 2023): a router gives each example one of k short prompts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from methods.base import Facts, InputMethod
from methods.draw import normal
from methods.source import Source


class SMoP(InputMethod):
    """p = softmax(W x) with x the mean of the token embeddings; the backbone reads [p_i P_i; X], i = argmax p.

    While training the router's logits l are perturbed: l + sigma e (.) l, e ~ N(0, 1), so that no prompt starves.

    Args:
        facts: The backbone's facts.
        prompt_length: l, the length of each prompt.
        prompts_count: k.
        router_noise: sigma; 0 = none (authors' code: 1).
        init_rows: (k l, d) starting vectors; None = N(0, 1) (authors' code).
        generator: Source of random numbers.

    Raises:
        ValueError: `init_rows` of another shape.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        prompt_length: int = 5,
        prompts_count: int = 4,
        router_noise: float = 1.0,
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        d, shape = facts.width, (prompts_count, prompt_length, facts.width)
        self.prompt_slots, self.noise = prompt_length, router_noise
        if init_rows is not None and tuple(init_rows.shape) != (prompts_count * prompt_length, d):
            raise ValueError(
                f"init_rows has shape {tuple(init_rows.shape)}; {prompts_count} prompts of {prompt_length} need "
                f"({prompts_count * prompt_length}, {d})."
            )
        given = None if init_rows is None else nn.Parameter(init_rows.detach().float().reshape(shape).clone())
        self.prompt = normal(shape, 1.0, generator) if given is None else given
        drawn = torch.randn(max(d, prompts_count), min(d, prompts_count), generator=generator)
        orthogonal = torch.linalg.qr(drawn)[0]  # orthogonal rows, as torch.nn.init.orthogonal_
        self.router = nn.Parameter((orthogonal.T if prompts_count <= d else orthogonal).contiguous())

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """Two prompts or more, or there is nothing to choose."""
        o = cls.complete(options)
        said = [f"method.prompt_length={o['prompt_length']}: must be 1 or more."] if o["prompt_length"] < 1 else []
        if o["prompts_count"] < 2:
            said.append(f"method.prompts_count={o['prompts_count']}: must be 2 or more (one prompt is method=pt).")
        if o["router_noise"] < 0:
            said.append(f"method.router_noise={o['router_noise']}: must be 0 or more (authors' code: 1).")
        return said

    @classmethod
    def start_rows(cls, options: dict[str, Any]) -> int:
        """k l: every prompt has rows of its own."""
        o = cls.complete(options)
        return int(o["prompts_count"] * o["prompt_length"])

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """k l d + k d (T5-base, k=4, l=5: 18,432)."""
        o = cls.complete(options)
        return int(o["prompts_count"] * (o["prompt_length"] + 1) * facts.width)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """`prompt` and `router`."""
        return {"prompt": [self.prompt], "router": [self.router]}

    def prompts(self, source: Source) -> Tensor:
        """(B, l, d): the chosen prompt times its probability."""
        logits = source.mean().to(self.router.dtype) @ self.router.T
        if self.training and self.noise:
            logits = logits + self.noise * torch.randn_like(logits) * logits.detach()
        chance, chosen = logits.softmax(-1).max(-1)
        return chance[:, None, None] * self.prompt[chosen]
