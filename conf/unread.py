"""Options that are read under another option's value alone: one that somebody chose and nothing reads is refused, for
it would give the same run another name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# option -> the option that says whether it is read, and at which values
READ_UNDER: dict[str, tuple[str, tuple[str, ...]]] = {
    "runner.optimizer.betas": ("runner.optimizer.name", ("adamw",)),
    "runner.optimizer.eps": ("runner.optimizer.name", ("adamw",)),
    "runner.optimizer.eps_first": ("runner.optimizer.name", ("adamw",)),
    "runner.optimizer.decay_rate": ("runner.optimizer.name", ("adafactor",)),
    "runner.schedule.factor_per_epoch": ("runner.schedule.name", ("exponential",)),
    "method.init_text": ("method.init", ("text",)),
    "method.init_text_eos": ("method.init", ("text",)),
}


def unread(chosen: Mapping[str, Any], filled: Mapping[str, Any]) -> list[str]:
    """A sentence for every option that was chosen and is not read.

    Args:
        chosen: the composed configuration, null where nobody chose.
        filled: the same with its nulls filled.
    """
    return [
        f"{key}={_at(chosen, key)}: it is read under {under}={' or '.join(values)} alone, and {under} is "
        f"{_at(filled, under)} here; leave it out"
        for key, (under, values) in READ_UNDER.items()
        if _at(chosen, key) is not None and _at(filled, under) not in (*values, None)
    ]


def _at(tree: Mapping[str, Any], dotted: str) -> Any:
    node: Any = tree
    for part in dotted.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node
