"""LoRA and IA3, injected into the model by Hugging Face PEFT (their rows say "PEFT implementation")."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from peft import IA3Config, LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from backbones.base import Backbone
from backbones.projections import find
from backbones.weight_level import WeightLevel
from methods.base import Facts
from methods.shapes import shapes, unknown


class Injected(WeightLevel):
    """A PEFT tuner inside the model."""

    def settings(self, paths: dict[str, list[str]]) -> Any:
        """The PEFT config for the layers at ``paths`` (by name: q, k, v, o, up, down)."""
        raise TypeError(f"{type(self).__name__} must define `settings`.")

    def wanted(self) -> tuple[str, ...]:
        """The kinds of layers that are changed."""
        raise TypeError(f"{type(self).__name__} must define `wanted`.")

    def place(self, backbone: Backbone) -> Iterator[tuple[str, nn.Parameter]]:
        model, family = backbone.model, backbone.facts.family
        if model.config.model_type == "deberta":
            paths = self.deberta_paths(model)
        else:
            paths = {name: [path for path, _ in find(model, family, name)] for name in self.wanted()}
        lacking = [name for name, found in paths.items() if not found]
        if lacking:
            raise ValueError(
                f"{type(self).__name__} cannot enter {type(model).__name__} (backbone {backbone.config.name!r}): it "
                f"has no linear layer of its own for {', '.join(lacking)} (they are one layer, or have other names). "
                "Input-level methods (pt, dept, adept, accept) work there."
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT warns that the model's type is not a PEFT model's
            inject_adapter_in_model(self.settings(paths), model)
        self.own = [m for m in model.modules() if type(m).__module__.startswith("peft.")]
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()  # trained in float32 whatever the backbone's precision
                yield name, parameter

    def deberta_paths(self, model: nn.Module) -> dict[str, list[str]]:
        """DeBERTa's q, k and v are one layer.

        Raises:
            ValueError: the method cannot take that layer.
        """
        raise ValueError(f"{type(self).__name__} on DeBERTa is not defined: its q, k and v are one layer.")

    def train(self, mode: bool = True) -> Injected:
        super().train(mode)
        for module in self.own:  # the frozen layer inside a PEFT layer stays as the backbone has it
            if hasattr(module, "base_layer"):
                module.base_layer.train(False)  # type: ignore[union-attr]
        return self


class LoRA(Injected):
    """Low-rank updates W + (alpha / r) B A (Hu et al. 2022), by PEFT.

    Args:
        facts: the backbone's facts.
        rank: r.
        alpha: the scale's numerator.
        dropout: on the input of A while training.
        targets: which layers: q, k, v, o, up, down.
        init_rows: not used.
        generator: source of random numbers.
    """

    def __init__(
        self,
        facts: Facts,
        *,
        rank: int = 8,
        alpha: float = 16,
        dropout: float = 0.0,
        targets: list[str] | tuple[str, ...] = ("q", "v"),
        init_rows: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(facts, init_rows=init_rows, generator=generator)
        self.rank, self.alpha, self.dropout, self.targets = rank, alpha, dropout, tuple(targets)

    @classmethod
    def check(cls, options: dict[str, Any], facts: Facts) -> list[str]:
        """Rank, dropout and names."""
        o = cls.complete(options)
        said = unknown(o["targets"])
        if o["rank"] < 1:
            said.append(f"method.rank={o['rank']}: must be 1 or more.")
        if not 0 <= o["dropout"] < 1:
            said.append(f"method.dropout={o['dropout']}: must be from 0 up to, not at, 1.")
        return said

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """r (inputs + outputs) per layer."""
        o = cls.complete(options)
        found = [shapes(facts)[name] for name in o["targets"]]
        return sum(o["rank"] * (s.inputs + s.outputs) * s.count for s in found)

    def wanted(self) -> tuple[str, ...]:
        return self.targets

    def settings(self, paths: dict[str, list[str]]) -> LoraConfig:
        layers = [path for found in paths.values() for path in found]
        return LoraConfig(r=self.rank, lora_alpha=self.alpha, lora_dropout=self.dropout, target_modules=layers)  # type: ignore[arg-type]

    def deberta_paths(self, model: nn.Module) -> dict[str, list[str]]:
        if set(self.targets) != {"q", "v"}:
            raise ValueError(
                f"method.targets={list(self.targets)} on DeBERTa, whose q, k and v are one layer: allowed is [q, v], "
                "which there means that layer (as PEFT's own default; the count is the same)."
            )
        return {"qkv": [path for path, _ in model.named_modules() if path.endswith("self.in_proj")]}


class IA3(Injected):
    """Learned scales of keys, values and the feed-forward layer's inner states (Liu et al. 2022), by PEFT."""

    @classmethod
    def count(cls, options: dict[str, Any], facts: Facts) -> int:
        """kv_heads head_dim twice per attention, ffn per block."""
        s = shapes(facts)
        return s["k"].outputs * s["k"].count + s["v"].outputs * s["v"].count + s["down"].inputs * s["down"].count

    def wanted(self) -> tuple[str, ...]:
        return ("k", "v", "down")

    def settings(self, paths: dict[str, list[str]]) -> IA3Config:
        layers = [path for found in paths.values() for path in found]
        return IA3Config(target_modules=layers, feedforward_modules=paths["down"])
