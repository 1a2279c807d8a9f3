"""`runner.sharding=fsdp`: a backbone whose layers lie in parts on two gloo processes is the whole one."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from results.files import read_lines
from tests.contract import rig
from tests.distributed.test_two_processes import SETTINGS, torchrun
from tests.running import ROOT, environment, folder, overrides, record, run_here, start

pytestmark = pytest.mark.slow
PARTS = "runner.sharding=fsdp"
LAUNCHER = [
    sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--rdzv-backend", "c10d",
    "--rdzv-endpoint", "localhost:0",
]  # fmt: skip


@pytest.mark.parametrize(
    "more", [(), ("checkpointing", "pt", "prefix", "lora", "apt", "adapter")], ids=["all", "recomputed"]
)
def test_every_method_on_every_family_gives_what_it_gives_on_whole_layers(more: tuple[str, ...]) -> None:
    """Each process has rows of its own and decodes another number of tokens: nothing may wait for the other one."""
    answer = subprocess.run(
        [*LAUNCHER, str(ROOT / "tests/distributed/shards_rig.py"), *more],
        capture_output=True, text=True, timeout=280, env=environment(),
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-3000:]
    found = re.findall(r"^(\w+) (\w+) ([01]) (.+)$", answer.stdout, re.M)
    wanted = [(m, b, str(rank)) for m, b in rig.pairs() for rank in (0, 1) if not more or m in more]
    assert sorted(key[:3] for key in found) == sorted(wanted)
    refused = {method: told for method, _, _, told in found if told.startswith("refused")}
    assert set(refused) == ({"full"} if not more else set())
    assert all("runner.sharding" in told and "lora" in told for told in refused.values())
    apart = {key[:3]: float(key[3]) for key in found if key[0] not in refused}
    assert max(apart.values()) < 1e-5, {key: value for key, value in apart.items() if value >= 1e-5}


@pytest.mark.parametrize(
    "choice",
    [
        ("backbone=tiny_llama", "method=dept", "method.lr.offset=0.01", "runner.micro_batch=1"),  # 3 passes against 2
        ("backbone=tiny_llama", "method=lora"),
        ("backbone=tiny_t5", "method=apt", "method.prefix_dropout=0.0"),  # the main process alone watches its gates
        (
            "backbone=tiny_llama",
            "method=idpg",
            "method.network_dropout=0.0",
        ),  # reads features of the frozen model, here and there not yet known
        ("backbone=tiny_t5", "protocol=dept", "runner.gradient_checkpointing=true"),
        ("backbone=tiny_bert", "backbone.facts.dropout=0.0", "method=prefix"),
    ],
    ids=["llama, uneven passes", "llama, LoRA", "t5, APT", "llama, IDPG", "t5, recomputed", "bert, prefix"],
)
def test_two_processes_with_a_half_each_equal_one(choice: tuple[str, ...], tmp_path: Path) -> None:
    # 3 batches to score on 2 processes; the last batch of an epoch (13 rows in fives) has 3 rows
    settings = (*[s for s in SETTINGS if "lr.prompt" not in s], "runner.eval_batch_size=3", *choice)
    one = run_here(tmp_path / "one", *settings)
    assert one.status == "done", one.reason
    answer = torchrun(tmp_path / "two", *settings, PARTS)
    assert answer.returncode == 0, answer.stderr[-3000:]
    first, second = folder(tmp_path / "one"), folder(tmp_path / "two")
    assert first.name == second.name, "how the weights lie is no part of a run's name"
    last = answer.stdout.strip().splitlines()[-1]
    metric, value = one.metric, record(tmp_path / "one")["metrics"]["test"][one.metric]
    assert last == f"run {first.name} done {metric}={value:.4f}"
    losses = [[row["loss"] for row in read_lines(path / "metrics.jsonl") if "loss" in row] for path in (first, second)]
    assert len(losses[0]) == 6 and losses[1] == pytest.approx(losses[0], abs=1e-5)
    rows = [read_lines(path / "predictions.test.jsonl") for path in (first, second)]
    assert rows[0] == rows[1]
    assert record(tmp_path / "two")["sharding"] == "fsdp over 2 processes"


def test_a_run_goes_on_with_another_number_of_processes(tmp_path: Path) -> None:
    """Killed alone, killed as two, ended alone: the losses of an undisturbed run, and checkpoints of kilobytes."""
    settings = (*SETTINGS, "runner.max_steps=60", "runner.eval_every=20", "runner.checkpoint_every=5", PARTS)
    assert run_here(tmp_path / "whole", *settings).status == "done"
    alone = start(tmp_path, *settings)
    killed_at_a_checkpoint(alone, tmp_path, 10)
    script, *arguments = [str(ROOT / "run.py"), *overrides(tmp_path, *settings)]
    both = subprocess.Popen(
        [*LAUNCHER, script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment()
    )
    killed_at_a_checkpoint(both, tmp_path, 30)
    end = start(tmp_path, *settings)
    _, told = end.communicate(timeout=240)
    assert end.returncode == 0 and "goes on from step" in told, told[-3000:]
    losses = [
        [row["loss"] for row in read_lines(folder(root) / "metrics.jsonl") if "loss" in row]
        for root in (tmp_path / "whole", tmp_path)
    ]
    assert len(losses[0]) == 60 and losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert record(tmp_path)["metrics"] == record(tmp_path / "whole")["metrics"]


def killed_at_a_checkpoint(process: subprocess.Popen[str], root: Path, step: int) -> None:
    """Wait for a checkpoint at `step` or later, look at its size, kill the processes."""
    import psutil

    from results.verify import checkpoint_head

    until = time.monotonic() + 200
    while time.monotonic() < until and process.poll() is None:
        for path in root.glob("runs/*/checkpoint.pt"):
            head = checkpoint_head(path, path.parent.name)[0]
            if head and head["step"] >= step:
                assert path.stat().st_size < 128 << 10  # the model has 558 kB
                for child in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
                    child.kill()
                process.communicate(timeout=60)
                assert process.returncode != 0
                return
        time.sleep(0.01)
    raise AssertionError(f"no checkpoint at step {step}; the process ended with {process.poll()}")


BROKEN_IN_BACKWARD = """
import os, sys
sys.path.insert(0, {root!r})
import run, torch
from backbones.llama import Llama
losses, calls = Llama.losses, []
def failing(self, batch, inputs):
    found, count = losses(self, batch, inputs)
    calls.append(1)
    if os.environ["RANK"] == {rank!r} and len(calls) == 3:
        def fail(gradient):
            raise torch.OutOfMemoryError("out of memory in the backward pass")
        found.register_hook(fail)
    return found, count
Llama.losses = failing
sys.exit(run.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_process_that_fails_in_a_backward_pass_leaves_none_waiting(rank: str, tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text(BROKEN_IN_BACKWARD.format(root=str(ROOT), rank=rank))
    answer = subprocess.run(
        [*LAUNCHER, str(script), *overrides(tmp_path, *SETTINGS, PARTS)],
        capture_output=True, text=True, timeout=280, env=environment(ACCELERATE_USE_CPU="1"),
    )  # fmt: skip
    assert answer.returncode != 0
    kept = record(tmp_path)
    if rank == "0":
        assert kept["status"] == "failed" and "out of memory in the backward pass" in kept["reason"]
    else:  # torchrun ends the main process too, which may not get to writing why: then it goes on from its checkpoint
        assert kept["status"] == "running" or "another process" in kept["reason"], kept


def test_full_fine_tuning_in_parts_is_refused(tmp_path: Path) -> None:
    answer = torchrun(tmp_path, *[s for s in SETTINGS if "lr.prompt" not in s], "method=full", PARTS)
    assert "exitcode: 2" in re.sub(r" +:", ":", answer.stderr)
    assert "full fine-tuning with runner.sharding=fsdp" in answer.stderr
