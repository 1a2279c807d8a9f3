"""Every form that `scripts/new.py method --form …` makes: its YAML is its class's, it keeps the promises, it trains."""

from __future__ import annotations

import os
import re
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
from scripts import check_method, new
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


def ran(own: Path, *more: str) -> tuple[int, str]:
    """run.py on the demo's task with a method of an own folder: its exit code and what it said."""
    command = [sys.executable, str(ROOT / "run.py"), "--config-dir", str(own), "method=mine", "task=demo/movie_reviews",
               "data=fixture", "runner=smoke", "runner.max_steps=2", "backbone=tiny_t5",
               f"ledger.root={own.parent / 'runs'}", *more]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("form", [f if f == "weights" else pytest.param(f, marks=pytest.mark.slow) for f in FORMS])
def test_a_form_runs_on_the_demos_task_and_keeps_the_promises(tmp_path: Path, form: str) -> None:
    """As generated, in a folder of one's own; the other families are above."""
    own = tmp_path / "own"
    assert new.main(["method", "mine", "--form", form, "--config-dir", str(own)]) == 0
    code, said = ran(own)
    assert code == 0 and re.search(r"^run [0-9a-f]{16} done ", said, re.MULTILINE), said[-2000:]
    if form != "weights":  # its promises are asked above and below; this is the command
        assert check_method.main([str(own / "mine.py")]) == 0


def in_yaml(own: Path, old: str, new_text: str, name: str = "mine") -> None:
    path = own / "method" / f"{name}.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new_text, 1))


@pytest.mark.slow
def test_an_option_without_its_yaml_entry_is_told_with_a_cure_that_works(tmp_path: Path) -> None:
    """What each message says is done to the letter, and then it runs."""
    own = tmp_path / "own"
    assert new.main(["method", "mine", "--form", "by_input", "--config-dir", str(own)]) == 0
    file = own / "mine.py"
    text = file.read_text().replace("prompt_length: int = 20,", "prompt_length: int = 20,\n        scale: float,")
    file.write_text(text.replace("super().__init__()", "super().__init__()\n        self.scale = scale"))
    code, said = ran(own)
    assert code == 2 and "give it a line `scale: <value>` in its YAML" in said, said[-2000:]
    for sign in ("", "+"):
        code, said = ran(own, f"{sign}method.scale=2.0")
        assert code == 2 and "a line `scale: <value>` in mine.yaml" in said and "write method.scale" not in said, said
    in_yaml(own, "prompt_length: 20\n", "prompt_length: 20\nscale: 1.0\n")
    assert ran(own)[0] == 0 and ran(own, "method.scale=2.0")[0] == 0
    in_yaml(own, "network: null, ", "")
    path = own / "method" / "mine.yaml"
    path.write_text(re.sub(r", lr\.network: (\[[^]]*\]|[0-9.]+)", "", path.read_text()))
    code, said = ran(own)
    assert code == 1 and "write `network: <rate>` under `lr`" in said, said[-2000:]
    code, said = ran(own, "method.lr.network=0.01")
    assert code == 2 and "`network: <rate>` under `lr` in mine.yaml" in said, said[-2000:]
    in_yaml(own, "lr: {", "lr: {network: 0.01, ")
    assert ran(own)[0] == 0 and ran(own, "method.lr.network=0.1")[0] == 0


def test_a_group_without_a_rate_is_told_with_a_cure_that_works(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(new.method_files("mine", "by_input")["methods/mine.py"])
    common = ["method=own", f"method.path={file}", "method.options={prompt_length:2}", "data=fixture", "runner=smoke",
              "runner.max_steps=1", "backbone=tiny_t5", f"ledger.root={tmp_path}"]  # fmt: skip

    def here(*more: str) -> Any:
        plan = make_plan([*common, *more])
        assert plan.problems == []
        return run_point(plan.points[0].resolved)

    outcome = here()
    assert outcome.status == "failed" and "method.lr.network=<rate>" in str(outcome.reason)
    assert here("method.lr.network=0.1").status == "done"
    outcome = here("method.lr.network=0.1", "method.lr.netwrok=0.2")
    assert outcome.status == "refused" and "method.lr.netwrok" in str(outcome.reason)


def test_an_unknown_form_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        new.main(["method", "mine", "--form", "prompts"])
    assert stopped.value.code == 2 and "by_input" in capsys.readouterr().err


def test_check_method_reads_the_yaml_of_a_folder_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its defaults make the method, its capabilities are held against the class, as before a run."""
    own = tmp_path / "own"
    assert new.main(["method", "mine", "--form", "weights", "--config-dir", str(own)]) == 0
    (own / "mine.py").rename(own / "elsewhere.py")
    in_yaml(own, "path: mine.py", "path: elsewhere.py")
    capsys.readouterr()
    assert check_method.main([str(own / "elsewhere.py")]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"options     of {own / 'method/mine.yaml'}"
    assert check_method.main([str(own / "elsewhere.py"), "colour=1"]) == 2
    assert "method.colour: there is no such key" in capsys.readouterr().err
    other = tmp_path / "other"
    assert new.main(["method", "second", "--form", "weights", "--config-dir", str(other)]) == 0
    in_yaml(other, "capabilities: {}", "capabilities: {packs: true}", "second")
    assert check_method.main([str(other / "second.py")]) == 2
    assert "method.capabilities.packs=true, but Second is no methods.base.InputMethod" in capsys.readouterr().err
