"""The benchmark and the efficiency table turn, on tiny models; what they say of speed is not judged here."""

from __future__ import annotations

import argparse
import re

import pytest
import torch

from scripts import benchmark, efficiency
from scripts.benchmark import SETTINGS, TINY, Arm


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def arm(name: str, tmp_path: object) -> Arm:
    return Arm(name, [*SETTINGS, *TINY, "runner.test_rows=6", f"cache.root={tmp_path}"], steps=2)


def test_all_arms_take_equal_steps_to_equal_losses(tmp_path: object) -> None:
    losses = {name: arm(name, tmp_path).measure(check=True)["losses"] for name in benchmark.ARMS}
    assert len(losses["ours"]) == 8 and losses["ours"][0] != losses["ours"][-1]
    for name in ("plain", "tuned"):
        assert losses[name] == pytest.approx(losses["ours"], abs=1e-4)


def test_all_arms_score_alike_and_report_the_same_measures(tmp_path: object) -> None:
    found = {name: arm(name, tmp_path).measure(check=False) for name in benchmark.ARMS}
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


@pytest.mark.slow
def test_the_benchmarks_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["--tiny", "--steps=2", "--rows=6", "--rounds=1"]) == 0
    line = capsys.readouterr().out.strip().splitlines()[-1]
    names = ("train_ratio", "eval_ratio", "memory_ratio", "tuned_train_ratio", "tuned_eval_ratio")
    assert re.fullmatch(" ".join(rf"{name}=\d+\.\d\d" for name in names), line)
