"""A run's rows scored by lm-evaluation-harness: the run's answers, row by row (where the harness is installed)."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from scripts import lm_eval_bridge
from tests.running import record, run_here

installed = pytest.mark.skipif(
    find_spec("lm_eval") is None, reason="lm-evaluation-harness is not installed: pip install -e '.[lm-eval]'"
)
WITHIN = re.compile(r"the run's texts, (\w+) .* 8 of 8 answers the run's, log-probabilities within (\S+)")
RUNS = {
    "zero-shot, per character": ["method=none", "task=mc/piqa", "protocol=lighteval"],
    "prompt": ["method=pt"],
    "prompt, numbers of choices": ["method=pt", "task=mc/piqa"],
    "prompt on T5": ["method=pt", "backbone=tiny_t5"],
    "folded table": ["method=adept"],
    "prefix": ["method=prefix"],
    "modules": ["method=lora"],
}


def bridged(root: Path, *words: str) -> int:
    assert run_here(root, "runner.max_steps=3", *words).status == "done"
    return lm_eval_bridge.main([f"run={record(root)['run_id']}", f"ledger={root / 'runs'}", f"to={root / 'beside'}"])


@installed
@pytest.mark.parametrize("words", RUNS.values(), ids=RUNS)
def test_the_harness_gives_the_runs_answers(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bridged(tmp_path, *words) == 0
    said = capsys.readouterr().out
    found = WITHIN.search(said)
    assert found and found[1] == ("acc_norm" if "protocol=lighteval" in words else "acc") and float(found[2]) <= 1e-5
    assert "token ids are the run's in 16 of 16 candidates" in said
    cloze = "protocol=lighteval" in words
    assert ("its own piqa: the run's text in 8 of 8 rows, the run's answers in 8 of 8 rows" in said) == cloze


@installed
def test_what_the_harness_is_given_otherwise_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bridged(tmp_path, "method=none") == 0
    said = capsys.readouterr().out
    assert "Answer:' for '" in said and "[' no', ' yes'] for [' 0</s>', ' 1</s>']" in said
    assert (tmp_path / "beside" / "bench_boolq.yaml").exists()


@installed
def test_what_the_harness_cannot_score_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bridged(tmp_path / "a", "method=dept") == 2
    assert "has no exact form in PEFT: it adds an offset to every source token" in capsys.readouterr().err
    assert bridged(tmp_path / "b", "method=pt", "protocol.scoring=generate") == 2
    assert "answers by generate" in capsys.readouterr().err


def test_without_the_harness_a_sentence_says_what_brings_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lm_eval_bridge, "find_spec", lambda name: None)
    assert lm_eval_bridge.main(["run=0123"]) == 2
    assert "pip install -e '.[lm-eval]'" in capsys.readouterr().err
