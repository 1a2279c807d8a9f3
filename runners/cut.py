"""Where a batch is cut into micro-batches: rows of like length share a pass, so that little padding is computed.

In the papers' own random order a batch of 16 is padded to two or three times its real tokens. Gradients of a summed
loss add up over micro-batches, so the same batch, sorted by length and cut, has the same gradient; what a cut costs is
one more pass, what it saves is padding. `cheapest_cut` finds the cut with the smallest sum of both.

What a pass costs by itself is counted in tokens and follows from the backbone's size and the kind of device alone
(`PassCost.of`): nothing is timed, so that the same run is cut in the same way every time. (Each row meets other
random numbers of a dropout in another cut.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from runners.order import micro_batches

Cut = Callable[[Sequence[int]], list[list[int]]]  # indices of a batch -> its passes


@dataclass(frozen=True)
class Device:
    """What a kind of device does, roughly; it decides where a batch is cut and nothing else.

    Attributes:
        layer_seconds: fixed time that one layer's forward and backward take whatever the number of tokens.
        rate: multiplications and additions per second, as they are reached in matrix products.
        read_tokens: reading all weights once costs as much as computing this many tokens.
    """

    layer_seconds: float
    rate: float
    read_tokens: float


DEVICES = {"cpu": Device(1e-3, 3e11, 60.0), "cuda": Device(5e-4, 2e14, 500.0)}
OPERATIONS = 4  # per weight and token: forward, and backward to the inputs (a frozen weight has no gradient)


@dataclass(frozen=True)
class PassCost:
    """The cost of one forward and backward pass, in units of one token's.

    Attributes:
        fixed: of a pass, whatever is in it.
        prompt: positions that a method puts in front of every row.
    """

    fixed: float
    prompt: int = 0

    @classmethod
    def of(cls, device: str, weights: int, layers: int, prompt: int = 0) -> PassCost:
        """
        Args:
            device: the device's type; one that is not known costs as a GPU does.
            weights: of the backbone without its embeddings.
            layers: of encoder and decoder together.
            prompt: positions in front of every row.
        """
        kind = DEVICES.get(device, DEVICES["cuda"])
        launches = layers * kind.layer_seconds * kind.rate / (OPERATIONS * max(weights, 1))
        return cls(round(kind.read_tokens + launches, 1), prompt)

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a record and a checkpoint."""
        return asdict(self)


def cut_for(
    micro_batch: int | str | None, backbone: Any, prompt: int, lengths: Sequence[int], device: torch.device
) -> Cut:
    """How batches are cut under `runner.micro_batch`.

    Args:
        micro_batch: `auto`, a number of rows, or None (all rows at once).
        backbone: backbones.base.Backbone.
        prompt: positions that the method puts in front of every row.
        lengths: tokens of every row, by index.
    """
    if micro_batch == "auto":
        cost = pass_cost(backbone, prompt, device)
        return lambda batch: cheapest_cut(batch, lengths, cost)
    return lambda batch: micro_batches(batch, None if micro_batch is None else int(micro_batch))


def pass_cost(backbone: Any, prompt: int, device: torch.device) -> PassCost:
    """What a pass through a backbone costs on a device."""
    facts = backbone.facts
    weights = backbone.weights - backbone.embedding.weight.numel()
    return PassCost.of(device.type, weights, facts.layers + facts.decoder_layers, prompt)


def cheapest_cut(batch: Sequence[int], lengths: Sequence[int], cost: PassCost) -> list[list[int]]:
    """A batch in pieces, each to be one pass, such that passes and padded tokens together cost least.

    The pieces are stretches of the batch sorted by length (an exchange argument: swapping two rows of different
    pieces into order never makes a piece longer). A batch that is best left whole keeps its order.

    Args:
        batch: indices of its rows.
        lengths: tokens of every row of the split, by index.

    Returns:
        The pieces, shortest rows first; together they are the batch.
    """
    rows = sorted(batch, key=lambda index: (lengths[index], index))
    if len(rows) < 2:
        return [list(batch)] if batch else []
    widths = np.array([lengths[index] for index in rows], dtype=np.float64) + cost.prompt
    best = np.zeros(len(rows) + 1)  # best[j]: the cheapest way to pass the first j rows
    start = np.zeros(len(rows) + 1, dtype=np.int64)  # where its last piece begins
    for end in range(1, len(rows) + 1):
        costs = best[:end] + cost.fixed + widths[end - 1] * (end - np.arange(end))
        start[end] = int(costs.argmin())
        best[end] = costs[start[end]]
    pieces = []
    end = len(rows)
    while end:
        pieces.append(rows[start[end] : end])
        end = int(start[end])
    return pieces[::-1] if len(pieces) > 1 else [list(batch)]
