"""Deep prefix tuning: keys and values in front of every layer (Li and Liang 2021; P-tuning v2, Liu et al. 2022)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Facts, LayerMethod, stacks_of


class Prefix(LayerMethod):
    """l trainable keys and values per layer: softmax(Q [K_P; K]^T / sqrt(d_h)) [V_P; V].

    One table per stack, (l, 2 L H d_h) in P-tuning v2's order (position; layer; key, value; head; channel), drawn
    from N(0, 0.02^2). With `reparameterisation: mlp` a row is Linear(Tanh(Linear(e_i))) of an embedding e_i (d).

    Args:
        facts: The backbone's facts.
        prefix_length: l.
        reparameterisation: `none` or `mlp`.
        mlp_width: Hidden width of that network (authors' code: 512).
        prefix_dropout: Dropout on the prefix while training; None = the backbone's hidden dropout (authors' code).
        position_shift: Encoders: absolute positions of the text start at l, as in the authors' code.
        init_std: Standard deviation of the start.
        init_rows: (l, 2 L H d_h): the keys and values of a real prompt to start from, as Li and Liang (2021, section
            7.4) do; None = drawn. One stack, no network.
        generator: Source of random numbers.

    Raises:
        ValueError: `init_rows` of another shape, or with a network or two stacks.
    """

    choices: ClassVar[dict[str, tuple[Any, ...]]] = {"reparameterisation": ("none", "mlp")}

    def __init__(
        self,
        facts: Facts,
        *,
        prefix_length: int = 20,
        reparameterisation: str = "none",
        mlp_width: int = 512,
        prefix_dropout: float | None = None,
        position_shift: bool = False,
        init_std: float = 0.02,
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.prefix_length, self.position_shift = prefix_length, position_shift
        self.dropout = facts.dropout if prefix_dropout is None else prefix_dropout
        self.kv_heads, self.head_dim = facts.kv_heads, facts.head_dim
        self.depths = stacks_of(facts)
        self.tables, self.w1, self.b1, self.w2, self.b2 = (nn.ParameterDict() for _ in range(5))
        for stack, layers in self.depths.items():
            out = layers * 2 * self.kv_heads * self.head_dim
            if init_rows is not None:
                self.tables[stack] = self._started((prefix_length, out), init_rows, reparameterisation)
                continue
            if reparameterisation == "none":
                self.tables[stack] = _normal((prefix_length, out), init_std, generator)
                continue
            self.tables[stack] = _normal((prefix_length, facts.width), init_std, generator)
            self.w1[stack] = _normal((mlp_width, facts.width), init_std, generator)
            self.b1[stack] = nn.Parameter(torch.zeros(mlp_width))
            self.w2[stack] = _normal((out, mlp_width), init_std, generator)
            self.b2[stack] = nn.Parameter(torch.zeros(out))

    def _started(self, shape: tuple[int, int], rows: Tensor, network: str) -> nn.Parameter:
        if network != "none" or len(self.depths) > 1 or tuple(rows.shape) != shape:
            raise ValueError(
                f"a prefix of shape {shape} with reparameterisation={network} over {len(self.depths)} stack(s) cannot "
                f"start from keys and values of shape {tuple(rows.shape)}; set method.init=random."
            )
        return nn.Parameter(rows.detach().float().clone())

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """A prefix has a length, and dropout is a probability."""
        o = cls.complete(options)
        said = []
        if o["prefix_length"] < 1:
            said.append(
                f"method.prefix_length={o['prefix_length']}: a deep prefix needs 1 or more (the papers: 4 to 144)."
            )
        if o["mlp_width"] < 1:
            said.append(f"method.mlp_width={o['mlp_width']}: must be 1 or more (authors' code: 512).")
        if o["prefix_dropout"] is not None and not 0 <= o["prefix_dropout"] < 1:
            said.append(f"method.prefix_dropout={o['prefix_dropout']}: must be from 0 up to, not at, 1.")
        longest = getattr(facts, "max_positions", 0)
        if not facts.traits.writes and o["position_shift"] and 0 < longest <= o["prefix_length"]:
            said.append(
                f"method.prefix_length={o['prefix_length']} with position_shift=true leaves no position for the text: "
                f"the backbone has {longest}. Shorten the prefix or set method.position_shift=false."
            )
        return said

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """2 L l H d_h summed over the stacks; with the network l d + (d + 1) w + (w + 1) 2 L H d_h each."""
        o = cls.complete(options)
        length, hidden, total = o["prefix_length"], o["mlp_width"], 0
        for layers in stacks_of(facts).values():
            out = 2 * layers * facts.kv_heads * facts.head_dim
            if o["reparameterisation"] == "none":
                total += length * out
            else:
                total += length * facts.width + (facts.width + 1) * hidden + (hidden + 1) * out
        return total

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """One group: `prefix`."""
        return {"prefix": list(self.parameters())}

    def prefix(self, stack: str, layer: int, batch: int, summary: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Keys and values of one layer, each (B, l, kv_heads, head_dim), dropped out per example in training."""
        step = 2 * self.kv_heads * self.head_dim
        part = slice(layer * step, (layer + 1) * step)
        rows = self.tables[stack]
        if stack in self.w1:
            hidden = torch.tanh(F.linear(rows, self.w1[stack], self.b1[stack]))
            rows = F.linear(hidden, self.w2[stack][part], self.b2[stack][part])
        else:
            rows = rows[:, part]
        pair = rows.view(self.prefix_length, 2, self.kv_heads, self.head_dim).expand(batch, -1, -1, -1, -1)
        pair = F.dropout(pair, self.dropout, self.training)
        return pair[:, :, 0], pair[:, :, 1]


def _normal(shape: tuple[int, ...], std: float, generator: torch.Generator | None) -> nn.Parameter:
    """N(0, std^2): the models' own rule for modules that are not in a checkpoint."""
    return nn.Parameter(torch.randn(shape, generator=generator) * std)
