"""run.py from its command line to its ledger, on tiny models and fixture rows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

import run as command_line
from results.files import read_lines
from tests.running import ROOT, command, environment, finish, folder, overrides, record, run_here, start

LINE = re.compile(r"^run [0-9a-f]{16} (done|failed|refused|held|stopped|interrupted)( \w+=-?\d\.\d{4})?$")
FIELDS = (
    "run_id", "status", "method", "task", "backbone", "protocol", "seed", "fidelity", "config", "data",
    "primary_metric", "primary_split", "selection", "metrics", "untrained_metrics", "verdicts", "versions", "host",
    "processes", "started", "heartbeat", "steps", "selected_step", "wall_seconds", "epochs",
    "trainable_parameters", "head_parameters", "backbone_parameters", "train_examples_per_second",
    "eval_examples_per_second", "peak_memory_bytes", "loaded_memory_bytes", "standard_error", "truncated",
)  # fmt: skip


def said(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """(last line of standard output, standard error) since the last call."""
    out, err = capsys.readouterr()
    return (out.strip().splitlines() or [""])[-1], err


@pytest.mark.parametrize("backbone", ["tiny_llama", "tiny_t5", "tiny_bert"])
def test_a_run_trains_once_and_leaves_a_whole_record(
    backbone: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = overrides(tmp_path, f"backbone={backbone}", "runner.log_every=2")
    assert command_line.main(arguments) == 0
    line, err = said(capsys)
    assert LINE.match(line) and " done accuracy=" in line
    assert "\r" not in err  # no progress bar where no terminal is
    kept = record(tmp_path)
    assert [field for field in FIELDS if field not in kept] == []
    assert line == f"run {kept['run_id']} done accuracy={kept['metrics']['test']['accuracy']:.4f}"
    assert kept["steps"] == 4 and kept["selected_step"] in (2, 4) and kept["heartbeat"] >= kept["started"]
    assert set(kept["untrained_metrics"]) == {"validation", "test"}
    assert {v["name"]: v["level"] for v in kept["verdicts"]}["saved_equals_trained"] == "ok"

    path = folder(tmp_path)
    names = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")}
    assert names >= {"config.yaml", "metrics.jsonl", "method.safetensors", "manifest.json", "predictions.test.jsonl"}
    assert "checkpoint.pt" not in names
    rows = read_lines(path / "metrics.jsonl")
    assert [row["step"] for row in rows if "loss" in row] == [2, 4]
    assert [(row["step"], row["split"]) for row in rows if "metrics" in row] == [
        (0, "validation"), (0, "test"), (2, "validation"), (4, "validation"),
    ]  # fmt: skip
    predictions = read_lines(path / "predictions.test.jsonl")
    assert len({row["id"] for row in predictions}) == len(predictions) == kept["data"]["used_rows"]["test"]

    written = (path / "metrics.jsonl").stat().st_mtime_ns
    assert command_line.main(arguments) == 0  # finds it in the ledger
    assert said(capsys)[0] == line and (path / "metrics.jsonl").stat().st_mtime_ns == written
    before = (path / "method.safetensors").read_bytes()
    assert command_line.main([*arguments, "force=true"]) == 0  # trains again, to the same bytes
    assert said(capsys)[0] == line and (path / "metrics.jsonl").stat().st_mtime_ns > written
    assert (path / "method.safetensors").read_bytes() == before


@pytest.mark.parametrize("method", ["none", "majority"])
def test_baselines_are_ordinary_runs(method: str, tmp_path: Path) -> None:
    outcome = run_here(tmp_path, f"method={method}")
    assert outcome.status == "done" and outcome.line.startswith(f"run {outcome.run_id} done accuracy=")
    assert record(tmp_path)["trainable_parameters"] == 0


MISTAKES = (
    (["method=dpet"], "Did you mean dept"),
    (["method.prompt_lenght=4"], "Did you mean method.prompt_length"),
    (["runner.max_steps=many"], "runner.max_steps='many'"),
    (["task=superglue/boolk"], "superglue/boolq"),
    (["fidelity=wrong"], "corrected, author"),
    (["runner.precision=fp8"], "fp32, bf16"),
    (["seed=1,2"], "add -m"),
    (["max_steps"], "is not an override"),
    (["backbone=tiny_t5", "runner.precision=fp16"], "use bf16 or fp32"),
    (["method.init_from=0123"], "method.init_from=0123"),
    (["data=local", "data.root=/nowhere/at/all"], "/nowhere/at/all"),
)


@pytest.mark.parametrize(("mistake", "answer"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_users_mistake_is_answered_in_a_sentence(
    mistake: list[str], answer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = command_line.main(overrides(tmp_path, *mistake))
    out, err = capsys.readouterr()
    assert answer in err and "Traceback" not in out + err
    assert code == 2


def test_all_mistakes_are_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(overrides(tmp_path, "method=dpet", "sede=1", "runner.max_steps=x")) == 2
    err = capsys.readouterr().err
    assert all(word in err for word in ("dpet", "sede", "runner.max_steps")) and not (tmp_path / "runs").exists()


def test_cfg_job_shows_everything_and_loads_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main([*overrides(tmp_path, "method=dept"), "--cfg", "job"]) == 0
    out = capsys.readouterr().out
    assert "prompt_length:" in out and "clip_norm:" in out and re.search(r"# run [0-9a-f]{16}, data: fixture", out)
    assert not (tmp_path / "runs").exists()


def test_as_a_command_from_another_working_directory(tmp_path: Path) -> None:
    process = start(tmp_path, cwd=tmp_path)
    code, line, err = finish(process)
    assert code == 0 and LINE.match(line), err
    assert {entry.name for entry in tmp_path.iterdir()} <= {"runs", "cache"}


def test_help_lists_the_choices(capfd: pytest.CaptureFixture[str]) -> None:
    import subprocess
    import sys

    answer = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "--help"], capture_output=True, text=True, env=environment(), check=True
    )
    assert "method=dept" in answer.stdout and "superglue/boolq" in answer.stdout


def test_failures_become_rows_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run_here(tmp_path / "nan", "method=full", "method.lr.weights=1e30")
    kept = record(tmp_path / "nan")
    assert outcome.status == "failed" and outcome.exit_code == 1
    assert kept["status"] == "failed" and "the training loss is" in kept["reason"] and "learning rate" in kept["reason"]
    assert any(v["name"] == "loss_not_finite" for v in kept["verdicts"])

    from backbones.tuned import Tuned

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with monkeypatch.context() as patch:
        patch.setattr(Tuned, "losses", full)
        outcome = run_here(tmp_path / "oom")
    assert outcome.status == "failed" and "runner.micro_batch=4" in record(tmp_path / "oom")["reason"]
    assert run_here(tmp_path / "oom").status == "done"  # asked for by name: tried again

    def broken(*_: object) -> None:
        raise KeyError("what nobody thought of")

    with monkeypatch.context() as patch:
        patch.setattr(Tuned, "rank", broken)
        assert run_here(tmp_path / "bug").exit_code == 1
    assert "KeyError" in record(tmp_path / "bug")["reason"] and ".py:" in record(tmp_path / "bug")["reason"]


def test_a_kept_encoder_starts_each_run_with_its_untrained_head(tmp_path: Path) -> None:
    alone = run_here(tmp_path / "alone", "backbone=tiny_bert", "method.lr.prompt=0.5")
    run_here(tmp_path / "pair", "backbone=tiny_bert", "method.lr.prompt=0.9")
    second = run_here(tmp_path / "pair", "backbone=tiny_bert", "method.lr.prompt=0.5")
    assert second.run_id == alone.run_id
    files = [tmp_path / part / "runs" / str(alone.run_id) / "method.safetensors" for part in ("alone", "pair")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_broken_record_is_refused_until_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = overrides(tmp_path, "method=majority")
    assert command_line.main(arguments) == 0
    path = folder(tmp_path) / "record.json"
    path.write_text('{"status": "do')
    capsys.readouterr()
    assert command_line.main(arguments) == 2
    line, err = said(capsys)
    assert LINE.match(line) and "refused" in line and "record.json" in err and "force=true" in err
    assert path.read_text() == '{"status": "do'
    assert command_line.main([*arguments, "force=true"]) == 0
    assert json.loads(path.read_text())["status"] == "done"


def test_a_ledger_that_cannot_be_written_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "runs").write_text("a file where the ledger should be")
    assert command_line.main(overrides(tmp_path)) == 2
    line, err = said(capsys)
    assert line.endswith("refused") and "cannot be written" in err and "ledger.root=DIR" in err


def test_the_command_is_spelt_the_same_for_a_subprocess(tmp_path: Path) -> None:
    assert command(tmp_path)[1].endswith("run.py") and Path(command(tmp_path)[1]).is_absolute()


@pytest.mark.parametrize(("backbone", "layers"), [("tiny_llama", 2), ("tiny_t5", 4), ("tiny_bert", 2)])
def test_apts_gates_are_kept_for_the_figures(backbone: str, layers: int, tmp_path: Path) -> None:
    from results.plots.runs import read

    run_here(tmp_path, "method=apt", f"backbone={backbone}", "method.prefix_length=3", "method.lr.gate=0.5")
    gates = json.loads((folder(tmp_path) / "diagnostics" / "gates.json").read_text())
    assert [len(row) for row in gates["layers"]] == [3] * layers and len(gates["layer_gate"]) == layers
    values = [value for row in gates["layers"] for value in row]
    assert all(0 < value < 1 for value in values) and len(set(values)) == len(values)
    ((seen,), _) = read(tmp_path / "runs", {})
    assert seen.gates() == gates


def test_a_method_without_gates_leaves_no_diagnostics(tmp_path: Path) -> None:
    run_here(tmp_path, "method=apt", "method.prefix_length=3", "method.token_gate=none")
    assert not (folder(tmp_path) / "diagnostics").exists()
