"""Candidate answers packed into one row, so that ranking costs one pass and shared beginnings are computed once.

The labels `` 0`` and `` 1`` of SmolLM2 are [216, 32] and [216, 33]: two answers, three tokens to feed, not four.
A node is a token that is fed (an answer's last token is only predicted); it sees the source, its ancestors and itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Packed:
    """A batch of candidate tries. N nodes, E tokens of all candidates in the order of their mask, U distinct slots.

    A slot is a hidden state that predicts a candidate's token: the source's last one, or that of a node. The slots of
    an example are numbered 0 (the source's last) and 1 + node.

    Attributes:
        ids, mask: (B, N) fed tokens and which are real.
        depth: (B, N) 0 for a first token; the node's position after the source's last token.
        visible: (B, N, N) node i sees node j (ancestors and itself).
        used: (U,) the slots that some candidate token starts from, in (B * (1 + N)).
        edges: (E,) which of `used` each candidate token starts from.
    """

    ids: Tensor
    mask: Tensor
    depth: Tensor
    visible: Tensor
    used: Tensor
    edges: Tensor

    def each(self, change: Callable[[Tensor], Tensor]) -> Packed:
        """With every tensor changed (moved to a device)."""
        return Packed(*(change(getattr(self, f.name)) for f in fields(self)))


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


def pack(rows: Sequence[Sequence[Sequence[int]]]) -> Packed:
    """The tries of a batch's candidates, padded to the largest.

    Args:
        rows: the candidates of every example, as token ids.
    """
    keys = [tuple(map(tuple, row)) for row in rows]
    seen = {key: trie(key) for key in dict.fromkeys(keys)}  # most often one for all
    nodes = max(len(tokens) for tokens, _, _ in seen.values())
    made = {key: _arrays(tokens, parents, nodes) for key, (tokens, parents, _) in seen.items()}
    slots = {key: [slot for path in paths for slot in path] for key, (_, _, paths) in seen.items()}
    starts = np.concatenate([np.array(slots[key], dtype=np.int64) + b * (1 + nodes) for b, key in enumerate(keys)])
    used, edges = np.unique(starts, return_inverse=True)
    ids, mask, depth, visible = (torch.from_numpy(np.stack([made[key][part] for key in keys])) for part in range(4))
    return Packed(ids, mask, depth, visible, torch.from_numpy(used), torch.from_numpy(edges.reshape(-1)))


def _arrays(tokens: Sequence[int], parents: Sequence[int], nodes: int) -> tuple[np.ndarray, ...]:
    """One trie's ids, mask, depth (N,) and visible (N, N); a padded node sees itself alone."""
    ids, mask, depth = (np.zeros(nodes, dtype=np.int64) for _ in range(3))
    visible = np.eye(nodes, dtype=bool)
    for i, (token, parent) in enumerate(zip(tokens, parents, strict=True)):
        ids[i], mask[i] = token, 1
        if parent >= 0:
            depth[i] = depth[parent] + 1
            visible[i] |= visible[parent]
    return ids, mask, depth, visible
