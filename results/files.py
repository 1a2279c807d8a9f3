"""Writing files so that a process killed at any instant leaves either the old file or the new one.

Everything that others may read is written here: libraries and temporary files give what they make to its owner alone,
and what stands at its place in the end has the permissions that the user's umask gives. What the file system refuses is
told in a sentence (`refusal`).
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed over `path`.

    Raises:
        OSError: it cannot be written; `filename` is `path`, whatever was being written under another name.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and (path.is_symlink() or not path.is_file()):  # /dev/stdout, a pipe, a link: never replaced
        yield path
        return
    temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}.tmp")
    try:
        yield temporary
        as_umask(temporary)
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise _renamed(error, temporary, path) from None
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def making(folder: Path) -> Iterator[Path]:
    """Yield a scratch folder beside `folder`; on success it takes that name, in the place of what stood there."""
    folder = Path(os.path.abspath(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name[:200]}-", dir=folder.parent))
    try:
        made, before = scratch / "made", scratch / "before"
        made.mkdir()
        yield made
        as_umask(made)
        if folder.exists():
            os.replace(folder, before)
        os.replace(made, folder)
    except OSError as error:
        raise _renamed(error, scratch, folder) from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _renamed(error: OSError, temporary: Path, path: Path) -> OSError:
    """The error with the name that a user knows, where it is about what is written beside it."""
    if error.errno is None or not str(error.filename or temporary).startswith(str(temporary)):
        return error
    return OSError(error.errno, error.strerror, str(path))


def as_umask(path: Path) -> None:
    """Give a file, or a folder with all that is in it, the permissions that the umask gives to what is new."""
    mask = umask()
    for one in (path, *path.rglob("*")) if path.is_dir() else (path,):
        one.chmod((0o777 if one.is_dir() else 0o666) & ~mask)


def umask() -> int:
    """The user's mask of permissions (it can only be read by setting it)."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def refuse_taken(path: Path, force: bool) -> None:
    """Where a user's own work may stand, nothing is overwritten unasked.

    Raises:
        FileExistsError: something stands at `path` (an empty folder is nothing) and `force` was not given.
    """
    if not force and (path.is_file() or (path.is_dir() and any(path.iterdir()))):
        raise FileExistsError(f"{path}: there already; give another place with to=, or force=true to overwrite it")


def refusal(error: OSError) -> str:
    """What the file system refused, in one sentence with the way on."""
    if error.errno is None or (error.filename is None and error.errno not in NO_ROOM):
        return str(error)  # a sentence of our own, or of a library that speaks with the network
    name = error.filename.decode() if isinstance(error.filename, bytes) else error.filename
    where = "what was being written" if name is None else str(name)
    if error.errno in NO_ROOM:
        return f"{where}: no room is left to write it ({error.strerror}); free some, or name a place on another disk"
    ways = {
        errno.ENOENT: "there is no such file or folder; look at its spelling and at the folder that you are in",
        errno.EISDIR: "a folder, and a file is wanted; name a file",
        errno.ENOTDIR: "a part of it is a file, and a folder is wanted; name another place",
        errno.EEXIST: "there already, and it is no folder; name another place",
        errno.EACCES: "no permission; name another place, or ask whoever owns it (ls -l)",
        errno.EPERM: "no permission; name another place, or ask whoever owns it (ls -l)",
        errno.EROFS: "the file system can only be read; name another place",
        errno.ENAMETOOLONG: "the name is too long; name another place",
    }
    return f"{where}: {ways.get(error.errno, error.strerror)}"


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
