"""Committed runs: the records, predictions and curves behind a benchmark's published table, in one small file.

`results.publish` writes `results/<paper>/runs.tar.xz` from the runs that stand in the cells of the paper's tables.
Where such a file is there, tables and figures read it beside the ledger (the ledger's own runs win), so that a fresh
clone shows them.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from results.files import replacing
from results.records import Reading, Run, read_runs
from results.tables.layout import load, tables_of

ROOT = Path(__file__).resolve().parent
LIMIT = 500_000  # bytes of the whole file: with tables and figures a published benchmark stays below one megabyte
PRIVATE = ("host", "process", "heartbeat")  # of the machine that made a run
_UNPACKED: list[tempfile.TemporaryDirectory[str]] = []  # removed when the process ends


def archive_of(paper: str) -> Path:
    """Where a paper's committed runs are."""
    return ROOT / paper / "runs.tar.xz"


def pack(runs: Iterable[Run], path: Path) -> int:
    """Write runs into an archive that depends on their contents alone; returns its size in bytes.

    Raises:
        ValueError: it is larger than LIMIT; nothing is written.
    """
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for run in sorted(runs, key=lambda run: run.id):
            for name, content in _members(run):
                entry = tarfile.TarInfo(f"{run.id}/{name}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    packed = lzma.compress(tar.getvalue(), preset=9)
    if len(packed) > LIMIT:
        raise ValueError(f"{path.name} would have {len(packed):,} bytes, more than {LIMIT:,}: archive fewer runs")
    with replacing(path) as temporary:
        temporary.write_bytes(packed)
    return len(packed)


def _members(run: Run) -> Iterator[tuple[str, bytes]]:
    """Name and content of what is kept of a run: no weights, nothing of the machine, the reported predictions alone."""
    kept = {key: value for key, value in run.record.items() if key not in PRIVATE}
    for key in ("ledger", "cache", "tracking"):
        kept["config"] = {name: value for name, value in kept["config"].items() if name != key}
    yield "record.json", (json.dumps(kept, sort_keys=True, separators=(",", ":")) + "\n").encode()
    split = run.primary_split
    names = (f"predictions.{split}.jsonl", f"predictions.untrained.{split}.jsonl", "diagnostics/gates.json")
    for name in ("metrics.jsonl", *names):
        if (run.folder / name).exists():
            yield name, (run.folder / name).read_bytes()


def unpacked(path: Path) -> Path:
    """A ledger folder with an archive's runs, for as long as this process lives; anew once the archive is another."""
    return _unpacked(path, hashlib.sha256(path.read_bytes()).hexdigest())


@cache
def _unpacked(path: Path, content: str) -> Path:
    folder = tempfile.TemporaryDirectory(prefix="soft-prompt-bench-")
    _UNPACKED.append(folder)
    with tarfile.open(path) as archive:
        archive.extractall(folder.name, filter="data")
    return Path(folder.name)


def with_archive(reading: Reading, paper: str) -> Reading:
    """A ledger's runs, and those committed for a paper that the ledger has not done itself."""
    path = archive_of(paper)
    if not path.exists():
        return reading
    done = {run.id for run in reading.runs if run.done}
    added = [run for run in read_runs(unpacked(path)).runs if run.id not in done]
    again = {run.id for run in added}
    return Reading(reading.root, [run for run in reading.runs if run.id not in again] + added, reading.problems)


def archived(paper: str) -> Reading:
    """A paper's committed runs alone."""
    return with_archive(Reading(archive_of(paper), [], []), paper)


def in_cells(runs: Sequence[Run], paper: str) -> list[Run]:
    """The done runs that stand in some cell of a paper's tables."""
    layouts = [load(paper, name) for name in tables_of(paper)]
    return [run for run in runs if run.done and any(layout.holds(run) for layout in layouts)]
