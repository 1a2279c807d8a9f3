"""P-tuning v2's deep prefix on BERT, RoBERTa and DeBERTa against a forward pass written out head by head.

Read from THUDM/P-tuning-v2: model/prefix_encoder.py (the table's order: layer, key and value, head, channel),
model/sequence_classification.py get_prompt and forward (prefix in front of keys and values, ones in the mask), and
model/deberta.py (no relative term for prefix keys). Positions start behind the prefix, as past_key_values do there.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from backbones.base import NoPrompt
from backbones.tuned import Tuned
from methods.prefix import Prefix
from tests.unit.test_backbones_encoder import LONG, encoder, one

LENGTH = 3
ROBERTA_FIRST = 2  # its positions are counted from padding_idx + 1


def normed(layer: Any, x: Tensor) -> Tensor:
    return F.layer_norm(x, (x.shape[-1],), layer.weight, layer.bias, getattr(layer, "eps", 1e-12))


def attended(scores: Tensor, values: Tensor) -> Tensor:
    """One head: (n, k) scores and (k, d) values, row by row."""
    rows = []
    for row in scores:
        weights = [math.exp(float(s - row.max())) for s in row]
        rows.append(sum(w / sum(weights) * v for w, v in zip(weights, values, strict=True)))
    return torch.stack(rows)


def bert_heads(layer: Any, x: Tensor, prefix: Tensor, heads: int) -> Tensor:
    part = layer.attention.self
    query, key, value = (f.weight @ x.T + f.bias[:, None] for f in (part.query, part.key, part.value))
    width = x.shape[1] // heads
    out = []
    for h in range(heads):
        rows = slice(h * width, (h + 1) * width)
        keys = torch.cat([prefix[:, 0, h], key[rows].T])
        values = torch.cat([prefix[:, 1, h], value[rows].T])
        out.append(attended(query[rows].T @ keys.T / math.sqrt(width), values))
    return torch.cat(out, 1)


def deberta_heads(layer: Any, x: Tensor, prefix: Tensor, heads: int, relative: Tensor, reach: int) -> Tensor:
    part, n, width = layer.attention.self, len(x), x.shape[1] // heads
    whole = (part.in_proj.weight @ x.T).T.reshape(n, heads, 3, width)
    span, scale = min(n, reach), math.sqrt(3 * width)  # content-content, content-position, position-content
    table = relative[reach - span : reach + span]
    to_key, to_query = table @ part.pos_proj.weight.T, table @ part.pos_q_proj.weight.T + part.pos_q_proj.bias
    out = []
    for h in range(heads):
        rows = slice(h * width, (h + 1) * width)
        query, key, value = whole[:, h].unbind(1)
        query, value = (query + part.q_bias[rows]) / scale, value + part.v_bias[rows]
        scores = torch.zeros(n, n)
        for i in range(n):
            for j in range(n):
                at = min(max(i - j + span, 0), 2 * span - 1)
                scores[i, j] = query[i] @ (key[j] + to_key[at, rows]) + key[j] @ to_query[at, rows] / scale
        scores = torch.cat([query @ prefix[:, 0, h].T, scores], 1)
        out.append(attended(scores, torch.cat([prefix[:, 1, h], value])))
    return torch.cat(out, 1)


@pytest.mark.parametrize("kind", ["bert", "roberta", "deberta"])
def test_fidelity_prefix_is_the_written_out_attention(kind: str) -> None:
    backbone = encoder(kind)
    method = Prefix(backbone.facts, prefix_length=LENGTH, prefix_dropout=0.0, position_shift=True)
    with torch.no_grad():
        (table,) = method.tables.values()
        table.normal_(generator=torch.Generator().manual_seed(3))
    model, heads = backbone.model, backbone.facts.heads
    layers, ids = model.encoder.layer, torch.tensor(LONG)
    prefixes = table.detach().view(LENGTH, len(layers), 2, heads, -1)
    whole = Tuned(backbone, method).eval()
    batch = backbone.collate([one(0, [LONG], 0)])
    with torch.no_grad():
        got = whole.backbone.hidden(batch, whole.inputs)[0]
        plain = encoder(kind).eval().hidden(batch, NoPrompt())[0]
        embeddings = model.embeddings
        x = embeddings.word_embeddings.weight[ids]
        if kind != "deberta":
            first = LENGTH + (ROBERTA_FIRST if kind == "roberta" else 0)
            x = x + embeddings.position_embeddings.weight[first : first + len(ids)]
            x = x + embeddings.token_type_embeddings.weight[0]
        x = normed(embeddings.LayerNorm, x)
        for index, layer in enumerate(layers):
            if kind == "deberta":
                reach = model.encoder.max_relative_positions
                mixed = deberta_heads(layer, x, prefixes[:, index], heads, model.encoder.rel_embeddings.weight, reach)
            else:
                mixed = bert_heads(layer, x, prefixes[:, index], heads)
            out = layer.attention.output
            x = normed(out.LayerNorm, mixed @ out.dense.weight.T + out.dense.bias + x)
            middle = F.gelu(x @ layer.intermediate.dense.weight.T + layer.intermediate.dense.bias)
            x = normed(layer.output.LayerNorm, middle @ layer.output.dense.weight.T + layer.output.dense.bias + x)
    torch.testing.assert_close(got, x, rtol=2e-4, atol=2e-5)
    assert not torch.allclose(got, plain, atol=1e-2)
