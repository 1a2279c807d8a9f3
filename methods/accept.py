"""ACCEPT: adaptive codebook for composite and efficient prompt tuning (Lin et al., Findings of EMNLP 2024)."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Facts, InputMethod
from methods.source import Source


def widest(width: int, limit: int) -> int:
    """The largest divisor of `width` up to `limit`."""
    return max(t for t in range(1, min(width, limit) + 1) if width % t == 0)


def compose(weights: Tensor, codebooks: Tensor) -> Tensor:
    """Rows from codewords: (n, K, r) and (K, r, t) -> (n, K t).

    Sub-vector k of row i is sum_j weights[i, k, j] codebooks[k, j]: no softmax, no scale, no bias.
    """
    return torch.einsum("nkr,krt->nkt", weights, codebooks).flatten(1)


class ACCEPT(InputMethod):
    """Prompts and offsets made of learned codewords: the backbone reads [P; X + Delta].

    SCPP makes P (m, d) and SCAP makes Delta (s, d), each with own weights and own codebooks in K = d / t
    sub-spaces. SCAP's row is the token's position. The budget is that of `budget_vectors` prompt vectors, of which
    SCPP may take m d and SCAP (budget_vectors - m) d.

    Args:
        facts: The backbone's facts.
        prompt_length: m; with `scpp: false` it still says how the budget is split.
        max_source_length: s, the rows of SCAP.
        scpp: Whether there are prompts.
        scap: Whether there are offsets.
        prompt_width: t of SCPP; None = the largest divisor of d up to 32.
        prompt_codewords: r of SCPP; None = the most that its part of the budget allows.
        offset_width: t of SCAP; None = the largest divisor of d up to 256.
        offset_codewords: r of SCAP; None = the most that its part of the budget allows.
        budget_vectors: The budget, in prompt vectors of width d; 0 = unchecked (then give both codewords).
        row_alignment: Which row a token takes on decoder-only models: `source_end` or `right_edge` (authors' code).
        init_rows: (m, d) rows that SCPP starts from: the first r are its codewords, row i takes the (i mod r)-th
            whole. None = drawn, as the authors' code does.
        generator: Source of random numbers.
    """

    position_indexed: ClassVar[bool] = True
    choices: ClassVar[dict[str, tuple[Any, ...]]] = {"row_alignment": ("source_end", "right_edge")}

    def __init__(
        self,
        facts: Facts,
        *,
        prompt_length: int = 60,
        max_source_length: int = 256,
        scpp: bool = True,
        scap: bool = True,
        prompt_width: int | None = None,
        prompt_codewords: int | None = None,
        offset_width: int | None = None,
        offset_codewords: int | None = None,
        budget_vectors: int = 100,
        row_alignment: str = "source_end",
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.prompt_slots = prompt_length if scpp else 0
        self.row_alignment = row_alignment
        self.max_source_length = max_source_length if scap else 0
        given = (prompt_length, max_source_length, budget_vectors)
        t_p, r_p, t_a, r_a = _sizes(facts.width, *given, prompt_width, prompt_codewords, offset_width, offset_codewords)
        self.prompt_weights: nn.Parameter | None = None
        self.prompt_codebooks: nn.Parameter | None = None
        self.offset_weights: nn.Parameter | None = None
        self.offset_codebooks: nn.Parameter | None = None
        five = math.sqrt(5)
        if scpp:
            self.prompt_weights = _kaiming((prompt_length, facts.width // t_p, r_p), five, generator)
            self.prompt_codebooks = _kaiming((facts.width // t_p, r_p, t_p), five, generator)
            if init_rows is not None:
                self._start_from(init_rows)
        if scap:
            self.offset_weights = _kaiming((max_source_length, facts.width // t_a, r_a), five, generator)
            # The authors' code leaves a at 0 here: a wider start than its sister tensors have.
            self.offset_codebooks = _kaiming((facts.width // t_a, r_a, t_a), 0.0, generator)

    @torch.no_grad()
    def _start_from(self, rows: Tensor) -> None:
        """Codewords are sub-vectors of real rows, weights choose one each: P starts as those rows, repeated."""
        assert self.prompt_weights is not None and self.prompt_codebooks is not None
        spaces, words, width = self.prompt_codebooks.shape
        count = min(words, len(rows))
        self.prompt_codebooks[:, :count] = rows[:count].reshape(count, spaces, width).transpose(0, 1)
        chosen = torch.arange(len(self.prompt_weights)) % count
        self.prompt_weights.copy_(F.one_hot(chosen, words)[:, None].expand_as(self.prompt_weights))

    @classmethod
    def sizes(cls, options: dict[str, Any], facts: Facts) -> tuple[int, int, int, int]:
        """(t, r) of SCPP and (t, r) of SCAP, with what is not given filled in from the budget."""
        o = cls.complete(options)
        names = ("prompt_length", "max_source_length", "budget_vectors")
        widths = ("prompt_width", "prompt_codewords", "offset_width", "offset_codewords")
        return _sizes(facts.width, *(o[n] for n in names), *(o[n] for n in widths))

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """Widths divide d, and each part keeps to its part of the budget."""
        o, d = cls.complete(options), facts.width
        if not (o["scpp"] or o["scap"]):
            return ["method.scpp=false and method.scap=false: nothing is left to train; switch one of them on."]
        m, s, budget = o["prompt_length"], o["max_source_length"], o["budget_vectors"]
        if m < 1 or s < 1:
            return [f"method.prompt_length={m}, method.max_source_length={s}: both must be 1 or more."]
        if o["scap"] and budget and m >= budget:
            return [f"method.prompt_length={m} leaves SCAP nothing of a budget of {budget} vectors; take fewer."]
        said = []
        for part, switch, rows, vectors in (("prompt", "scpp", m, m), ("offset", "scap", s, budget - m)):
            if not o[switch]:
                continue
            width = widest(d, 32 if part == "prompt" else 256) if o[f"{part}_width"] is None else o[f"{part}_width"]
            if width < 1 or d % width:
                divisors = ", ".join(str(t) for t in range(1, d + 1) if d % t == 0)
                said.append(f"method.{part}_width={width} does not divide the width {d}; allowed: {divisors}.")
                continue
            words, most = o[f"{part}_codewords"], vectors * width // (rows + width)
            if not budget and words is None:
                said.append(f"method.{part}_codewords is not set, and budget_vectors=0 gives no cap to fill: set it.")
            elif (most if words is None else words) < 1:
                wide = f"a larger method.{part}_width" if words is None else f"method.{part}_codewords of 1 or more"
                said.append(f"{switch.upper()} has no codeword at t={width} over {rows} rows; take {wide}.")
            elif budget and words is not None and words > most:
                used, cap = d // width * words * (rows + width), vectors * d
                said.append(
                    f"method.{part}_codewords={words} makes {switch.upper()} {used:,} parameters, over its part of the "
                    f"budget, {cap:,}; at most {most} fit (or set method.budget_vectors=0 to leave it unchecked)."
                )
        return said

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """(d/t) r (m + t) for SCPP and (d/t) r (s + t) for SCAP (T5-base, m=60, s=256: 44,160 + 30,720 = 74,880)."""
        o = cls.complete(options)
        t_p, r_p, t_a, r_a = cls.sizes(options, facts)
        prompt = facts.width // t_p * r_p * (o["prompt_length"] + t_p)
        offset = facts.width // t_a * r_a * (o["max_source_length"] + t_a)
        return prompt * bool(o["scpp"]) + offset * bool(o["scap"])

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """`prompt` (SCPP) at the large rate, `offset` (SCAP) at the small one."""
        named = dict(self.named_parameters())
        groups = {g: [p for n, p in named.items() if n.startswith(g)] for g in ("prompt", "offset")}
        return {name: tensors for name, tensors in groups.items() if tensors}

    def prompts(self, source: Source) -> Tensor:
        """P, (m, d)."""
        assert self.prompt_weights is not None and self.prompt_codebooks is not None
        return compose(self.prompt_weights, self.prompt_codebooks)

    def position_offsets(self, count: int) -> Tensor | None:
        """Delta at the first `count` positions, (count, d)."""
        if self.offset_weights is None or self.offset_codebooks is None:
            return None
        return compose(self.offset_weights[:count], self.offset_codebooks)


def _sizes(
    d: int, m: int, s: int, budget: int, t_p: int | None, r_p: int | None, t_a: int | None, r_a: int | None
) -> tuple[int, int, int, int]:
    """Fill in widths and codewords; (d/t) r (n + t) <= vectors d  <=>  r <= vectors t / (n + t)."""
    t_p = widest(d, 32) if t_p is None else t_p
    t_a = widest(d, 256) if t_a is None else t_a
    r_p = m * t_p // (m + t_p) if r_p is None else r_p
    r_a = max(budget - m, 0) * t_a // (s + t_a) if r_a is None else r_a
    return t_p, r_p, t_a, r_a


def _kaiming(shape: tuple[int, ...], a: float, generator: torch.Generator | None) -> nn.Parameter:
    """Kaiming uniform; PyTorch takes size(1) * size(2) of a three-dimensional tensor as its fan-in."""
    tensor = torch.empty(shape)
    nn.init.kaiming_uniform_(tensor, a=a, generator=generator)
    return nn.Parameter(tensor)
