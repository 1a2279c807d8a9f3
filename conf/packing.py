"""Which points may share a pass through the frozen backbone, and when sharing changes a run. No torch."""

from __future__ import annotations

import ast
import importlib.util
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

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
FAMILIES = ("t5", "llama")


def pack_key(resolved: Mapping[str, Any], config: Config) -> str | None:
    """Points with equal keys may be packed; None = this one runs alone."""
    method = config.method
    if config.backbone.family not in FAMILIES or not is_input_level(method.get("target"), method.get("path")):
        return None
    values = {key: value for key, value in flatten(resolved) if not _is_own(key)}
    values |= {f"method.{key}": method.get(key) for key in SHARED_OPTIONS}
    return json.dumps(values, sort_keys=True, default=str)


def has_dropout(config: Config) -> bool:
    """Whether random numbers are drawn while the run trains (then a pack draws others than a run alone)."""
    if any("dropout" in str(key) and value for key, value in config.method.items()):
        return True
    try:
        return config.runner.backbone_dropout and config.backbone.sizes().dropout > 0
    except ValueError:  # sizes that only the Hub knows
        return config.runner.backbone_dropout


@cache
def is_input_level(target: str | None, path: str | None) -> bool:
    """Whether a method's class is a methods.base.InputMethod, read from its source (importing it would load torch)."""
    if not target and not path:
        return False
    module, _, name = (target or "").rpartition(".")
    found = importlib.util.find_spec(module) if not path and module else None
    source = Path(path).expanduser() if path else Path(found.origin) if found and found.origin else None
    if source is None or not source.is_file():
        return False
    tree = ast.parse(source.read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    origin = {alias.asname or alias.name: f"{node.module}.{alias.name}" for node in imports for alias in node.names}
    local = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    classes = [node for node in local.values() if path or node.name == name]
    bases = [base.id for node in classes for base in node.bases if isinstance(base, ast.Name)]
    for base in bases:
        full = origin.get(base) or (f"{module}.{base}" if base in local and module else "")
        if full == "methods.base.InputMethod" or (full.startswith("methods.") and is_input_level(full, None)):
            return True
    return False


def _is_own(key: str) -> bool:
    return any(key == stem or key.startswith(stem + ".") for stem in OWN)
