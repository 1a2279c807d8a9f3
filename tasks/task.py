"""Task YAML + protocol + source -> examples per split, and a report of what was read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from tasks import sources
from tasks.cache import FORMAT, Official, official_rows
from tasks.config import DataConfig, ProtocolConfig, TaskConfig
from tasks.errors import DataError
from tasks.examples import Example
from tasks.fewshot import REGRESSION_BORDER, draw_per_class, draw_total
from tasks.kinds import kind_of
from tasks.local import local_files, local_revision
from tasks.rows import gold_column, label_column
from tasks.splits import WHOLE, Part, parts_of, replace_missing, too_small
from tasks.templates import Template

CHUNK = 1000  # rows that are read from the Arrow table at once


class Examples(Sequence[Example]):
    """Examples of one split, rendered when they are asked for.

    Args:
        rows: canonical rows of the official split (a ``datasets.Dataset``).
        items: (row, variant) of every example, in order.
        template: row -> Example.
        split: the official split that the rows are of.
    """

    def __init__(self, rows: Any, items: Sequence[tuple[int, int]], template: Template, split: str) -> None:
        self.rows, self.items, self.template, self.split = rows, list(items), template, split

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, at: int) -> Example: ...
    @overload
    def __getitem__(self, at: slice) -> Examples: ...
    def __getitem__(self, at: int | slice) -> Example | Examples:
        if isinstance(at, slice):
            return Examples(self.rows, self.items[at], self.template, self.split)
        row, variant = self.items[at]
        return self._made(self.rows[row], variant)

    def __iter__(self) -> Iterator[Example]:
        for start in range(0, len(self.items), CHUNK):
            chunk = self.items[start : start + CHUNK]
            columns = self.rows[[row for row, _ in chunk]]
            for i, (_, variant) in enumerate(chunk):
                yield self._made({name: values[i] for name, values in columns.items()}, variant)

    def _made(self, row: dict[str, Any], variant: int) -> Example:
        from dataclasses import replace

        example = self.template(row, variant)
        return replace(example, id=f"{example.id}/{variant}") if variant else example

    def contents(self, columns: Sequence[str]) -> list[str]:
        """The text of every row in some columns, as one comparable string."""
        values = self.rows[sorted({row for row, _ in self.items})]
        return [repr(row) for row in zip(*(values[column] for column in columns), strict=True)]

    def take(self, positions: Sequence[int]) -> Examples:
        """The examples at ``positions`` of this split, in that order."""
        return Examples(self.rows, [self.items[p] for p in positions], self.template, self.split)


@dataclass
class TaskData:
    """Examples by role and the report that goes into the record.

    ``report`` holds: source, revision, fingerprint, sha256, format (of what is cached), rows (by role), official_rows,
    licence, fixture (bool), select_split, report_split, official_split (by role), shared_with_train (rows by role),
    verdicts (what a table must say of these data), notes (lines to print).
    """

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
    return source, sources.fixture_revision(task)


def load_task(
    task: TaskConfig,
    protocol: ProtocolConfig,
    data: DataConfig,
    *,
    family: str,
    fidelity: str = "corrected",
    seed: int = 42,
    cache_root: str | Path,
) -> TaskData:
    """Rows of the chosen source, split as the protocol says, rendered for one backbone family.

    Args:
        fidelity: fills the protocol's switches that are still null (``defaults_by_fidelity``).
        seed: the training seed; it draws few-shot rows, never the splits.

    Raises:
        DataError: the rows are not what the task's YAML says; SourceUnavailable: there are none.
    """
    for key, value in (protocol.defaults_by_fidelity.get(fidelity) or {}).items():
        if getattr(protocol, key) is None:
            setattr(protocol, key, value)
    template = Template(task, protocol, family)
    source, revision = data_revision(task, data, cache_root)
    official = official_rows(task, data, source, revision, cache_root)
    source = official.source  # the Hub may have failed after it was found reachable
    rows = official.joined() if protocol.split == WHOLE else official
    splits, verdicts, places = _split(task, protocol, rows, template, seed, lenient=source in ("local", "fixture"))
    report = _report(task, protocol, official, splits, places, verdicts)
    report["notes"] = [
        f"data: {task.name} from {source} ({official.revision})",
        *official.notes,
        *_reported(report, protocol, official),
        *(
            f"{count} of {report['rows'][role]} {role} rows are training rows too"
            for role, count in report["shared_with_train"].items()
        ),
        *report["verdicts"],
    ]
    if os.environ.get("RANK", "0") == "0":
        print("\n".join(str(note) for note in report["notes"]), flush=True)
    return TaskData(splits, report)


def _report(
    task: TaskConfig,
    protocol: ProtocolConfig,
    official: Official,
    splits: dict[str, Examples],
    places: dict[str, str],
    verdicts: list[str],
) -> dict[str, Any]:
    """What the record says of the data (`TaskData.report`), but the lines to print.

    Args:
        places: the official split of each role.
        verdicts: what a table must say of how they were split.
    """
    sizes = {split: len(rows) for split, rows in official.splits.items()}
    return {
        "source": official.source,
        "revision": official.revision,
        "fingerprint": official.fingerprint,
        "sha256": official.sha256,
        "format": FORMAT,
        "rows": {role: len(examples) for role, examples in splits.items()},
        "official_rows": sizes,
        "licence": task.licence,
        "fixture": official.source == "fixture",
        "select_split": protocol.select_split if protocol.select_split in splits else protocol.report_split,
        "report_split": protocol.report_split if protocol.report_split in splits else "validation",
        "verdicts": _count_verdicts(task, official.source, sizes) + verdicts,
        "official_split": places,
        "shared_with_train": shared_with_train(task, splits),
    }


def _reported(report: dict[str, Any], protocol: ProtocolConfig, official: Official) -> list[str]:
    """What is reported, where that is not the split that a reader would expect."""
    role = report["report_split"]
    bare = any("without gold" in note for note in official.notes)
    if role == protocol.report_split and not bare:
        return []
    return [f"reported: the {role} role, rows of the official {report['official_split'][role]} split, which has gold"]


def shared_with_train(task: TaskConfig, splits: dict[str, Examples]) -> dict[str, int]:
    """Role -> rows whose text (every column but the gold) a training row has as well; roles without any left out."""
    if "train" not in splits:
        return {}
    columns = [c for c in task.columns if c != gold_column(task)]
    trained = set(splits["train"].contents(columns))
    found = {role: sum(c in trained for c in splits[role].contents(columns)) for role in splits if role != "train"}
    return {role: count for role, count in found.items() if count}


def _split(
    task: TaskConfig, protocol: ProtocolConfig, official: Official, template: Template, seed: int, lenient: bool
) -> tuple[dict[str, Examples], list[str], dict[str, str]]:
    """Examples by role, what a table must say of the split, and the official split of each role."""
    sizes = {split: len(rows) for split, rows in official.splits.items()}
    verdicts: list[str] = []
    base = {split: Part(split) for split in sizes}
    if lenient and protocol.split != WHOLE:
        base, verdicts = replace_missing(task, sizes, protocol.split_seed)
        sizes = {s: len(p.indices(sizes.get(p.split, 0))) for s, p in base.items()}
    why = too_small(task, protocol, sizes)
    if why and not lenient:
        raise DataError(f"{task.name}: {why.replace(', 10% of them carved', '')}; use data=local for own subsets")
    parts = parts_of(task, protocol, sizes)
    rows = {role: _through(part, base, sizes, official) for role, part in parts.items()}
    if protocol.k_shot and "train" in rows:
        rows, few = _few(task, protocol, rows, official, seed)
        verdicts += few
    made = {
        role: Examples(
            official.splits[split],
            [(i, v) for i in indices for v in _variants(official.splits[split], i, template, role)],
            template,
            split,
        )
        for role, (split, indices) in rows.items()
    }
    empty = [role for role, examples in made.items() if not len(examples)]
    if empty:
        raise DataError(f"{task.name}: the split {empty[0]!r} is empty under protocol={protocol.name}, sizes {sizes}")
    return made, verdicts + ([why] if why else []), {role: split for role, (split, _) in rows.items()}


def _through(part: Part, base: dict[str, Part], sizes: dict[str, int], official: Official) -> tuple[str, list[int]]:
    """A role's rows, by way of a carved stand-in for a missing official split, as rows of a split that exists."""
    below = base[part.split]
    under = below.indices(len(official.splits[below.split]))
    return below.split, [under[i] for i in part.indices(sizes[part.split])]


def _variants(rows: Any, index: int, template: Template, role: str) -> list[int]:
    """Most rows make one example; only those kinds that may make more are read for it."""
    if not template.expands_in(role):
        return [0]
    return template.variants(rows[index], train=role == "train")


Roles = dict[str, tuple[str, list[int]]]


def _few(
    task: TaskConfig, protocol: ProtocolConfig, rows: Roles, official: Official, seed: int
) -> tuple[Roles, list[str]]:
    """Few-shot draws out of the training rows (and, for LM-BFF, of the dev rows beside them)."""
    split, train = rows["train"]
    classes = _classes(task, official.splits[split], train)
    k, verdicts = int(protocol.k_shot or 0), []
    if protocol.few_shot == "per_class":
        fits = min(Counter(classes).values()) // 2
        if official.source == "fixture" and k > fits:
            verdicts, k = [f"fixture: k_shot={k} cut to {fits} per class"], fits
        drawn, held = draw_per_class(classes, k, seed)
        if protocol.split == "lmbff":
            rows = {**rows, "validation": (split, [train[p] for p in held])}
    elif protocol.few_shot == "total":
        drawn = draw_total(classes, k, seed, protocol.few_shot_order)
        if len(drawn) < k // len(set(classes)) * len(set(classes)):
            verdicts.append(f"k_shot={k}: only {len(drawn)} training rows could be drawn")
    else:
        raise DataError(f"protocol.few_shot={protocol.few_shot!r}: total or per_class")
    return {**rows, "train": (split, [train[p] for p in drawn])}, verdicts


def _classes(task: TaskConfig, rows: Any, indices: list[int]) -> list[Any]:
    """The class that a few-shot draw balances; one class for all where a task has none."""
    column = label_column(task)
    if column is None:
        return [0] * len(indices)
    labels = rows[column]
    values = [labels[i] for i in indices]
    return [int(v >= REGRESSION_BORDER) for v in values] if kind_of(task).numbers else values


def _count_verdicts(task: TaskConfig, source: str, sizes: dict[str, int]) -> list[str]:
    """Row counts that are not the published ones, in words."""
    if source == "fixture":
        return ["fixture rows: not for tables"]
    return [
        f"{split} has {sizes[split]:,} rows, published {count:,}"
        for split, count in task.rows.items()
        if split in sizes and sizes[split] != count
    ]
