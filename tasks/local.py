"""The local layout: ``<root>/<suite>/<task>/{train,validation,test}.jsonl[.gz]`` or ``.parquet``, Hub column names."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tasks.config import TaskConfig
from tasks.errors import DataError
from tasks.fetch import sha256_of

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
SPLITS = ("train", "validation", "test", "validation_matched", "validation_mismatched")


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
        found = [folder / f"{split}{suffix}" for suffix in SUFFIXES if (folder / f"{split}{suffix}").is_file()]
        if len(found) > 1:
            raise DataError(f"{folder}: {[p.name for p in found]} all hold the split {split}; keep one of them")
        if found:
            files[split] = found[0]
    if not files:
        seen = sorted(p.name for p in folder.iterdir())[:6]
        raise DataError(f"{folder}: no split file; expected train.jsonl[.gz] or train.parquet, found {seen}")
    return files


def local_revision(files: dict[str, Path]) -> str:
    """Sha256 over the split files' own sha256: the declared revision of local data."""
    joined = "\n".join(f"{split} {sha256_of(path)}" for split, path in sorted(files.items()))
    return "local#" + hashlib.sha256(joined.encode()).hexdigest()[:32]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of one local split file."""
    if path.suffix == ".parquet":
        from pyarrow import parquet

        return parquet.read_table(path).to_pylist()
    return read_jsonl(path)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON-lines file, one object a line; empty lines at the end are let be.

    Raises:
        DataError: a line is not a JSON object; the message names file and line.
    """
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8") as handle:
            return list(_parsed(handle, path))
    with path.open(encoding="utf-8") as handle:
        return list(_parsed(handle, path))


def _parsed(lines: Iterable[str], path: Path) -> Iterable[dict[str, Any]]:
    """Parse line by line, so that an error can name the line."""
    try:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}:{number}: not JSON ({error.msg}); expected one JSON object a line") from None
            if not isinstance(row, dict):
                raise DataError(f"{path}:{number}: {type(row).__name__} found, expected one JSON object a line")
            yield row
    except (UnicodeDecodeError, OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected UTF-8 JSON lines, gzip only as .gz") from None
