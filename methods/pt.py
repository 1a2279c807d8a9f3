"""Prompt tuning (Lester, Al-Rfou and Constant 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning")."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from methods.base import Facts, InputMethod, prompt_parameter
from methods.source import Source


class PT(InputMethod):
    """l trainable vectors in front of the token embeddings: the backbone reads [P; E(x)].

    Args:
        facts: The backbone's facts.
        prompt_length: l (the paper's default: 100).
        init_rows: (l, d) starting vectors; None = U(-0.5, 0.5).
        generator: Source of random numbers.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        prompt_length: int = 100,
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.prompt_slots = prompt_length
        self.prompt = prompt_parameter(prompt_length, facts.width, init_rows, generator)

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """A prompt needs at least one vector."""
        length = cls.complete(options)["prompt_length"]
        if length < 1:
            return [f"method.prompt_length={length}: a prompt needs at least 1 vector (the paper uses 1 to 150)."]
        return []

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """l d (T5-base at l=100: 76,800; PT paper, Table 4)."""
        return cls.complete(options)["prompt_length"] * facts.width

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """One group: `prompt`."""
        return {"prompt": list(self.parameters())}

    def prompts(self, source: Source) -> Tensor:
        """P, (l, d)."""
        assert self.prompt is not None
        return self.prompt
