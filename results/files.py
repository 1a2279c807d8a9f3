"""Writing files so that a process killed at any instant leaves either the old file or the new one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed over `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.chmod(0o666 & ~umask())  # some libraries write files that nobody else may read
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def umask() -> int:
    """The user's mask of permissions (it can only be read by setting it)."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def clean(folder: Path) -> None:
    """Remove what processes that died while writing left in a folder that nobody else writes to now."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON-lines file; a torn last line (a process was killed while appending) is left out.

    Raises:
        ValueError: a line before the last one is broken; the message names file and line.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except ValueError:
            if number == len(lines):  # not ended by a newline: torn
                break
            raise ValueError(f"{path}, line {number}: not a line of JSON") from None
    return rows


def append_line(path: Path, row: dict[str, Any]) -> None:
    """Append one row in a single write; starts on a fresh line when the file ends in a torn one."""
    with path.open("ab+") as handle:
        if handle.tell() > 0:
            handle.seek(-1, os.SEEK_END)
            if handle.read(1) != b"\n":
                _cut_torn_line(handle)
        handle.write((json.dumps(row, ensure_ascii=False) + "\n").encode())


def _cut_torn_line(handle: Any) -> None:
    handle.seek(0)
    content = handle.read()
    handle.truncate(content.rfind(b"\n") + 1)
    handle.seek(0, os.SEEK_END)
