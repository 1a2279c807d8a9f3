"""Deep prefixes for every family through one mechanism: an attention function that puts keys and values in front.

The function is registered beside transformers' own (``prefixed``) and ends in the one that the model has without a
prefix: SDPA, or the architecture's own eager attention. Every self-attention
carries a `Slot`; masks and T5's position bias are padded on the left (prefix keys are seen by
every query and have no position: no bias on T5, no rotation on LLaMA). Nothing is written into a cache, so a prefix
may depend on the example, works on the T5 encoder, under gradient checkpointing and in cached generation, and
cross-attention is never touched.

DeBERTa has an attention of its own that does not pass through that interface; backbones/deberta.py adds the prefix
there.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask, sdpa_mask

from backbones.attentions import Place, configs_of, own_eager, places_of
from backbones.base import Backbone
from backbones.deberta import prefix_deberta
from backbones.masks import follow_layout
from backbones.prefix_proof import answers, prove
from methods.base import LayerMethod
from tasks.families import Family

NAME, NAME_EAGER = "prefixed", "prefixed_eager"


class Slot:
    """Where one self-attention finds its prefix.

    Args:
        backbone: the model that it belongs to.
        method: a methods.base.LayerMethod.
        stack: ``encoder`` or ``decoder``.
        layer: index within the stack.
    """

    def __init__(self, backbone: Backbone, method: LayerMethod, stack: str, layer: int) -> None:
        self._backbone = weakref.ref(backbone)  # the model holds its slots: no circle
        self.method, self.stack, self.layer = method, stack, layer
        self.summary: Tensor | None = None

    @property
    def filled(self) -> bool:
        """Whether the prefix is read (the frozen model's own passes leave it out)."""
        backbone = self._backbone()
        return backbone is None or not backbone.is_bare

    def __call__(self, batch: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, kv_heads, l, head_dim) in the precision of ``like``."""
        summary = self.summary
        keys, values = self.method.prefix(self.stack, self.layer, batch, summary)
        return keys.transpose(1, 2).to(like), values.transpose(1, 2).to(like)


def prefixed(end: Callable[[nn.Module], Callable[..., Any]]) -> Callable[..., Any]:
    """An attention function that puts the module's prefix in front of its keys and values and goes on with `end`.

    Args:
        end: module -> the attention function that the architecture uses without a prefix.
    """

    def attend(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **more: Any
    ) -> Any:
        """query (B, heads, Q, head_dim); key, value (B, kv_heads, K, head_dim); attention_mask (B, 1, Q, K), boolean or
        additive, or None (then causal if the module is); position_bias (1, heads, Q, K) on T5."""
        go_on = end(module)
        slot: Slot | None = getattr(module, "prefix_slot", None)
        if slot is None or not slot.filled:
            return go_on(module, query, key, value, attention_mask, **more)
        causal = more.get("is_causal")
        causal = getattr(module, "is_causal", True) if causal is None else causal
        queries, keys = query.shape[2], key.shape[2]
        if attention_mask is None and causal and queries > 1:
            ones = torch.ones(queries, keys, dtype=torch.bool, device=query.device)
            attention_mask = ones.tril(keys - queries)[None, None]
        prefix_key, prefix_value = slot(query.shape[0], key)
        length = prefix_key.shape[2]
        if attention_mask is not None:
            seen = True if attention_mask.dtype == torch.bool else 0.0
            attention_mask = F.pad(attention_mask, (length, 0), value=seen)
        if more.get("position_bias") is not None:
            more["position_bias"] = F.pad(more["position_bias"], (length, 0))
        if end is _sdpa:
            more["is_causal"] = False  # the mask says it
        key, value = torch.cat([prefix_key, key], 2), torch.cat([prefix_value, value], 2)
        return go_on(module, query, key, value, attention_mask, **more)

    return attend


def _sdpa(module: nn.Module) -> Callable[..., Any]:
    return sdpa_attention_forward


AttentionInterface.register(NAME, prefixed(_sdpa))
AttentionInterface.register(NAME_EAGER, prefixed(own_eager))
follow_layout(NAME, sdpa_mask)
follow_layout(NAME_EAGER, eager_mask, additive=True)


class Summaries:
    """Gives APT's gates a summary of each layer's input (contracts: Methods).

    First token on encoders; masked mean of the source tokens on LLaMA and the T5 encoder; on the T5 decoder the
    encoder's final source mean. It is taken at the prefill and stays as it was for generated tokens.

    The mask belongs to the latest forward: with gradient checkpointing, call backward before the next forward.
    """

    def __init__(self, family: Family, gate_source: str) -> None:
        if gate_source not in ("auto", "first_token", "mean"):
            raise ValueError(f"method.gate_source={gate_source!r} is not one of auto, first_token, mean.")
        self.first_token = gate_source == "first_token" or (gate_source == "auto" and not family.writes)
        self.mask: Tensor | None = None
        self.given: Tensor | None = None  # (B, d), T5 decoder
        self.kept: dict[Any, Tensor] = {}  # of other places than slots, see `at`

    def of(self, hidden: Tensor) -> Tensor:
        """(B, T, d) -> (B, d), over the source tokens of the current batch."""
        assert self.mask is not None
        if self.first_token:
            first = self.mask.argmax(1)  # left padding: the first real token
            return hidden[torch.arange(len(hidden), device=hidden.device), first]
        weights = self.mask.to(hidden.dtype)
        return (hidden * weights[..., None]).sum(1) / weights.sum(1, keepdim=True).clamp(min=1)

    def at(self, place: Any, values: Tensor) -> Tensor:
        """`of` the values at a place of the forward that runs; while an answer is decoded, what it was."""
        if self.mask is not None:
            self.kept[place] = self.of(values)
        return self.kept[place]

    def hook(self, slot: Slot) -> Any:
        """A forward pre-hook of the layer that owns ``slot``'s attention."""

        def take(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            hidden = args[0] if args else kwargs["hidden_states"]
            if self.given is not None and slot.stack == "decoder":
                slot.summary = self.given
            elif self.mask is not None and self.mask.shape[1] == hidden.shape[1]:
                slot.summary = self.of(slot.method.read(slot.stack, slot.layer, hidden))

        return take


def attach(backbone: Backbone, method: LayerMethod) -> None:
    """Give every self-attention of a backbone its slot of a layer-level method (changes the model in place).

    Raises:
        ValueError: a prefix cannot enter this architecture, in every layer and with no other effect.
    """
    model, family, training = backbone.model, backbone.facts.traits, backbone.training
    backbone.eval()
    before = answers(backbone).detach()
    if model.config.model_type.startswith("deberta"):
        prefix_deberta(model, model.config.model_type)
        places = [Place("encoder", i, layer, layer.attention.self) for i, layer in enumerate(model.encoder.layer)]
    else:
        places = places_of(backbone)
        name = NAME_EAGER if model.config._attn_implementation == "eager" else NAME
        for config in configs_of(model):
            config._attn_implementation = name
    summaries = Summaries(family, method.gate_source) if method.needs_summary else None
    slots = []
    for place in places:
        slots.append(Slot(backbone, method, place.stack, place.index))
        place.attention.prefix_slot = slots[-1]  # type: ignore[assignment]
        if summaries is not None:
            place.layer.register_forward_pre_hook(summaries.hook(slots[-1]), with_kwargs=True)
    prove(backbone, slots, before)
    backbone.train(training)
    backbone.summaries = summaries
    if not family.writes and method.position_shift:
        backbone.position_offset = method.prefix_length
