"""A global batch as forward passes: which rows share one, their tensors, and how their losses are averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from backbones.batch import Batch, sent
from runners.ahead import collated
from runners.cut import Cut
from runners.evaluate import Split
from runners.order import share
from runners.workers import Workers
from tasks.encode import Encoded

Mean = Callable[[torch.Tensor, Sequence[int]], torch.Tensor]  # summed losses of some rows, their indices -> their part


def target_tokens(encoded: Encoded, how: str) -> int:
    """What the loss of an example is averaged over: target tokens, tagged words, or the one class."""
    if how == "tag":
        return len(encoded.word_starts)
    return 1 if how == "classify" else len(encoded.target)


def mean_loss(train: Split, indices: Sequence[int], how: str, rows: int | None) -> Mean:
    """(summed losses of some examples, their indices) -> their part in the mean loss of the global batch.

    The mean is over the batch's target tokens; with `rows`, over groups of so many examples of each group's mean over
    its tokens, as a trainer that accumulates gradients over such groups takes it.
    """
    if rows is None:
        total = max(1, sum(target_tokens(train.encoded[i], how) for i in indices))
        return lambda losses, piece: losses.sum() / total
    groups = [indices[start : start + rows] for start in range(0, len(indices), rows)]
    weights: dict[int, float] = {}
    for group in groups:
        tokens = max(1, sum(target_tokens(train.encoded[i], how) for i in group))
        weights |= dict.fromkeys(group, 1.0 / (tokens * len(groups)))
    return lambda losses, piece: (
        losses @ sent(torch.tensor([weights[i] for i in piece], dtype=losses.dtype), losses.device)
    )


def require_trained(loss: torch.Tensor, method: Any) -> None:
    """Refuse a step that could move nothing, in words; torch tells of a missing grad_fn.

    Args:
        loss: of some rows, before its backward pass.

    Raises:
        ValueError: it depends on no trained tensor.
    """
    if not loss.requires_grad:
        raise ValueError(
            f"the loss depends on no tensor of {type(method).__name__}: is one detached, or prompt_slots not set (then "
            "prompts(...) is never asked)? python scripts/check_method.py FILE asks more"
        )


@dataclass
class Passes:
    """One process's part of a global batch, on the host.

    Attributes:
        rows: of the global batch.
        mean: how its losses are averaged.
        pieces: the rows of each pass and their tensors.
        own: pieces that count; those behind them are passed for the sake of the other processes (sharded layers).
    """

    rows: int
    mean: Mean
    pieces: list[tuple[list[int], Batch]]
    own: int


def passes(
    backbone: Any,
    train: Split,
    indices: Sequence[int],
    how: str,
    workers: Workers,
    cut: Cut,
    mean_rows: int | None = None,
) -> Passes:
    """A global batch as this process passes it; it follows from the arguments alone.

    Args:
        backbone: backbones.base.Backbone; it collates.
        cut: how this process's part of the batch becomes passes (runners/cut.py).
        mean_rows: rows per mean (`mean_loss`).
    """
    pieces = cut(share(indices, workers.rank, workers.count))
    own = len(pieces)
    if backbone.shards is not None:  # as many passes as the process with the most
        most = max(len(cut(share(indices, rank, workers.count))) for rank in range(workers.count))
        pieces = [*pieces, *[[min(indices, key=train.lengths.__getitem__)]] * (most - own)]
    made = [(piece, collated(backbone, [train.encoded[i] for i in piece], workers.device)) for piece in pieces]
    return Passes(len(indices), mean_loss(train, indices, how, mean_rows), made, own)
