"""The ledger: one folder per run id, readable at any instant, whoever was killed.

Layout of `<root>/<run_id>/`: `config.yaml`, `record.json`, `metrics.jsonl`, `predictions.<split>.jsonl`,
`method.safetensors` + `manifest.json`, and while it runs `checkpoint.pt` and `lock`. Ledgers of several machines merge
by copying folders. Neither torch nor transformers is imported here.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import yaml

from results.files import append_line, clean, read_lines, write_json, write_lines, write_text
from results.misread import misread

STATUSES = ("running", "done", "failed")  # stored; `interrupted` and `stale` are derived


class Held(RuntimeError):
    """Another process is training this run."""


class Unwritable(RuntimeError):
    """The ledger's folder cannot be written."""


@dataclass(frozen=True)
class Broken:
    """A run folder that could not be read."""

    folder: Path
    reason: str


class RunFolder:
    """One run's folder."""

    def __init__(self, folder: Path, run_id: str | None = None) -> None:
        self.folder = folder
        self.id = run_id or folder.name

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def record(self) -> dict[str, Any] | None:
        """The record with its derived status, or None where there is none yet.

        Raises:
            ValueError: record.json is no record.
        """
        path = self / "record.json"
        if not path.exists():
            return None
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: not a run record ({error})") from None
        if not isinstance(record, dict) or record.get("status") not in STATUSES:
            raise ValueError(f"{path}: not a run record (status must be one of {', '.join(STATUSES)})")
        if record["status"] == "running" and not self.is_held():
            record["status"] = "interrupted"
        if record["status"] == "done" and (stale := record.get("stale") or misread(record)):
            record |= {"status": "stale", "stale": stale}
        return record

    def is_held(self) -> bool:
        """Whether a living process holds this run (death releases an OS lock)."""
        path = self / "lock"
        if not path.exists():
            return False
        try:
            with path.open("rb") as handle:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        return False

    @contextmanager
    def hold(self) -> Iterator[RunFolder]:
        """Hold the run while the block runs.

        Raises:
            Held: another process has it; the message says which.
            Unwritable: the folder cannot be made or written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = (self / "lock").open("a+")
        except OSError as error:
            raise Unwritable(
                f"the ledger {self.folder.parent} cannot be written ({error.strerror}); nothing was started. "
                "Choose another with ledger.root=DIR"
            ) from None
        with handle:
            if not _lock(handle):
                handle.seek(0)
                holder = handle.read().strip() or "another process"
                raise Held(f"run {self.id} is held by {holder}") from None
            handle.truncate(0)
            handle.write(f"process {os.getpid()} on {socket.gethostname()}")
            handle.flush()
            for folder in (self.folder, self / "again"):
                clean(folder)
            self.exchange()
            yield self

    def again(self) -> RunFolder:
        """Where a finished run is made anew: its own files stay until `exchange`."""
        return RunFolder(self / "again", self.id)

    def exchange(self) -> None:
        """Put a new run that is done in the place of the finished one; begun by a process that died, end it."""
        again = self.again()
        try:
            record = again.record()
        except ValueError:
            return
        if record is None or record["status"] != "done":
            return
        for path in sorted(again.folder.iterdir()):
            if path.name in ("record.json", "checkpoint.pt", "checkpoint.before.pt"):
                continue
            if path.is_dir():
                shutil.rmtree(self / path.name, ignore_errors=True)
            os.replace(path, self / path.name)
        kept = set(record.get("files") or {})
        for path in [*self.folder.glob("predictions.*.jsonl"), *self.folder.glob("scores.*.npz")]:
            if path.name not in kept:
                path.unlink()
        for path in self.folder.glob("checkpoint*.pt"):
            path.unlink()
        os.replace(again / "record.json", self / "record.json")
        shutil.rmtree(again.folder)

    def write_config(self, config: dict[str, Any]) -> None:
        write_text(self / "config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))

    def write_record(self, record: dict[str, Any]) -> None:
        write_json(self / "record.json", record | {"heartbeat": time.time()})

    def append_metrics(self, row: dict[str, Any]) -> None:
        append_line(self / "metrics.jsonl", row)

    def metrics(self) -> list[dict[str, Any]]:
        return read_lines(self / "metrics.jsonl")

    def cut_metrics(self, rows: int) -> None:
        """Keep the first `rows` rows of the log: what the checkpoint from which a run goes on had seen."""
        if (self / "metrics.jsonl").exists():
            write_lines(self / "metrics.jsonl", self.metrics()[:rows])

    def write_predictions(self, split: str, rows: Iterable[dict[str, Any]]) -> None:
        write_lines(self / f"predictions.{split}.jsonl", rows)

    def predictions(self, split: str) -> list[dict[str, Any]]:
        return read_lines(self / f"predictions.{split}.jsonl")


def _lock(handle: IO[str], patience: float = 0.5) -> bool:
    """Take the exclusive lock; a reader asking `is_held` has it for an instant, so one refusal is no answer."""
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() > until:
                return False
            time.sleep(0.05)


class Ledger:
    """All runs under one root."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    def run(self, run_id: str) -> RunFolder:
        return RunFolder(self.root / run_id)

    def find(self, prefix: str) -> RunFolder:
        """The run whose id begins with `prefix`.

        Raises:
            KeyError: none or several begin so; the message lists them.
        """
        names = sorted(folder.name for folder in self.folders() if folder.name.startswith(prefix))
        if len(names) != 1:
            seen = ", ".join(names[:8]) if names else "none"
            raise KeyError(
                f"run {prefix!r} in {self.root}: {len(names)} runs begin so ({seen}); "
                "python -m results.ledger list shows all"
            )
        return self.run(names[0])

    def records(self) -> list[dict[str, Any]]:
        """Every readable record, ordered by run id (a renamed run's first one)."""
        return self.read()[0]

    def read(self) -> tuple[list[dict[str, Any]], list[Broken]]:
        """Every readable record and every folder that could not be read."""
        found = self.entries()
        records = [entry for _, entry in found if not isinstance(entry, Broken)]
        return records, [entry for _, entry in found if isinstance(entry, Broken)]

    def entries(self) -> list[tuple[Path, dict[str, Any] | Broken]]:
        """Every run folder with its record, or with why it could not be read."""
        found: list[tuple[Path, dict[str, Any] | Broken]] = []
        for folder in self.folders():
            try:
                record = RunFolder(folder).record()
            except (ValueError, OSError, RecursionError) as error:
                found.append((folder, Broken(folder, (str(error).splitlines() or ["not readable"])[0][:300])))
                continue
            if record is not None:
                found.append((folder, record))
            elif (folder / "config.yaml").exists() and not RunFolder(folder).is_held():
                found.append((folder, Broken(folder, "no record.json")))
        # a renamed run keeps its place: resampling goes by order, and a name must not move an interval
        return sorted(found, key=lambda pair: _place(*pair))

    def folders(self) -> list[Path]:
        """The folders that may hold a run."""
        if not self.root.is_dir():
            return []
        return sorted(entry for entry in self.root.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _place(folder: Path, entry: dict[str, Any] | Broken) -> str:
    """By what a run is ordered: the name that it had first."""
    return folder.name if isinstance(entry, Broken) else str(entry.get("formerly") or folder.name)


def default_root() -> Path:
    """`results/runs` beside run.py, whatever the working directory is."""
    return Path(__file__).resolve().parent / "runs"


def root_of(given: str | Path | None, key: str = "ledger.root") -> Path:
    """The ledger that a command is to read: the one given, which must be there, or the default, which may be empty.

    Raises:
        FileNotFoundError: there is no such folder; without this a slip of the pen would read as "no runs".
    """
    root = Path(given).expanduser() if given else default_root()
    if given and not root.is_dir():
        what = "a file, and the folder of a ledger is wanted" if root.exists() else "there is no such folder"
        raise FileNotFoundError(f"{key}={given}: {what}; look at its spelling and at the folder that you are in")
    return root


if __name__ == "__main__":
    from results.ledger_command import main

    sys.exit(main(sys.argv[1:]))
