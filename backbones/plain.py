"""What transformers itself says: one unpadded row, the model's own forward, nothing of this project in between.

This is what a backbone is compared with, when it is admitted (backbones/admission.py) and in scripts/walk.py.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from backbones.base import Backbone


def plain_logits(backbone: Backbone, source: Tensor, fed: Tensor, front: Tensor | None = None) -> Tensor:
    """Logits of a text model at the places that predict an answer.

    Args:
        backbone: decoder-only or T5.
        source: (S,) token ids, or (S, d) embeddings.
        fed: (C, L) answer tokens that are fed (decoder-only models may get (C, L, d) embeddings with an embedded
            source); answers of one length stand side by side, nothing is padded.
        front: (m, d) prompt vectors, or None.

    Returns:
        (C, L + 1, V), float32: the prediction after the source and after each answer token.
    """
    model, count = backbone.model, len(fed)
    options: dict[str, Any]
    if backbone.facts.traits.encoder_decoder:
        start = fed.new_full((count, 1), int(model.config.decoder_start_token_id))
        options = _inputs(backbone, source, front, count) | {"decoder_input_ids": torch.cat([start, fed], 1)}
        return model(**options, use_cache=False).logits.float()
    keep = fed.shape[1] + 1
    rows: Any = source.expand(count, *source.shape)
    if source.dim() == 1 and front is None:
        options = {"input_ids": torch.cat([rows, fed], 1)}
    else:
        embeds = rows if source.dim() == 2 else backbone.embed(rows)
        tail = fed if fed.dim() == 3 else backbone.embed(fed)
        front = embeds[0, :0] if front is None else front
        options = {"inputs_embeds": torch.cat([front.to(embeds).expand(count, -1, -1), embeds, tail.to(embeds)], 1)}
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        options["logits_to_keep"] = keep
    return model(**options, use_cache=False).logits[:, -keep:].float()


def plain_states(
    backbone: Backbone,
    source: Tensor,
    types: Tensor | None,
    front: Tensor | None = None,
    positions: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Hidden states (S, d) of an encoder and what its own pooler makes of the first token, (d,) or None.

    Args:
        backbone: an encoder.
        source: (S,) token ids, or (S, d) embeddings.
        types: (S,) segment ids where the model has several, else None.
        front: (m, d) prompt vectors in front; the pooler then sees the prompt, so None is returned for it.
        positions: (m + S,) where they are not those that the model gives by itself.
    """
    slots = 0 if front is None else len(front)
    options: dict[str, Any] = _inputs(backbone, source, front, 1)
    if types is not None:
        options["token_type_ids"] = torch.cat([types.new_zeros(slots), types])[None]
    if positions is not None:
        options["position_ids"] = positions[None]
    out = backbone.model(**options)
    pooled = getattr(out, "pooler_output", None)
    return out.last_hidden_state[0, slots:].float(), None if slots or pooled is None else pooled[0].float()


def _inputs(backbone: Backbone, source: Tensor, front: Tensor | None, count: int) -> dict[str, Tensor]:
    if source.dim() == 1 and front is None:
        return {"input_ids": source.expand(count, -1)}
    embeds = source if source.dim() == 2 else backbone.embed(source)
    if front is not None:
        embeds = torch.cat([front.to(embeds), embeds])
    return {"inputs_embeds": embeds.expand(count, -1, -1)}


def answer_log_probs(logits: Tensor, answers: Tensor) -> Tensor:
    """Log-probabilities of answers' whole token sequences: (C, L + 1, V) and (C, L + 1) -> (C,)."""
    return logits.log_softmax(-1).gather(-1, answers[..., None])[..., 0].sum(-1)
