"""The best point of a sweep, chosen by validation only, with the trials counted.

A trial is one configuration apart from its seed; its seeds are averaged before trials are compared, so that a
lucky seed does not win. Choosing on the reported split (as P-tuning v2 did) must be asked for by name.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from results.records import Run

RULES = ("validation", "reported")


@dataclass(frozen=True)
class Trial:
    """One configuration of a sweep with its seeds (scores are fractions)."""

    runs: tuple[Run, ...]
    selection: float | None
    reported: float | None


@dataclass(frozen=True)
class Choice:
    """The chosen trial and what it was chosen from.

    `rule` is "only" (one trial: nothing was chosen), "validation", "reported" or "none" (several trials and
    no score to choose by: `runs` is then empty and `problem` says why).
    """

    runs: tuple[Run, ...] = ()
    rule: str = "only"
    trials: tuple[Trial, ...] = field(default=(), repr=False)
    problem: str = ""

    @property
    def median(self) -> float | None:
        """The median over the grid of the reported score (fraction): what an untuned user would get."""
        scores = [trial.reported for trial in self.trials if trial.reported is not None]
        return statistics.median(scores) if scores else None


def trials(runs: Sequence[Run], metric: str | None = None) -> list[Trial]:
    """Group done runs into trials (configurations without their seed), in the order of first appearance."""
    groups: dict[str, dict[object, Run]] = defaultdict(dict)
    for run in runs:
        if run.done:
            groups[run.configuration].setdefault(run.get("seed"), run)
    return [
        Trial(
            tuple(group.values()),
            _mean([run.selection_score() for run in group.values()]),
            _mean([run.score(metric=metric) for run in group.values()]),
        )
        for group in groups.values()
    ]


def choose(runs: Sequence[Run], rule: str = "validation", metric: str | None = None) -> Choice:
    """The trial with the best mean score over its seeds.

    Args:
        runs: Runs of one method on one task; those that are not done are left out.
        rule: "validation", or "reported" for selection on the reported split.
        metric: The metric that is reported (default: each run's primary metric).

    Raises:
        ValueError: If the rule is neither of the two.
    """
    if rule not in RULES:
        raise ValueError(f"selection={rule}: must be one of {', '.join(RULES)}")
    found = trials(runs, metric)
    if len(found) <= 1:
        return Choice(found[0].runs if found else (), "only", tuple(found))
    scored = [(trial.selection if rule == "validation" else trial.reported, index) for index, trial in enumerate(found)]
    if any(score is None for score, _ in scored):
        lacking = sum(score is None for score, _ in scored)
        return Choice(
            (),
            "none",
            tuple(found),
            f"{len(found)} configurations and {lacking} without a {rule} score to choose by: "
            "filter to one, or ask for selection=reported",
        )
    # the earliest of equals, so that the choice does not depend on the order of later additions
    best = max(scored, key=lambda pair: (pair[0], -pair[1]))[1]
    return Choice(found[best].runs, rule, tuple(found))


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values, None if one is missing."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
