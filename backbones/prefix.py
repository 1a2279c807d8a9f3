"""Deep prefixes for every family through one mechanism: an attention function that puts keys and values in front.

The function is registered beside transformers' own (``prefixed``) and ends in its SDPA function. Every self-attention
that takes a prefix carries a `Slot`; masks and T5's position bias are padded on the left (prefix keys are seen by
every query and have no position: no bias on T5, no rotation on LLaMA). Nothing is written into a cache, so a prefix
may depend on the example, works on the T5 encoder, under gradient checkpointing and in cached generation, and
cross-attention is never touched.

DeBERTa has an attention of its own that does not pass through that interface; backbones/deberta.py adds the prefix
there.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from backbones.base import Backbone
from backbones.deberta import prefix_deberta
from backbones.masks import follow_layout
from methods.base import LayerMethod

NAME = "prefixed"


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


def prefixed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    position_bias: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """SDPA with the module's prefix in front of its keys and values; without a prefix, SDPA itself.

    Args:
        module: the attention module; its ``prefix_slot`` gives the prefix.
        query: (B, heads, Q, head_dim).
        key, value: (B, kv_heads, K, head_dim).
        attention_mask: (B, 1, Q, K), boolean or additive, or None (then causal if the module is).
        position_bias: (1, heads, Q, K), T5.

    Returns:
        (B, Q, heads, head_dim), None.
    """
    slot: Slot | None = getattr(module, "prefix_slot", None)
    if slot is None or not slot.filled:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, is_causal, position_bias, **kwargs
        )
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
    queries, keys = query.shape[2], key.shape[2]
    if attention_mask is None and causal and queries > 1:
        ones = torch.ones(queries, keys, dtype=torch.bool, device=query.device)
        attention_mask = ones.tril(keys - queries)[None, None]
    prefix_key, prefix_value = slot(query.shape[0], key)
    length = prefix_key.shape[2]
    if attention_mask is not None:
        seen = True if attention_mask.dtype == torch.bool else 0.0
        attention_mask = F.pad(attention_mask, (length, 0), value=seen)
    if position_bias is not None:
        position_bias = F.pad(position_bias, (length, 0))
    return sdpa_attention_forward(
        module,
        query,
        torch.cat([prefix_key, key], 2),
        torch.cat([prefix_value, value], 2),
        attention_mask,
        dropout,
        scaling,
        False,
        position_bias,
        **kwargs,
    )


AttentionInterface.register(NAME, prefixed_attention)
follow_layout(NAME, sdpa_mask)


class Summaries:
    """Gives APT's gates a summary of each layer's input (contracts: Methods).

    First token on encoders; masked mean of the source tokens on LLaMA and the T5 encoder; on the T5 decoder the
    encoder's final source mean. It is taken at the prefill and stays as it was for generated tokens.

    The mask belongs to the latest forward: with gradient checkpointing, call backward before the next forward.
    """

    def __init__(self, family: str, gate_source: str) -> None:
        if gate_source not in ("auto", "first_token", "mean"):
            raise ValueError(f"method.gate_source={gate_source!r} is not one of auto, first_token, mean.")
        self.first_token = gate_source == "first_token" or (gate_source == "auto" and family == "encoder")
        self.mask: Tensor | None = None
        self.given: Tensor | None = None  # (B, d), T5 decoder

    def of(self, hidden: Tensor) -> Tensor:
        """(B, T, d) -> (B, d), over the source tokens of the current batch."""
        assert self.mask is not None
        if self.first_token:
            first = self.mask.argmax(1)  # left padding: the first real token
            return hidden[torch.arange(len(hidden), device=hidden.device), first]
        weights = self.mask.to(hidden.dtype)
        return (hidden * weights[..., None]).sum(1) / weights.sum(1, keepdim=True).clamp(min=1)

    def hook(self, slot: Slot) -> Any:
        """A forward pre-hook of the layer that owns ``slot``'s attention."""

        def take(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            hidden = args[0] if args else kwargs["hidden_states"]
            if self.given is not None and slot.stack == "decoder":
                slot.summary = self.given
            elif self.mask is not None and self.mask.shape[1] == hidden.shape[1]:
                slot.summary = self.of(hidden)

        return take


def layers_of(model: Any, family: str) -> Iterator[tuple[str, int, nn.Module, nn.Module]]:
    """(stack, index, layer, its self-attention) of every layer that may take a prefix."""
    if family == "llama":
        for index, layer in enumerate(model.model.layers):
            yield "decoder", index, layer, layer.self_attn
    elif family == "t5":
        for stack in ("encoder", "decoder"):
            for index, layer in enumerate(getattr(model, stack).block):
                yield stack, index, layer, layer.layer[0].SelfAttention
    else:
        for index, layer in enumerate(model.encoder.layer):
            yield "encoder", index, layer, layer.attention.self


def attach(backbone: Backbone, method: LayerMethod) -> None:
    """Give every self-attention of a backbone its slot of a layer-level method (changes the model in place)."""
    model, family = backbone.model, backbone.facts.family
    model_type = model.config.model_type
    if model_type.startswith("deberta"):
        prefix_deberta(model, model_type)
    else:
        for module in model.modules():
            if getattr(module, "config", None) is not None:
                module.config._attn_implementation = NAME
    summaries = Summaries(family, method.gate_source) if method.needs_summary else None
    for stack, index, layer, attention in layers_of(model, family):
        slot = Slot(backbone, method, stack, index)
        attention.prefix_slot = slot  # type: ignore[assignment]
        if summaries is not None:
            layer.register_forward_pre_hook(summaries.hook(slot), with_kwargs=True)
    backbone.summaries = summaries
    if family == "encoder" and method.position_shift:
        backbone.position_offset = method.prefix_length
