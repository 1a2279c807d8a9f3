"""The log-probability of every candidate of every example: what ensembles and calibration read.

`scores.<split>.npz` beside the predictions, in their order: kilobytes, and no part of a committed archive. Older runs
have none; a run whose answers are generated, tagged or numbers has none either.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from results.files import replacing


class NoScores(ValueError):
    """A run has no label scores; the message says why and what gives some."""


@dataclass
class Scores:
    """Normalised log-probabilities of a split's candidates.

    Attributes:
        ids: examples, in the order of the predictions.
        candidates: (N, C) names as predictions have them; "" where an example has fewer.
        log_probs: (N, C) natural logarithms, each row's probabilities sum to 1; -inf where an example has fewer.
    """

    ids: list[str]
    candidates: np.ndarray
    log_probs: np.ndarray


def write_scores(path: Path, ids: Sequence[str], scores: Sequence[Mapping[str, float]]) -> None:
    """Write one split's scores (candidate -> log-probability, by example); ragged rows are filled up."""
    width = max(map(len, scores), default=0)
    values = np.full((len(scores), width), -np.inf, dtype=np.float32)
    for row, given in zip(values, scores, strict=True):
        row[: len(given)] = list(given.values())
    names = [[*given, *[""] * (width - len(given))] for given in scores]
    same = len({tuple(row) for row in names}) == 1  # kept once then
    with replacing(path) as temporary, temporary.open("wb") as handle:
        kept = np.array(names[:1] if same else names, dtype=np.str_)
        np.savez_compressed(handle, ids=np.array(ids, dtype=np.str_), candidates=kept, log_probs=values)


def read_scores(folder: Path, split: str) -> Scores:
    """The label scores of a run's folder.

    Raises:
        NoScores: it has none, or the file is damaged.
    """
    path = folder / f"scores.{split}.npz"
    if not path.is_file():
        raise NoScores(
            f"run {folder.name} kept no label scores on {split}: they are kept of ranked and classified answers, "
            "but not in committed archives nor by runs of before; force=true makes the run again"
        )
    try:
        with np.load(path, allow_pickle=False) as arrays:
            ids, names, values = arrays["ids"].tolist(), arrays["candidates"], arrays["log_probs"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise NoScores(f"{path}: cannot be read ({error}); force=true makes the run again") from None
    return Scores(ids, np.broadcast_to(names, (len(ids), values.shape[1])), values)
