"""Several prompts that answer each example together: their states in front of a token, weighted, become one answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Head = Callable[[Tensor], Tensor]  # (N, d) -> (N, V)


@dataclass
class Joint:
    """From hidden states to the logits of an answer's tokens.

    With K prompts for each example a joint state is K states and their K weights side by side, (K d + K), and its
    logits are the weighted sum of the K states' logits. With one prompt it is the state itself.

    Args:
        head: the language-model head.
        weights: (B, K), float32; None = one prompt and one answer.
        precision: of the model's states.
    """

    head: Head
    weights: Tensor | None = None
    precision: torch.dtype = torch.float32

    def states(self, hidden: Tensor) -> Tensor:
        """(B K n, ..., d), the K of an example next to each other and n rows of each, -> (B n, ..., K d + K)."""
        if self.weights is None:
            return hidden
        batch, count = self.weights.shape
        rows = hidden.unflatten(0, (batch, count, -1)).movedim(1, -2)
        shape = (*rows.shape[:-2], count)
        weights = self.weights.view(batch, *[1] * (len(shape) - 2), count).expand(shape)
        return torch.cat([rows.flatten(-2).float(), weights], -1).flatten(0, 1)

    def logits(self, states: Tensor) -> Tensor:
        """(N, d), or (N, K d + K), -> (N, V)."""
        if self.weights is None:
            return self.head(states)
        count = self.weights.shape[1]
        rows, weights = states[:, :-count].unflatten(1, (count, -1)), states[:, -count:]
        made = self.head(rows.flatten(0, 1).to(self.precision).contiguous()).float().unflatten(0, (-1, count))
        return (weights[..., None] * made).sum(1)


def each(tensor: Tensor, count: int) -> Tensor:
    """Every row `count` times, one after the other."""
    return tensor if count == 1 else tensor.repeat_interleave(count, 0)
