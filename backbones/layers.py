"""A change in front of every layer of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from backbones.attentions import places_of

Change = Callable[[Tensor, str, int], Tensor]  # (hidden states (B, T, d), stack, layer) -> hidden states


def change_before(backbone: Any, change: Change) -> None:
    """Hooks through which hidden states become change(states, stack, layer) in front of every layer.

    Raises:
        ValueError: the layers cannot be found (`places_of`).
    """
    model = backbone.model
    if model.config.model_type.startswith("deberta"):
        layers = [("encoder", index, layer) for index, layer in enumerate(model.encoder.layer)]
    else:
        layers = [(place.stack, place.index, place.layer) for place in places_of(backbone)]
    for stack, index, layer in layers:
        layer.register_forward_pre_hook(_changed(change, stack, index), with_kwargs=True)


def _changed(change: Change, stack: str, index: int) -> Any:
    """A forward pre-hook of a layer that changes its hidden states, given by place or by name."""

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            return (change(args[0], stack, index), *args[1:]), kwargs
        return args, kwargs | {"hidden_states": change(kwargs["hidden_states"], stack, index)}

    return hook
