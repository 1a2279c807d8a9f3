"""Ensembles and calibration from stored answers: votes, mean probabilities, expected calibration error, Brier score.

Label scores are those of results/scores.py; a vote needs predictions alone. Probabilities are among the candidates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from results.scores import Scores

Array = NDArray[np.float64]
BINS = 15  # of equal width, as in Guo et al. 2017


class NotAlike(ValueError):
    """Runs that cannot be put together: other examples or other candidates."""


@dataclass(frozen=True)
class Bin:
    """A bin of confidences: how many examples, their mean confidence and the share that is right."""

    count: int
    confidence: float
    accuracy: float


def vote(answers: Sequence[Sequence[str]]) -> list[str]:
    """The majority of several runs' answers, example by example (Lester et al. 2021, section 6).

    Of answers with as many votes the one that an earlier run gave wins, so that the order of runs decides ties alone.
    """
    if len({len(given) for given in answers}) != 1:
        raise NotAlike(f"runs answered {', '.join(str(len(given)) for given in answers)} examples")
    chosen = []
    for given in zip(*answers, strict=True):
        counts = Counter(given)
        most = max(counts.values())
        chosen.append(next(answer for answer in given if counts[answer] == most))
    return chosen


def mean_probabilities(runs: Sequence[Scores]) -> Scores:
    """The mean of several runs' probabilities (a soft vote), candidates in the order of the first run.

    Raises:
        NotAlike: the runs are on other examples, or rank other candidates.
    """
    first = runs[0]
    places = {name: place for place, name in enumerate(first.ids)}
    total = np.zeros(first.log_probs.shape)
    for run in runs:
        if set(run.ids) != set(places) or len(run.ids) != len(places):
            raise NotAlike("the runs were scored on different examples")
        for row, name in enumerate(run.ids):
            place = places[name]
            given = _by_name(run, row)
            wanted = _by_name(first, place)
            if given.keys() != wanted.keys():
                raise NotAlike(f"example {name}: candidates {sorted(given)} and {sorted(wanted)}")
            for column, candidate in enumerate(first.candidates[place]):
                if candidate:
                    total[place, column] += given[str(candidate)]
    with np.errstate(divide="ignore"):
        return Scores(first.ids, first.candidates, np.log(total / len(runs)))


def _by_name(scores: Scores, row: int) -> dict[str, float]:
    pairs = zip(scores.candidates[row], np.exp(scores.log_probs[row].astype(float)), strict=True)
    return {str(name): float(value) for name, value in pairs if name}


def answers_of(scores: Scores) -> list[str]:
    """The candidate with the greatest probability of each example, the first of equals."""
    return [str(names[row]) for names, row in zip(scores.candidates, scores.log_probs.argmax(axis=1), strict=True)]


def confidences(scores: Scores, golds: Sequence[str]) -> tuple[Array, NDArray[np.bool_]]:
    """(probability of the answer, whether it is right) of every example."""
    probabilities = np.exp(scores.log_probs.astype(float))
    right = np.array([answer == gold for answer, gold in zip(answers_of(scores), golds, strict=True)])
    return probabilities.max(axis=1), right


def reliability(confidence: Array, right: NDArray[np.bool_], bins: int = BINS) -> list[Bin]:
    """Bins of equal width over [0, 1] that hold examples; a confidence on an edge counts below it."""
    places = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    found = []
    for place in range(bins):
        held = places == place
        if held.any():
            found.append(Bin(int(held.sum()), float(confidence[held].mean()), float(right[held].mean())))
    return found


def expected_calibration_error(confidence: Array, right: NDArray[np.bool_], bins: int = BINS) -> float:
    """Mean gap between confidence and accuracy over bins, each by its share of examples (Guo et al. 2017).

    It is above zero even for a perfectly calibrated model: a bin of n examples is off by about sqrt(p (1 - p) / n).
    """
    found = reliability(confidence, right, bins)
    return sum(b.count * abs(b.accuracy - b.confidence) for b in found) / len(confidence)


def brier(scores: Scores, golds: Sequence[str]) -> float:
    """Mean over examples of the squared error of all candidates' probabilities, 0 to 2 (Brier 1950)."""
    probabilities = np.exp(scores.log_probs.astype(float))
    wanted = np.array([[name == gold for name in names] for names, gold in zip(scores.candidates, golds, strict=True)])
    return float(((probabilities - wanted) ** 2).sum(axis=1).mean())
