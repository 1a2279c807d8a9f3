"""Which points may share a pass through the frozen backbone, and when sharing changes a run. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from conf.capabilities import capabilities
from conf.schema import Config
from results.identity import flatten

# a run's own affair within a pack; all other keys must be equal
OWN = (
    "method", "seed", "packed", "pack", "budget", "sweep", "experiment", "force", "retry_failed", "retry_stale", "plan",
    "yes", "fail_fast", "runner.name", "runner.max_steps", "runner.batch_size", "runner.eval_every", "runner.optimizer",
    "runner.schedule", "runner.clip_norm", "runner.patience", "runner.log_every",
    "runner.checkpoint_every", "runner.checkpoint_seconds", "runner.evaluate_untrained",
)  # fmt: skip
SHARED_OPTIONS = ("target", "max_source_length", "row_alignment")  # of the method


def pack_key(resolved: Mapping[str, Any], config: Config) -> str | None:
    """Points with equal keys may be packed; None = this one runs alone."""
    method = config.method
    if not config.backbone.traits.packs or not capabilities(method).packs:
        return None
    # nothing to train; layers in parts; seconds of its own to compile
    if config.control == "random_prompt" or config.runner.sharding or config.runner.compile:
        return None
    values = {key: value for key, value in flatten(resolved) if not _is_own(key)}
    values |= {f"method.{key}": method.get(key) for key in SHARED_OPTIONS}
    return json.dumps(values, sort_keys=True, default=str)


def has_dropout(config: Config) -> bool:
    """Whether random numbers are drawn while the run trains (then a pack draws others than a run alone)."""
    named = {**config.method, **(config.method.get("options") or {})}
    if any(str(key).endswith(("dropout", "noise")) and value for key, value in named.items()):
        return True
    try:
        return config.runner.backbone_dropout and config.backbone.sizes().dropout > 0
    except ValueError:  # sizes that only the Hub knows
        return config.runner.backbone_dropout


def _is_own(key: str) -> bool:
    return any(key == stem or key.startswith(stem + ".") for stem in OWN)
