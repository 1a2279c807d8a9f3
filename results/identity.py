"""What a run is called: a hash of every choice that can change its scores, and of nothing else.

The id is known before any data are loaded and without torch, so a plan can name missing runs on a machine that has
neither data nor models.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# Keys (dotted; a key stands for everything under it) that cannot change a score. Everything else counts.
COSMETIC = (
    "ledger", "cache", "force", "retry_failed", "retry_stale", "plan", "yes", "fail_fast", "budget", "experiment",
    "sweep", "tracking", "launcher", "pack", "progress", "commands",
    "runner.name", "runner.micro_batch", "runner.eval_batch_size", "runner.log_every", "runner.checkpoint_every",
    "runner.checkpoint_seconds", "runner.threads", "runner.device", "runner.processes",
    "method.capabilities", "method.path", "backbone.path", "backbone.facts", "backbone.lineage", "backbone.licence",
    "backbone.family", "backbone.description",
    "released",  # its content counts
    "data",  # the declared revision of the data stands for it
)  # fmt: skip
ID_LENGTH = 16


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted leaves of a nested mapping, in sorted order; an empty mapping has none."""
    for key in sorted(tree, key=str):
        value = tree[key]
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", list(value) if isinstance(value, tuple) else value


def is_cosmetic(key: str) -> bool:
    return any(key == stem or key.startswith(stem + ".") for stem in COSMETIC)


def choices_that_count(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The dotted keys of `config` that name the run.

    A key at its default does not count, so that an option added later (with its default) changes no old id; the
    names and versions of method, task, protocol and backbone always count.

    Args:
        config: a resolved configuration.
        defaults: the same tree as it would resolve had nobody chosen anything but the groups' names.
    """
    base = dict(flatten(defaults))
    counted = {}
    for key, value in flatten(config):
        always = key.split(".")[-1] in ("name", "version") and key.count(".") == 1
        if is_cosmetic(key) or (not always and key in base and _same(base[key], value)):
            continue
        counted[key] = value
    return counted


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return one == other


def run_id(config: Mapping[str, Any], defaults: Mapping[str, Any], data_revision: str) -> str:
    """The id of a run: 16 hexadecimal digits.

    Args:
        config, defaults: as in `choices_that_count`.
        data_revision: the declared revision of the data (Hub commit, pinned sha256 of a package's file, sha256 of
            local files, version of the fixture).
    """
    counted = choices_that_count(config, defaults)
    path = (config.get("method") or {}).get("path")
    if path:  # a method outside the tree has no version that we keep: its text is its version
        counted["method.source"] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    released = (config.get("released") or {}).get("path")
    if released:
        counted["released.sha256"] = _content(Path(released).expanduser())
    backbone = config.get("backbone") or {}
    if backbone.get("path") and not backbone.get("facts"):  # a YAML for any model: the folder says which
        counted["backbone.folder"] = Path(backbone["path"]).name
    payload = {"choices": counted, "data": data_revision}
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]


def _content(path: Path) -> str:
    """sha256 of a released file (or of the one in its folder).

    Raises:
        ValueError: it is not there.
    """
    file = path / "adapter_model.bin" if path.is_dir() else path
    if not file.is_file():
        raise ValueError(
            f"released.path={path}: there is no such file; give the authors' adapter_model.bin or its folder"
        )
    return hashlib.sha256(file.read_bytes()).hexdigest()
