"""Places of tokens in the rows of decoder-only models: positions, who sees whom, rows of offsets by position."""

from __future__ import annotations

import torch
from torch import Tensor

from backbones.batch import Batch
from methods.base import InputMethod


def positions_of(mask: Tensor) -> Tensor:
    """Position ids (B, T) from the mask's cumulative sum; padding takes 0."""
    return (mask.cumsum(1) - 1).clamp(min=0)


def offset_rows(batch: Batch, inputs: InputMethod, fed: int) -> Tensor | None:
    """Which row of a position-indexed offset each fed token takes; -1 = none.

    ``source_end``: the source's last token takes row s - 1, so all candidates of an example share the rows.
    ``right_edge`` (author code of DePT and ACCEPT): in training the last token of source and target together takes
    row s - 1 (the target's EOS too, although it is not fed); in ranking and generation the source's last token does.

    Args:
        batch: left-padded sources.
        inputs: the method; ``max_source_length`` is s, 0 when it has no position-indexed offset.
        fed: number of target tokens behind the source.

    Returns:
        (B, S + fed) or None.
    """
    size = inputs.max_source_length
    if not size:
        return None
    length = batch.source.shape[1]
    back = torch.arange(length - 1, -1 - fed, -1, device=batch.source.device)  # tokens to the source's last one
    rows = (size - 1 - back)[None].repeat(len(batch), 1)
    mask = batch.source_mask
    if fed and batch.target_mask is not None:
        mask = torch.cat([mask, batch.target_mask[:, :fed]], 1)
    if inputs.row_alignment == "right_edge":
        if batch.target_mask is not None:
            rows = rows - batch.target_mask.sum(1, keepdim=True)
    else:
        rows[:, length:] = -1
    return rows.masked_fill((mask == 0) | (rows < 0), -1)


def causal_visibility(mask: Tensor) -> Tensor:
    """Causal visibility (B, m, m) among slots with a mask (B, m); a masked slot sees itself (no empty softmax)."""
    slots = mask.shape[1]
    lower = torch.ones(slots, slots, dtype=torch.bool, device=mask.device).tril()
    return (lower & mask.bool()[:, None]) | torch.eye(slots, dtype=torch.bool, device=mask.device)
