"""What a run is called: a hash of every choice that can change its scores, and of nothing else.

The id is known before any data are loaded and without torch, so a plan can name missing runs on a machine that has
neither data nor models. Every resolved value counts, defaults included; left out is only what stands on the two lists
below. What a value merely points to (a folder, a file, another run) counts by its content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from results.content import default_cache, file_sha256, model_sha256
from results.ledger import Ledger, default_root
from results.source_code import code_that_counts

# Keys (dotted; a key stands for everything under it) that cannot change a score, with the reason.
COSMETIC = {
    # where things are kept, and how runs are started
    "ledger": "where records go", "cache": "where brought files are kept", "tracking": "a mirror of the log",
    "force": "when a run is made", "retry_failed": "when a run is made", "retry_stale": "when a run is made",
    "plan": "when a run is made", "yes": "when a run is made", "fail_fast": "when a sweep ends",
    "pack": "runs per pass; what a pack's dropout changes is in `packed`",
    # names of collections of runs: the values that they choose count
    "budget": "which points a sweep has", "experiment": "a name", "sweep": "which points a sweep has",
    "runner.name": "a name; its values count",
    # how the same sums are computed: rows per pass, place and pace
    "runner.micro_batch": "accumulated to the same batch", "runner.eval_batch_size": "a row's answer is its own",
    "runner.log_every": "the log", "runner.checkpoint_every": "when state is saved",
    "runner.checkpoint_seconds": "when state is saved", "runner.threads": "where", "runner.device": "where",
    "runner.sharding": "where the frozen weights lie",
    # paths: what lies there counts (see `contents`)
    "method.capabilities": "what the method is; the code counts",
    "method.path": "the file's tokens count", "method.init_from": "that run's tensors count",
    "method.sources": "those runs' names and tensors count",
    "backbone.path": "the folder's files count", "released": "the file counts",
    "data": "the declared revision of the data counts",
    # words about things
    "backbone.lineage": "words", "backbone.licence": "words", "backbone.description": "words",
    "backbone.facts.parameters": "words", "backbone.package.megabytes": "words", "backbone.package.licence": "words",
    "task.about": "words", "task.url": "words", "task.licence": "words", "task.revision_note": "words",
    "task.package.licence": "words", "task.families": "which backbones are refused", "protocol.about": "words",
}  # fmt: skip

# Options that came later, at the one value under which runs are what they were before: there they do not count.
# (An option that is null counts nowhere, so one that comes with null as its neutral value need not be listed.)
LATER: dict[str, tuple[Any, str]] = {
    "runner.version": (1, "the training loop as of its first release"),
    "runner.compile": (False, "the layers ran as they are written"),
    "method.init_across": (False, "tensors of a run on another backbone were refused, or of no other shape"),
}

# Options that are gone because nothing read them, with what each counts as in an id: where it always repeated another
# value it still counts as that one, so that no finished run lost its name.
GONE: dict[str, tuple[str, str]] = {
    "protocol.steps.official": ("protocol.steps.large", "it repeated the larger budget; steps go by rows alone"),
}

ID_LENGTH = 16


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted leaves of a nested mapping, in sorted order; an empty mapping has none."""
    for key in sorted(tree, key=str):
        value = tree[key]
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", list(value) if isinstance(value, tuple) else value


@cache
def is_cosmetic(key: str) -> bool:
    """Whether a dotted key, or one above it, cannot change a score."""
    parts = key.split(".")
    return any(".".join(parts[:end]) in COSMETIC for end in range(1, len(parts) + 1))


def choices_that_count(config: Mapping[str, Any]) -> dict[str, Any]:
    """The dotted keys and values of a resolved configuration that name the run."""
    counted = {}
    is_local = bool((config.get("backbone") or {}).get("path"))  # its name may be the folder's: the content counts
    for key, value in flatten(config):
        if value is None or is_cosmetic(key) or (key == "backbone.name" and is_local):
            continue
        plain = _plain(value)
        if key in LATER and _text(plain) == _text(_plain(LATER[key][0])):
            continue
        counted[key] = plain
    for key, (repeated, _) in GONE.items():
        if repeated in counted:
            counted.setdefault(key, counted[repeated])
    return counted


def without_gone(config: Mapping[str, Any]) -> dict[str, Any]:
    """A record's configuration as it would be written today: without the options that are gone."""

    def kept(tree: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        return {
            key: kept(value, f"{prefix}{key}.") if isinstance(value, Mapping) else value
            for key, value in tree.items()
            if f"{prefix}{key}" not in GONE
        }

    return kept(config, "")


def _plain(value: Any) -> Any:
    """A value as JSON has it; a whole number is the same however it is written (1 and 1.0), a truth value is none."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def contents(config: Mapping[str, Any]) -> dict[str, Any]:
    """What lies behind the values that merely point somewhere: {} for a shipped method on a shipped backbone.

    Returns:
        `source` (file -> hash of its tokens, of whatever is not as it shipped), `backbone`, `released`, `init_from`
        and `sources` (sha256 of files), as far as there are any.

    Raises:
        ValueError: something that is pointed to is not there.
    """
    method, backbone = config.get("method") or {}, config.get("backbone") or {}
    cache_root = (config.get("cache") or {}).get("root")
    cache = Path(cache_root).expanduser() if cache_root else default_cache()
    found: dict[str, Any] = {"source": code_that_counts(method.get("target"), method.get("path"))}
    if backbone.get("path"):
        folder = Path(backbone["path"]).expanduser()
        if not backbone.get("random_weights"):
            found["backbone"] = model_sha256(folder, cache)
        elif not backbone.get("facts"):  # of that folder only the sizes are read
            found["backbone"] = file_sha256(_there(folder / "config.json", "backbone.path"), cache)
    released = (config.get("released") or {}).get("path")
    if released:
        place = Path(released).expanduser()
        found["released"] = file_sha256(
            _there(place / "adapter_model.bin" if place.is_dir() else place, "released.path"), cache
        )
    if method.get("init_from"):
        names = str(method["init_from"]).split("+")
        found["init_from"] = [_earlier("method.init_from", name, config, cache) for name in names]
    if method.get("sources"):  # in their order: it is that of the tensors
        found["sources"] = [
            [str(name), _earlier(f"method.sources.{name}", str(run), config, cache)]
            for name, run in method["sources"].items()
        ]
    return {key: value for key, value in found.items() if value}


def _there(file: Path, key: str) -> Path:
    if not file.is_file():
        raise ValueError(f"{key}={file}: there is no such file")
    return file


def _earlier(key: str, name: str, config: Mapping[str, Any], cache: Path) -> str:
    """sha256 of the tensors of a run that this one starts from or mixes."""
    root = (config.get("ledger") or {}).get("root")
    ledger = Ledger(Path(root).expanduser() if root else default_root())
    try:
        tensors = ledger.find(name.strip()) / "method.safetensors"
    except KeyError as error:
        raise ValueError(f"{key}={name}: {error.args[0]}") from None
    if not tensors.is_file():
        raise ValueError(f"{key}={name}: {tensors} is not there; that run is not done")
    return file_sha256(tensors, cache)


def run_id(config: Mapping[str, Any], data_revision: str) -> str:
    """The id of a run: 16 hexadecimal digits.

    Args:
        config: a resolved configuration.
        data_revision: the declared revision of the data (Hub commit, pinned sha256 of a package's file, sha256 of
            local files or of the fixture).

    Raises:
        ValueError: something that the configuration points to is not there.
    """
    return id_of(config, data_revision, contents(config))


def id_of(config: Mapping[str, Any], data_revision: str, found: Mapping[str, Any]) -> str:
    """As `run_id`, of contents that were noted before (a record has them under `identity`)."""
    payload = {"choices": choices_that_count(config), "data": data_revision, "contents": dict(found)}
    return hashlib.sha256(_text(payload).encode()).hexdigest()[:ID_LENGTH]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def named_by_configuration(record: Mapping[str, Any]) -> bool:
    """Whether a record's configuration gives its id.

    Not so other people's predictions (results.adopt) and scorings of a run on another task (scripts/evaluate.py), whose
    configuration is that of a run that was never trained.
    """
    return not (record.get("adopted") or record.get("transfer"))
