"""`python -m results.ensembles`: the seeds of one configuration together, by vote and by mean of probabilities.

    python -m results.ensembles method=pt task=superglue/cb
    python -m results.ensembles task=demo/movie_reviews out=ensembles.md figure=reliability.png

Per configuration with at least two finished runs: the mean of single runs, the best of them by the reported score
(optimistic), the majority vote (Lester et al. 2021), the mean of probabilities, and the calibration of both (expected
calibration error, Brier score). Any facet or config key chooses runs. Probabilities need the label scores that ranked
and classified runs keep; where there are none the vote stands alone. figure=FILE draws the reliability of each.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from results.asked import asked_for
from results.calibration import (
    Bin,
    NotAlike,
    answers_of,
    brier,
    confidences,
    expected_calibration_error,
    mean_probabilities,
    reliability,
    vote,
)
from results.command_line import command, deliver, place
from results.records import Run
from results.scores import NoScores, Scores, read_scores
from results.standing import told
from results.tables.checked import LayoutError
from results.tables.evidence import NO_SUMS, groups_of_rows, run_sums, sums_for
from tasks.kinds import KINDS

TOGETHER = {"best": "best of several", "vote": "vote", "soft": "mean of probabilities"}  # values of a row in tables
Rows = dict[str, dict[str, Any]]  # predictions by id
Way = Callable[[Sequence[Run], Sequence[Rows]], dict[str, str]]
OPTIONS = ("ledger.root", "out", "figure", "fixtures")
HEAD = (
    "configuration", "metric", "runs", "mean", "best", "vote", "mean of probabilities",
    "ECE, single", "ECE, together", "Brier, single", "Brier, together",
)  # fmt: skip


@dataclass
class Ensemble:
    """The runs of one configuration together; scores and errors are fractions, None where they cannot be had."""

    name: str
    metric: str
    singles: list[float]
    voted: float | None = None
    soft: float | None = None
    error: tuple[float, float] | None = None  # ECE: mean of single runs, of the mean of probabilities
    brier: tuple[float, float] | None = None
    bins: list[Bin] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def groups_of(runs: Sequence[Run]) -> list[list[Run]]:
    """Finished trained runs by configuration apart from their seed, those with at least two."""
    found: dict[str, dict[Any, Run]] = {}
    for run in runs:
        if run.done and run.trained:  # seeds of what draws nothing are one run
            found.setdefault(run.configuration, {}).setdefault(run.draw, run)
    return [list(seeds.values()) for seeds in found.values() if len(seeds) > 1]


def together(runs: Sequence[Run]) -> Ensemble:
    """An ensemble of runs of one configuration, in the order of their seeds."""
    runs = in_order(runs)
    first = runs[0]
    made = Ensemble(_name(first), first.primary_metric, [s for run in runs if (s := run.score()) is not None])
    try:
        rows = rows_of(runs)
    except NotAlike as error:
        made.notes.append(str(error))
        return made
    made.voted = _or_noted(made, runs, rows, by_vote)
    made.soft = _or_noted(made, runs, rows, by_mean)
    with suppress(NoScores, NotAlike):  # noted above
        _calibrate(made, *probabilities(runs, rows), rows[0])
    made.notes = list(dict.fromkeys(made.notes))
    return made


def together_at(how: str, runs: Sequence[Run], metric: str | None = None) -> float:
    """A metric (fraction) of several runs of one configuration: of the `best` of them, their `vote`, or the answers of
    their mean probabilities (`soft`).

    Raises:
        ValueError: there is one run alone, or what it needs was not kept; the message says which.
    """
    if len(runs) < 2:
        raise NotAlike("one run alone has none (seed=1,2,3)")
    if how == "best":
        scores = [score for run in runs if (score := run.score(metric=metric)) is not None]
        if not scores:
            raise NotAlike("none of its runs has a finite score")
        return max(scores)
    runs = in_order(runs)
    rows = rows_of(runs)
    return score_together(runs, (by_vote if how == "vote" else by_mean)(runs, rows), rows[0], metric)


def _or_noted(made: Ensemble, runs: Sequence[Run], rows: Sequence[Rows], how: Way) -> float | None:
    """The score of runs that answer together; None and a note where they cannot."""
    try:
        return score_together(runs, how(runs, rows), rows[0])
    except (NoScores, NotAlike) as error:
        made.notes.append(str(error))
        return None


def in_order(runs: Sequence[Run]) -> list[Run]:
    """Runs in the order of their seeds: of equal votes an earlier run's wins."""
    return sorted(runs, key=lambda run: (str(run.get("seed")).zfill(12), run.id))


def rows_of(runs: Sequence[Run]) -> list[Rows]:
    """Each run's predictions by id.

    Raises:
        NotAlike: a run kept none, or they are of other examples.
    """
    rows = [{str(row["id"]): row for row in run.predictions()} for run in runs]
    if not all(rows):
        raise NotAlike("no predictions are kept")
    if any(held.keys() != rows[0].keys() for held in rows):
        raise NotAlike("its seeds were scored on different rows")
    return rows


def by_vote(runs: Sequence[Run], rows: Sequence[Rows]) -> dict[str, str]:
    """Each example's majority answer (Lester et al. 2021, section 6): of labels, options and texts.

    Raises:
        NotAlike: the answers are numbers or tags, of which there is no majority.
    """
    kind = KINDS[str(runs[0].get("task.kind", "classification"))]
    if kind.numbers or kind.tags:
        raise NotAlike(f"a vote is of labels or texts; answers to {kind.name} are neither")
    ids = list(rows[0])
    return dict(zip(ids, vote([[str(held[i]["prediction"]) for i in ids] for held in rows]), strict=True))


def by_mean(runs: Sequence[Run], rows: Sequence[Rows]) -> dict[str, str]:
    """Each example's answer by the mean of the runs' probabilities; raises as `probabilities` does."""
    _, mean = probabilities(runs, rows)
    return dict(zip(mean.ids, answers_of(mean), strict=True))


def probabilities(runs: Sequence[Run], rows: Sequence[Rows]) -> tuple[list[Scores], Scores]:
    """The runs' label scores, and their mean.

    Raises:
        NoScores: a run kept none; NotAlike: they are of other examples or candidates.
    """
    scored = [read_scores(run.folder, run.primary_split) for run in runs]
    mean = mean_probabilities(scored)
    if set(mean.ids) != rows[0].keys():
        raise NotAlike("label scores and predictions are of different rows")
    return scored, mean


def score_together(runs: Sequence[Run], answers: Mapping[str, str], rows: Rows, metric: str | None = None) -> float:
    """A metric (default: the reported one) of answers that runs gave together, as a fraction.

    Raises:
        NotAlike: the metric is no sum over examples, or a run's own predictions do not give its own score.
    """
    first, name = runs[0], metric or runs[0].primary_metric
    for run in runs:
        own = run.predictions()
        if run_sums(run, name, own, groups_of_rows(own)) is None:
            raise NotAlike(f"{name}: {NO_SUMS}")
    made = [{**row, "prediction": answers[example]} for example, row in rows.items()]
    found = sums_for(first, name, made, groups_of_rows(made))
    if found is None:
        raise NotAlike(f"{name}: {NO_SUMS}")
    return float(found.value(found.terms.sum(0)))


def _calibrate(made: Ensemble, scored: Sequence[Scores], mean: Scores, rows: Rows) -> None:
    def golds(scores: Scores) -> list[str]:
        return [_word(rows[name]["reference"]) for name in scores.ids]

    single = [expected_calibration_error(*confidences(s, golds(s))) for s in scored]
    seen = confidences(mean, golds(mean))
    made.error = statistics.fmean(single), expected_calibration_error(*seen)
    made.brier = statistics.fmean(brier(s, golds(s)) for s in scored), brier(mean, golds(mean))
    made.bins = reliability(*seen)


def _word(reference: Any) -> str:
    return str(reference[0] if isinstance(reference, list) and reference else reference)


def _name(run: Run) -> str:
    method = told(run.get("method"), str(run.get("method")))
    return f"{method}, {run.get('task')}, {run.get('backbone')} ({run.id[:8]}…)"


def page(found: Sequence[Ensemble]) -> str:
    """The table as Markdown, and what stands below it."""
    lines = [f"| {' | '.join(HEAD)} |", "| --- | --- |" + " ---: |" * (len(HEAD) - 2)]
    lines += [f"| {' | '.join(_row(one))} |" for one in found]
    notes = [f"- {one.name}: {note}" for one in found for note in one.notes]
    explained = (
        "Points; ECE: expected calibration error over 15 bins of equal width, in points; Brier: 0 to 2. Single: mean "
        "of the runs; together: of their mean probabilities. Best: of the runs by the reported score, which is "
        "optimistic. No test stands behind these differences: an ensemble of the same runs is one number."
    )
    return "\n".join([*lines, "", explained, "", *notes]).rstrip() + "\n"


def _row(one: Ensemble) -> list[str]:
    def points(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:.1f}"

    error, squares = one.error or (None, None), one.brier or (None, None)
    return [
        one.name.replace("|", "\\|"), one.metric, str(len(one.singles)),
        points(statistics.fmean(one.singles) if one.singles else None), points(max(one.singles, default=None)),
        points(one.voted), points(one.soft), points(error[0]), points(error[1]),
        *("–" if value is None else f"{value:.3f}" for value in squares),
    ]  # fmt: skip


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """0 when there was something to put together, 2 when not or when the arguments are wrong."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if any(word in ("-h", "--help", "help") for word in arguments):
        print(__doc__)
        return 0
    try:
        asked = asked_for(arguments, OPTIONS, "results.ensembles")
    except LayoutError as error:
        print(error, file=sys.stderr)
        return 2
    given = asked.given
    runs = [run for run in asked.runs if given.get("fixtures") == "true" or not run.is_fixture]
    found = [together(group) for group in groups_of(runs)]
    if not found:
        out = len(asked.runs) - len(runs)
        kept_out = f" ({out} more on synthetic rows or random weights: fixtures=true takes them)" if out else ""
        print(
            f"{len(runs)} runs match in {asked.root}{kept_out}, and no configuration has two finished seeds; "
            "an ensemble needs at least two (seed=1,2,3)",
            file=sys.stderr,
        )
        return 2
    deliver(page(found), given.get("out"))
    if given.get("figure"):
        from results.plots.reliability import draw

        draw([one for one in found if one.bins], place(given["figure"]))
        print(f"wrote {given['figure']}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
