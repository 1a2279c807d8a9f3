"""Controls as runs: what they record, and that a method's own run keeps what it answered at step 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from results.files import read_lines
from results.ledger import Ledger
from runners.finished import load_finished
from tests.running import run_here

REVIEWS = ("task=demo/movie_reviews", "method=pt", "runner.max_steps=4", "runner.eval_every=2")


def made(root: Path, *more: str) -> tuple[dict[str, Any], Path]:
    outcome = run_here(root, *REVIEWS, *more)
    assert outcome.status == "done", outcome.reason
    run = Ledger(root / "runs").run(str(outcome.run_id))
    return run.record() or {}, run.folder


def test_a_run_keeps_what_it_answered_at_step_0(tmp_path: Path) -> None:
    record, folder = made(tmp_path)
    split = record["primary_split"]
    rows = read_lines(folder / f"predictions.untrained.{split}.jsonl")
    right = sum(row["prediction"] == row["reference"] for row in rows) / len(rows)
    assert right == pytest.approx(record["untrained_metrics"][split]["accuracy"])
    assert f"predictions.untrained.{split}.jsonl" in record["files"]
    assert record["method"] == "pt" and record["deployed_parameters"] == record["trainable_parameters"]


def test_shuffled_labels_train_on_other_gold(tmp_path: Path) -> None:
    record, _ = made(tmp_path, "control=shuffled_labels")
    assert record["method"] == "pt, shuffled labels (control)"
    said = [verdict["message"] for verdict in record["verdicts"] if verdict["name"] == "control"]
    assert len(said) == 1 and "(seed 42)" in said[0]


def test_a_random_prompt_is_scored_as_it_was_drawn(tmp_path: Path) -> None:
    record, folder = made(tmp_path, "control=random_prompt", "method.init=sampled_vocabulary", "backbone=tiny_t5")
    assert record["method"] == "pt, random prompt (control)"
    assert record["trainable_parameters"] == 0 and record["steps"] == 0 and record["untrained_metrics"] == {}
    table = load_finished(tmp_path / "runs", folder.name, cache=str(tmp_path / "cache")).tuned.backbone.table
    prompt = load_file(folder / "method.safetensors")["prompt"]
    assert all((table == row).all(1).any() for row in prompt)  # rows of the vocabulary, none of them moved


def test_on_an_encoder_the_head_is_trained_on_a_random_prompt(tmp_path: Path) -> None:
    record, folder = made(tmp_path, "control=random_prompt", "backbone=tiny_bert", "method.prompt_length=5")
    assert record["trainable_parameters"] == 0 and record["head_parameters"] > 0 and record["steps"] == 4
    saved = load_file(folder / "method.safetensors")
    assert {name.split(".")[0] for name in saved} == {"head", "prompt"}
    again = load_finished(tmp_path / "runs", folder.name, cache=str(tmp_path / "cache"))
    table = again.tuned.backbone.table
    assert all((table == row).all(1).any() for row in saved["prompt"])
