"""IDPG: instance-dependent prompt generation (Wu et al., NAACL 2022), its single-layer form."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Facts, InputMethod
from methods.draw import normal
from methods.source import Source


def phm(a: Tensor, s: Tensor) -> Tensor:
    """A parameterised hypercomplex matrix sum_i A_i kron S_i: (n, n, n), (n, p, q) -> (n p, n q)."""
    n, p, q = s.shape
    return torch.einsum("iab,ipq->apbq", a, s).reshape(n * p, n * q)


class IDPG(InputMethod):
    """A prompt made of each example: G(s) = U Drop(GELU(D Drop(s) + b1)) + b2, reshaped to (m, d).

    s (d) is what the frozen backbone, without prompt, makes of the example; b2 (m, d) alone is an ordinary prompt. D
    (d, h) and U (h, m d) are plain matrices, or with `phm` sums of n Kronecker products.

    Args:
        facts: The backbone's facts.
        prompt_length: m.
        hidden: h.
        generator_form: `plain` ("DNN") or `phm`.
        phm_terms: n of `phm`; it divides d and h. None = the largest that does, up to 16 (authors' scripts).
        summary: `features` (the frozen pass, the paper) or `embeddings` (the mean of the token embeddings).
        network_dropout: Both dropouts while training.
        init_rows: (m, d) start of b2; None = N(0, 0.02^2) (authors' code).
        generator: Source of random numbers.
    """

    choices: ClassVar[dict[str, tuple[Any, ...]]] = {
        "generator_form": ("plain", "phm"),
        "summary": ("features", "embeddings"),
    }

    def __init__(
        self,
        facts: Facts,
        *,
        prompt_length: int = 5,
        hidden: int = 16,
        generator_form: str = "phm",
        phm_terms: int | None = None,
        summary: str = "features",
        network_dropout: float = 0.1,
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        d, m, n = facts.width, prompt_length, phm_terms or _terms(facts.width, hidden)
        self.prompt_slots, self.summary, self.dropout = m, summary, network_dropout
        self.form = generator_form
        given = None if init_rows is None else nn.Parameter(init_rows.detach().float().clone())
        self.prompt = normal((m, d), 0.02, generator) if given is None else given
        if generator_form == "plain":
            self.down, self.up = normal((d, hidden), 0.02, generator), normal((hidden, m * d), 0.02, generator)
            self.bias = nn.Parameter(torch.zeros(hidden))
        else:
            self.down_a, self.up_a = normal((n, n, n), 0.05, generator), normal((n, n, n), 0.05, generator)
            self.down_s = normal((n, d // n, hidden // n), 0.05, generator)
            self.up_s = normal((n, hidden // n, m * d // n), 0.05, generator)
            self.bias = normal((hidden,), 0.05, generator)

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """Sizes of at least one, and n divides them."""
        o = cls.complete(options)
        said = [f"method.{k}={o[k]}: must be 1 or more." for k in ("prompt_length", "hidden") if o[k] < 1]
        if not 0 <= o["network_dropout"] < 1:
            said.append(f"method.network_dropout={o['network_dropout']}: must be from 0 up to, not at, 1.")
        n = o["phm_terms"]
        if n is not None and n < 1:
            said.append(f"method.phm_terms={n}: must be 1 or more.")
        elif n and o["generator_form"] == "phm" and not said and (facts.width % n or o["hidden"] % n):
            both = [k for k in range(1, o["hidden"] + 1) if facts.width % k == 0 and o["hidden"] % k == 0]
            said.append(
                f"method.phm_terms={n} must divide the width {facts.width} and method.hidden={o['hidden']}; "
                f"allowed here: {', '.join(map(str, both))}."
            )
        return said

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """m d + h, and d h + h m d (plain) or 2 n^3 + (d h + h m d) / n (d=1024, h=16, m=5, n=16: 19,472)."""
        o, d = cls.complete(options), facts.width
        m, h = o["prompt_length"], o["hidden"]
        n = o["phm_terms"] or _terms(d, h)
        matrices = d * h + h * m * d
        return int(m * d + h + (matrices if o["generator_form"] == "plain" else 2 * n**3 + matrices // n))

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """`prompt` (b2) and `network` (the rest)."""
        return {"prompt": [self.prompt], "network": [p for n, p in self.named_parameters() if n != "prompt"]}

    def prompts(self, source: Source) -> Tensor:
        """(B, m, d)."""
        seen = source.features() if self.summary == "features" else source.mean()
        plain = self.form == "plain"
        down = self.down if plain else phm(self.down_a, self.down_s)
        up = self.up if plain else phm(self.up_a, self.up_s)
        seen = F.dropout(seen.to(down.dtype), self.dropout, self.training)
        hidden = F.dropout(F.gelu(seen @ down + self.bias), self.dropout, self.training)
        return (hidden @ up).view(len(source), *self.prompt.shape) + self.prompt


def _terms(width: int, hidden: int) -> int:
    """The largest n up to 16 that divides both."""
    return max(n for n in range(1, 17) if width % n == 0 and hidden % n == 0)
