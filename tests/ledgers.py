"""Synthetic ledgers for tests of results: plausible records without a backbone, a data set or torch.

``make_ledger(root, runs=60, seed=0)`` writes run folders in the ledger's layout (record.json, config.yaml,
metrics.jsonl, predictions.<split>.jsonl, diagnostics/ for APT). Scores follow a response surface
with a best learning rate and prompt length per method, so that selection, sensitivity and Pareto have
something to find.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

WIDTH = 576
LAYERS = 12
# name: gain over the frozen model (fraction), best log10 learning rate, parameters at prompt length m
METHODS: dict[str, tuple[float, float, Any]] = {
    "pt": (0.26, -0.5, lambda m: m * WIDTH),
    "dept": (0.30, -0.4, lambda m: m * WIDTH + 30 * (256 + WIDTH)),
    "adept": (0.31, -0.4, lambda m: m * WIDTH + 2 * 14 * WIDTH + WIDTH),
    "apt": (0.29, -2.0, lambda m: 2 * LAYERS * m * WIDTH + LAYERS * (WIDTH + m + 1)),
    "ptuning_v2": (0.28, -2.0, lambda m: 2 * LAYERS * m * WIDTH),
    "lora": (0.33, -3.0, lambda m: LAYERS * 4 * 8 * WIDTH),
}
# name: metrics (the first is the primary one), frozen model's score, majority class's, reported split
TASKS: dict[str, tuple[tuple[str, ...], float, float, str]] = {
    "demo/movie_reviews": (("accuracy",), 0.51, 0.53, "test"),
    "superglue/boolq": (("accuracy",), 0.52, 0.62, "test"),
    "glue/rte": (("accuracy",), 0.50, 0.53, "test"),
    "glue/mrpc": (("accuracy", "f1"), 0.48, 0.68, "validation"),
    "glue/stsb": (("pearson", "spearman"), 0.20, 0.0, "test"),
    "ner/conll2003": (("f1", "precision", "recall"), 0.10, 0.0, "test"),
}
SENTENCES = (
    "a gripping, funny and quietly sad film about leaving home .",
    "it never quite decides what it wants to be , and neither did i .",
    "the leads are splendid ; the script is not .",
    "an hour too long and a thought too short .",
)


def run_id(config: dict[str, Any]) -> str:
    """A stand-in for the ledger's identity: twelve hexadecimal digits of the configuration's hash."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]


def points(
    methods: Sequence[str],
    tasks: Sequence[str],
    learning_rates: Sequence[float],
    lengths: Sequence[int],
    seeds: Sequence[int],
) -> Iterator[dict[str, Any]]:
    """Yield configurations: the baselines of every task first, then the grid with the seeds innermost."""
    for task, name in itertools.product(tasks, ("none", "majority")):
        yield _config(name, task, None, None, seeds[0])
    grid = itertools.product(learning_rates, lengths, tasks, methods, seeds)
    for rate, length, task, method, seed in grid:
        yield _config(method, task, rate, length, seed)


def make_ledger(
    root: Path | str,
    runs: int = 60,
    seed: int = 0,
    *,
    methods: Sequence[str] = tuple(METHODS),
    tasks: Sequence[str] = tuple(TASKS),
    learning_rates: Sequence[float] = (0.3, 0.1, 0.03, 0.01, 0.003),
    lengths: Sequence[int] = (20, 60, 100),
    seeds: Sequence[int] = (1, 2, 3),
    failures: float = 0.04,
    fixtures: float = 0.04,
    broken: int = 0,
    rows: int = 24,
    evaluations: int = 10,
) -> list[dict[str, Any]]:
    """Write a ledger of ``runs`` runs and return its records.

    Args:
        root: the ledger's folder (made if missing).
        runs: number of run folders; the grid is taken in order and repeated with further seeds when it ends.
        seed: of the generator; the same arguments give the same bytes.
        methods, tasks, learning_rates, lengths, seeds: axes of the grid.
        failures: share of trained runs that failed (status ``failed``, with a reason).
        fixtures: share of trained runs made on fixture data.
        broken: further folders with an unreadable record.
        rows: rows in predictions.<split>.jsonl.
        evaluations: evaluations per run after the one at step 0.
    """
    root = Path(root)
    rng = np.random.default_rng(seed)
    records = []
    offset = 0
    stream = points(methods, tasks, learning_rates, lengths, seeds)
    while len(records) < runs:
        config = next(stream, None)
        if config is None:
            offset += max(seeds)
            stream = points(methods, tasks, learning_rates, lengths, [value + offset for value in seeds])
            continue
        trained = config["method"]["name"] in METHODS
        if trained and rng.random() < fixtures:
            config["data"]["source"] = "fixture"
        failed = trained and rng.random() < failures
        records.append(_write_run(root, config, rng, failed=failed, rows=rows, evaluations=evaluations))
    for index in range(broken):
        folder = root / f"broken{index:06d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "record.json").write_text('{"run_id": "brok')
    return records


def _config(method: str, task: str, rate: float | None, length: int | None, seed: int) -> dict[str, Any]:
    options: dict[str, Any] = {"name": method, "version": 1}
    if rate is not None:
        options["prompt_length"] = length
        # layer- and weight-level methods are tuned around lower rates than prompts are
        scale = {"apt": 0.03, "ptuning_v2": 0.03, "lora": 0.003}.get(method, 1.0)
        group = "weights" if method == "lora" else "prompt"
        options["lr"] = {group: float(f"{rate * scale:.3g}")}
        if method in ("dept", "adept"):
            options.update(rank=30)
            options["lr"]["offset"] = 0.001
    return {
        "fidelity": "corrected",
        "seed": seed,
        "method": options,
        "task": {"name": task, "version": 1, "max_source_length": 128},
        "backbone": {"name": "smollm2_135m", "family": "llama", "lineage": "instruct", "version": 1},
        "protocol": {"name": "dept", "version": 1, "selection_split": "validation"},
        "runner": {
            "name": "quick",
            "max_steps": 100,
            "batch_size": 16,
            "eval_every": 10,
            "precision": "fp32",
        },
        "data": {"source": "package"},
    }


def _ceiling(config: dict[str, Any], rng: np.random.Generator) -> float:
    """Final score (fraction): a parabola in log learning rate, mild in prompt length, with seed noise."""
    method = config["method"]
    gain, best, _ = METHODS[method["name"]]
    rate = math.log10(next(iter(method["lr"].values())))
    fit = math.exp(-((rate - best) ** 2) / 0.9) * (1 - 0.08 * abs(math.log(method["prompt_length"] / 60)))
    zero = TASKS[config["task"]["name"]][1]
    return float(np.clip(zero + gain * fit + rng.normal(0, 0.012), 0.02, 0.99))


def _write_run(
    root: Path, config: dict[str, Any], rng: np.random.Generator, *, failed: bool, rows: int, evaluations: int
) -> dict[str, Any]:
    identity = run_id(config)
    folder = root / identity
    folder.mkdir(parents=True, exist_ok=True)
    _, zero, majority, split = TASKS[config["task"]["name"]]
    method = config["method"]["name"]
    trained = method in METHODS
    final = _ceiling(config, rng) if trained else (zero if method == "none" else majority)
    steps = config["runner"]["max_steps"] if trained else 0
    reached = int(steps * rng.uniform(0.2, 0.8)) if failed else steps
    lines = _history(config, rng, zero=zero, final=final, steps=reached, evaluations=evaluations) if trained else []
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "config.yaml").write_text(json.dumps(config, indent=1))  # JSON is YAML
    record = _record(identity, config, rng, final, steps=reached, failed=failed)
    if not failed:
        _write_predictions(folder, rng, accuracy=final, splits=sorted({split, "validation"}), rows=rows)
        if method == "apt":
            _write_gates(folder, config["method"]["prompt_length"], rng)
    (folder / "record.json").write_text(json.dumps(record))
    return record


def _history(
    config: dict[str, Any],
    rng: np.random.Generator,
    *,
    zero: float,
    final: float,
    steps: int,
    evaluations: int,
) -> list[dict[str, Any]]:
    names = TASKS[config["task"]["name"]][0]
    total = config["runner"]["max_steps"]
    lines: list[dict[str, Any]] = []
    every = max(1, total // evaluations)
    for step in range(0, steps + 1, 5):
        done = 1 - math.exp(-4 * step / total)
        if step:
            loss = 2.4 * math.exp(-3 * step / total) + 0.7 * (1 - final) + abs(rng.normal(0, 0.04))
            lines.append({"step": step, "loss": loss, "examples_per_second": 14 + rng.normal(0, 0.5)})
        if step % every == 0:
            value = zero + (final - zero) * done + rng.normal(0, 0.008)
            scores = {name: float(np.clip(value - 0.01 * i, 0, 1)) for i, name in enumerate(names)}
            lines.append({"step": step, "split": "validation", "metrics": scores})
    return lines


def _record(
    identity: str, config: dict[str, Any], rng: np.random.Generator, final: float, *, steps: int, failed: bool
) -> dict[str, Any]:
    task, method = config["task"]["name"], config["method"]["name"]
    names, zero, _, split = TASKS[task]
    trained = method in METHODS
    scores = {
        part: {name: final - 0.01 * i + (0.004 if part != split else 0.0) for i, name in enumerate(names)}
        for part in {split, "validation"}
    }
    weak = trained and final < zero + 0.05
    fixture = config["data"]["source"] == "fixture"
    verdicts = [{"name": "signal", "level": "warning", "message": "not above majority"}] if weak else []
    if fixture:
        verdicts.append({"name": "fixture", "level": "warning", "message": "fixture data: of no meaning"})
    if trained and not weak and not failed:
        verdicts.append({"name": "signal", "level": "ok", "message": "above the majority class by 0.2"})
    if failed:
        verdicts.append({"name": "loss", "level": "error", "message": f"the loss was nan at step {steps}"})
    rate = 8.0 if method == "lora" else 16.0 - config["method"].get("prompt_length", 0) / 25
    return {
        "run_id": identity,
        "status": "failed" if failed else "done",
        "reason": f"loss was nan at step {steps}; lower method.lr.prompt" if failed else None,
        "generated": True,  # marked in every view of the report
        "method": method,
        "task": task,
        "backbone": config["backbone"]["name"],
        "protocol": config["protocol"]["name"],
        "seed": config["seed"],
        "experiment": "demo" if task.startswith("demo/") else "synthetic/table1",
        "config": config,
        "data": {
            "source": config["data"]["source"],
            "sha256": hashlib.sha256(task.encode()).hexdigest(),
            "rows": {"train": 8023, "validation": 500, "test": 500},
            "used_rows": {"train": 8023, "validation": 500, "test": 500},
        },
        "trainable_parameters": METHODS[method][2](config["method"]["prompt_length"]) if trained else 0,
        "backbone_parameters": 134_515_008,
        "head_parameters": 0,
        "steps": steps,
        "metrics": {} if failed else scores,
        "untrained_metrics": {part: {name: zero for name in names} for part in scores} if trained else {},
        "primary_metric": names[0],
        "primary_split": split,
        "train_examples_per_second": rate + rng.normal(0, 0.2) if trained else None,
        "eval_examples_per_second": 40 + rng.normal(0, 1.0),
        "peak_memory_bytes": int(9e8 + 4e6 * config["method"].get("prompt_length", 0) + rng.normal(0, 1e6)),
        "wall_seconds": 30 + 1.2 * steps,
        "versions": {"python": "3.11.2", "torch": "2.13.0", "transformers": "5.23.0", "commit": "0123abc"},
        "verdicts": verdicts,
    }


def _write_predictions(
    folder: Path,
    rng: np.random.Generator,
    *,
    accuracy: float,
    splits: Sequence[str],
    rows: int,
) -> None:
    for split in splits:
        lines = []
        for index in range(rows):
            reference = int(rng.random() < 0.5)
            guess = reference if rng.random() < accuracy else 1 - reference
            row = {"id": f"{split}-{index}", "prediction": str(guess), "reference": str(reference)}
            lines.append({**row, "group": f"p{index // 3}", "source": SENTENCES[index % len(SENTENCES)]})
        (folder / f"predictions.{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _write_gates(folder: Path, length: int, rng: np.random.Generator) -> None:
    depth = np.linspace(0.2, 0.85, LAYERS)[:, None]
    tokens = np.exp(-np.arange(length) / length)[None, :]
    gates = np.clip(depth * tokens + rng.normal(0, 0.04, (LAYERS, length)), 0, 1).round(4)
    (folder / "diagnostics").mkdir(exist_ok=True)
    layer_gate = np.clip(depth[:, 0] + rng.normal(0, 0.03, LAYERS), 0, 1).round(4)
    (folder / "diagnostics" / "gates.json").write_text(
        json.dumps({"layers": gates.tolist(), "layer_gate": layer_gate.tolist()})
    )
    shares = {step: 0.5 + (gates - 0.5) * step / 100 for step in (0, 50, 100)}  # from half open to where they end
    lines = [
        {"step": step, "gates": {"layers": noted.round(4).tolist(), "layer_gate": layer_gate.tolist()}}
        for step, noted in shares.items()
    ]
    (folder / "diagnostics" / "over_training.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
