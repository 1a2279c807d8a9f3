"""The rate of a frozen backbone's dropout, as P-tuning v2's scripts set it (`--hidden_dropout_prob`)."""

from __future__ import annotations

from torch import nn


def set_hidden_dropout(model: nn.Module, rate: float | None) -> None:
    """Every dropout of a model but that of its attention weights at `rate`; None puts the model's own rates back.

    transformers' `hidden_dropout_prob`: embeddings, the outputs of attention and feed-forward layers, the head.
    """
    for parent in model.modules():
        if type(parent).__name__.endswith("SelfAttention"):
            continue
        for child in parent.children():
            if isinstance(child, nn.Dropout):
                own = child.__dict__.setdefault("own_rate", child.p)
                child.p = own if rate is None else rate
