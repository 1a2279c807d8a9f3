"""Runs as the figures see them: with their curves and gates, and grouped into panels that share their axes."""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from results import ledger
from results.archive import with_archive
from results.files import read_lines
from results.filters import settled
from results.identity import flatten
from results.plots.settings import by_setting, told_apart
from results.records import Run, matches, read_runs
from results.selection import Trial, choose, trials
from results.sound import sound_gates, sound_history
from results.tables.layout import load

MAIN_GROUPS = ("prompt", "prefix", "weights")  # what a method's one learning rate is, where it has several
BY_NAME = ("paper", "experiment", "run_id")  # filters by the beginning of a name
BASELINES = {"none": "zero-shot", "majority": "majority class"}


@dataclass(frozen=True)
class Seen(Run):
    """One readable run, with those of its files that figures draw (read when asked for).

    `apart` stands after the method's name where runs of several of its codes or versions are there.
    """

    apart: str = ""

    @property
    def status(self) -> str:
        """As stored, but `interrupted` where nobody holds a running run any more."""
        stored = super().status
        return "interrupted" if stored == "running" and not ledger.RunFolder(self.folder).is_held() else stored

    @property
    def method(self) -> str:
        name = str(self.record.get("method", "?"))
        return f"{name} ({self.apart})" if self.apart else name

    @cached_property
    def options(self) -> dict[str, Any]:
        """Dotted leaves of the configuration."""
        return dict(flatten(self.config))

    def untrained(self, split: str | None = None) -> float | None:
        """The primary metric before the first step (fraction), on the reported split or on another."""
        return self.score(split, untrained=True)

    def learning_rate(self) -> float | None:
        """The learning rate of the prompt, else of the prefix, else of the weights, else of the only group."""
        rates = {
            key.removeprefix("method.lr."): v for key, v in self.options.items() if key.startswith("method.lr.") and v
        }
        for group in (*MAIN_GROUPS, *rates):
            if group in rates:
                return float(rates[group])
        return None

    def prompt_length(self) -> float | None:
        """The length of the prompt or prefix, tokens."""
        length = self.options.get("method.prompt_length", self.options.get("method.prefix_length"))
        return None if length is None else float(length)

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """Lines of metrics.jsonl; none, with a warning, where the file is broken."""
        try:
            return sound_history(read_lines(self.folder / "metrics.jsonl"))
        except (ValueError, OSError, RecursionError) as error:
            warnings.warn(f"run {self.id}: {error}", stacklevel=2)
            return []

    def losses(self) -> list[tuple[int, float]]:
        """(step, training loss) of every log step."""
        return [(row["step"], row["loss"]) for row in self.history if row.get("loss") is not None]

    def curve(self, split: str = "validation") -> list[tuple[int, float]]:
        """(step, primary metric) of every evaluation on a split."""
        rows = (row for row in self.history if row.get("split") == split)
        pairs = ((row["step"], (row.get("metrics") or {}).get(self.primary_metric)) for row in rows)
        return [(step, value) for step, value in pairs if value is not None]

    def gates(self) -> dict[str, Any] | None:
        """APT's gates: ``layers`` (mean gate per token, per layer) and ``layer_gate``, or None."""
        path = self.folder / "diagnostics" / "gates.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (ValueError, OSError, RecursionError) as error:
            warnings.warn(f"run {self.id}: {path.name}: {error}", stacklevel=2)
            return None
        return content if isinstance(content, dict) and sound_gates(content) else None

    def gates_over_training(self) -> dict[int, dict[str, Any]]:
        """Step -> APT's gates there, as `gates`; {} where none were noted (runs of earlier versions)."""
        try:
            rows = read_lines(self.folder / "diagnostics" / "over_training.jsonl")
        except (ValueError, OSError, RecursionError) as error:
            warnings.warn(f"run {self.id}: {error}", stacklevel=2)
            return {}
        sound = (row for row in rows if isinstance(row, dict) and isinstance(row.get("step"), int))
        return {r["step"]: r["gates"] for r in sound if isinstance(r.get("gates"), dict) and sound_gates(r["gates"])}


@dataclass(frozen=True)
class GridPoint:
    """A grid point: runs that differ by their seed alone."""

    runs: tuple[Seen, ...]

    @property
    def method(self) -> str:
        return self.runs[0].method

    def scores(self, split: str | None = None) -> list[float]:
        values = (run.score(split) for run in self.runs)
        return [value for value in values if value is not None]

    def mean(self, split: str | None = None) -> float | None:
        scores = self.scores(split)
        return fmean(scores) if scores else None

    def spread(self) -> float | None:
        """Sample standard deviation over seeds (fraction), None for one seed."""
        scores = self.scores()
        return stdev(scores) if len(scores) > 1 else None

    def median(self, key: str) -> float | None:
        """Median over seeds of a numeric field of the records: one that ran beside other work moves it little."""
        values = [run.record.get(key) for run in self.runs]
        numbers = [float(value) for value in values if isinstance(value, int | float)]
        return median(numbers) if numbers else None


@dataclass
class Panel:
    """The runs that may be drawn on the same axes: one task, backbone, protocol and whatever else is not tuned."""

    task: str
    backbone: str
    protocol: str
    runs: list[Seen]
    only: str = ""  # what a user narrowed the runs to: said in the title

    @property
    def metric(self) -> str:
        return self.runs[0].primary_metric

    @property
    def title(self) -> str:
        return f"{self.task} · {self.backbone} · protocol {self.protocol}{f' · only {self.only}' if self.only else ''}"

    @property
    def slug(self) -> str:
        return "-".join((self.task, self.backbone, self.protocol)).replace("/", "_")

    @property
    def trained(self) -> list[Seen]:
        return [run for run in self.runs if run.method not in BASELINES]

    def by_method(self) -> dict[str, list[GridPoint]]:
        """Grid points of each trained method, in the order of their first run."""
        found: dict[str, list[Seen]] = defaultdict(list)
        for run in self.trained:
            found[run.method].append(run)
        return {method: [_point(trial) for trial in trials(runs)] for method, runs in found.items()}

    def best(self, method: str) -> GridPoint | None:
        """The method's grid point chosen on validation (never on the reported split), None if it cannot be."""
        choice = choose([run for run in self.trained if run.method == method])
        return GridPoint(tuple(choice.runs)) if choice.runs else None  # type: ignore[arg-type]

    @property
    def unchosen(self) -> str:
        """The methods of which no grid point can be chosen, so that all of theirs are drawn; for a caption."""
        names = [method for method in self.by_method() if self.best(method) is None]
        return f" (of {', '.join(names)} none can be chosen: all are drawn)" if names else ""

    def baselines(self, split: str | None = None) -> dict[str, float]:
        """Scores (fractions) of the rows without training on one split (None: the reported one), by label.

        Several zero-shot runs (label words and digits, say) are told apart by the options that differ.
        """
        found: dict[str, float] = {}
        for method, name in BASELINES.items():
            runs = [run for run in self.runs if run.method == method]
            points = [point for trial in trials(runs) if (point := _point(trial)).mean(split) is not None]
            several = differing([point.runs[0] for point in points])
            for point in points:
                values = ", ".join(str(point.runs[0].options.get(key)) for key in several)
                found[f"{name} ({values})" if values else name] = point.mean(split)  # type: ignore[assignment]
        return found

    def rules(self, split: str | None = None) -> dict[str, float]:
        """What is to be had without training on one split: the baselines, and the trained runs' median at step 0.

        A figure has one split on its axis: a score of another one is no rule for it.
        """
        values = [value for run in self.trained if (value := run.untrained(split)) is not None]
        return self.baselines(split) | ({"untrained prompt": median(values)} if values else {})


def differing(runs: Sequence[Seen]) -> list[str]:
    """Dotted keys of the choices that name a run (results.identity), but the seed, whose values differ among runs."""
    counted = [run.counted for run in runs]
    keys = sorted({key for one in counted for key in one if key != "seed"})
    return [key for key in keys if len({str(one.get(key)) for one in counted}) > 1]


def _point(trial: Trial) -> GridPoint:
    return GridPoint(tuple(trial.runs))  # type: ignore[arg-type]


def read(root: Path | str, filters: Mapping[str, Sequence[str]]) -> tuple[list[Seen], list[str]]:
    """Every readable run that the filters let through, and a sentence per folder that could not be read.

    A paper's committed runs are read beside the ledger's; ``table`` takes the runs in that table's cells, whatever
    experiment they were made for.

    Raises:
        LayoutError: there is no such table.
    """
    reading, rest = read_runs(root), dict(filters)
    for paper in filters.get("paper", ()):
        reading = with_archive(reading, paper)
    runs = [Seen(run.record, run.folder) for run in reading.runs]
    if tables := rest.pop("table", None):
        layouts = [load(paper, table) for paper in rest.pop("paper", ("",)) for table in tables]
        runs = [run for run in runs if any(layout.holds(run) for layout in layouts)]
    chosen = {key: value for key, value in rest.items() if key not in BY_NAME}
    meant, lacking = settled(chosen, runs)
    runs = [run for run in runs if passes(run, rest | meant)]
    words = told_apart(runs)
    return [replace(run, apart=words(run)) for run in runs], [*reading.problems, *lacking]


def experiment_of(run: Run) -> str:
    """The experiment (a paper's table, a demo) that a run was made for, empty where there is none."""
    return str(run.record.get("experiment") or run.config.get("experiment") or "")


def passes(run: Run, filters: Mapping[str, Sequence[str]]) -> bool:
    """Whether a run passes ``{facet or dotted config key: allowed values}``.

    ``paper`` and ``experiment`` match an experiment or all under it (``dept``: ``dept/table1``, ...); ``run_id``
    matches the beginning of an id.
    """
    rest = dict(filters)
    for key in ("paper", "experiment"):
        allowed = rest.pop(key, None)
        experiment = experiment_of(run)
        if allowed and not any(experiment == name or experiment.startswith(f"{name}/") for name in allowed):
            return False
    prefixes = rest.pop("run_id", None)
    if prefixes and not any(run.id.startswith(prefix) for prefix in prefixes):
        return False
    return matches(run, rest)


def panels(runs: Iterable[Seen]) -> list[Panel]:
    """Finished runs by what they may be drawn together for; fixture runs are never mixed with real ones."""
    found: dict[tuple[str, str, str, bool], list[Seen]] = defaultdict(list)
    for run in runs:
        if run.done:
            names = (str(run.record.get(key, "?")) for key in ("task", "backbone", "protocol"))
            found[(*names, run.is_fixture)].append(run)  # type: ignore[index]
    made = []
    for (task, backbone, protocol, fixture), members in sorted(found.items()):
        name = f"{protocol} (fixture: no scientific value)" if fixture else protocol
        for words, _, drawn in by_setting(members):
            made.append(Panel(task, backbone, f"{name}, {words}" if words else name, drawn))
    return made
