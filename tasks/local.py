"""The local layout: ``<root>/<suite>/<task>/{train,validation,test}.jsonl`` (or another form), Hub column names."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tasks.config import TaskConfig
from tasks.errors import DataError
from tasks.fetch import sha256_of
from tasks.reading import SUFFIXES

SPLITS = ("train", "validation", "test", "validation_matched", "validation_mismatched")
OTHER_NAMES = {"validation": ("dev", "valid", "val", "devel")}


def local_files(task: TaskConfig, root: str | Path) -> dict[str, Path]:
    """Split name -> file of a task under ``root``.

    Raises:
        DataError: the folder or every split file is missing, or a split is there twice.
    """
    folder = Path(root) / task.name
    if not folder.is_dir():
        raise DataError(f"data.root={root}: no folder {task.name}/ in it (expected {task.name}/train.jsonl and so on)")
    files: dict[str, Path] = {}
    for split in SPLITS:
        names = (split, *OTHER_NAMES.get(split, ()))
        found = [folder / f"{name}{suffix}" for name in names for suffix in SUFFIXES]
        found = [path for path in found if path.is_file()]
        if len(found) > 1:
            raise DataError(f"{folder}: {[p.name for p in found]} all hold the split {split}; keep one of them")
        if found:
            files[split] = found[0]
    if not files:
        seen = sorted(p.name for p in folder.iterdir())[:6]
        raise DataError(f"{folder}: no split file; expected train.jsonl[.gz] or train.parquet, found {seen}")
    return files


def passed_over(task: TaskConfig, root: str | Path, files: dict[str, Path]) -> str:
    """A sentence on files of the folder that are no split and so are not read; empty where there are none."""
    kept = set(files.values())
    others = sorted(p.name for p in (Path(root) / task.name).iterdir() if p.is_file() and p not in kept)
    return f"not read, no split has their names: {', '.join(others)}" if others else ""


def local_revision(files: dict[str, Path]) -> str:
    """Sha256 over the split files' own sha256: the declared revision of local data."""
    joined = "\n".join(f"{split} {sha256_of(path)}" for split, path in sorted(files.items()))
    return "local#" + hashlib.sha256(joined.encode()).hexdigest()[:32]
