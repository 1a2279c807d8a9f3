"""The best point of a sweep, chosen by validation only, with the trials counted.

A trial is one configuration apart from its seed; its seeds are averaged before trials are compared, and a trial with
fewer seeds than its rivals never wins, so that a lucky seed does not. The winner's seeds flatter it: runs made to
confirm it (`confirm=N`, fresh seeds) stand alone in its cell where there are some. Choosing on the reported split (as
P-tuning v2 did) must be asked for by name.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from results import setting
from results.records import Run, lookup
from results.today import code_of_today

RULES = ("validation", "reported")
ENOUGH = 2  # fresh seeds that may stand alone: one would tell nothing of the noise


@dataclass(frozen=True)
class Trial:
    """One configuration of a sweep with its seeds (scores are fractions).

    Attributes:
        runs: Those that trials are compared by; `fresh`: those made to confirm it, after it was chosen.
        selection, reported: Mean validation and reported score of `runs`.
        repeated: Runs of a seed that is among `runs` already, with another score; they stand in no mean.
    """

    runs: tuple[Run, ...]
    selection: float | None
    reported: float | None
    fresh: tuple[Run, ...] = ()
    repeated: tuple[Run, ...] = ()


@dataclass(frozen=True)
class Choice:
    """The chosen trial and what it was chosen from.

    Attributes:
        runs: What stands for the method.
        rule: "only" (one trial: nothing was chosen), "validation", "reported" or "none" (several trials and no score
            to choose by: `runs` is then empty and `problem` says why).
        confirmed: Whether `runs` are fresh seeds of the chosen trial alone.
        notes: What a reader should know of the choice.
    """

    runs: tuple[Run, ...] = ()
    rule: str = "only"
    trials: tuple[Trial, ...] = field(default=(), repr=False)
    problem: str = ""
    confirmed: bool = False
    notes: tuple[str, ...] = ()

    @property
    def median(self) -> float | None:
        """The median over the grid of the reported score (fraction): what an untuned user would get."""
        scores = [trial.reported for trial in self.trials if trial.reported is not None]
        return statistics.median(scores) if scores else None

    @property
    def optimistic(self) -> bool:
        """Whether the winner of several trials stands with the seeds that it won with."""
        return self.rule in RULES and len(self.trials) > 1 and not self.confirmed


def trials(runs: Sequence[Run], metric: str | None = None) -> list[Trial]:
    """Group done runs into trials (configurations without their seed), in the order of first appearance."""
    groups: dict[str, dict[object, Run]] = defaultdict(dict)
    repeated: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if run.done:
            first = groups[run.configuration].setdefault(run.draw, run)
            if first is not run and first.score(metric=metric) != run.score(metric=metric):
                repeated[run.configuration].append(run)
    made = []
    for name, group in groups.items():
        tuning = tuple(run for run in group.values() if not run.confirming)
        fresh = tuple(run for run in group.values() if run.confirming)
        made.append(
            Trial(
                tuning,
                _mean([run.selection_score() for run in tuning]),
                _mean([run.score(metric=metric) for run in tuning or fresh]),
                fresh,
                tuple(repeated[name]),
            )
        )
    return made


def choose(runs: Sequence[Run], rule: str = "validation", metric: str | None = None) -> Choice:
    """The trial with the best mean score over its seeds, among those with the most seeds.

    Nothing is chosen where runs differ in what is not tuned (results/setting.py); of an edited method the runs of its
    code as it is now are meant.

    Args:
        runs: Runs of one method on one task; those that are not done are left out.
        rule: "validation", or "reported" for selection on the reported split.
        metric: The metric that is reported (default: each run's primary metric).

    Raises:
        ValueError: If the rule is neither of the two.
    """
    if rule not in RULES:
        raise ValueError(f"selection={rule}: must be one of {', '.join(RULES)}")
    several = of_several_settings(runs, metric)
    if several is not None:
        return _of_todays_code(runs, rule, metric) or several
    found = tuple(trials(runs, metric))
    if len(found) <= 1:
        return Choice(found[0].runs + found[0].fresh if found else (), "only", found, notes=_repeated(found))
    most = max(len(trial.runs) for trial in found)
    rivals = [trial for trial in found if len(trial.runs) == most]
    notes = [*([_fewer(found, rivals)] if len(rivals) < len(found) else []), *_repeated(found)]
    confirmed = [trial for trial in found if len(trial.fresh) >= ENOUGH]
    lacking = sum(_score(trial, rule) is None for trial in (confirmed or rivals))
    if lacking and len(confirmed or rivals) > 1:
        problem = (
            f"{len(found)} configurations and {lacking} without a {rule} score to choose by: "
            "filter to one, or ask for selection=reported"
        )
        return Choice((), "none", found, problem)
    best = _best(rivals, rule)
    if confirmed:
        chosen = _best(confirmed, rule)
        if chosen is not best:
            notes.append("another point is ahead on validation since this one was confirmed: confirm=N again")
        return Choice(chosen.fresh, rule, found, confirmed=True, notes=tuple(notes))
    return Choice(best.runs, rule, found, notes=tuple(notes))


def _of_todays_code(runs: Sequence[Run], rule: str, metric: str | None) -> Choice | None:
    """The choice among the runs of today's code, where leaving out earlier ones settles what is meant."""
    now = [run for run in runs if not run.done or code_of_today(run)]
    if len(now) == len(runs) or not any(run.done for run in now) or of_several_settings(now, metric) is not None:
        return None
    left = len(runs) - len(now)
    choice = choose(now, rule, metric)
    note = f"{left} run{'s' * (left > 1)} of other code than is here now left out"
    return replace(choice, notes=(*choice.notes, note))


def of_several_settings(runs: Sequence[Run], metric: str | None) -> Choice | None:
    """Runs on several contents of the data, rows, versions or metrics are no trials of each other: which is meant,
    nobody has said. None where they differ in what is tuned alone."""
    done = [run for run in runs if run.done]
    differing = setting.conflicts(done) if len({run.configuration for run in done}) > 1 else {}
    names = {run.primary_metric for run in done}
    if metric is None and len(names) > 1:
        differing["reported metric"] = sorted(names)
    if not differing:
        return None
    problem = _of_one_content(done) if len({run.get("task") for run in done}) == 1 else ""
    said = setting.told(differing)
    problem = problem or f"its runs differ in what is not tuned: {said}; filter to one, or make it a row"
    return Choice((), "none", problem=problem)


def _of_one_content(done: Sequence[Run]) -> str:
    """Which contents of the data, or of one model of the Hub, the runs of a cell saw, where they are several."""
    seen: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for run in done:
        for what, key, content in (
            ("the data", "data.revision", run.data_content),
            (f"backbone {run.get('backbone')}", "backbone_content.commit", run.backbone_content),
        ):
            if content:
                seen[what, key][content] = str(lookup(run.record, key) or content)
    for (what, key), contents in seen.items():
        if len(contents) > 1:
            which = ", ".join(sorted(set(contents.values())))
            return f"its runs saw {len(contents)} contents of {what} ({which}): filter by {key}=, or move some away"
    return ""


def _score(trial: Trial, rule: str) -> float | None:
    return trial.selection if rule == "validation" else trial.reported


def _best(rivals: Sequence[Trial], rule: str) -> Trial:
    """The highest; the earliest of equals, so that the choice does not depend on what is added later."""
    scores = [_score(trial, rule) for trial in rivals]
    known = [-1e9 if score is None else score for score in scores]
    return rivals[known.index(max(known))]


def _fewer(found: Sequence[Trial], rivals: Sequence[Trial]) -> str:
    fewer = len(found) - len(rivals)
    return (
        f"{fewer} of {len(found)} trials {'has' if fewer == 1 else 'have'} fewer seeds than the "
        f"{len(rivals[0].runs)} of the others and could not be chosen"
    )


def _repeated(found: Sequence[Trial]) -> tuple[str, ...]:
    """What is said of runs that repeat a seed of their trial with another score."""
    runs = [run for trial in found for run in trial.repeated]
    if not runs:
        return ()
    named = ", ".join(f"{run.id} (seed {run.get('seed')})" for run in runs[:4])
    more = f" and {len(runs) - 4} more" if len(runs) > 4 else ""
    return (f"left out, since a run of the same configuration and seed stands here with another score: {named}{more}",)


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values, None if one is missing."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
