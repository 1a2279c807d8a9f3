"""Weight-level baselines written here: bottleneck adapter, BitFit, full fine-tuning, and the head alone.

They change the model in place (modules' outputs, through hooks) and are exempt from the rules of a few kilobytes and of
packed sweeps. PEFT's methods stand in backbones/peft_methods.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.base import Backbone
from backbones.projections import find
from methods.base import Facts, InputMethod, Method
from methods.shapes import shapes


class WeightLevel(Method):
    """A method that lives inside the model: its tensors are made when it is attached.

    Attributes:
        own: modules whose training mode follows this method, not the frozen backbone (their dropout is the method's).
    """

    def __init__(
        self, facts: Facts, *, init_rows: Tensor | None = None, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if init_rows is not None:
            raise ValueError(f"{type(self).__name__} has no prompt vectors; init_rows cannot be given (init: null).")
        self.seed = int(torch.randint(2**31, (1,), generator=generator))
        self.tensors: dict[str, nn.Parameter] = {}
        self.own: list[nn.Module] = []

    def attach(self, body: Any) -> InputMethod | None:
        """Make the tensors and put them into the backbone's model (its random state does not touch the global one)."""
        body.changed, body.removable = True, False
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.tensors = dict(self.place(body))
        for parameter in self.tensors.values():
            parameter.requires_grad_(True)
        return None

    def place(self, backbone: Backbone) -> Iterator[tuple[str, nn.Parameter]]:
        """Change the model; give the name and tensor of everything that is trained."""
        raise TypeError(f"{type(self).__name__} must define `place`.")

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """The trained tensors; they belong to the model's modules, so nn.Module would not find them here."""
        yield from self.tensors.items()

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """One group: ``weights`` (none for the head alone)."""
        return {"weights": list(self.tensors.values())} if self.tensors else {}

    def train(self, mode: bool = True) -> WeightLevel:
        """The method's own modules follow it even where the backbone stays in evaluation mode."""
        super().train(mode)
        for module in self.own:
            module.train(mode)
        return self


class FullFineTuning(WeightLevel):
    """Every weight of the backbone is trained."""

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """The count must be known."""
        if not getattr(facts, "parameters", 0):
            return ["full fine-tuning needs the backbone's size: give backbone.facts.parameters=<number of weights>."]
        return []

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """All weights, as the backbone's YAML says."""
        return int(getattr(facts, "parameters", 0))

    def place(self, backbone: Backbone) -> Iterator[tuple[str, nn.Parameter]]:
        if backbone.dtype != torch.float32:
            raise ValueError(
                f"full fine-tuning on weights in {backbone.dtype}: small updates would be rounded away. "
                "Use runner.precision=fp32."
            )
        if backbone.config.quantization:
            raise ValueError(
                f"full fine-tuning with backbone.quantization={backbone.config.quantization}: weights of few bits "
                "cannot take small updates. Leave backbone.quantization out, or choose method=lora, adapter or bitfit."
            )
        if backbone.shards is not None:
            raise ValueError(
                "full fine-tuning with runner.sharding=fsdp: only frozen weights are held in parts here, and it trains "
                "them all. Leave runner.sharding out, or choose method=lora, adapter or bitfit."
            )
        yield from backbone.model.named_parameters()


class HeadOnly(WeightLevel):
    """Encoders: the head alone is trained; the control without which no encoder row means anything."""

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """There must be a head."""
        if facts.traits.writes:
            return [f"method=head_only: a backbone of family {facts.family} has no task head; choose an encoder."]
        return []

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """0: the head is counted apart."""
        return 0

    def place(self, backbone: Backbone) -> Iterator[tuple[str, nn.Parameter]]:
        if backbone.head is None:
            raise ValueError("method=head_only: this backbone was loaded without a head.")
        yield from ()


class BitFit(WeightLevel):
    """Biases alone (Ben-Zaken et al. 2022), as a trained shift (from zero) of each biased layer's output.

    Encoders: q, k, v, o, both feed-forward layers and the layer norms, the embedding's too (all biases but the
    pooler's). T5 and LLaMA have no biases at all: the shift is added to q, k, v, o, up and down.
    """

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """The sum of those layers' output widths (BERT-base: 12 (7 d + ffn) + d)."""
        total = sum(shape.outputs * shape.count for shape in shapes(facts).values())
        norms = (2 * facts.layers + 1) * facts.width if not facts.traits.writes else 0
        return total + norms

    def place(self, backbone: Backbone) -> Iterator[tuple[str, nn.Parameter]]:
        for path, module, width in self._biased(backbone):
            shift = nn.Parameter(torch.zeros(width, device=backbone.device))
            module.register_parameter("bitfit", shift)
            module.register_forward_hook(_add_shift)
            yield f"{path}.bitfit", shift

    def _biased(self, backbone: Backbone) -> Iterator[tuple[str, nn.Module, int]]:
        model, facts = backbone.model, backbone.facts
        merged = model.config.model_type == "deberta"  # q, k and v are one layer there
        for name in shapes(facts):
            if not (merged and name in ("q", "k", "v")):
                for path, module in find(model, facts.family, name):
                    yield path, module, int(module.out_features)  # type: ignore[arg-type]
        if not facts.traits.writes:
            for path, module in model.named_modules():
                if path.endswith("LayerNorm") and "rel_embeddings" not in path:
                    yield path, module, int(module.weight.numel())  # type: ignore[operator, union-attr]
                elif path.endswith("self.in_proj"):
                    yield path, module, int(module.out_features)  # type: ignore[arg-type]


def _add_shift(module: nn.Module, _: Any, output: Tensor) -> Tensor:
    return output + module.bitfit.to(output.dtype)  # type: ignore[union-attr, operator, arg-type]


class Bottleneck(nn.Module):
    """x + W2 relu(W1 x + b1) + b2 in float32; W2 starts at zero, so the model starts unchanged."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w1 = nn.Parameter(torch.randn(width, hidden) * 0.01)
        self.b1 = nn.Parameter(torch.zeros(hidden))
        self.w2 = nn.Parameter(torch.zeros(hidden, width))
        self.b2 = nn.Parameter(torch.zeros(width))

    def forward(self, states: Tensor) -> Tensor:
        """(..., d) -> (..., d)."""
        hidden = F.relu(states.float() @ self.w1 + self.b1)
        return states + (hidden @ self.w2 + self.b2).to(states.dtype)


class Adapter(WeightLevel):
    """Bottleneck adapters (Houlsby et al. 2019; Pfeiffer et al. 2021) on the sub-layers' outputs, before the residual.

    Args:
        facts: the backbone's facts.
        bottleneck: hidden width; None = width / reduction.
        reduction: for a bottleneck that is not given.
        places: ``both`` (after self-attention and feed-forward, Houlsby) or ``ffn`` (Pfeiffer).
        init_rows: not used.
        generator: source of random numbers.
    """

    choices: ClassVar[dict[str, tuple[Any, ...]]] = {"places": ("both", "ffn")}

    def __init__(
        self,
        facts: Facts,
        *,
        bottleneck: int | None = None,
        reduction: int = 32,
        places: str = "both",
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(facts, init_rows=init_rows, generator=generator)
        self.hidden = bottleneck or max(1, facts.width // reduction)
        self.places = places

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """A bottleneck has at least one unit."""
        o = cls.complete(options)
        wrong = [k for k in ("bottleneck", "reduction") if o[k] is not None and o[k] < 1]
        return [f"method.{k}={o[k]}: must be 1 or more." for k in wrong]

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """(2 d b + b + d) per place."""
        o = cls.complete(options)
        hidden = o["bottleneck"] or max(1, facts.width // o["reduction"])
        blocks = facts.layers + facts.decoder_layers
        each = 2 * facts.width * hidden + hidden + facts.width
        return each * blocks * (2 if o["places"] == "both" else 1)

    def place(self, backbone: Backbone) -> Iterator[tuple[str, nn.Parameter]]:
        model, family = backbone.model, backbone.facts.family
        found = [(p, m) for p, m in find(model, family, "o") if "EncDecAttention" not in p and self.places == "both"]
        for path, module in [*found, *find(model, family, "down")]:
            block = Bottleneck(backbone.facts.width, self.hidden).to(backbone.device)
            module.add_module("adapter", block)
            module.register_forward_hook(_through_adapter)
            for name, parameter in block.named_parameters():
                yield f"{path}.adapter.{name}", parameter


def _through_adapter(module: nn.Module, _: Any, output: Tensor) -> Tensor:
    return module.adapter(output)  # type: ignore[operator]
