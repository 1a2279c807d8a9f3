"""DePT: decomposed prompt tuning (Shi and Lipani, ICLR 2024)."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from methods.base import Facts, InputMethod, prompt_parameter
from methods.source import Source


class DePT(InputMethod):
    """A short prompt P (m, d) and a low-rank offset by position: the backbone reads [P; X + c A B].

    A is (s, r), B is (r, d), s the configured source length. The prompt takes no offset. The authors' code scales
    by c = alpha / sqrt(r) with alpha = 8; the paper's equation has no c (`offset_scale: none`).

    Args:
        facts: The backbone's facts.
        prompt_length: m; 0 leaves the offset alone.
        rank: r; 0 leaves the short prompt alone.
        max_source_length: s, the rows of A.
        offset_scale: `alpha_over_sqrt_rank` (authors' code) or `none` (paper's equation).
        offset_alpha: alpha of that scale.
        row_alignment: Which row a token takes on decoder-only models: `source_end` (the last source token takes
            row s-1 and the target none) or `right_edge` (authors' code: the last of source and target).
        init_rows: (m, d) starting vectors; None = U(-0.5, 0.5).
        generator: Source of random numbers.
    """

    position_indexed: ClassVar[bool] = True
    choices: ClassVar[dict[str, tuple[Any, ...]]] = {
        "offset_scale": ("alpha_over_sqrt_rank", "none"),
        "row_alignment": ("source_end", "right_edge"),
    }

    def __init__(
        self,
        facts: Facts,
        *,
        prompt_length: int = 60,
        rank: int = 30,
        max_source_length: int = 256,
        offset_scale: str = "alpha_over_sqrt_rank",
        offset_alpha: float = 8.0,
        row_alignment: str = "source_end",
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.prompt_slots = prompt_length
        self.row_alignment = row_alignment
        self.max_source_length = max_source_length
        # Target tokens take row -1 (no offset) wherever they have none, so `shift` may always be applied.
        self.prompt = prompt_parameter(prompt_length, facts.width, init_rows, generator)
        self.scale = offset_alpha / math.sqrt(rank) if offset_scale != "none" and rank else 1.0
        self.offset_a: nn.Parameter | None = None
        self.offset_b: nn.Parameter | None = None
        if rank:
            self.offset_a = nn.Parameter(torch.empty(max_source_length, rank))
            # PyTorch takes r as the fan-in of an (s, r) tensor: U(-1/sqrt(r), 1/sqrt(r)), as in the authors' code.
            nn.init.kaiming_uniform_(self.offset_a, a=math.sqrt(5), generator=generator)
            self.offset_b = nn.Parameter(torch.zeros(rank, facts.width))

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """Lengths and ranks must leave something to train."""
        o = cls.complete(options)
        said = [f"method.{k}={o[k]}: must be 0 or more." for k in ("prompt_length", "rank") if o[k] < 0]
        if o["prompt_length"] == 0 and o["rank"] == 0:
            said.append("method.prompt_length=0 and method.rank=0: nothing is left to train; raise one of them.")
        if o["max_source_length"] < 1:
            said.append(f"method.max_source_length={o['max_source_length']}: must be 1 or more (the paper: 256).")
        return said

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """m d + r (s + d) (T5-base, s=256, m=60, r=30: 76,800)."""
        o = cls.complete(options)
        return o["prompt_length"] * facts.width + o["rank"] * (o["max_source_length"] + facts.width)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """`prompt` at the large rate, `offset` (A and B) at the small one."""
        groups = {"prompt": [self.prompt], "offset": [self.offset_a, self.offset_b]}
        kept = {name: [p for p in tensors if p is not None] for name, tensors in groups.items()}
        return {name: tensors for name, tensors in kept.items() if tensors}

    def prompts(self, source: Source) -> Tensor:
        """P, (m, d)."""
        assert self.prompt is not None
        return self.prompt

    def position_offsets(self, count: int) -> Tensor | None:
        """c A B at the first `count` positions, (count, d)."""
        if self.offset_a is None or self.offset_b is None:
            return None
        return self.scale * (self.offset_a[:count] @ self.offset_b)
