"""What a sweep still lacks: the state of every point, the hours it would take, a table. Loads no model."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conf.capabilities import capabilities
from conf.paths import ledger_of
from conf.plan import UNKNOWN, Plan, Point
from conf.resolve import get
from runners.controls import trains_something
from runners.fresh import moved

STATES = ("done", "stale", "running", "failed", "interrupted", "broken", "missing", "unreachable")
WORDS = {"unreachable": "not reachable from here"}
COMPLETE = ("done", "stale")  # stale: data or backbone have moved since; retry_stale=true trains it again
LIMIT_HOURS = 24.0
# floating-point operations per second of padded-out rows; only where nothing was measured. CPU: two cores took 50 s for
# 20 steps of SmolLM2-135M at the greatest length of 116 (most rows are a third of it). GPU: never measured.
SPEED = {"CPU": 4e11, "GPU": 3e13}


@dataclass(frozen=True)
class PointState:
    """Where a point stands.

    Attributes:
        status: one of STATES.
        hours: what it would still take; None where nothing is known.
        measured: whether like runs of the ledger were timed (else: a guess from the model's size).
        score: of the reported metric, where it is done (fraction).
        reason: of a failure, or why it is stale.
    """

    status: str
    hours: float | None
    measured: bool
    score: float | None = None
    reason: str | None = None


def survey(plan: Plan) -> list[PointState]:
    """The state of every point of a plan, in order."""
    if not plan.points:
        return []
    clock = Clock(ledger_of(plan.points[0].config).records())
    return [_state(point, clock) for point in plan.points]


class Clock:
    """Seconds per step of like runs: of the same backbone, method, task and batch, else less alike."""

    def __init__(self, records: Iterable[Mapping[str, Any]]) -> None:
        self._seen: dict[tuple[Any, ...], list[tuple[float, int | None]]] = defaultdict(list)
        for record in records:
            steps, seconds = record.get("steps"), record.get("wall_seconds")
            if record["status"] != "done" or not steps or not seconds or record.get("packed"):
                continue
            config = record.get("config") or {}
            for key in self._keys(record["backbone"], record["method"], record["task"], config):
                self._seen[key].append((seconds / steps, get(config, "runner.batch_size")))

    def seconds(self, point: Point) -> tuple[float | None, bool]:
        """(seconds of the whole run, whether they come from measured runs); None where nothing is known."""
        config = point.config
        steps = config.runner.max_steps
        if not trains_something(config) or not steps:  # what is scored as it is takes no steps
            return None, False
        for key in self._keys(config.backbone.name, config.method["name"], config.task.name, point.resolved):
            if key in self._seen:
                return steps * statistics.median(
                    _scaled(*one, config.runner.batch_size) for one in self._seen[key]
                ), True
        guess = _guess(point)
        return (None if guess is None else steps * guess), False

    @staticmethod
    def _keys(backbone: str, method: str, task: str, config: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        batch = get(config, "runner.batch_size")
        return [(backbone, method, task, batch), (backbone, method, batch), (backbone, method), (backbone,)]


def _scaled(seconds: float, theirs: int | None, ours: int | None) -> float:
    """Seconds per step at another batch: as many rows, as much time."""
    return seconds * ours / theirs if theirs and ours else seconds


def _guess(point: Point) -> float | None:
    """Seconds per step from sizes: 4 operations per weight and token (forward, and backward to the activations)."""
    try:
        facts = point.config.backbone.sizes()
    except ValueError:
        return None
    weights = facts.parameters or (facts.layers + facts.decoder_layers) * 12 * facts.width**2
    runner, task = point.config.runner, point.config.task
    length = min(task.max_source_length or 256, runner.max_source_length or 1 << 20)
    length += int(point.config.method.get(capabilities(point.config.method).length or "") or 0)
    return 4.0 * weights * (runner.batch_size or 32) * length / SPEED[device()]


def device() -> str:
    """GPU or CPU, without torch."""
    return "GPU" if any(Path("/dev").glob("nvidia[0-9]*")) else "CPU"


def _state(point: Point, clock: Clock) -> PointState:
    seconds, measured = clock.seconds(point)
    left = None if seconds is None else seconds / 3600
    if point.unreachable:
        return PointState("unreachable", left, measured, reason=point.unreachable)
    run = ledger_of(point.config).run(point.run_id)
    try:
        record = run.record()
    except ValueError as error:
        return PointState("broken", left, measured, reason=str(error))
    if record is None:
        return PointState("running" if run.is_held() else "missing", left, measured)
    if record["status"] in COMPLETE:
        score = get(record, f"metrics.{record.get('primary_split')}.{record.get('primary_metric')}")
        stale = record.get("stale") or moved(point.config, record)
        return PointState("stale" if stale else "done", 0.0, measured, score, stale)
    if (run / "checkpoint.pt").exists() and point.config.runner.max_steps:
        done = max([0, *(row.get("step", 0) for row in run.metrics())])
        left = None if left is None else left * max(0.0, 1 - done / point.config.runner.max_steps)
    return PointState(record["status"], left, measured, reason=record.get("reason"))


def hours(states: Sequence[PointState]) -> float:
    """Hours that one process would take for what is not done."""
    return sum(state.hours or 0.0 for state in states if state.status not in COMPLETE)


def hours_text(states: Sequence[PointState]) -> str:
    """The estimate in words, with where it comes from and what it leaves out."""
    todo = [state for state in states if state.status not in COMPLETE]
    timed = [state for state in todo if state.hours is not None]
    if not timed:
        return "hours not known: nothing is trained here, or neither sizes nor like runs tell of it"
    total = hours(states)
    measured = sum(state.measured for state in timed)
    if measured == len(timed):
        source = "from measured steps of like runs"
    elif measured:
        source = (
            f"{measured} from measured steps, {len(timed) - measured} guessed from the model's size on a {device()}"
        )
    else:
        source = f"a guess from the model's size on a {device()}: no like run has been measured here yet"
    if len(timed) < len(todo):
        source += f"; {len(todo) - len(timed)} of {len(todo)} points not counted: they train nothing, or are not known"
    return f"about {_amount(total)} in one process ({source}){_elsewhere(timed)}"


def _elsewhere(timed: Sequence[PointState]) -> str:
    """Days of guessed CPU time say little: what the same operations are on a GPU."""
    guessed = sum(state.hours or 0.0 for state in timed if not state.measured)
    if device() == "GPU" or guessed <= LIMIT_HOURS:
        return ""
    there = _amount(guessed * SPEED["CPU"] / SPEED["GPU"])
    return f"; the guessed part on a GPU of {SPEED['GPU'] / 1e12:g} TFLOP/s: about {there} (never measured)"


def _amount(total: float) -> str:
    """Hours in words: minutes under one, whole hours from a hundred."""
    if total < 1:
        return f"{60 * total:.0f} minutes"
    return f"{total:,.1f} hours" if total < 100 else f"{total:,.0f} hours"


def show(plan: Plan, states: Sequence[PointState], most: int = 400) -> str:
    """The grid as a table, counts, hours, and the commands that fill it."""
    keys = plan.varying or ["method", "task"]
    head = ["status", "run", *(key.removeprefix("method.") for key in keys), "steps", "score", "hours"]
    body = [
        [
            WORDS.get(state.status, state.status),
            UNKNOWN if point.unreachable else point.run_id,
            *(_value(point, key) for key in keys),
            _steps(point),
            "" if state.score is None else f"{100 * state.score:.1f}",
            "" if state.status in COMPLETE else "?" if state.hours is None else f"{state.hours:.2f}",
        ]
        for point, state in zip(plan.points, states, strict=True)
    ]
    widths = [max(len(row[i]) for row in [head, *body]) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [head]]
    lines.append("  ".join("-" * width for width in widths))
    lines += [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in body[:most]
    ]
    if len(body) > most:
        lines.append(f"... and {len(body) - most} more")
    return "\n".join([*lines, "", *summary(plan, states)])


def summary(plan: Plan, states: Sequence[PointState]) -> list[str]:
    """Counts, hours and commands."""
    counts = Counter(state.status for state in states)
    lines = [f"{len(states)} points: {', '.join(f'{counts[s]} {WORDS.get(s, s)}' for s in STATES if counts[s])}"]
    away = list(dict.fromkeys(point.config.task.name for point in plan.points if point.unreachable))
    if away:
        lines.append(
            f"data {WORDS['unreachable']}: {', '.join(away)}; their ids and states are known where the data are "
            "(data=local data.root=<folder>, or a machine that reaches the Hub)"
        )
    lines += [f"note: {note}" for note in plan.notes]
    if plan.repeated:
        lines.append(
            f"{plan.repeated} further points are the same run as one above (they differ in nothing that counts)"
        )
    reasons = Counter(state.reason for state in states if state.status == "failed" and state.reason)
    lines += [f"failed {count} times: {reason}" for reason, count in reasons.most_common(5)]
    stale = [state.reason for state in states if state.status == "stale"]
    if stale:
        lines.append(f"stale, so that no table takes them: {stale[0]}; retry_stale=true trains them again")
    if sum(counts[status] for status in COMPLETE) == len(states):
        return [*lines, "nothing is missing"]
    lines.append(hours_text(states))
    more = (["retry_failed=true"] if counts["failed"] else []) + (["yes=true"] if hours(states) > LIMIT_HOURS else [])
    more = [option for option in more if option not in plan.command]
    lines.append(f"fill it:           {plan.line(*more)}")
    if plan.launcher == "basic" and len(states) > 1:
        lines.append(f"in packs:          {plan.line(*more, launcher='packed')}")
        lines.append(f"two at a time:     {plan.line(*more, 'hydra.launcher.n_jobs=2', launcher='joblib')}")
    return lines


def _steps(point: Point) -> str:
    trains = capabilities(point.config.method).trains and not point.config.released.path
    return f"{point.config.runner.max_steps:,}" if trains and point.config.runner.max_steps else ""


def _value(point: Point, key: str) -> str:
    return point.chosen.get(key, "")
