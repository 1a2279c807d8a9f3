"""Gradient checkpointing: layers are recomputed in the backward pass instead of keeping their activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer


def turn_on(model: Any, name: str, dropout: Callable[[], bool]) -> None:
    """From here on the layers of a backbone's model are recomputed where `mark` says so.

    Args:
        name: of the backbone.
        dropout: whether the frozen model's own dropout is on.

    Raises:
        ValueError: the architecture cannot.
    """
    if not getattr(model, "supports_gradient_checkpointing", True):
        raise ValueError(
            f"runner.gradient_checkpointing=true: {type(model).__name__} (backbone {name!r}) cannot "
            "recompute its layers; set it to false, or runner.micro_batch to fewer rows."
        )
    # transformers 5.2x renames the pair
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module._gradient_checkpointing_func = _quietly(module, dropout)  # type: ignore[assignment]


def turn_off(model: Any) -> None:
    """Activations are kept again."""
    disable = getattr(model, "activation_checkpointing_disable", None) or model.gradient_checkpointing_disable
    disable()


def mark(model: nn.Module, mode: bool) -> None:
    """Whether the layers recompute: in training.

    transformers checkpoints a layer only in training mode; the layer's own flag is enough for that, and its children
    stay in evaluation mode, so that no dropout wakes up (nor the layer's own: `_quietly`).
    """
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.training = mode


def _quietly(layer: nn.Module, dropout: Callable[[], bool]) -> Callable[..., Any]:
    """The layer's checkpointing, with its own dropout (OPT has one without a module) as the backbone has it."""
    checkpoint: Callable[..., Any] = layer._gradient_checkpointing_func  # type: ignore[assignment]

    def run(call: Callable[..., Any], *args: Any) -> Any:
        def inside(*inner: Any) -> Any:
            before, layer.training = layer.training, dropout()
            try:
                return call(*inner)
            finally:
                layer.training = before

        return checkpoint(inside, *args)

    return run
