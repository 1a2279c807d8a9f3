"""Every form that `scripts/new.py method --form …` makes: its YAML is its class's, it keeps the promises, it trains."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from backbones.tuned import Tuned
from conf.plan import make_plan
from conf.resolve import _fill
from methods import load
from methods.base import option_defaults
from runners.assemble import example_gradients
from runners.evaluate import Split
from runners.job import run_point
from runners.promised import Subject, stirred
from runners.promises import broken
from scripts import new
from scripts.new_method import FORMS
from tests.contract import rig

ROOT = Path(__file__).resolve().parents[2]
FAMILY = {"tiny_t5": "t5", "tiny_llama": "llama", "tiny_bert": "encoder"}


def config_of(tmp_path: Path, form: str, name: str) -> dict[str, Any]:
    texts = new.method_files("mine", form)
    (tmp_path / "mine.py").write_text(texts["methods/mine.py"])
    config = yaml.safe_load(texts["conf/method/mine.yaml"])
    _fill(config, "corrected", name, FAMILY[name])
    return config | {"target": None, "path": str(tmp_path / "mine.py"), "init": None}


def subject(config: dict[str, Any], name: str) -> Subject:
    def make(seed: int, stir: bool) -> Tuned:
        bare = rig.backbone(name)
        tuned = Tuned(bare, load.build(config, bare.facts, None, torch.Generator().manual_seed(seed)))
        return stirred(tuned) if stir else tuned

    return Subject(FAMILY[name], make, load.count(config, rig.backbone_config(name).sizes()))


@pytest.mark.parametrize("name", rig.BACKBONES)
@pytest.mark.parametrize("form", FORMS)
def test_a_form_trains_as_generated(tmp_path: Path, form: str, name: str) -> None:
    config = config_of(tmp_path, form, name)
    facts = rig.backbone_config(name).sizes()
    assert load.check(config, facts) == []
    cls = load.method_class(None, config["path"])
    assert set(config) - load.NOT_OPTIONS == set(option_defaults(cls))
    made = subject(config, name)
    tuned, examples = made.made(stir=False), rig.examples(name)
    assert all(isinstance(config["lr"][group], float) for group in tuned.method.groups())
    tuned.method.prepare(partial(example_gradients, tuned, Split("train", examples, examples)))  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(rig.parameters(tuned).values(), lr=0.01)
    seen = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = tuned.losses(rig.batch(tuned, examples))[0].sum()
        loss.backward()
        optimizer.step()
        seen.append(float(loss.detach()))
    assert seen[-1] < seen[0]
    assert "mask" not in tuned.state() or int(tuned.state()["mask"].sum()) == len(tuned.state()["mask"]) - 1


@pytest.mark.slow
@pytest.mark.parametrize("name", rig.BACKBONES)
@pytest.mark.parametrize("form", FORMS)
def test_a_form_keeps_the_promises(tmp_path: Path, form: str, name: str) -> None:
    assert broken(subject(config_of(tmp_path, form, name), name)) == {}


@pytest.mark.parametrize("form", ["weights", pytest.param("stages", marks=pytest.mark.slow)])
def test_a_form_runs_from_a_folder_of_ones_own(tmp_path: Path, form: str) -> None:
    assert new.main(["method", "mine", "--form", form, "--config-dir", str(tmp_path / "own")]) == 0
    command = [
        sys.executable,
        str(ROOT / "run.py"),
        "--config-dir",
        str(tmp_path / "own"),
        "method=mine",
        "data=fixture",
    ]
    command += ["runner=smoke", "runner.max_steps=2", "backbone=tiny_t5", f"ledger.root={tmp_path / 'runs'}"]
    ran = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    assert " done " in ran.stdout.splitlines()[-1]


def test_a_group_without_a_rate_is_told_with_a_cure_that_works(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(new.method_files("mine", "by_input")["methods/mine.py"])
    common = ["method=own", f"method.path={file}", "method.options={prompt_length:2}", "data=fixture", "runner=smoke",
              "runner.max_steps=1", "backbone=tiny_t5", f"ledger.root={tmp_path}"]  # fmt: skip

    def ran(*more: str) -> Any:
        plan = make_plan([*common, *more])
        assert plan.problems == []
        return run_point(plan.points[0].resolved)

    outcome = ran()
    assert outcome.status == "failed" and "method.lr.network=<rate>" in str(outcome.reason)
    assert ran("method.lr.network=0.1").status == "done"
    outcome = ran("method.lr.network=0.1", "method.lr.netwrok=0.2")
    assert outcome.status == "refused" and "method.lr.netwrok" in str(outcome.reason)


def test_an_unknown_form_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        new.main(["method", "mine", "--form", "prompts"])
    assert stopped.value.code == 2 and "by_input" in capsys.readouterr().err
