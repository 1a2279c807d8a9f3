"""Runs as the tables see them: a read-only view on `results/runs/<run_id>/record.json`.

Scores stay fractions here, as the records hold them; only the tables turn them into points.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from results.files import read_lines
from results.identity import choices_that_count
from results.ledger import Broken, Ledger, default_root
from results.setting import setting_of
from results.sound import fault, one_line, sound_history, sound_line

DEFAULT_ROOT = default_root()
UNTRAINED = ("none", "majority")  # methods that draw nothing: one run is all there is of them
RECORD_FACETS = frozenset(["method", "task", "backbone", "protocol", "seed", "status", "reason", "run_id", "steps"])


@dataclass(frozen=True)
class Run:
    """One run of the ledger."""

    record: dict[str, Any]
    folder: Path

    @property
    def id(self) -> str:
        """The run id, as the folder is named."""
        return str(self.record["run_id"])

    @property
    def status(self) -> str:
        """done, running, failed, or derived: interrupted, stale."""
        return str(self.record.get("status", "unknown"))

    @property
    def done(self) -> bool:
        """Whether the run may stand in a table."""
        return self.status == "done"

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration."""
        config = self.record.get("config")
        return config if isinstance(config, dict) else {}

    def get(self, name: str, default: Any = None) -> Any:
        """A facet of the run: a record field, or a dotted config key such as `method.lr.prompt`."""
        if name in RECORD_FACETS:
            return self.record.get(name, default)
        if name == "source":
            name = "data.source"
        if name == "data.source":
            return self.data_source or default
        if name == "group":
            return self.configuration
        for tree in (self.config, self.record):
            value = lookup(tree, name)
            if value is not None:
                return tuple(value) if isinstance(value, list) else value  # what groups runs must be hashable
        return default

    @property
    def data_source(self) -> str:
        """Where the rows came from: hub, package, local or fixture (first word of the record's source)."""
        source = lookup(self.record, "data.source") or lookup(self.config, "data.source") or "unknown"
        return str(source)

    @property
    def data_content(self) -> str | None:
        """The observed hash of the rows, in canonical form: equal ones are equal data, wherever they came from."""
        value = lookup(self.record, "data.sha256")
        return None if value is None else str(value)

    @property
    def backbone_content(self) -> str | None:
        """The observed hash of a backbone of the Hub, whose declared revision may be a branch that moves; None for
        others, whose content is part of the id."""
        backbone = lookup(self.config, "backbone") or {}
        if not backbone.get("hub") or any(backbone.get(key) for key in ("path", "package", "tiny", "random_weights")):
            return None
        return str(lookup(self.record, "backbone_content.sha256") or "not noted")

    @property
    def is_fixture(self) -> bool:
        """Whether the run was made on synthetic rows or on a backbone with random weights."""
        return (
            "fixture" in self.data_source
            or bool(lookup(self.record, "data.fixture"))
            or bool(lookup(self.config, "backbone.random_weights"))
            or str(self.record.get("backbone", "")).startswith("tiny")
        )

    @property
    def trained(self) -> bool:
        """Whether another seed could have given another score: not so where nothing is trained or drawn at random."""
        return bool(self.record.get("method") not in UNTRAINED or lookup(self.config, "released.path"))

    @property
    def confirming(self) -> bool:
        """Whether the run was made with a fresh seed to confirm a point that had been chosen (`confirm=N`)."""
        return bool(lookup(self.config, "budget.confirm"))

    @cached_property
    def undertrained(self) -> bool:
        """Whether the best of several checkpoints is the last one, or validation still rises at the end."""
        curve = self.validation_curve()
        if len(curve) < 2:
            return False
        values = [value for _, value in curve]
        return self.record.get("selected_step") == curve[-1][0] or values[-1] > values[-2] >= values[0]

    def validation_curve(self) -> list[tuple[int, float]]:
        """(step, selection metric) of every evaluation on the split by which checkpoints are chosen."""
        try:
            rows = sound_history(read_lines(self.folder / "metrics.jsonl"))
        except (ValueError, OSError, RecursionError):
            return []
        found = []
        for row in rows:
            metrics = row.get("metrics") if row.get("split") == self.selection_split else None
            value = (metrics or {}).get(self.selection_metric, (metrics or {}).get(self.primary_metric))
            if isinstance(value, int | float):
                found.append((int(row["step"]), float(value)))
        return found

    @property
    def packed(self) -> bool:
        """Whether the run shared its passes with others, so that its speed and memory are not its own."""
        return bool(self.record.get("packed") or self.record.get("packed_with"))

    @property
    def primary_metric(self) -> str:
        """The metric that the protocol reports."""
        return str(self.record.get("primary_metric") or "")

    @property
    def primary_split(self) -> str:
        """The split that the protocol reports."""
        split = self.record.get("primary_split")
        splits = list(self.record.get("metrics") or {})
        if split and (split in splits or not splits):
            return str(split)
        # a protocol that reports on test has only the dev set where no labelled test exists
        return "test" if "test" in splits else (splits[-1] if splits else "test")

    @property
    def selection_metric(self) -> str:
        """The metric by which checkpoints and trials are chosen (CB: macro-F1; MRQA: exact match)."""
        recorded = lookup(self.record, "selection.metric")
        by_protocol = lookup(self.config, "task.select_metric") or {}
        value = by_protocol.get(self.record.get("protocol"), by_protocol.get("default"))
        return str(recorded or value or self.primary_metric)

    @property
    def selection_split(self) -> str:
        """The split on which the run's own checkpoint was chosen."""
        recorded = lookup(self.record, "selection.split") or lookup(self.config, "protocol.select_split")
        return str(recorded or "validation")

    def score(self, split: str | None = None, metric: str | None = None, untrained: bool = False) -> float | None:
        """A score as a fraction; the reported one by default, or the one at step 0."""
        metrics = self.record.get("untrained_metrics" if untrained else "metrics") or {}
        values = metrics.get(split or self.primary_split) or {}
        value = values.get(metric or self.primary_metric)
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else None

    def selection_score(self) -> float | None:
        """The validation score by which trials are compared (fraction), or None where there is none."""
        value = self.score("validation", self.selection_metric)
        return value if value is not None else self.score("validation")

    def size(self, split: str | None = None) -> int | None:
        """Examples behind the score on a split: what was evaluated, else what the split holds."""
        split = split or self.primary_split
        used = lookup(self.record, f"data.used_rows.{split}")
        if isinstance(used, int):
            return used
        rows = lookup(self.record, f"data.rows.{split}")
        if not isinstance(rows, int):
            return len(self.predictions(split)) or None
        limit = lookup(self.config, f"runner.{split}_rows")
        return min(rows, limit) if isinstance(limit, int) else rows

    @cached_property
    def counted(self) -> dict[str, Any]:
        """Dotted key -> value of the choices that name the run (results.identity)."""
        return choices_that_count(self.config)

    @cached_property
    def configuration(self) -> str:
        """All that names the run (results.identity) but its seed, and what data and backbone were seen to be.

        Thus a value that came later at its neutral setting parts no seeds, and an edited method or other data do.
        What is no run of ours has more that names it: whose predictions they are, which run was scored elsewhere.
        """
        counted = {key: value for key, value in self.counted.items() if key != "seed"}
        names = [str(self.record.get(k)) for k in ("method", "task", "backbone", "protocol")]
        behind = self.record.get("identity") or {}
        observed = [self.data_content, self.backbone_content]
        beside = [lookup(self.record, "adopted.source"), lookup(self.record, "transfer.identity")]
        return "|".join(names) + json.dumps([counted, behind, observed, beside], sort_keys=True, default=str)

    @cached_property
    def setting(self) -> dict[str, Any]:
        """What the score was measured under: all that names the run but what its method is tuned by."""
        return setting_of(self)

    @property
    def draw(self) -> Any:
        """What tells the run from others of its configuration: its seed; without one each run is a draw of its own."""
        seed = self.record.get("seed")
        return self.id if seed is None else seed

    @property
    def drawn(self) -> bool:
        """Whether the method's tensors are those that were drawn, never trained (a control)."""
        return self.config.get("control") == "random_prompt"

    def predictions(self, split: str | None = None, untrained: bool = False) -> list[dict[str, Any]]:
        """The lines of `predictions.<split>.jsonl`; a torn last line is left out, no file gives [].

        `untrained`: those at step 0 (of the reported split; runs of earlier versions kept none).
        """
        name = ("untrained." if untrained else "") + (split or self.primary_split)
        path = self.folder / f"predictions.{name}.jsonl"
        if not path.exists():
            return []
        try:  # a prediction may hold what `splitlines` takes for a line's end
            lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line]
        except (ValueError, OSError):
            return []
        for kept in (lines, lines[:-1]):
            try:
                # one parse of the whole file is several times faster than one per line
                rows = list(json.loads(f"[{','.join(kept)}]"))
            except (ValueError, RecursionError):
                continue
            return rows if all(isinstance(row, dict) and sound_line(row) for row in rows) else []
        return []


@dataclass
class Reading:
    """What was found in a ledger: the runs, and one sentence per folder that could not be read."""

    root: Path
    runs: list[Run] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def lookup(tree: Any, dotted: str) -> Any:
    """A value under a dotted name in nested mappings, None where a step is missing."""
    for part in dotted.split("."):
        if not isinstance(tree, Mapping) or part not in tree:
            return None
        tree = tree[part]
    return tree


def read_runs(root: str | Path | None = None) -> Reading:
    """Read every record of a ledger.

    A folder without a readable record is named in `problems` and skipped. An absent ledger is empty.
    """
    reading = Reading(Path(root).expanduser() if root is not None else DEFAULT_ROOT)
    if not reading.root.is_dir():
        return reading
    for folder, entry in Ledger(reading.root).entries():
        problem = entry.reason if isinstance(entry, Broken) else fault(entry, folder.name)
        if problem:
            reading.problems.append(f"{one_line(folder.name)}: {problem} (skipped)")
        elif isinstance(entry, dict):
            reading.runs.append(Run(entry, folder))
    return reading


def made(record: dict[str, Any]) -> str:
    """When and with which code a run was made."""
    started, commit = record.get("started"), (record.get("versions") or {}).get("commit")
    day = datetime.fromtimestamp(float(started), UTC).date().isoformat() if started else "on an unknown day"
    return f"trained {day} at commit {commit or 'unknown'}"


def matches(run: Run, where: Mapping[str, Any]) -> bool:
    """Whether a run has every wanted value: a list means any of them, `null` not set, `*` anything that is set, `!x`
    anything but x.
    """
    for name, wanted in where.items():
        value = run.get(name)
        options: Iterable[Any] = wanted if isinstance(wanted, list | tuple) else (wanted,)
        if not any(_same(value, option) for option in options):
            return False
    return True


def _same(value: Any, wanted: Any) -> bool:
    """Equality across the ways a value is written: 0.3 and "0.3", true and "true"."""
    if value == wanted:
        return True
    if value is None or wanted is None:
        return False
    if isinstance(wanted, str) and wanted.startswith("!"):
        return not _same(value, wanted[1:])
    if wanted == "*":
        return True
    try:
        return float(value) == float(wanted)
    except (TypeError, ValueError):
        return str(value).lower() == str(wanted).lower()
