"""Is a run what its record says? Hashes, lengths, names and ids, without torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from results.files import read_lines
from results.identity import id_of, named_by_configuration
from results.ledger import Ledger, RunFolder

HASHED = ("metrics.jsonl", "manifest.json", "method.safetensors")  # and every predictions.<split>.jsonl
MARK = b"soft-prompt-bench checkpoint "


@dataclass
class Finding:
    """What was found of one run: `problems` in sentences; `unknown` where nothing can be held against its name."""

    run_id: str
    problems: list[str] = field(default_factory=list)
    formerly: str | None = None
    unknown: bool = False


def hashes(folder: Path) -> dict[str, str]:
    """Name -> sha256 of the files that a finished run keeps."""
    names = [name for name in HASHED if (folder / name).is_file()]
    names += sorted(path.name for kind in ("predictions.*.jsonl", "scores.*.npz") for path in folder.glob(kind))
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def check(run: RunFolder, whole: bool = True) -> Finding | None:
    """Hold a run's folder against its record; None where there is no run in it.

    Args:
        whole: a ledger's own run keeps every file that its record names (an archive leaves the weights out).
    """
    found = Finding(run.id)
    try:
        record = run.record()
    except (ValueError, OSError) as error:
        found.problems.append(str(error))
        return found
    if record is None:
        known = [name for name in ("config.yaml", "method.safetensors") if (run / name).exists()]
        found.problems += [f"{run.folder}: no record.json"] if known and not run.is_held() else []
        return found if found.problems or (run / "checkpoint.pt").exists() else None
    found.formerly = record.get("formerly")
    found.problems += [*_name(run, record, found), *_files(run, record, whole), *_checkpoint(run)]
    return found


def _name(run: RunFolder, record: dict[str, Any], found: Finding) -> Iterator[str]:
    """Is the folder's name the record's, and the record's what its configuration gives?"""
    if record.get("run_id") != run.id:
        yield f"{run.folder}: its record is of run {record.get('run_id')}"
        return
    if not named_by_configuration(record):
        return
    counted = record.get("identity")
    if counted is None:
        found.unknown = True
        return
    made = id_of(record.get("config") or {}, counted.get("data", ""), counted.get("contents") or {})
    if made != run.id:
        yield f"{run.folder}: its configuration and contents give the id {made}"


def _files(run: RunFolder, record: dict[str, Any], whole: bool) -> Iterator[str]:
    if record["status"] not in ("done", "stale"):
        return
    known = record.get("files") or {}
    for name, sha256 in known.items():
        path = run / name
        if not path.is_file():
            if whole:
                yield f"{path}: it is not there, though the record names it"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            yield f"{path}: its content is not what the record names (sha256)"
    for path in sorted(run.folder.glob("*.jsonl")):
        try:
            read_lines(path)
        except ValueError as error:
            yield str(error)
    yield from _tensors(run / "method.safetensors")


def _tensors(path: Path) -> Iterator[str]:
    """A safetensors file says in its head how long it is."""
    if not path.is_file():
        return
    size = path.stat().st_size
    try:
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            head = json.loads(handle.read(length)) if 0 < length < size else None
        ends = [entry["data_offsets"][1] for name, entry in (head or {}).items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, OSError):
        head = None
    if head is None or 8 + length + max(ends, default=0) != size:
        yield f"{path}: truncated or no safetensors file ({size:,} bytes)"


def _checkpoint(run: RunFolder) -> Iterator[str]:
    path = run / "checkpoint.pt"
    if path.is_file():
        _, problem = checkpoint_head(path, run.id)
        if problem:
            yield problem


def checkpoint_head(path: Path, run_id: str) -> tuple[dict[str, Any], str | None]:
    """What a checkpoint says of itself, and why it cannot be used (None where it can).

    The first line is JSON behind a mark: run_id, step, size and sha256 of what follows; the rest is torch's.
    """
    try:
        with path.open("rb") as handle:
            line = handle.readline(65536)
            if not line.startswith(MARK):
                return {}, f"{path}: no checkpoint of this bench (or one of before they carried a checksum)"
            head = json.loads(line[len(MARK) :])
            begun = handle.tell()
            sha256, size = hashlib.file_digest(handle, "sha256").hexdigest(), handle.tell() - begun
    except (OSError, ValueError) as error:
        return {}, f"{path}: cannot be read ({error})"
    if head.get("run_id") != run_id:
        return head, f"{path}: a checkpoint of run {head.get('run_id')}, not of {run_id}"
    if size != head.get("size") or sha256 != head.get("sha256"):
        return head, f"{path}: damaged (its bytes do not have the checksum that was written with them)"
    return head, None


def verify(ledger: Ledger, whole: bool = True) -> list[Finding]:
    """Every run of a ledger."""
    found = (check(ledger.run(folder.name), whole) for folder in ledger.folders())
    return [verdict for verdict in found if verdict is not None]


def summary(verdicts: list[Finding]) -> str:
    """`151 ok, 151 renamed, 0 unknown`, and how many are damaged if any is."""
    damaged = sum(bool(v.problems) for v in verdicts)
    unknown = sum(v.unknown for v in verdicts if not v.problems)
    ok = len(verdicts) - damaged - unknown
    renamed = sum(v.formerly is not None for v in verdicts if not v.problems)
    return f"{ok} ok, {renamed} renamed, {unknown} unknown" + (f", {damaged} damaged" if damaged else "")
