"""ULPT: ultra-low-dimensional prompt tuning (2502.04501): a prompt in r dimensions, projected up by a frozen matrix."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from methods.base import Facts, InputMethod
from methods.draw import normal
from methods.source import Source


class ULPT(InputMethod):
    """P = s (.) (Z R) + b with Z (m, r), scale s (d) and shift b (d) trained and R (r, d) frozen and random.

    R is drawn from U(-sqrt(6/(r+d)), sqrt(6/(r+d))) and shared by all slots. It is not stored: a saved run holds the
    seed that it is drawn from.

    Args:
        facts: The backbone's facts.
        prompt_length: m.
        rank: r.
        init_rows: Cannot be given: no Z gives chosen rows.
        generator: Source of random numbers.

    Raises:
        ValueError: `init_rows` is given.
    """

    seed: Tensor
    projection: Tensor

    def __init__(
        self,
        facts: Facts,
        *,
        prompt_length: int = 100,
        rank: int = 2,
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if init_rows is not None:
            raise ValueError("ULPT's prompt is projected from r dimensions; init_rows cannot be given (init: null).")
        self.prompt_slots = prompt_length
        self.prompt = normal((prompt_length, rank), 1.0, generator)
        self.scale = nn.Parameter(torch.ones(facts.width))
        self.shift_vector = nn.Parameter(torch.zeros(facts.width))
        self.register_buffer("seed", torch.randint(2**31, (), generator=generator))
        self.register_buffer("projection", torch.empty(rank, facts.width), persistent=False)
        self.restored()

    def restored(self) -> None:
        """Draw R from the seed."""
        rank, width = self.projection.shape
        drawn = torch.rand(rank, width, generator=torch.Generator().manual_seed(int(self.seed)))
        self.projection.copy_((drawn * 2 - 1) * math.sqrt(6 / (rank + width)))

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """A prompt and a rank of at least one."""
        o = cls.complete(options)
        return [f"method.{k}={o[k]}: must be 1 or more." for k in ("prompt_length", "rank") if o[k] < 1]

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """m r + 2 d (T5-base, m=100: r=2 1,736; r=16 3,136; r=64 7,936)."""
        o = cls.complete(options)
        return o["prompt_length"] * o["rank"] + 2 * facts.width

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """One group: `prompt`."""
        return {"prompt": [self.prompt, self.scale, self.shift_vector]}

    def prompts(self, source: Source) -> Tensor:
        """P, (m, d)."""
        return self.scale * (self.prompt @ self.projection) + self.shift_vector
