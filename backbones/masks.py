"""Attention masks by position: the model's own rule (causal, windows, chunks) where rows are not laid out one by one.

A row here is ``[prompt][padding][source][answers]``, and candidate answers share one row, so neither an index nor a
2-D padding mask says who may see whom. transformers' models hand each layer's rule, a function of (query, key)
places, to a mask builder that they look up by the name of the attention. The builders registered here give that rule
the tokens' positions instead of their indices and take away what is not visible at all. A model's local attention
thus stays what it is in its own forward, in every layer, whatever the architecture: nothing about windows is told or
copied here. Outside ``laid_out`` the builders are transformers' own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import AttentionMaskInterface, eager_mask, sdpa_mask


@dataclass(frozen=True)
class Layout:
    """Where the tokens of a forward pass stand.

    Attributes:
        visible: (B, Q, K) whether query i may see key j at all.
        queries, keys: (B, Q) and (B, K) positions; a rule of the model is asked about these.
    """

    visible: Tensor
    queries: Tensor
    keys: Tensor


_LAYOUT: ContextVar[Layout | None] = ContextVar("layout", default=None)


@contextmanager
def laid_out(visible: Tensor, queries: Tensor, keys: Tensor) -> Iterator[None]:
    """Masks made inside follow a `Layout` (its three tensors)."""
    token = _LAYOUT.set(Layout(visible, queries, keys))
    try:
        yield
    finally:
        _LAYOUT.reset(token)


FOLLOWING: set[str] = set()  # names of attentions whose masks follow a layout


def follow_layout(name: str, stock: Callable[..., Tensor | None], *, additive: bool = False) -> None:
    """Let the masks of the attention `name` follow the layout where there is one, and be `stock`'s elsewhere.

    Args:
        name: as in a model's `_attn_implementation`.
        stock: transformers' builder.
        additive: its masks are added to the scores (0 and the smallest number) instead of boolean.
    """

    def build(*args: Any, **kwargs: Any) -> Tensor | None:
        layout = _LAYOUT.get()
        if layout is None:
            if torch.device(kwargs.get("device", "cpu")).type != "cpu":  # asking whether a mask is all ones would wait
                kwargs |= {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
            return stock(*args, **kwargs)
        rule, device = kwargs["mask_function"], layout.visible.device
        rows = torch.arange(len(layout.visible), device=device)[:, None, None, None]
        heads = torch.zeros(1, 1, 1, 1, dtype=torch.long, device=device)
        seen = rule(rows, heads, layout.queries[:, None, :, None], layout.keys[:, None, None, :])
        seen = seen & layout.visible[:, None]
        if not additive:
            return seen
        dtype = kwargs.get("dtype", torch.float32)
        return torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill(~seen, torch.finfo(dtype).min)

    AttentionMaskInterface.register(name, build)
    FOLLOWING.add(name)


follow_layout("sdpa", sdpa_mask)
follow_layout("eager", eager_mask, additive=True)
