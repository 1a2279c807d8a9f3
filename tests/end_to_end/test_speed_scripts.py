"""The benchmark and the efficiency table turn, on tiny models; what they say of speed is not judged here."""

from __future__ import annotations

import argparse
import contextlib
import re
from pathlib import Path

import pytest
import torch

from runners.cut import PassCost
from scripts import bench
from scripts.benches import against_peft, efficiency, order
from scripts.benches.against_peft import SETTINGS, TINY, Arm

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def arm(name: str, tmp_path: object) -> Arm:
    return Arm(name, [*SETTINGS, *TINY, "runner.test_rows=6", f"cache.root={tmp_path}"], steps=2)


def test_all_arms_take_equal_steps_to_equal_losses(tmp_path: object) -> None:
    losses = {name: arm(name, tmp_path).measure(check=True)["losses"] for name in against_peft.ARMS}
    assert len(losses["ours"]) == 8 and losses["ours"][0] != losses["ours"][-1]
    for name in ("plain", "tuned"):
        assert losses[name] == pytest.approx(losses["ours"], abs=1e-4)


def test_all_arms_score_alike_and_report_the_same_measures(tmp_path: object) -> None:
    found = {name: arm(name, tmp_path).measure(check=False) for name in against_peft.ARMS}
    assert found["plain"]["answers"] == found["tuned"]["answers"] == found["ours"]["answers"]
    for measures in found.values():
        assert all(measures[key] > 0 for key in measures if key != "answers")
    assert found["ours"].keys() == found["plain"].keys()


def options() -> argparse.Namespace:
    return argparse.Namespace(batch=2, steps=1, tiny=True)


@pytest.mark.parametrize(("name", "padding"), [*((name, "fixed") for name in efficiency.METHODS), ("PT", "dynamic")])
def test_every_arm_of_the_efficiency_table_is_measured(name: str, padding: str) -> None:
    found = efficiency.measure("tiny_t5", name, padding, options())
    assert all(value > 0 for value in found.values())


def test_a_claim_is_undecided_where_rounds_disagree() -> None:
    def runs(*steps: float) -> list[dict[str, float]]:
        return [{"step": step, "memory": 1.0, "answer": 1.0} for step in steps]

    names = list(efficiency.METHODS)
    lines = efficiency.verdicts({name: runs(0.5, 0.5) if name == "DePT m=20" else runs(1.0, 1.0) for name in names})
    assert "ratio 0.50" in lines[0] and ": holds (published" in lines[0]
    assert ": does not hold (published" in lines[1]
    lines = efficiency.verdicts({name: runs(0.5, 1.5) if name == "DePT m=20" else runs(1.0, 1.0) for name in names})
    assert "undecided" in lines[0]


def test_cut_batches_of_the_papers_order_are_padded_less_and_learn_the_same() -> None:
    steps = argparse.Namespace(batch=6, steps=1, overrides=["runner.device=cpu"])
    whole = order.measure("whole", "tiny_t5", "rte", steps)
    with pytest.MonkeyPatch.context() as patched:  # a tiny model is never worth a second pass
        patched.setattr("runners.cut.pass_cost", lambda *_: PassCost(0.0))
        cut = order.measure("cut", "tiny_t5", "rte", steps)
    assert cut["losses"] == pytest.approx(whole["losses"], abs=1e-5)
    assert whole["passes"] == 1 < cut["passes"] and whole["padded"] > 1.2 and cut["padded"] == 1


def test_made_up_rows_are_as_long_as_the_sets() -> None:
    """Means of the training rows as counted in ../shared/data: 86 (RTE) and 154 (BoolQ)."""
    for name, mean in (("rte", 86), ("boolq", 154)):
        assert sum(len(e.source) for e in order.made_up(name, 100)) / order.ROWS == pytest.approx(mean, rel=0.08)


@pytest.mark.parametrize("name", sorted(bench.BENCHES))
def test_every_bench_is_there_and_the_page_shows_it(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) if name != "predict" else contextlib.nullcontext():
        bench.main([name, "--help"])
    assert f"bench.py {name}" in capsys.readouterr().out
    assert f"`python scripts/bench.py {name}" in (ROOT / "docs/performance.md").read_text(encoding="utf-8")


def test_a_name_that_is_no_bench_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["speed"]) == 2
    assert "speed is no bench: packed, peft" in capsys.readouterr().err


@pytest.mark.slow
def test_start_ups_are_timed(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["startup", "--rounds=1"]) == 0
    assert len(re.findall(r"\(\d.* to .*\) s$", capsys.readouterr().out, re.MULTILINE)) == 4


@pytest.mark.slow
def test_the_benchmarks_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert against_peft.main(["--tiny", "--steps=2", "--rows=6", "--rounds=1"]) == 0
    line = capsys.readouterr().out.strip().splitlines()[-1]
    names = ("train_ratio", "eval_ratio", "memory_ratio", "tuned_train_ratio", "tuned_eval_ratio")
    assert re.fullmatch(" ".join(rf"{name}=\d+\.\d\d" for name in names), line)
