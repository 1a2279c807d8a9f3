"""A generated ledger for the tests of results: records and predictions as run.py writes them, no torch."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy.stats import binomtest


def write_run(
    root: Path,
    method: str = "pt",
    task: str = "demo/movie_reviews",
    seed: int = 1,
    test: float | None = 0.85,
    validation: float | None = 0.84,
    untrained: float | None = None,
    status: str = "done",
    n: int = 1000,
    metric: str = "accuracy",
    predictions: list[dict[str, Any]] | None = None,
    config: dict[str, Any] | None = None,
    **fields: Any,
) -> str:
    """Write one run folder and give its id; `config` is merged one level deep."""
    full: dict[str, Any] = {
        "seed": seed,
        "fidelity": "corrected",
        "method": {"name": method, "prompt_length": 20, "lr": {"prompt": 0.01}},
        "task": {"name": task, "select_metric": {"default": metric}},
        "backbone": {"name": "smollm2_135m", "lineage": "SmolLM2-135M-Instruct"},
        "protocol": {"name": "carved", "label_words": "digits", "select_split": "validation"},
        "runner": {"name": "demo", "max_steps": 40, "batch_size": 16},
        "data": {"source": "package"},
    }
    for key, value in (config or {}).items():
        full[key] = {**full.get(key, {}), **value} if isinstance(value, dict) else value
    metrics: dict[str, dict[str, float]] = {}
    if validation is not None:
        metrics["validation"] = {metric: validation}
    if test is not None:
        metrics["test"] = {metric: test}
    text = json.dumps([full, status, n], sort_keys=True)
    run_id = fields.pop("run_id", None) or hashlib.sha256(text.encode()).hexdigest()[:16]
    record = {
        "run_id": run_id,
        "status": status,
        "reason": None,
        "method": method,
        "task": task,
        "backbone": full["backbone"]["name"],
        "protocol": full["protocol"]["name"],
        "seed": seed,
        "config": full,
        "data": {"source": full["data"]["source"], "sha256": {"test": "ab"}, "rows": {"validation": 200, "test": n}},
        "trainable_parameters": {"pt": 11520, "dept": 18300}.get(method, 0),
        "backbone_parameters": 134_515_008,
        "head_parameters": 0,
        "steps": 40,
        "metrics": metrics,
        "untrained_metrics": {"test": {metric: untrained}} if untrained is not None else {},
        "primary_metric": metric,
        "primary_split": "test",
        "train_examples_per_second": 8.5,
        "eval_examples_per_second": 40.0,
        "peak_memory_bytes": 900 * 2**20,
        "wall_seconds": 75.0,
        "versions": {"torch": "2.13", "transformers": "5.23"},
        "verdicts": [],
    }
    record |= fields
    folder = root / run_id
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(record))
    if predictions is not None:
        lines = "".join(json.dumps(row) + "\n" for row in predictions)
        (folder / "predictions.test.jsonl").write_text(lines)
    return run_id


def answers(accuracy: float, n: int = 200, seed: int = 0, flip: int = 0) -> list[dict[str, Any]]:
    """Prediction lines of a two-class task: the same references for every seed, about `accuracy` of them met."""
    references = [str(random.Random(i).randint(0, 1)) for i in range(n)]
    source = random.Random(1000 * seed + flip)
    rows = []
    for index, reference in enumerate(references):
        right = source.random() < accuracy
        answer = reference if right else str(1 - int(reference))
        rows.append({"id": str(index), "prediction": answer, "reference": reference, "group": f"g{index // 4}"})
    return rows


DEMO: dict[str, Any] = {"runner": {"max_steps": 32, "batch_size": 16, "test_rows": 300}}  # the demo's table asks for it


def demo_ledger(root: Path) -> None:
    """The six runs of the demo."""
    words = {**DEMO, "protocol": {"label_words": "words"}}
    write_run(root, "majority", test=0.503, validation=0.5, config=DEMO, n=300)
    write_run(root, "none", test=0.51, validation=0.5, config=DEMO, n=300)
    write_run(root, "none", test=0.85, validation=0.84, config=words, n=300)
    write_run(root, "pt", test=0.853, untrained=0.512, config=DEMO, n=300)
    write_run(root, "dept", test=0.871, untrained=0.512, config=DEMO, n=300)


def mcnemar(right_a: Sequence[bool], right_b: Sequence[bool]) -> float:
    """The exact McNemar test, as scipy's binomial test has it."""
    only_a = sum(bool(a) and not b for a, b in zip(right_a, right_b, strict=True))
    only_b = sum(bool(b) and not a for a, b in zip(right_a, right_b, strict=True))
    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
