"""Whatever is mistyped: exit 2 and a sentence, never a traceback, never a run. For one run and for a sweep."""

from __future__ import annotations

from pathlib import Path

import pytest

import run

TINY = ["backbone=tiny_llama", "task=demo/movie_reviews", "data=fixture", "runner=smoke", "method=pt"]
NUMBERS = ["seed", "runner.max_steps", "runner.batch_size", "runner.eval_every", "protocol.split_seed", "budget.seed",
           "task.max_source_length", "method.prompt_length"]  # fmt: skip
CASES = [
    # types and ranges
    *(f"{key}={value}" for key in NUMBERS for value in ("abc", "1.5", "[1]", "{a:1}", "true", "nan", "-1e3", "'a b'")),
    *(f"method.lr.prompt={value}" for value in ("abc", "-1", "0", "nan", "inf", "[0.1]", "true", "{a:1}")),
    *(f"runner.clip_norm={value}" for value in ("-1", "nan", "x")),
    *(f"{key}={value}" for key in ("force", "plan", "runner.backbone_dropout") for value in ("maybe", "2.5", "[true]")),
    "runner.precision=fp8", "runner.device=toaster", "runner.optimizer.name=sgdd", "runner.optimizer=5",
    "runner.optimizer={nam:adamw}", "runner.optimizer.betas=0.9", "runner.schedule=linear", "runner.schedule={name:7}",
    "fidelity=autor", "protocol.split=half", "protocol.scoring=guess", "task.metrics=accuracy", "task.kind=poetry",
    "method.init=randm", "method.lr=0.3", "method.lr={promt:0.1}", "method.init_text_eos=perhaps", "data.root={a:1}",
    # nulls and deletions
    "seed=null", "fidelity=null", "method=null", "task=null", "backbone=null", "runner=null", "protocol=null",
    "data=null", "tracking=null", "method.prompt_length=null", "method.lr=null", "runner.precision=null",
    "~seed", "~method", "~tracking", "~task", "~method.lr", "~method.lr.prompt", "~runner.max_steps", "~experiment",
    "~nothing", "~hydra", "~sweep",
    # keys
    "sed=1", "method.lr.promt=0.1", "metod=pt", "runner.max_stepz=3", "method.lr.prompt.x=1", "seed.x=1", "=3",
    "method.=1", ".method=1", "method..lr=1", "runner/max_steps=3", "task/superglue=boolq", "method.space={}",
    "method.choices.init=[x]", "method.capabilities.trains=false", "method.capabilities={trains:false}",
    "method.ranges={}", "hydra=1", "yes.no=true",
    # choices
    "method=dpt", "method=PT", "method=pt.yaml", "method=", "method=''", "method=[pt]", "method={pt:1}", "method=1",
    "task=boolq", "task=glue", "backbone=gpt5", "protocol=papers", "runner=fast", "data=cloud", "tracking=tensorboard",
    "experiment=dept/table99", "+sweep=everything", "sweep=lr", "+method=pt", "++method=pt", "method@here=pt",
    "method@:here=pt", "+seed=3", "experiment=[demo]",
    # interpolations
    "seed=${nothing}", "seed=${oc.env:HOME}", "method.init_text=${oc.env:HOME}", "seed=${seed}", "seed=${", "seed=${}",
    "runner.max_steps=${fidelity}", "method.prompt_length=${method.name}", "method=${task}", "task=${nothing.here}",
    "method.prompt_length=${.lr.prompt}", "seed=${oc.env:NOTHING,5}", "seed=${oc.decode:1}", "seed=${hydra:job.num}",
    "ledger.root=${ledger.root}", "seed=${${fidelity}}", "runner.precision=${fidelity}", "seed=$seed",
    # paths, letters beyond ASCII, huge numbers, words for truth, nested mappings
    "method=./pt", "method=../method/pt", "method=/pt", "task=superglue/../glue/rte", "backbone=conf/backbone/t5_base",
    "method=ｐｔ", "method=pt\u200b", "runner.max_steps=٣", "fidelity=corrécted",
    "runner.max_steps=10000000000000000000000000000", "seed=99999999999999999999999", "method.lr.prompt=1e400",
    "seed=0b1", "runner.batch_size=1e2", "seed=-1", "force=ja", "packed=none", "released.set=nothing",
    "runner={optimizer:{name:{a:b}}}", "runner={nothing:1}", "protocol={steps:{official:3}}", "data={source:cloud}",
    "tracking={mode:sometimes}", "ledger={rot:x}", "ledger.root=[a]", "budget={trials:{a:1}}",
    # signs
    "++seed=abc", "+runner.max_steps=3", "++nothing=1", "++method.nothing=1", "~runner.optimizer.eps", "~seed=42",
    "~data.root", "hydra.sweeper.n_trials=3", "hydra.sweeper.params={seed:1}", "+hydra.sweeper.x=1",
    # quoting and grammar
    "seed='1", 'seed="1', "seed=[1", "seed={a:1", "seed=1]", "method.init_text=a: b, c", "seed=1 2", "seed", "1", "{}",
    "[seed=1]", "seed==1", "seed=(1)", "seed=choice()", "seed=range()", "seed=range(1,2,3,4)", "seed=glob()",
    "seed=shuffle(1)", "seed=int(x)", "seed=interval(0,1)", "method=glob(nothing*)", "seed=nofunction(1)", "\x00=1",
    "seed=\n", "ключ=1",
    # flags and Hydra's own keys
    "--dry-run", "--seeed=7", "--seed=7", "-x", "--", "-", "---m", "--cfg=jobs", "--config-name=x", "--config-path=/",
    "--config-dir=/nowhere/at/all", "--experimental-rerun=x", "--multirun=3", "-M", "--method", "--help=me",
    "hydra/sweeper=nonsense", "hydra/sweeper=basic", "hydra.nonsense=1", "hydra/launcher=nosuch", "hydra.mode=SIDEWAYS",
    "hydra.run.dir=/tmp/x", "hydra.job.chdir=true", "hydra.searchpath=[/nowhere/at/all]", "hydra.searchpath=[pkg://os]",
    "hydra.searchpath={a:1}", "hydra.launcher.n_jobs=2", "hydra.verbose=true", "hydra/nothing=1", "~hydra/launcher",
    "hydra/lancher=packed", "hydra.sweep.dir=x",
    # grids
    "+sweep.grid=5", "+sweep.grid=[1]", "+sweep.pairs=[1]", "+sweep.pairs={seed:[1,2],fidelity:[author]}",
    "+sweep.pairs={seed:3}", "+sweep.rows=5", "+sweep.rows=[1]", "+sweep.space=lr", "+sweep.space=[1]",
    "+sweep.trials=abc", "+sweep.trials=0", "+sweep.parts=3", "+sweep.parts=[{where:3}]", "+sweep.by_budget=3",
    "+sweep.by_budget={}", "+sweep.lengths=3", "+sweep.lengths=[a]", "+sweep.grdi={}", "+sweep.grid={sed:[1]}",
    "+sweep.grid={protocol:[carved,papers]}", "+sweep.grid={seed:[]}", "budget.trials=0", "budget.trials=many",
    "+sweep.parts=[{grid:4}]", "+sweep.grid={'':[1]}", "+sweep.rows=[{sed:1}]",
]  # fmt: skip
NO_MISTAKE_IN_A_SWEEP = {"method.init_text=a: b, c"}  # two texts


def test_there_are_enough_of_them() -> None:
    assert len(set(CASES)) >= 150


@pytest.mark.parametrize("sweep", [False, True], ids=["run", "sweep"])
def test_a_mistake_is_a_sentence_and_starts_nothing(
    sweep: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every case is tried before the test fails, so that it names all that are wrong."""
    wrong = []
    for case in (case for case in CASES if not (sweep and case in NO_MISTAKE_IN_A_SWEEP)):
        arguments = [*(["-m"] if sweep else []), *TINY, f"ledger.root={tmp_path}", case]
        try:
            code = run.main(arguments)
        except BaseException as error:
            code = f"{type(error).__name__}: {error}"  # type: ignore[assignment]
        out, err = capsys.readouterr()
        said = [line for line in err.splitlines() if line.startswith("  - ") and len(line) > 12]
        if code != 2 or not said or "Traceback" in err or "Error" in err or out:
            wrong.append((case, code, err[-300:], out[-100:]))
    assert not wrong, "\n".join(map(str, wrong))
    assert not list(tmp_path.iterdir())
