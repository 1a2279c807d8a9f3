"""`runner.compile`: layers through torch.compile answer and learn as they are written, or the run is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from backbones import compiled
from backbones.compiled import as_written, compile_layers, layers_of
from conf.compose import compose, typed
from conf.packing import pack_key
from results.identity import run_id
from runners.assemble import assemble
from runners.data import load_data
from runners.last_backbone import LAST_BACKBONE
from runners.measures import compile_seconds
from runners.optim import build_optimizer
from runners.problems import problems_of
from tests.contract import rig
from tests.running import log_without_times, overrides, record, run_here


@pytest.fixture
def eager_backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Traced and differentiated as for inductor, and run without machine code of its own."""
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
    LAST_BACKBONE.forget()


def steps(method: str, name: str, on: bool, count: int = 3) -> tuple[list[float], torch.Tensor, int]:
    """Losses of a few steps of one run, what it answers after them, and how many frames torch compiled."""
    torch._dynamo.utils.counters.clear()
    whole, examples = rig.tuned(method, name), rig.examples(name)
    rig.no_dropout(whole)
    if on:
        compile_layers(whole.backbone)
    config: Any = typed(compose(["method=pt", "task=superglue/boolq", "backbone=tiny_llama", "data=fixture"]))
    groups = whole.trainable()
    optimizer = build_optimizer(groups, dict.fromkeys(groups, 0.01), config.runner.optimizer)
    losses = []
    for step in range(count):
        whole.train()
        loss = whole.losses(rig.batch(whole, examples[step % 2 : step % 2 + 3]))[0].sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    whole.eval()
    return losses, rig.answers(whole, examples), torch._dynamo.utils.counters["frames"]["ok"]


@pytest.mark.parametrize(
    ("method", "name"), [("pt", "tiny_t5"), ("pt", "tiny_llama"), ("pt", "tiny_bert"), ("lora", "tiny_llama")]
)
def test_a_few_steps_have_the_losses_and_answers_of_the_layers_as_written(
    eager_backend: None, method: str, name: str
) -> None:
    wanted, said, none = steps(method, name, on=False)
    before = compile_seconds()
    losses, answers, frames = steps(method, name, on=True)
    assert none == 0 and frames > 0
    assert compile_seconds() > before
    assert losses == pytest.approx(wanted, abs=1e-5, rel=1e-5)
    assert torch.allclose(answers, said, atol=1e-4, rtol=1e-5)
    assert abs(wanted[0] - wanted[2]) > 1e-3  # something was learned between two steps on the same rows


def test_a_run_has_its_compile_time_and_the_log_of_the_layers_as_written(eager_backend: None, tmp_path: Path) -> None:
    short = ("runner.max_steps=3", "runner.eval_every=3", "runner.log_every=1", "runner.evaluate_untrained=false")
    plain = run_here(tmp_path / "plain", *short)
    fast = run_here(tmp_path / "fast", *short, "runner.compile=true")
    assert plain.status == fast.status == "done" and plain.run_id != fast.run_id
    one, other = record(tmp_path / "plain"), record(tmp_path / "fast")
    assert "compile_seconds" not in one and other["compile_seconds"] > 0
    (left,), (right,) = ([*(tmp_path / kind / "runs").glob("*/")] for kind in ("plain", "fast"))
    for a, b in zip(log_without_times(left), log_without_times(right), strict=True):
        assert a.keys() == b.keys()
        if "loss" in a:
            assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)


def test_a_later_run_of_a_sweep_has_its_layers_as_it_says(eager_backend: None, tmp_path: Path) -> None:
    run = overrides(tmp_path)
    for on in (True, False, True):
        config = typed(compose([*run, f"runner.compile={str(on).lower()}"]))
        parts = assemble(config, torch.device("cpu"), load_data(config))
        assert all((layer._compiled_call_impl is not None) is on for layer in layers_of(parts.tuned.backbone.model))
    as_written(parts.tuned.backbone)


def test_refusals_before_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = typed(compose(overrides(tmp_path, "runner.compile=true")))
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert any("C++ compiler" in text and "no-such-compiler" in text for text in problems_of(asked))
    refused = run_here(tmp_path, "runner.compile=true")
    assert refused.exit_code == 2 and not (tmp_path / "runs").exists()
    assert not problems_of(typed(compose(overrides(tmp_path))))
    assert "not offered on mps" in (compiled.problem("mps") or "")
    monkeypatch.delenv("CXX")
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")  # what follows holds with a compiler, too
    monkeypatch.setattr("runners.problems.check_backbone", lambda backbone: [])  # torchao may be missing
    for other in ("runner.sharding=fsdp", "backbone.quantization=int8"):
        found = problems_of(typed(compose(overrides(tmp_path, "runner.compile=true", other))))
        assert any(f"runner.compile=true with {other}" in text for text in found)


def test_a_model_without_layers_is_refused() -> None:
    whole = rig.backbone("tiny_bert")
    whole.model.encoder.layer = torch.nn.ModuleList()
    with pytest.raises(compiled.BackboneError, match="no layers are found"):
        compile_layers(whole)


def test_it_counts_in_the_name_of_a_run_and_false_does_not(tmp_path: Path) -> None:
    plain, fast = compose(overrides(tmp_path)), compose(overrides(tmp_path, "runner.compile=true"))
    assert run_id(plain, "data") != run_id(fast, "data")
    del plain["runner"]["compile"]  # as before there was such an option
    assert run_id(plain, "data") == run_id(compose(overrides(tmp_path)), "data")
    assert pack_key(fast, typed(fast)) is None  # a packed sweep runs it alone


@pytest.mark.slow
@pytest.mark.skipif(
    compiled.problem("cpu") is not None, reason="inductor needs a C++ compiler on a CPU, and there is none here"
)
def test_inductor_has_the_losses_of_the_layers_as_written() -> None:
    torch._dynamo.reset()
    wanted, said, _ = steps("pt", "tiny_llama", on=False)
    losses, answers, frames = steps("pt", "tiny_llama", on=True)
    torch._dynamo.reset()
    assert frames > 0
    assert losses == pytest.approx(wanted, abs=1e-5, rel=1e-5)
    assert torch.allclose(answers, said, atol=1e-4, rtol=1e-5)
