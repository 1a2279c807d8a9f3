"""The rate of a frozen backbone's dropout, as P-tuning v2's scripts set it (`--hidden_dropout_prob`)."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from backbones.errors import BackboneError

KEY = "hidden_dropout_prob"
TRIED = (0.25, 0.5)  # rates under which a model is made twice: what differs then is what the key rules


def set_hidden_dropout(model: nn.Module, rate: float | None) -> None:
    """The dropout that `hidden_dropout_prob` rules in a model at `rate`; None puts the model's own rates back.

    Which that is (embeddings, outputs of attention and feed-forward layers, never the attention weights) is asked of
    the architecture. A module that is no model of transformers (a task head) has it in all its dropout.

    Raises:
        BackboneError: its configuration has no such rate, so that nothing, or something else, would change.
    """
    for path, name, own in _restored(model) if rate is None else _ruled(model):
        holder = model.get_submodule(path)
        holder.__dict__.setdefault("own_rates", {}).setdefault(name, own)
        setattr(holder, name, own if rate is None else rate)


def _restored(model: nn.Module) -> Iterator[tuple[str, str, float]]:
    for path, module in model.named_modules():
        for name, own in module.__dict__.get("own_rates", {}).items():
            yield path, name, own


def _ruled(model: nn.Module) -> Iterator[tuple[str, str, float]]:
    """(module, attribute, its rate now) of what the key rules."""
    settings: Any = getattr(model, "config", None)
    if settings is None:
        yield from ((path, "p", m.p) for path, m in model.named_modules() if isinstance(m, nn.Dropout))
        return
    if getattr(settings, KEY, None) is None:
        raise BackboneError(
            f"runner.hidden_dropout: {type(model).__name__} has no {KEY} in its configuration (BERT types have); leave "
            "runner.hidden_dropout null"
        )
    one, other = (_rates(type(model), settings, rate) for rate in TRIED)
    for (path, name), value in one.items():
        if (value, other[path, name]) == TRIED:
            yield path, name, getattr(model.get_submodule(path), name)


def _rates(made: Any, settings: Any, rate: float) -> dict[tuple[str, str], float]:
    """Numbers that stand in the modules of a model under one rate, by module and name; no weights are made."""
    changed = deepcopy(settings)
    setattr(changed, KEY, rate)
    with torch.device("meta"):
        model = made(changed)
    return {
        (path, name): value
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, float)
    }
