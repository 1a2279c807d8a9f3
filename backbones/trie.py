"""Candidate answers packed into one row, so that ranking costs one pass and shared beginnings are computed once.

The labels `` 0`` and `` 1`` of SmolLM2 are [216, 32] and [216, 33]: two answers, three tokens to feed, not four.
A node is a token that is fed (an answer's last token is only predicted); it sees the source, its ancestors and itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from backbones.batch import Batch


@dataclass(frozen=True)
class Packed:
    """A batch of candidate tries. N nodes, C candidates, L tokens of the longest candidate.

    Attributes:
        ids, mask: (B, N) fed tokens and which are real.
        depth: (B, N) 0 for a first token; the node's position after the source's last token.
        visible: (B, N, N) node i sees node j (ancestors and itself).
        slots: (B, C, L) the hidden state that predicts each candidate token: 0 = the source's last, 1 + i = node i.
    """

    ids: Tensor
    mask: Tensor
    depth: Tensor
    visible: Tensor
    slots: Tensor


def trie(choices: Sequence[Sequence[int]]) -> tuple[list[int], list[int], list[list[int]]]:
    """Merge candidates with equal beginnings.

    Returns:
        tokens of the nodes, their parents (-1 = the source's last token), and per candidate the slot that predicts
        each of its tokens.
    """
    tokens: list[int] = []
    parents: list[int] = []
    children: dict[tuple[int, int], int] = {}
    paths: list[list[int]] = []
    for choice in choices:
        node, path = -1, []
        for index, token in enumerate(choice):
            path.append(node + 1)
            if index + 1 < len(choice):
                key = (node, token)
                if key not in children:
                    children[key] = len(tokens)
                    tokens.append(token)
                    parents.append(node)
                node = children[key]
        paths.append(path)
    return tokens, parents, paths


def pack(batch: Batch) -> Packed:
    """The tries of a batch's candidates, padded to the largest (on the batch's device)."""
    assert batch.choices is not None and batch.choices_mask is not None
    lengths = batch.choices_mask.sum(-1).tolist()
    rows = [
        [tuple(ids[:n]) for ids, n in zip(example, counts, strict=True)]
        for example, counts in zip(batch.choices.tolist(), lengths, strict=True)
    ]
    seen = {key: trie(key) for key in {tuple(row) for row in rows}}
    tries = [seen[tuple(row)] for row in rows]
    nodes = max(len(tokens) for tokens, _, _ in tries)
    ids = torch.zeros(len(rows), nodes, dtype=torch.long)
    mask, depth = torch.zeros_like(ids), torch.zeros_like(ids)
    visible = torch.eye(nodes, dtype=torch.bool).repeat(len(rows), 1, 1)
    slots = torch.zeros(batch.choices.shape, dtype=torch.long)
    for b, (tokens, parents, paths) in enumerate(tries):
        for i, (token, parent) in enumerate(zip(tokens, parents, strict=True)):
            ids[b, i], mask[b, i] = token, 1
            if parent >= 0:
                depth[b, i] = depth[b, parent] + 1
                visible[b, i] |= visible[b, parent]
        for c, path in enumerate(paths):
            slots[b, c, : len(path)] = torch.tensor(path, dtype=torch.long)
    device = batch.source.device
    return Packed(*(t.to(device) for t in (ids, mask, depth, visible, slots)))
