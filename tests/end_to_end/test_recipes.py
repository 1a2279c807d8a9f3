"""The recipes of docs/architecture.md, followed in a copy of the tree: a kind, a metric and a family need no more.

A kind with its metric touches tasks/kinds.py and tasks/metrics.py, a family tasks/families.py and a file of its own;
the backbone and the task that use them lie in a folder of the user's (`--config-dir`).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.running import ROOT, environment

PARTS = ("backbones", "conf", "hydra_plugins", "methods", "results", "runners", "tasks")
KIND = """

class Rating(Classification):
    \"\"\"One of the task's labels, which are in order.\"\"\"

    name = "rating"
    answer = "rating"
    metrics = ("within_one", "accuracy")


KINDS["rating"] = Rating()
"""
METRIC = """

@metric("classes", "within_one", lambda c: sums.of_right(np.abs(np.array(c.got) - np.array(c.gold)) <= 1), "proportion")
def within_one(c: Columns) -> float:
    \"\"\"Share of answers at most one label beside the gold.\"\"\"
    return float(np.mean(np.abs(np.array(c.got) - np.array(c.gold)) <= 1))
"""
FAMILY = """

FAMILIES["prefix_lm"] = Family(
    "prefix_lm", "a prefix model", "Prefix models", TEXT_QUESTIONS, ("decoder",), "prefix_lm.PrefixLM",
    "AutoModelForCausalLM", "llama",
)
"""
ENGINE = """from backbones.llama import Llama


class PrefixLM(Llama):
    pass
"""
TASK: dict[str, Any] = {
    "name": "my/stars", "kind": "rating", "columns": {"text": "text", "label": "label"},
    "labels": ["bad", "fair", "good"], "label_words": {"words": ["bad", "fair", "good"]},
    "templates": {"default": "sentence: {text}"}, "segments": {"default": ["{text}"]},
    "metrics": ["within_one", "accuracy"], "select_metric": {"default": "within_one"},
    "report_metric": {"default": "within_one"}, "rows": {"train": 60, "validation": 30, "test": 30},
}  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what runs, without runs."""
    copy = tmp_path / "tree"
    skip = shutil.ignore_patterns("runs", "offline_v1", "smollm2", "__pycache__")
    for part in PARTS:
        shutil.copytree(ROOT / part, copy / part, ignore=skip)
    shutil.copy(ROOT / "run.py", copy)
    return copy


def appended(tree: Path, texts: dict[str, str]) -> None:
    """Follow a recipe: at most two files."""
    assert len(texts) <= 2
    for name, text in texts.items():
        with (tree / name).open("a", encoding="utf-8") as file:
            file.write(text)


def ran(tree: Path, *words: str) -> dict[str, Any]:
    """The record of a run of the copied tree."""
    own, ledger = tree.parent / "mine", tree.parent / "runs"
    overrides = ["--config-dir", str(own), "runner=smoke", "runner.device=cpu", f"ledger.root={ledger}"]
    command = [sys.executable, "run.py", *overrides, f"cache.root={tree.parent / 'cache'}", *words]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, env=environment(PYTHONPATH=str(tree)))
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = (json.loads(path.read_text()) for path in ledger.glob("*/record.json"))
    return dict(record)


def given(tree: Path, name: str, values: dict[str, Any]) -> None:
    file = tree.parent / "mine" / name
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(values))  # JSON is YAML


@pytest.mark.slow
def test_a_kind_and_its_metric_are_two_files(tree: Path) -> None:
    appended(tree, {"tasks/kinds.py": KIND, "tasks/metrics.py": METRIC})
    given(tree, "task/my/stars.yaml", TASK)
    for split, count in TASK["rows"].items():
        file = tree.parent / "data/my/stars" / f"{split}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [{"idx": i, "text": f"film {i}", "label": TASK["labels"][i % 3]} for i in range(count)]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = ["data=local", f"data.root={tree.parent / 'data'}"]
    record = ran(tree, "task=my/stars", "method=pt", "backbone=tiny_bert", *data)
    found = record["metrics"]["test"]
    assert record["primary_metric"] == "within_one" and 0 <= found["accuracy"] <= found["within_one"] <= 1
    assert record["identity"]["contents"]["source"].keys() >= {"tasks/kinds.py", "tasks/metrics.py"}
    table = [
        sys.executable,
        "-m",
        "results.tables",
        "rows=method",
        "cols=task",
        f"ledger.root={tree.parent / 'runs'}",
        "fixtures=true",
    ]
    shown = subprocess.run(table, cwd=tree, capture_output=True, text=True, env=environment(PYTHONPATH=str(tree)))
    assert shown.returncode == 0, shown.stderr
    assert f"{100 * found['within_one']:.1f}" in shown.stdout, shown.stdout


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dept", "lora"])
def test_a_family_is_one_entry_and_one_file(tree: Path, method: str) -> None:
    import yaml

    appended(tree, {"tasks/families.py": FAMILY, "backbones/prefix_lm.py": ENGINE})
    backbone = yaml.safe_load((ROOT / "conf/backbone/tiny_llama.yaml").read_text())
    given(tree, "backbone/mine.yaml", backbone | {"name": "mine", "family": "prefix_lm"})
    record = ran(tree, "task=demo/movie_reviews", "data=fixture", f"method={method}", "backbone=mine")
    assert record["status"] == "done" and record["config"]["backbone"]["family"] == "prefix_lm"
    assert record["trainable_parameters"] > 0 and 0 <= record["metrics"]["test"]["accuracy"] <= 1
