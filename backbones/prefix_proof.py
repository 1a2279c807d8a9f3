"""A deep prefix is admitted by proof as well: an empty one leaves the model as it was, a full one acts everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from backbones.admission import BOUNDS
from backbones.compared import Row, share
from methods.base import LayerMethod

ROWS = ([11, 12, 13], [14, 15, 16, 17, 18, 19])
ANSWER = [21, 22]
WAY_ON = "Input-level methods (pt, dept, adept, accept) work there."


class Probe(LayerMethod):
    """Keys and values of `length` positions, its own for every layer and row, drawn from one seed."""

    def __init__(self, facts: Any, length: int, device: torch.device) -> None:
        super().__init__()
        self.prefix_length = length
        self.shape = (len(ROWS), length, facts.kv_heads, facts.head_dim)
        self.generator, self.device = torch.Generator().manual_seed(8), device
        self.given: dict[tuple[str, int], tuple[Tensor, Tensor]] = {}

    def prefix(self, stack: str, layer: int, batch: int, summary: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Leaves (B, l, kv_heads, head_dim) that take gradients."""
        if (stack, layer) not in self.given:
            drawn = [torch.randn(self.shape, generator=self.generator).to(self.device) for _ in range(2)]
            self.given[stack, layer] = drawn[0].requires_grad_(), drawn[1].requires_grad_()
        return self.given[stack, layer]


def answers(backbone: Any) -> Tensor:
    """What a backbone says of two rows of different lengths, one number per row, through everything it computes."""
    from backbones.base import NoPrompt

    top = backbone.facts.vocab - 1
    ids = [[min(token, top) for token in row] for row in ROWS]
    if not backbone.facts.traits.writes:
        rows = [
            Row(str(i), label=0, segments=[r], token_types=[[0] * len(r)], tags=[0] * len(r)) for i, r in enumerate(ids)
        ]
        batch = backbone.collate(rows)
        said, mask = backbone.hidden(batch.to(backbone.device), NoPrompt()).float(), batch.source_mask
        said = said * mask.to(said.device)[..., None]
    else:
        batch = backbone.collate([Row(str(i), r, ANSWER, [ANSWER]) for i, r in enumerate(ids)])
        logits, _ = next(backbone.decode(batch.to(backbone.device), NoPrompt(), 1))
        said = logits.float()[:, None]
    weights = torch.randn(said.shape[1:], generator=torch.Generator().manual_seed(9)).to(said.device)
    return (said * weights).flatten(1)


def prove(backbone: Any, slots: Sequence[Any], before: Tensor) -> None:
    """Refuse a prefix that would not be what it says.

    Args:
        backbone: with the slots in place.
        slots: backbones.prefix.Slot of every layer.
        before: `answers` as they were without them.

    Raises:
        ValueError: an empty prefix changes the answers, or a layer's prefix does not reach a row.
    """
    methods = [slot.method for slot in slots]
    name = f"{type(backbone.model).__name__} (backbone {backbone.config.name!r})"
    try:
        with torch.no_grad():
            difference = share(_with(backbone, slots, Probe(backbone.facts, 0, backbone.device)), before)
        if difference > BOUNDS[backbone.dtype]:
            raise ValueError(
                f"a deep prefix cannot enter {name}: an empty one changes its answers by {difference:.2g} of their "
                f"scale (at most {BOUNDS[backbone.dtype]:g} is allowed). {WAY_ON}"
            )
        probe = Probe(backbone.facts, 2, backbone.device)
        with torch.enable_grad():
            _with(backbone, slots, probe).sum().backward()
    finally:
        for slot, method in zip(slots, methods, strict=True):
            slot.method = method
    idle = [
        f"{stack} layer {layer}"
        for (stack, layer), pair in probe.given.items()
        if any(t.grad is None or bool((t.grad.flatten(1).abs().sum(1) == 0).any()) for t in pair)
    ]
    lacking = len(slots) - len(probe.given)
    if idle or lacking:
        raise ValueError(
            f"a deep prefix cannot enter {name}: it does not act in {', '.join(idle) or f'{lacking} layers'}. {WAY_ON}"
        )


def _with(backbone: Any, slots: Sequence[Any], probe: Probe) -> Tensor:
    for slot in slots:
        slot.method = probe
    return answers(backbone)
