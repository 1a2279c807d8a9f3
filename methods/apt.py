"""APT: adaptive prefix tuning (Zhang et al., ACL 2023). The gates are read from the paper's text and arithmetic."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from methods.base import Facts, stacks_of
from methods.prefix import Prefix


class APT(Prefix):
    """A deep prefix with gates: layer i puts lambda_i alpha_i (.) [K_P, V_P] in front.

    alpha_i = sigmoid(h W_i) in (0, 1)^l, one value per pseudo token for all heads and for keys and values, with h the
    summary of the layer's input (d) and W_i (d, l); lambda_i is a free scale. A gate at zero does not remove a
    pseudo token: its logit becomes 0 and it keeps softmax mass.

    Args:
        facts: The backbone's facts.
        prefix_length: l.
        token_gate: `hidden` (alpha from the layer's input), `free` (ablation: sigmoid of a parameter (l,) per
            layer, without hidden states) or `none` (ablation: alpha = 1).
        layer_gate: Whether lambda_i is trained; false (ablation) = 1.
        gate_source: Where h comes from: `auto` (first token on encoders, masked source mean elsewhere),
            `first_token` or `mean`.
        gate_bias: Whether the token gate has a bias. The 1.5-fold count of the paper's control needs none.
        gate_detach: Whether the gradient stops at h.
        gate_init_std: Standard deviation of W_i at the start (alpha starts near 0.5).
        layer_gate_init: Start of lambda_i.
        reparameterisation: As in `Prefix`.
        mlp_width: As in `Prefix`.
        prefix_dropout: As in `Prefix`; acts before the gates.
        position_shift: As in `Prefix`.
        init_std: As in `Prefix`.
        init_rows: As in `Prefix`.
        generator: Source of random numbers.
    """

    choices: ClassVar[dict[str, tuple[Any, ...]]] = {
        **Prefix.choices,
        "token_gate": ("hidden", "free", "none"),
        "gate_source": ("auto", "first_token", "mean"),
    }

    def __init__(
        self,
        facts: Facts,
        *,
        prefix_length: int = 20,
        token_gate: str = "hidden",
        layer_gate: bool = True,
        gate_source: str = "auto",
        gate_bias: bool = False,
        gate_detach: bool = False,
        gate_init_std: float = 0.02,
        layer_gate_init: float = 1.0,
        reparameterisation: str = "none",
        mlp_width: int = 512,
        prefix_dropout: float | None = None,
        position_shift: bool = False,
        init_std: float = 0.02,
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            facts,
            prefix_length=prefix_length,
            reparameterisation=reparameterisation,
            mlp_width=mlp_width,
            prefix_dropout=prefix_dropout,
            position_shift=position_shift,
            init_std=init_std,
            init_rows=init_rows,
            generator=generator,
        )
        self.token_gate, self.gate_source, self.gate_detach = token_gate, gate_source, gate_detach
        self._seen: dict[tuple[str, int], list[Tensor]] | None = None
        self.needs_summary = token_gate == "hidden"
        self.gate_weights, self.gate_biases, self.layer_scales = (nn.ParameterDict() for _ in range(3))
        for stack, layers in self.depths.items():
            if token_gate == "hidden":
                drawn = torch.randn(layers, facts.width, prefix_length, generator=generator)
                self.gate_weights[stack] = nn.Parameter(gate_init_std * drawn)
            if token_gate == "free" or gate_bias:
                self.gate_biases[stack] = nn.Parameter(torch.zeros(layers, prefix_length))
            if layer_gate:
                self.layer_scales[stack] = nn.Parameter(torch.full((layers,), float(layer_gate_init)))

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """Gates need a prefix, and a bias needs the gate it belongs to."""
        o = cls.complete(options)
        if o["prefix_length"] < 1:
            return [f"method.prefix_length={o['prefix_length']}: APT's gates need a prefix of 1 or more to act on."]
        said = super().check(options, facts)
        if o["gate_bias"] and o["token_gate"] != "hidden":
            said.append(f"method.gate_bias=true needs method.token_gate=hidden; it is {o['token_gate']}.")
        return said

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """The prefix, plus L d l for W, L l for a bias or a free gate, L for lambda (BERT-base, l=20: 552,972)."""
        o = cls.complete(options)
        layers, length = sum(stacks_of(facts).values()), o["prefix_length"]
        gates = layers * facts.width * length * (o["token_gate"] == "hidden")
        gates += layers * length * (o["token_gate"] == "free" or bool(o["gate_bias"]))
        return super().count(options, facts) + gates + layers * bool(o["layer_gate"])

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """`prefix` and `gate` (one rate for both, where nothing else is known)."""
        gate = [*self.gate_weights.values(), *self.gate_biases.values(), *self.layer_scales.values()]
        known = {id(p) for p in gate}
        groups = {"prefix": [p for p in self.parameters() if id(p) not in known], "gate": gate}
        return {name: tensors for name, tensors in groups.items() if tensors}

    def gate(self, stack: str, layer: int, summary: Tensor | None) -> Tensor | None:
        """lambda_i alpha_i of one layer, (B, l), (1, l) or (1, 1); None where both gates are off.

        Raises:
            ValueError: If the token gate reads hidden states and no summary is given.
        """
        gate: Tensor | None = None
        bias = self.gate_biases[stack][layer] if stack in self.gate_biases else None
        if self.token_gate == "hidden":
            if summary is None:
                raise ValueError("APT's token gate reads a summary of the layer's input (B, d); none was given.")
            weight = self.gate_weights[stack][layer]
            read = (summary.detach() if self.gate_detach else summary).to(weight.dtype) @ weight
            gate = torch.sigmoid(read if bias is None else read + bias)
        elif bias is not None:
            gate = torch.sigmoid(bias).unsqueeze(0)
        if gate is not None and self._seen is not None:
            self._seen.setdefault((stack, layer), []).append(gate.detach().float().mean(0))
        if stack in self.layer_scales:
            scale = self.layer_scales[stack][layer]
            gate = scale.view(1, 1) if gate is None else scale * gate
        return gate

    def watch(self) -> None:
        """Note the token gates of every forward pass."""
        self._seen = {}

    def diagnostics(self) -> dict[str, Any]:
        """`gates`: the mean token gate of each layer (layers, l), encoder before decoder, and lambda of each layer."""
        seen, self._seen = self._seen or {}, None
        order = [(stack, layer) for stack, layers in self.depths.items() for layer in range(layers)]
        if any(place not in seen for place in order):
            return {}
        gates = {"layers": [torch.stack(seen[place]).mean(0).tolist() for place in order]}
        scales = [s for stack in self.depths if stack in self.layer_scales for s in self.layer_scales[stack].tolist()]
        return {"gates": gates | ({"layer_gate": scales} if scales else {})}

    def prefix(self, stack: str, layer: int, batch: int, summary: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Gated keys and values of one layer, each (B, l, kv_heads, head_dim)."""
        keys, values = super().prefix(stack, layer, batch)
        gate = self.gate(stack, layer, summary)
        if gate is None:
            return keys, values
        gate = gate[:, :, None, None]
        return gate * keys, gate * values
