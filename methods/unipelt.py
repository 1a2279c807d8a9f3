"""UniPELT (Mao et al., ACL 2022): a deep prefix, LoRA and an adapter in one model, each behind gates of the example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Body, Facts, InputMethod, Method, by_rows
from methods.draw import linear, normal
from methods.prefix import Prefix
from methods.shapes import shapes

LOW_RANK = ("q", "v")
GATED = ("prefix", *LOW_RANK, "adapter")


class Gates(nn.Module):
    """One gate for each layer: the mean over the source's positions of sigmoid(w . h + b).

    Args:
        layers: L.
        width: d of h.
        std: w from N(0, std^2) and b = 0; None = PyTorch's default for a linear layer.
        generator: Source of random numbers.
    """

    def __init__(self, layers: int, width: int, std: float | None, generator: torch.Generator | None) -> None:
        super().__init__()
        if std is None:
            drawn = linear(layers, width, generator), linear(layers, width, generator).detach()[:, 0]
        else:
            drawn = normal((layers, width), std, generator), torch.zeros(layers)
        self.weight, self.bias = drawn[0], nn.Parameter(drawn[1].clone())

    def forward(self, states: Tensor, layer: int) -> Tensor:
        """(B, T, d) -> (B, T, 1), before the mean."""
        return torch.sigmoid(states.to(self.weight.dtype) @ self.weight[layer] + self.bias[layer])[..., None]


class GatedPrefix(Prefix):
    """Keys and values of layer i times that layer's gate, which reads the layer's input."""

    needs_summary = True
    gate_source = "mean"

    def __init__(self, facts: Facts, gates: Gates, note: Callable[..., None], **options: Any) -> None:
        super().__init__(facts, **options)
        self.gates = gates
        self._note = note

    def read(self, stack: str, layer: int, hidden: Tensor) -> Tensor:
        """What is averaged over the source: (B, T, d) -> (B, T, 1)."""
        return self.gates(hidden, layer)

    def prefix(self, stack: str, layer: int, batch: int, summary: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Gated keys and values, each (B, l, kv_heads, head_dim)."""
        assert summary is not None
        self._note("prefix", layer, summary)
        keys, values = super().prefix(stack, layer, batch)
        gate = summary.to(keys.dtype)[:, :, None, None]
        return gate * keys, gate * values


class UniPELT(Method):
    """In layer i, with a gate g in (0, 1) of its own for each part and example:

    [g_P K_P; K], [g_P V_P; V]; q = W_q x + g_q B_q A_q x, and v alike (g stands in for alpha / r); behind the
    feed-forward y: y + g_A Up(relu(Down(y))). Every gate is the mean over the source's tokens of sigmoid(w . h + b);
    g_P reads the layer's input, g_q and g_v their projection's, g_A the feed-forward's output. While an answer is
    decoded the gates stay as the source set them.

    Args:
        facts: The backbone's facts.
        prefix_length: l.
        reparameterisation: Of the prefix: `mlp` (authors' code) or `none`.
        mlp_width: Hidden width of that network.
        prefix_dropout: Dropout on the prefix while training.
        rank: r of LoRA, on query and value.
        bottleneck: Width of the adapter; None = width / reduction.
        reduction: For a bottleneck that is not given.
        init_rows: Cannot be given.
        generator: Source of random numbers.

    Raises:
        ValueError: `init_rows` is given.
    """

    choices = Prefix.choices

    def __init__(
        self,
        facts: Facts,
        *,
        prefix_length: int = 10,
        reparameterisation: str = "mlp",
        mlp_width: int = 512,
        prefix_dropout: float = 0.0,
        rank: int = 8,
        bottleneck: int | None = None,
        reduction: int = 16,
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if init_rows is not None:
            raise ValueError("UniPELT starts from a drawn prefix; init_rows cannot be given (init: null).")
        layers, width = facts.layers, facts.width
        hidden = bottleneck or max(1, width // reduction)
        gates = {name: Gates(layers, width, 0.02 if name == "adapter" else None, generator) for name in GATED}
        self.deep = GatedPrefix(facts, gates.pop("prefix"), self._noted, prefix_length=prefix_length,
                                reparameterisation=reparameterisation, mlp_width=mlp_width,
                                prefix_dropout=prefix_dropout, generator=generator)  # fmt: skip
        self.gates = nn.ModuleDict(gates)
        self.a, self.b = nn.ParameterDict(), nn.ParameterDict()
        for name in LOW_RANK:
            s = shapes(facts)[name]
            drawn = [linear(rank, s.inputs, generator).detach() for _ in range(layers)]  # Kaiming, a = sqrt(5)
            self.a[name], self.b[name] = nn.Parameter(torch.stack(drawn)), _zeros(layers, s.outputs, rank)
        self.down, self.down_bias = normal((layers, hidden, width), 0.02, generator), _zeros(layers, hidden)
        self.up, self.up_bias = normal((layers, width, hidden), 0.02, generator), _zeros(layers, width)
        self._seen: dict[tuple[str, int], list[Tensor]] | None = None

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """Sizes of at least one; the gates read source tokens in every layer."""
        o = cls.complete(options)
        said = Prefix.check(_of_prefix(o), facts)
        said += [f"method.{k}={o[k]}: must be 1 or more." for k in ("rank", "bottleneck", "reduction")
                 if o[k] is not None and o[k] < 1]  # fmt: skip
        if facts.traits.encoder_decoder:
            said.append(
                "method=unipelt: its gates are means over the source's tokens in each layer, and none of them passes "
                f"through the {facts.decoder_layers} layers of this backbone's decoder: choose an encoder or a "
                "decoder-only model (or method=prefix, lora, adapter or apt)."
            )
        return said

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """Prefix + L (r (d + f) of q and of v + (2 b + 1) d + b + 4 (d + 1)); BERT-base 11,083,376, 1,410,672 kept."""
        o, d = cls.complete(options), facts.width
        hidden = o["bottleneck"] or max(1, d // o["reduction"])
        low = sum(shapes(facts)[name].inputs + shapes(facts)[name].outputs for name in LOW_RANK)
        each = o["rank"] * low + (2 * hidden + 1) * d + hidden + len(GATED) * (d + 1)
        return int(Prefix.count(_of_prefix(o), facts) + facts.layers * each)

    @classmethod
    def start_rows(cls, options: dict[str, Any]) -> int:
        """None."""
        return 0

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """`prefix`, `weights` (LoRA and adapter) and `gate`."""
        gate = [*self.deep.gates.parameters(), *self.gates.parameters()]
        known = {id(p) for p in gate}
        prefix = [p for p in self.deep.parameters() if id(p) not in known]
        known |= {id(p) for p in prefix}
        return {"prefix": prefix, "weights": [p for p in self.parameters() if id(p) not in known], "gate": gate}

    def attach(self, body: Body) -> InputMethod | None:
        """Slots for keys and values, and hooks behind q, v and the feed-forward."""
        body.take_prefix(self.deep)
        for name, change in (("q", self._low_rank), ("v", self._low_rank), ("down", self._adapted)):
            found = body.projections(name)
            if len(found) != body.facts.layers:
                raise ValueError(
                    f"method=unipelt needs a layer {name!r} of its own in each of {body.facts.layers} blocks, and this "
                    f"backbone has {len(found)} (layers are merged or shared there): choose another backbone."
                )
            for index, (_, module) in enumerate(found):
                module.register_forward_hook(change(body, name, index))
        return None

    def _gate(self, body: Body, part: str, layer: int, states: Tensor) -> Tensor:
        """(B, 1, 1)."""
        gate = body.source_mean((part, layer), self.gates[part](states, layer))
        self._noted(part, layer, gate)
        return gate[:, None]

    def _low_rank(self, body: Body, name: str, index: int) -> Callable[..., Tensor]:
        def change(_: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> Tensor:
            x = args[0].to(self.a[name].dtype)
            added = F.linear(F.linear(x, self.a[name][index]), self.b[name][index])
            return y + (self._gate(body, name, index, x) * added).to(y.dtype)

        return change

    def _adapted(self, body: Body, name: str, index: int) -> Callable[..., Tensor]:
        def change(_: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> Tensor:
            states = by_rows(y, name, "choose another backbone").to(self.down.dtype)
            inner = F.relu(F.linear(states, self.down[index], self.down_bias[index]))
            added = F.linear(inner, self.up[index], self.up_bias[index])
            return y + (self._gate(body, "adapter", index, states) * added).to(y.dtype)

        return change

    def _noted(self, part: str, layer: int, gate: Tensor) -> None:
        if self._seen is not None:
            self._seen.setdefault((part, layer), []).append(gate.detach().float().mean())

    def watch(self) -> None:
        """Note the gates of every forward pass."""
        self._seen = {}

    def diagnostics(self) -> dict[str, Any]:
        """`parts`: the mean gate of each part in each layer (layers, 4)."""
        seen, self._seen = self._seen or {}, None
        if not seen:
            return {}
        layers = len(self.down)
        means = [[float(torch.stack(seen[part, layer]).mean()) for part in GATED] for layer in range(layers)]
        return {"parts": {"names": list(GATED), "layers": means}}


def _zeros(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape))


def _of_prefix(options: dict[str, Any]) -> dict[str, Any]:
    return {k: options[k] for k in ("prefix_length", "reparameterisation", "mlp_width", "prefix_dropout")}
