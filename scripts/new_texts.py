"""The texts of a new task: its YAML, its rows and a few of them for smoke runs (used by new.py)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from scripts.new_rows import ANSWER_COLUMN, Row
from tasks.families import FAMILIES
from tasks.kinds import KINDS


def task_yaml(name: str, kind: str, texts: list[str], labels: list[str], splits: Mapping[str, list[Row]]) -> str:
    """The task's YAML, in the form of the others in conf/task."""
    its = KINDS[kind]
    columns = {"tokens": "words"} if its.tags else dict.fromkeys(texts, "text")
    config: dict[str, Any] = {
        "name": f"user/{name}",
        "kind": kind,
        "version": 1,
        "about": f"made by scripts/new.py from {len(splits['train'])} training rows",
        "columns": {**columns, ANSWER_COLUMN[kind]: its.gold},
    }
    if labels:
        config["labels"] = labels
    if its.closed:
        words = [label.lower().replace("_", " ") for label in labels]
        config["label_words"] = {"default": words if len(set(words)) == len(words) else labels}
    if its.tags:
        config |= {"prepare": {"default": "joined_words"}, "templates": {"default": "text: {text}"}}
    else:
        config["templates"] = {"default": " ".join(f"{column}: {{{column}}}" for column in texts)}
    if its.classes:  # an encoder reads one text or a pair
        shown = ["{" + texts[0] + "}"] if len(texts) == 1 else [f"{column}: {{{column}}}" for column in texts]
        config["segments"] = {"default": [shown[0], " ".join(shown[1:])] if len(shown) > 1 else shown}
    metrics = list(its.metrics)
    config |= {
        "decoder_cue": its.cue,
        "split_rule": "official",
        "metrics": metrics,
        "select_metric": {"default": metrics[0]},
        "report_metric": {"default": metrics[0]},
        "families": [name for name, family in FAMILIES.items() if family.writes or not its.several],
        "rows": {split: len(rows) for split, rows in splits.items()},
    }
    if its.tags:
        config["max_new_tokens"] = 128
    return f"# {config['about']}\n" + yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=110)


def fixture(rows: Sequence[Row], kind: str, count: int) -> list[Row]:
    """A few training rows, classes in turn, half of them for training and a quarter for each other split."""
    chosen, its = list(rows), KINDS[kind]
    if its.closed:
        place: Counter[str] = Counter()
        ranked: list[tuple[int, int, Row]] = []
        for row in rows:
            ranked.append((place[row["label"]], len(ranked), row))
            place[row["label"]] += 1
        chosen = [row for _, _, row in sorted(ranked, key=lambda item: item[:2])]
    elif its.tags:  # sentences with entities first, dealt in turn, so that every split has some
        chosen.sort(key=lambda row: all(tag == "O" for tag in row["ner_tags"]))
    chosen = chosen[:count]
    half, quarter = len(chosen) // 2, len(chosen) // 4
    names = ["train"] * (len(chosen) - 2 * quarter) + ["validation"] * quarter + ["test"] * quarter
    if its.tags:
        names = [("train", "validation", "test", "train")[place % 4] for place in range(len(chosen))]
    return [{"_split": split, **row} for split, row in zip(names, chosen, strict=True)] if half else []


def lines(rows: Sequence[Row]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
