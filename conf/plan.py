"""The one planner: a command line becomes named points, and every bad point is said before the first run starts.

It serves `plan=true`, `-m`, tables (`experiment=<paper>/<table>`) and every launcher. Neither torch nor transformers is
loaded: a plan is made on a machine that has neither data nor models.
"""

from __future__ import annotations

import os
import shlex
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.types import Override

from conf.capabilities import capabilities
from conf.choices import GIVEN
from conf.compose import compose, compose_raw, has_grid, name_run, parse, typed, wrong_sign
from conf.grid import Chosen, expand, swept, texts, trials
from conf.packing import has_dropout, pack_key
from conf.resolve import ConfigError, get
from conf.schema import Config
from results.identity import flatten
from tasks.errors import SourceUnavailable

CONTROL = ("plan", "yes", "fail_fast", "retry_failed", "retry_stale", "force", "pack", "budget.kind", "budget.trials")
UNKNOWN = "id unknown"
ENOUGH_WORDS = 6  # keys that a label shows
ONE_POINT = "this grid is one point: nothing varies in it"


@dataclass(frozen=True)
class Point:
    """One run of a sweep.

    Attributes:
        chosen: override key -> value text.
        resolved: its configuration (what run_point takes); config: the same, typed.
        run_id: its name in the ledger; UNKNOWN and a number where `unreachable` says why it cannot be named.
        unreachable: why its data cannot be had here (a plan is shown all the same; a run is refused).
    """

    chosen: Chosen
    resolved: dict[str, Any] = field(repr=False)
    config: Config = field(repr=False)
    run_id: str
    unreachable: str = ""

    @property
    def overrides(self) -> list[str]:
        """The overrides of the same run alone."""
        return texts({key: value for key, value in self.chosen.items() if key not in CONTROL})


@dataclass(frozen=True)
class Plan:
    """The points of a command line in the order in which they run.

    Attributes:
        points: distinct runs.
        varying: override keys in which the points differ.
        hydra: the overrides that are Hydra's own (launcher and its options).
        launcher: the launcher's name (basic | joblib | packed | submitit_local | submitit_slurm | another plugin's).
        command: overrides as given.
        repeated: points that are the same run as an earlier one.
        notes: what a grid does not do (a key that the method lacks, a grid of one point).
        problems: what is wrong with points that could not be composed; they are not among `points`.
        controls: what the grid wants beside each point (runners/controls.py puts it there).
    """

    points: list[Point]
    varying: list[str]
    hydra: list[str]
    launcher: str
    command: list[str]
    repeated: int = 0
    controls: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def only_shown(self) -> bool:
        """`plan=true`: show the grid, run nothing."""
        return any(point.config.plan for point in self.points) or "plan=true" in self.command

    def label(self, point: Point, *without: str) -> str:
        """What is particular about a point, some keys left out."""
        keys = [key for key in self.varying if key in point.chosen and key not in without]
        said = [f"{key.removeprefix('method.')}={point.chosen[key]}" for key in keys]
        return " ".join(said[:ENOUGH_WORDS]) or " ".join(point.overrides[:ENOUGH_WORDS])

    def line(self, *more: str, launcher: str | None = None) -> str:
        """The command that runs this plan, with further overrides."""
        without = [
            o.replace("budget.kind=", "budget=", 1).replace("budget.confirm=", "confirm=", 1)
            for o in self.command
            if not o.startswith("plan=")
        ]
        if launcher is not None:
            without = [o for o in without if not o.startswith("hydra/launcher=")] + [f"hydra/launcher={launcher}"]
        folders = [word for folder in GIVEN for word in ("--config-dir", folder)]
        return shlex.join(["python", "run.py", "-m", *folders, *without, *more])


def is_sweep(overrides: Sequence[str]) -> bool:
    """Whether a command line without -m is a multirun by itself: a table, a `+sweep=`, equal tuning."""
    parsed, _ = parse(_budget_word(overrides))
    keys = {override.key_or_group for override in parsed}
    asked = any(key.split(".")[0] == "sweep" for key in keys) or {"budget.trials", "budget.confirm", "plan"} & keys
    return bool(asked) or has_grid(parsed)


def launcher_of(overrides: Sequence[str]) -> str:
    """The launcher that a command line names."""
    names = [o.split("=", 1)[1] for o in overrides if o.startswith("hydra/launcher=")]
    return names[-1] if names else "basic"


def make_plan(overrides: Sequence[str]) -> Plan:
    """Plan a command line; every problem of every point is in `problems`, each said once."""
    given = _budget_word(overrides)
    parsed, problems = parse(given)
    own = [o for o in parsed if not o.is_hydra_override()]
    problems += [wrong for o in own if (wrong := wrong_sign(o))]
    own = [o for o in own if not wrong_sign(o)]  # what a point is composed from has no signs any more
    points: list[Chosen] = []
    starts: list[Chosen] = []
    notes: list[str] = []
    try:
        starts = swept(own)
    except ConfigError as error:
        problems += error.problems
    for start in starts:
        try:
            points += _grid(start, own, notes)
        except ConfigError as error:
            problems += _all_problems(start) or error.problems
    shown = any(o.key_or_group == "plan" and o.value() is True for o in own if not o.is_sweep_override())
    made, found = compose_all(points, launcher_of(given) == "packed", shown)
    problems += found
    if not problems:
        problems += _unequal_caps(made)
    distinct = list({point.run_id: point for point in reversed(made)}.values())[::-1]
    if not distinct and not problems:
        problems.append("this grid has no points: a `where` or a list in it leaves nothing")
    if len(distinct) == 1 and not problems:
        notes.append(ONE_POINT)
    return Plan(
        points=in_order(distinct),
        varying=varying([point.chosen for point in distinct]),
        hydra=[str(o.input_line) for o in parsed if o.is_hydra_override()],
        launcher=launcher_of(given),
        command=given,
        repeated=len(made) - len(distinct),
        controls=tuple(dict.fromkeys(name for start in starts for name in _controls(start))),
        notes=list(dict.fromkeys(notes)),
        problems=list(dict.fromkeys(problems)),
    )


def _all_problems(start: Chosen) -> list[str]:
    """Everything that is wrong with a point from which no grid could be made."""
    try:
        compose(texts(start))
    except ConfigError as error:
        return error.problems
    return []


def _budget_word(overrides: Sequence[str]) -> list[str]:
    """`budget=released` is short for `budget.kind=released`, `confirm=3` for `budget.confirm=3`."""
    words = [f"budget.confirm={o[8:]}" if o.startswith("confirm=") else o for o in overrides]
    return [f"budget.kind={o[7:]}" if o.startswith("budget=") and "{" not in o else o for o in words]


def _grid(start: Chosen, own: Sequence[Override], notes: list[str]) -> list[Chosen]:
    """The points that the grid of an experiment or of `+sweep=` makes of one point."""
    fixed = {override.key_or_group for override in own}
    point = {key: value for key, value in start.items() if key.split(".")[0] != "sweep"}
    if not any(key.split(".")[0] in ("experiment", "sweep", "budget") for key in start):
        return [point]
    config = compose_raw(texts(start))
    spec = config.get("sweep") or {}
    points = expand(spec, point, fixed, notes)
    count = get(config, "budget.trials")
    if count and not spec.get("trials"):
        points = [q for p in points for q in trials(int(count), p, fixed, notes)]
    return points


def _controls(start: Chosen) -> list[str]:
    """The controls that a `+sweep=` names."""
    if not any(key.split(".")[0] in ("experiment", "sweep") for key in start):
        return []
    try:
        return list((compose_raw(texts(start)).get("sweep") or {}).get("controls") or ())
    except ConfigError:  # said elsewhere
        return []


def compose_all(points: Sequence[Chosen], packs: bool, shown: bool = False) -> tuple[list[Point], list[str]]:
    """Composed points, and the problems of the others with the first point that has each.

    Args:
        packs: points that draw random numbers are marked as packed, which is then part of their names.
        shown: nothing is run: points whose data cannot be had from here are kept, without a name.
    """
    made: list[Point] = []
    problems: dict[str, list[str]] = defaultdict(list)
    keys = varying(points)
    for chosen in points:
        try:
            point = point_of(chosen)
            if packs and pack_key(point.resolved, point.config) and has_dropout(point.config):
                point = point_of(chosen | {"packed": "true"})
            made.append(point)
        except SourceUnavailable as error:
            if shown:
                made.append(_unnamed(chosen, f"{UNKNOWN} {len(made) + 1}", str(error)))
            else:
                problems[str(error)].append(" ".join(f"{key}={chosen[key]}" for key in keys if key in chosen))
        except ConfigError as error:
            for problem in error.problems:
                problems[problem].append(" ".join(f"{key}={chosen[key]}" for key in keys if key in chosen))
        except ValueError as error:  # data that cannot be had or read
            problems[str(error)].append(" ".join(f"{key}={chosen[key]}" for key in keys if key in chosen))
    many = len(points) > 1
    return made, [problem + (_where(labels, len(points)) if many else "") for problem, labels in problems.items()]


def _where(labels: Sequence[str], total: int) -> str:
    if len(labels) == total:
        return " (every point)"
    first = f" ({labels[0]}"
    return first + (f" and {len(labels) - 1} more of {total} points)" if len(labels) > 1 else ")")


def point_of(chosen: Chosen) -> Point:
    """Compose and name one point.

    Raises:
        ConfigError: with every problem of it; SourceUnavailable: its data cannot be had from here.
    """
    resolved, config = _composed(chosen)
    return Point(chosen, resolved, config, name_run(resolved, config)[0])


def _unnamed(chosen: Chosen, name: str, why: str) -> Point:
    """A point whose data cannot be had from here: the data's revision is part of an id, so it has none."""
    return Point(chosen, *_composed(chosen), name, why)


def _composed(chosen: Chosen) -> tuple[dict[str, Any], Config]:
    resolved = compose(texts(chosen))
    if resolved.get("sweep"):  # the grid is not a part of the point
        resolved["sweep"] = {"name": resolved["sweep"].get("name") or resolved.get("experiment")}
    config = typed(resolved)
    if capabilities(resolved["method"]).needs_source and not resolved["method"].get("init_from"):
        name = resolved["method"]["name"]
        raise ConfigError([f"method={name} starts from another run: give method.init_from=<run id of the source task>"])
    return resolved, config


def _unequal_caps(points: Sequence[Point]) -> list[str]:
    """Equal tuning means the same cap on steps for every method of a task."""
    caps: dict[tuple[str, str], dict[int | None, str]] = defaultdict(dict)
    for point in points:
        if point.config.budget.trials or (point.config.sweep or {}).get("name") == "fair_8":
            config = point.config
            caps[config.task.name, config.backbone.name].setdefault(config.runner.max_steps, config.method["name"])
    return [
        f"equal tuning on {task} with {backbone} needs one cap on steps, not "
        f"{', '.join(f'{steps} ({method})' for steps, method in found.items())}; give runner.max_steps=N"
        for (task, backbone), found in caps.items()
        if len(found) > 1
    ]


def labels(points: Sequence[Point]) -> dict[str, str]:
    """Run id -> what is particular about it among these points."""
    keys = varying([point.chosen for point in points])
    return {
        p.run_id: " ".join(f"{key.removeprefix('method.')}={p.chosen[key]}" for key in keys if key in p.chosen)
        or p.run_id
        for p in points
    }


def varying(points: Sequence[Chosen]) -> list[str]:
    """Keys whose values are not the same in all points."""
    keys = dict.fromkeys(key for point in points for key in point)
    return [key for key in keys if len({point.get(key) for point in points}) > 1]


def in_order(points: list[Point]) -> list[Point]:
    """Points with one backbone stand together, so that it is loaded once."""
    first: dict[str, int] = {}
    for point in points:
        first.setdefault(_backbone(point), len(first))
    return sorted(points, key=lambda point: first[_backbone(point)])


def _backbone(point: Point) -> str:
    return repr(sorted(flatten(point.resolved["backbone"]), key=str)) + point.config.runner.precision


def processes() -> tuple[int, int]:
    """(rank, number) of this process under torchrun, without torch."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
