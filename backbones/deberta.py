"""DeBERTa (v1) with a deep prefix: its disentangled attention, re-written with keys and values put in front.

Relative-position terms are zero for prefix keys, as in P-tuning v2's code.
"""

from __future__ import annotations

import types
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.deberta.modeling_deberta import DisentangledSelfAttention, scaled_size_sqrt


def prefix_deberta(model: nn.Module, model_type: str) -> None:
    """Let every self-attention of a DeBERTa v1 model read its ``prefix_slot``.

    Raises:
        ValueError: DeBERTa v2 and v3, whose attention is another one.
    """
    if model_type != "deberta":
        raise ValueError(
            f"a deep prefix cannot enter a model of type {model_type}: its attention is its own (that of DeBERTa v1, "
            "backbone=deberta_xlarge, is built here). Input-level methods (pt, dept, adept, accept) work there."
        )
    for module in model.modules():
        if isinstance(module, DisentangledSelfAttention):
            module.forward = types.MethodType(_forward, module)  # type: ignore[method-assign]


def _forward(
    self: Any,
    hidden_states: Tensor,
    attention_mask: Tensor,
    output_attentions: bool = False,
    query_states: Tensor | None = None,
    relative_pos: Tensor | None = None,
    rel_embeddings: Tensor | None = None,
) -> tuple[Tensor, None]:
    """As transformers' DisentangledSelfAttention.forward for ordinary self-attention, with a prefix."""
    heads = self.transpose_for_scores(self.in_proj(hidden_states))
    query, key, value = heads.chunk(3, dim=-1)
    query = query + self.transpose_for_scores(self.q_bias[None, None, :])
    value = value + self.transpose_for_scores(self.v_bias[None, None, :])
    factor = 1 + len(self.pos_att_type)
    query = query / scaled_size_sqrt(query, factor).to(query.dtype)
    scores = torch.matmul(query, key.transpose(-1, -2))
    if self.relative_attention and rel_embeddings is not None and relative_pos is not None:
        bias = self.disentangled_att_bias(query, key, relative_pos, self.pos_dropout(rel_embeddings), factor)
        scores = scores + bias
    mask = attention_mask.bool()
    if self.prefix_slot is not None and self.prefix_slot.filled:
        prefix_key, prefix_value = self.prefix_slot(len(hidden_states), key)
        scores = torch.cat([torch.matmul(query, prefix_key.transpose(-1, -2)), scores], -1)
        value = torch.cat([prefix_value, value], 2)
        mask = F.pad(mask, (prefix_key.shape[2], 0), value=True)
    if self.head_logits_proj is not None:
        scores = self.head_logits_proj(scores.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    scores = scores.masked_fill(~mask, torch.finfo(query.dtype).min)
    weights = self.dropout(torch.softmax(scores, dim=-1))
    if self.head_weights_proj is not None:
        weights = self.head_weights_proj(weights.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    context = torch.matmul(weights, value).permute(0, 2, 1, 3).flatten(2)
    return context, None
