"""Methods that mix the prompts of finished runs: SESoM and ATTEMPT from the ledger, and what cannot be a source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from results.files import read_lines
from runners.outcome import Outcome
from scripts.new import method_files
from tests.running import run_here

TASK = "task=demo/movie_reviews"
M = "method.prompt_length=3"
STEPS = "runner.max_steps=4"


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Two finished prompts on other tasks, and runs that cannot be sources."""
    root = tmp_path_factory.mktemp("sources")
    made = {
        "boolq": run_here(root, "task=superglue/boolq", M, STEPS),
        "rte": run_here(root, "task=superglue/rte", M, STEPS),
        "own_task": run_here(root, TASK, M, STEPS),
        "dept": run_here(root, "method=dept", "task=superglue/rte", M, STEPS, "method.rank=2"),
        "t5": run_here(root, "task=superglue/rte", "backbone=tiny_t5", M, STEPS),
        "longer": run_here(root, "task=superglue/rte", "method.prompt_length=5", STEPS),
        "lopa": run_here(root, "method=lopa", "task=superglue/rte", M, STEPS, "method.hidden=4"),
        "prefix": run_here(root, "method=prefix", "task=superglue/rte", "method.prefix_length=3", STEPS),
    }
    assert all(outcome.status == "done" for outcome in made.values()), made
    return root, {name: str(outcome.run_id) for name, outcome in made.items()}


def mixed(root: Path, method: str, sources: dict[str, str], *more: str) -> Outcome:
    listed = ", ".join(f"{name}: {run}" for name, run in sources.items())
    return run_here(root, f"method={method}", TASK, M, STEPS, f"method.sources={{{listed}}}", *more)


@pytest.mark.parametrize("method", ["sesom", "attempt"])
def test_from_two_finished_runs_to_a_score(ledger: tuple[Path, dict[str, str]], method: str) -> None:
    root, runs = ledger
    two = {name: runs[name] for name in ("boolq", "rte")}
    done = mixed(root, method, two, "method.bottleneck=4")
    assert done.status == "done", done.reason
    path = root / "runs" / str(done.run_id)
    saved = load_file(path / "method.safetensors")
    prompts = [load_file(root / "runs" / run / "method.safetensors")["prompt"] for run in two.values()]
    assert torch.equal(saved["sources"], torch.stack(prompts))  # in the order of their names; nothing trained them
    assert read_lines(path / "predictions.test.jsonl")
    turned = mixed(root, method, dict(reversed(two.items())), "method.bottleneck=4")  # sorted by name all the same
    other = load_file(root / "runs" / str(turned.run_id) / "method.safetensors")
    assert all(torch.equal(saved[name], other[name]) for name in saved)


def test_one_source_answers_as_that_run_does(ledger: tuple[Path, dict[str, str]]) -> None:
    root, runs = ledger
    done = mixed(root, "sesom", {"one": runs["own_task"]}, "method.bottleneck=4")
    ours, theirs = (
        {line["id"]: line for line in read_lines(root / "runs" / run / "predictions.test.jsonl")}
        for run in (str(done.run_id), runs["own_task"])
    )
    assert {i: line["prediction"] for i, line in ours.items()} == {i: line["prediction"] for i, line in theirs.items()}


@pytest.mark.parametrize(
    ("method", "name", "says"),
    [
        ("sesom", "dept", "method=dept changes the tokens too"),
        ("sesom", "t5", "that run had backbone tiny_t5 (no hub), this one has tiny_llama"),
        ("sesom", "longer", "sources have as many vectors as the target"),
        ("sesom", "lopa", "differs from example to example"),
        ("sesom", "prefix", "puts no prompt in front of the tokens"),
        ("attempt", "own_task", "that run is of this task"),
        ("attempt", "t5", "that run had backbone tiny_t5 (no hub), this one has tiny_llama"),
    ],
)
def test_what_cannot_be_a_source(ledger: tuple[Path, dict[str, str]], method: str, name: str, says: str) -> None:
    root, runs = ledger
    refused = mixed(root, method, {"good": runs["boolq"], "bad": runs[name]})
    assert (refused.status, refused.exit_code) == ("refused", 2), refused
    assert f"method.sources.bad={runs[name]}" in str(refused.reason) or name == "longer"
    assert says in str(refused.reason)


def test_a_run_that_is_not_there_is_no_source(ledger: tuple[Path, dict[str, str]]) -> None:
    root, runs = ledger
    refused = mixed(root, "sesom", {"good": runs["boolq"], "bad": "0123456789abcdef"})
    assert refused.exit_code == 2 and "0123456789abcdef" in str(refused.reason)
    none = run_here(root, "method=sesom", TASK, M)
    assert none.exit_code == 2 and "method.sources=" in str(none.reason)


def test_a_source_whose_method_has_changed_since(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    text = method_files("mine", "prompt")["methods/mine.py"]
    file.write_text(text)
    own: tuple[Any, ...] = ("method=own", f"method.path={file}", "method.options={prompt_length:3}", STEPS)
    first = run_here(tmp_path, *own, "task=superglue/boolq", "method.lr.prompt=0.1")
    assert first.status == "done", first.reason
    sources = {"mine": str(first.run_id)}
    assert mixed(tmp_path, "sesom", sources).status == "done"
    file.write_text(text.replace("return self.prompt", "return self.prompt * 2"))
    assert file.read_text() != text
    refused = mixed(tmp_path, "sesom", sources, "seed=2")
    assert refused.exit_code == 2 and f"method.sources.mine={first.run_id}" in str(refused.reason)
    assert "mine.py" in str(refused.reason)
    file.write_text(text)
    assert mixed(tmp_path, "sesom", sources, "seed=2").status == "done"


def test_a_prompt_for_each_example_is_no_source_though_two_examples_have_the_same(tmp_path: Path) -> None:
    """The shape says whether examples share a prompt, not two of them."""
    file = tmp_path / "mine.py"
    text = method_files("mine", "prompt")["methods/mine.py"]
    file.write_text(text.replace("return self.prompt", "return self.prompt.expand(len(source), -1, -1)"))
    own: tuple[Any, ...] = ("method=own", f"method.path={file}", "method.options={prompt_length:3}", STEPS)
    first = run_here(tmp_path, *own, "task=superglue/boolq", "method.lr.prompt=0.1")
    assert first.status == "done", first.reason
    refused = mixed(tmp_path, "sesom", {"mine": str(first.run_id)})
    assert refused.exit_code == 2 and "differs from example to example" in str(refused.reason)
