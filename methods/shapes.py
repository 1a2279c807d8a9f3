"""The linear layers of a transformer block by one set of names over all families, and their sizes from the facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from methods.base import Facts

NAMES = ("q", "k", "v", "o", "up", "down")


@dataclass(frozen=True)
class Shape:
    """``count`` layers of the same kind, each (inputs -> outputs)."""

    inputs: int
    outputs: int
    count: int


def shapes(facts: Facts) -> dict[str, Shape]:
    """Sizes of each kind of layer, from the facts alone."""
    d, ffn = facts.width, int(getattr(facts, "ffn", 0))
    queries, keys = facts.heads * facts.head_dim, facts.kv_heads * facts.head_dim
    blocks = facts.layers + facts.decoder_layers
    attentions = facts.layers + 2 * facts.decoder_layers  # T5's decoder has cross-attention too
    return {
        "q": Shape(d, queries, attentions),
        "k": Shape(d, keys, attentions),
        "v": Shape(d, keys, attentions),
        "o": Shape(queries, d, attentions),
        "up": Shape(d, ffn, blocks),
        "down": Shape(ffn, d, blocks),
    }


def unknown(targets: Sequence[str]) -> list[str]:
    """A sentence if a name is none of ours, or the same name stands twice."""
    wrong = [t for t in targets if t not in NAMES]
    if wrong or len(set(targets)) != len(targets) or not targets:
        return [f"method.targets={list(targets)}: allowed are one or more of {', '.join(NAMES)}, each once."]
    return []
