"""Keys and values of the prompts in front of decoder-only models: made once, not once per row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import DynamicCache

from backbones.positions import causal_visibility, positions_of
from methods.source import Prompts

if TYPE_CHECKING:
    from backbones.llama import Llama

KeysValues = list[tuple[Tensor, Tensor]]


class PromptStates:
    """What every layer of a backbone makes of its prompts.

    Attributes:
        running: the prompts' own forward runs.
    """

    def __init__(self, backbone: Llama) -> None:
        self.backbone = backbone
        self.running = False
        self._prompts: tuple[Tensor, Tensor] | None = None  # those whose keys and values are kept, with their masks
        self._states: KeysValues = []

    def forget(self) -> None:
        """Make them anew for the next forward."""
        self._prompts, self._states = None, []

    def of(self, prompts: Prompts, batch: int) -> KeysValues:
        """Keys and values of K prompts, per layer (K, kv_heads, m, head_dim).

        They are kept for the next forward of an evaluation, unless every row of the batch has a prompt of its own.
        """
        vectors = prompts.vectors
        mask = torch.ones(vectors.shape[:2], dtype=torch.long, device=vectors.device)
        mask = mask if prompts.mask is None else prompts.mask.to(mask)
        keep = not torch.is_grad_enabled() and len(vectors) < max(batch, 2)
        if keep and self._prompts is not None and _same(self._prompts, (vectors, mask)):
            return self._states
        states = self.at(vectors, mask, 0)
        if keep:
            self._prompts, self._states = (vectors.clone(), mask.clone()), states
        return states

    def at(self, prompt: Tensor, mask: Tensor, start: int) -> KeysValues:
        """Keys and values of prompts (K, m, d) whose first position is `start`."""
        cache = DynamicCache()
        positions = positions_of(mask.long()) + start
        self.running = True
        try:
            hidden = self.backbone.run_body(prompt, causal_visibility(mask), positions, positions, cache)
        finally:
            self.running = False
        layers: list[Any] = list(cache.layers)
        states = [(layer.keys, layer.values) for layer in layers]
        if self.backbone.shards is not None and torch.is_grad_enabled():
            # a layer in parts borrows its weights for a backward pass when the gradient of its output arrives: the last
            # one's output is used by nothing else
            states[-1] = states[-1][0] + 0.0 * hidden.sum(), states[-1][1]
        return states


def by_row(states: Tensor, prompts: Prompts, batch: int) -> Tensor:
    """Keys or values of K prompts (K, H, m, d_h) as each row has them, (B, H, m, d_h)."""
    return states.expand(batch, -1, -1, -1) if prompts.index is None else states[prompts.index]


def _same(kept: tuple[Tensor, Tensor], now: tuple[Tensor, Tensor]) -> bool:
    """Whether both pairs hold the same; the device is asked once, between two batches of an evaluation."""
    if any(a.shape != b.shape for a, b in zip(kept, now, strict=True)):
        return False
    return bool(torch.stack([(a == b).all() for a, b in zip(kept, now, strict=True)]).all())
