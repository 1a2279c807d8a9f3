"""Where a deep prefix can enter a model: its self-attentions, found by watching them work.

One forward of two tokens runs under an attention function that writes down who calls it. So nothing is told here about
the names of an architecture's modules; an attention that does not go through transformers' interface is not seen, and
then the prefix is refused instead of left out.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from methods.base import stacks_of
from tasks.families import Family

WATCHED = "watched"
_CALLS: list[tuple[nn.Module, Tensor, Tensor, Tensor]] = []


@dataclass(frozen=True)
class Place:
    """One self-attention.

    Attributes:
        stack: ``encoder`` or ``decoder``.
        index: its layer within the stack.
        layer: the layer that it belongs to.
        attention: the module that calls the attention function.
    """

    stack: str
    index: int
    layer: nn.Module
    attention: nn.Module


def own_eager(module: nn.Module) -> Callable[..., Any]:
    """The eager attention that an architecture brings (with soft caps, sinks, whatever it has)."""
    return getattr(sys.modules[type(module).__module__], "eager_attention_forward", sdpa_attention_forward)


def _watched(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, **more: Any) -> Any:
    _CALLS.append((module, query, key, value))
    return own_eager(module)(module, query, key, value, mask, **more)


AttentionInterface.register(WATCHED, _watched)
AttentionMaskInterface.register(WATCHED, eager_mask)


@contextmanager
def attention_named(model: Any, name: str) -> Iterator[None]:
    """Every attention of a model is looked up under `name` inside."""
    configs = configs_of(model)
    before = [config._attn_implementation for config in configs]
    for config in configs:
        config._attn_implementation = name
    try:
        yield
    finally:
        for config, own in zip(configs, before, strict=True):
            config._attn_implementation = own


def configs_of(model: Any) -> list[Any]:
    """The configurations that a model's modules read, each once (T5's stacks have copies of their own)."""
    found = {id(m.config): m.config for m in model.modules() if getattr(m, "config", None) is not None}
    return list(found.values())


def places_of(backbone: Any) -> list[Place]:
    """The self-attentions of every layer, in the order of methods.base.stacks_of.

    Raises:
        ValueError: not every layer has one that can be reached, or its heads are not those of the facts.
    """
    model, facts = backbone.model, backbone.facts
    _CALLS.clear()
    try:
        with torch.no_grad(), attention_named(model, WATCHED):
            _forward(backbone)
        calls = [call for call in _CALLS if call[1].shape[2] == call[2].shape[2]]  # not cross-attention
    finally:
        _CALLS.clear()
    paths = {id(module): path for path, module in model.named_modules()}
    found = [_place(model, paths[id(module)], module, facts.traits) for module, *_ in calls]
    wanted = [(stack, index) for stack, depth in stacks_of(facts).items() for index in range(depth)]
    name = f"{type(model).__name__} (backbone {backbone.config.name!r})"
    if sorted((p.stack, p.index) for p in found) != sorted(wanted):
        reached = len({(p.stack, p.index) for p in found})
        why = (
            f"{len(found)} layers share {reached} set(s) of weights"
            if len(found) > reached
            else f"{reached} of {len(wanted)} layers pass through transformers' attention interface"
        )
        raise ValueError(
            f"a deep prefix cannot enter {name}: {why}. Input-level methods (pt, dept, adept, accept) work there."
        )
    for _, _, key, value in calls:
        if {tuple(t.shape[1::2]) for t in (key, value)} != {(facts.kv_heads, facts.head_dim)}:
            raise ValueError(
                f"a deep prefix cannot enter {name}: its keys have {key.shape[1]} heads of {key.shape[3]} and its "
                f"values {value.shape[1]} of {value.shape[3]}, where its config.json says {facts.kv_heads} of "
                f"{facts.head_dim}. Input-level methods (pt, dept, adept, accept) work there."
            )
    return sorted(found, key=lambda p: wanted.index((p.stack, p.index)))


def _forward(backbone: Any) -> None:
    ids = torch.tensor([[5, 6]], device=backbone.device)
    more = {"decoder_input_ids": torch.tensor([[5, 6, 7]], device=backbone.device)}
    backbone.model(input_ids=ids, **(more if backbone.facts.traits.encoder_decoder else {}))


def _place(model: Any, path: str, attention: nn.Module, family: Family) -> Place:
    """The layer is the module at the first number of the attention's path, as in ``encoder.block.3.layer.0``."""
    found = re.match(r"(?:.*?\.)?(\d+)(?=\.)", path)
    owner, index = (path[: found.end()], int(found[1])) if found else (path, 0)
    return Place(family.stack_of(path), index, model.get_submodule(owner), attention)
