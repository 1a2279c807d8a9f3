"""What to know before believing a cell: choices that flatter, training cut short, seeds that fall apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from results.statistics import deviation, expected_best
from results.tables.state import Filled, State

GAP = 10.0  # points between two groups of seeds that are told apart
SHARE = 0.6  # of the range of all seeds


def sentences(state: State) -> list[str]:
    """Confirmation, optimism, undertraining, groups of seeds, ceilings, tasks seen before, where there are any."""
    cells = [f for f in state.filled.values() if f.column.kind == "score" and f.row.value == "score" and f.runs]
    found = (_confirmed, _optimism, _undertrained, _groups, _ceilings, _trained_before)
    return [text for text in (say(cells) for say in found) if text]


def _ceilings(cells: Sequence[Filled]) -> str:
    """What a perfect answer scores, where tokenizer and answer limit keep it under 100."""
    lowest: dict[tuple[str, str], float] = {}
    for filled in cells:
        for run in filled.runs:
            name = filled.cell.metric or run.primary_metric
            value = ((run.record.get("ceiling") or {}).get(run.primary_split) or {}).get(name)
            if isinstance(value, int | float) and 100 * value < 99.95:
                key = (str(run.record["task"]), name)
                lowest[key] = min(value, lowest.get(key, 1.0))
    if not lowest:
        return ""
    said = ", ".join(f"{100 * value:.1f} {name} on {task}" for (task, name), value in sorted(lowest.items()))
    return f"Ceilings: a perfect answer scores {said}; the rest is lost in the tokenizer or to a length limit."


def _trained_before(cells: Sequence[Filled]) -> str:
    """Tasks whose labelled rows the backbone was trained on before the method came."""
    found = {
        f"{run.record['task']} ({run.record.get('backbone')})"
        for filled in cells
        for run in filled.runs
        for verdict in run.record.get("verdicts") or []
        if verdict["name"] == "trained_before"
    }
    return f"The backbone was trained on these tasks before: {', '.join(sorted(found))}." if found else ""


def _confirmed(cells: Sequence[Filled]) -> str:
    labels = _labels(filled for filled in cells if filled.choice.confirmed)
    if not labels:
        return ""
    return (
        f"Confirmed: the chosen point was run again with fresh seeds, and these alone stand in the cell ({labels}); "
        "the seeds that it was chosen by are left out."
    )


def _optimism(cells: Sequence[Filled]) -> str:
    """By how much the mean of a winner may be flattered by having been chosen."""
    found: list[tuple[float, Filled]] = []
    for filled in cells:
        spread = deviation(filled.cell.scores)
        if filled.choice.optimistic and spread:
            count = len(filled.choice.trials)
            found.append((expected_best(count) * spread / math.sqrt(len(filled.cell.scores)), filled))
    single = [f for f in cells if f.choice.optimistic and len(f.cell.scores) == 1]
    if single and not found:
        return (
            f"The chosen trial of {_labels(single)} has one seed, so its score is optimistic, by an amount that one "
            "seed cannot tell; confirm=N runs the chosen points again with N fresh seeds."
        )
    if not found:
        return ""
    most, worst = max(found, key=lambda pair: pair[0])
    return (
        "The chosen trial stands with the seeds that it was chosen by, so its mean is optimistic, by up to "
        f"{most:.1f} points ({worst.row.label}: best of {len(worst.choice.trials)} trials); confirm=N runs the chosen "
        "points again with N fresh seeds."
    )


def _undertrained(cells: Sequence[Filled]) -> str:
    """Rows in which most runs end at their best checkpoint, or while validation still rises."""
    counts: dict[str, list[int]] = {}
    for filled in cells:
        for run in filled.runs:
            if run.trained:
                seen = counts.setdefault(filled.row.label, [0, 0])
                seen[0] += run.undertrained
                seen[1] += 1
    labels = [f"{label} {short} of {runs}" for label, (short, runs) in counts.items() if 2 * short > runs]
    if not labels:
        return ""
    return (
        "Perhaps undertrained, since the best checkpoint is the last one or validation still rises at the end, in most "
        f"runs of: {', '.join(labels)}."
    )


def _groups(cells: Sequence[Filled]) -> str:
    """Cells whose seeds lie in two groups far apart, as after a collapse."""
    found = []
    for filled in cells:
        parts = groups(filled.cell.scores)
        if parts:
            low, high = (", ".join(f"{value:.1f}" for value in part) for part in parts)
            found.append(f"{filled.row.label} ({low} | {high})")
    if not found:
        return ""
    return f"Seeds in two groups, as where some runs collapse: {'; '.join(found)}."


def groups(scores: Sequence[float]) -> tuple[list[float], list[float]] | None:
    """The seeds of a cell (points) below and above the largest gap, where it is most of their range and wide."""
    ordered = sorted(scores)
    if len(ordered) < 3:
        return None
    gap, place = max((high - low, place) for place, (low, high) in enumerate(pairwise(ordered), 1))
    if gap < GAP or gap < SHARE * (ordered[-1] - ordered[0]):
        return None
    return ordered[:place], ordered[place:]


def _labels(cells: object) -> str:
    return ", ".join(dict.fromkeys(filled.row.label for filled in cells))  # type: ignore[attr-defined]
