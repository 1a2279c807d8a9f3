"""One test for each line of ../shared/cases/README.md, and the values that are refused before anything starts.

The inputs are made here in other words; the folder's own are tried beside them where it is there. Run: pytest -k cases.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import run
from conf.compose import ConfigError, compose
from conf.plan import make_plan

ROOT = Path(__file__).resolve().parents[2]

VALUES = {  # override -> what the message must hold
    "method.lr.prompt=abc": "number > 0",
    "method.lr.prompt=-1": "number > 0",
    "method.lr.prompt=nan": "number > 0",
    "method.lr.prompt=inf": "number > 0",
    "method.lr.prompt=true": "number > 0",
    "method.lr={nope:1}": "no such learning rate",
    "method.lr=0.3": "a mapping is wanted",
    "method.prompt_length=0": "integer >= 1",
    "method.init_text_eos=3": "true or false",
    "method.init_from=1234567812345678": "text",
    "runner.max_steps=0": "integer >= 1",
    "runner.max_steps=1e3": "max_steps",
    "runner.eval_every=0": "integer >= 1",
    "runner.eval_batch_size=0": "integer >= 1",
    "runner.batch_size=0": "integer >= 1",
    "runner.batch_size=-4": "integer >= 1",
    "runner.micro_batch=0": "integer >= 1",
    "runner.patience=0": "integer >= 1",
    "runner.train_rows=-5": "integer >= 1",
    "runner.test_rows=0": "integer >= 1",
    "runner.clip_norm=-1": "number >= 0",
    "runner.clip_norm=nan": "number >= 0",
    "runner.precision=fp8": "fp32, bf16, fp16",
    "runner.device=tpu": "cpu, cuda, mps",
    "runner.optimizer.name=sgd": "adamw, adafactor",
    "runner.optimizer.betas=[0.9]": "2 numbers",
    "runner.optimizer.betas=[0.9,1.0]": "2 numbers",
    "runner.schedule.name=cosine": "linear, constant, exponential",
    "runner.schedule.warmup_steps=-1": "integer >= 0",
    "runner.log_every=0": "integer >= 1",
    "runner.threads=0": "integer >= 1",
    "protocol.carve=-1": "integer >= 1",
    "protocol.carve_share=1.5": "number > 0 < 1",
    "protocol.k_shot=0": "integer >= 1",
    "protocol.steps.small=0": "integer >= 1",
    "protocol.batch_size=0": "integer >= 1",
    "protocol.split=half": "carved, dept",
    "task.max_new_tokens=0": "integer >= 1",
    "task.select_metric.default=bleu": "one of task.metrics",
    "task.kind=translation": "classification, regression",
    "backbone.attention=flash": "sdpa, eager",
    "data.source=web": "auto, hub",
    "data.hub_probe_seconds=0": "number > 0",
    "seed=-1": "integer >= 0",
    "seed=4294967296": "integer >= 0",
    "seed=1.5": "seed",
    "fidelity=exact": "corrected, author",
    "budget.trials=0": "integer >= 1",
    "pack=-1": "integer >= 1",
    "method=null": "a run needs a method",
    "task=null": "a run needs a task",
    "backbone=null": "a run needs a backbone",
    "protocol=null": "a run needs a protocol",
    "runner=null": "a run needs a runner",
    "data=null": "a run needs a data",
    "tracking=null": "tracking=none",
    "~method": "a run needs a method",
    "~tracking": "a run needs a tracking",
    "~runner.max_steps": "nothing can be taken away",
    "method.init_text=${nope}": "nope",
    "method.init_text=${method.init_text}": "method.init_text",
    "method.init_text=${oc.env:NOT_SET_HERE}": "environment",
    "method.init_text=${oc.env:HOME}": "environment",
    "method.init_text='a ${oc.decode:${oc.env:HOME}} b'": "environment",
    "ledger.root=${oc.env:HOME}": "environment",
    "task.templates.default='${oc.env:HOME}'": "environment",
    "task.label_words.words=['${oc.env:HOME}',b]": "environment",
}


def problems(*overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        compose(list(overrides))
    return error.value.problems


@pytest.mark.parametrize("override", VALUES)
def test_a_value_outside_its_range_is_refused_with_the_range(override: str) -> None:
    found = problems(override)
    assert len(found) == 1 and VALUES[override] in found[0], found
    assert override.lstrip("~").split("=")[0].split(".")[0] in found[0]
    assert str(Path.home()) not in found[0]  # what the environment holds is not said


def test_all_values_are_refused_at_once() -> None:
    chosen = [
        o for o in VALUES if o.split(".")[0] in ("runner", "protocol", "seed", "pack") and "." in o and "~" not in o
    ]
    chosen = list({o.split("=")[0]: o for o in chosen}.values())
    found = problems("method=dept", "method.rank=-2", "method.lr.prompt=abc", "backbone=t5_bse", *chosen)
    assert len(found) == len(chosen) + 3, found


def test_a_sweep_says_the_bad_values_of_all_points_before_its_first(tmp_path: Path) -> None:
    plan = make_plan(
        ["method.lr.prompt=0.1,abc,nan", "runner.batch_size=4,0", "data=fixture", f"cache.root={tmp_path}", "~tracking"]
    )
    assert len(plan.problems) == 4, plan.problems
    for said in ("lr.prompt='abc'", "lr.prompt=nan", "batch_size=0", "a run needs a tracking"):
        assert any(said in problem for problem in plan.problems), plan.problems
    assert not make_plan(["seed=1,2", "pack=-1", "data=fixture"]).points


def test_a_sweep_over_a_bad_value_is_refused_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["-m", "runner.batch_size=4,0", "data=fixture", f"ledger.root={tmp_path / 'runs'}"]) == 2
    assert "runner.batch_size=0" in capsys.readouterr().err and not (tmp_path / "runs").exists()


@pytest.mark.parametrize("word", ["--dry-run", "--seeed=7", "-x", "-M", "seed", "=3", "--"])
def test_words_that_are_no_override_and_no_flag_are_refused(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main([word, "task=superglue/boolq", "data=fixture"]) == 2
    assert repr(word)[1:-1] in capsys.readouterr().err


@pytest.mark.parametrize(
    "path", ["/data/a,b", "/data/x=(1)", "/data/it's [here]", "/data/ä{b}", 'C:\\rows "new"', "a:b#c"]
)
def test_a_path_with_unusual_characters_gets_the_quoting_that_works(path: str) -> None:
    import shlex

    try:
        assert compose([f"data.root={path}", "data=local"])["data"]["root"] == path  # some need none
    except ConfigError as error:
        (said,) = error.problems
        advised = shlex.split(said.rsplit("quoted it can: " if "quoted it can" in said else "or quote it: ", 1)[1])
        assert compose([*advised, "data=local"])["data"]["root"] == path


def test_references_between_keys_still_work() -> None:
    assert compose(["protocol.split_seed=${seed}", "seed=7"])["protocol"]["split_seed"] == 7
    assert problems("runner.max_steps=${fidelity}")[0].startswith("runner.max_steps='corrected'")


def test_every_refusal_ends_a_command_with_2_and_no_traceback() -> None:
    command = [sys.executable, str(ROOT / "run.py"), "method=null", "runner.batch_size=0", "method.lr.prompt=abc"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr
    assert ended.stderr.count("\n  - ") >= 2 and "a run needs a method" in ended.stderr
