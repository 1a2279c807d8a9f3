"""Task YAML + protocol + source -> examples per split, and a report of what was read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from tasks import sources
from tasks.config import DataConfig, ProtocolConfig, TaskConfig
from tasks.errors import DataError
from tasks.examples import Example
from tasks.local import local_files, local_revision
from tasks.rows import canonical, content_sha256
from tasks.splits import Part, carved
from tasks.templates import Template


class Examples(Sequence[Example]):
    """Examples of one split, rendered when they are asked for.

    Args:
        rows: canonical rows of the official split (a list or a ``datasets.Dataset``).
        indices: which rows, in order.
        template: row -> Example.
    """

    def __init__(self, rows: Sequence[Any], indices: Sequence[int], template: Callable[[Any], Example]) -> None:
        self.rows, self.indices, self.template = rows, list(indices), template

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, at: int) -> Example: ...
    @overload
    def __getitem__(self, at: slice) -> Examples: ...
    def __getitem__(self, at: int | slice) -> Example | Examples:
        if isinstance(at, slice):
            return Examples(self.rows, self.indices[at], self.template)
        return self.template(self.rows[self.indices[at]])

    def __iter__(self) -> Iterator[Example]:
        return (self.template(self.rows[i]) for i in self.indices)

    def take(self, positions: Sequence[int]) -> Examples:
        """The examples at ``positions`` of this split, in that order."""
        return Examples(self.rows, [self.indices[p] for p in positions], self.template)


@dataclass
class TaskData:
    """Examples by role and the report that goes into the record."""

    splits: dict[str, Examples]
    report: dict[str, Any] = field(default_factory=dict)


def data_revision(task: TaskConfig, data: DataConfig, cache_root: str | Path) -> tuple[str, str]:
    """(source, declared revision) for the run id: no torch, no download."""
    source = sources.choose_source(task, data)
    if source == "hub":
        hub = dict(task.hub or {})
        return source, f"{hub['id']}@{hub.get('revision', 'main')}"
    if source == "package":
        return source, sources.package_revision(task)
    if source == "local":
        return source, local_revision(local_files(task, str(data.root)))
    return source, f"fixture#{sources.sha256_of(sources.fixture_file(task))[:16]}"


def load_task(
    task: TaskConfig,
    protocol: ProtocolConfig,
    data: DataConfig,
    *,
    family: str,
    fidelity: str = "author",
    seed: int = 42,
    cache_root: str | Path,
) -> TaskData:
    """Rows of the chosen source, split as the protocol says, rendered for one backbone family.

    Raises:
        DataError: the rows are not what the task's YAML says; SourceUnavailable: there are none.
    """
    source = sources.choose_source(task, data)
    loaded = sources.load_package(task, cache_root) if source == "package" else sources.load_fixture(task)
    official = {
        split: rows
        for split, raw in loaded.splits.items()
        if (rows := canonical(task, split, raw, f"{source} {task.name} split {split}"))
    }
    parts = _parts(task, protocol, {s: len(r) for s, r in official.items()})
    template = Template(task, protocol, family)
    splits = {
        role: Examples(official[part.split], part.indices(len(official[part.split])), template)
        for role, part in parts.items()
    }
    report = {
        "source": source,
        "revision": loaded.revision,
        "sha256": content_sha256(task, official),
        "rows": {role: len(examples) for role, examples in splits.items()},
        "official_rows": {split: len(rows) for split, rows in official.items()},
        "licence": task.licence,
        "fixture": source == "fixture",
        "verdicts": [],
        "notes": [f"data: {task.name} from {source} ({loaded.revision})"],
    }
    if os.environ.get("RANK", "0") == "0":
        print("\n".join(report["notes"]), flush=True)
    return TaskData(splits, report)


def _parts(task: TaskConfig, protocol: ProtocolConfig, sizes: dict[str, int]) -> dict[str, Part]:
    if protocol.split == "carved":
        return carved(sizes, protocol.split_seed, protocol.carve, protocol.carve_share)
    raise DataError(f"protocol.split={protocol.split!r}: carved")
