"""Every method on every family answers on another device as on the CPU, without a tensor left behind."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from backbones.tuned import Tuned
from results.ledger import Ledger
from runners.config import RunnerConfig
from runners.order import BatchOrder
from runners.session import NotFinite, Session, rng_state
from tests import pretend
from tests.contract import rig


def moved(whole: Tuned, device: torch.device) -> Tuned:
    """The model on another device; parameters stay the objects that they are (a method keeps hold of its own)."""
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        return whole.to(device)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


def host(value: Any) -> Any:
    return value.detach().to("cpu") if isinstance(value, torch.Tensor) else value


def gradients(whole: Tuned, device: str | torch.device) -> list[torch.Tensor]:
    chosen = rig.examples(whole.backbone.config.name)
    losses, counts = whole.losses(rig.batch(whole, chosen).to(device))
    (losses.sum() / counts.sum()).backward()
    grads = [p.grad for _, p in sorted(rig.parameters(whole).items())]
    return [host(losses), *(host(g) for g in grads if g is not None)]


def answers(whole: Tuned, device: str | torch.device) -> list[Any]:
    chosen = rig.examples(whole.backbone.config.name)
    if whole.backbone.facts.family == "encoder":
        return [host(whole.classify(rig.batch(whole, chosen).to(device)))]
    ranked = whole.rank(rig.batch(whole, chosen, candidates=True).to(device))
    return [host(ranked), whole.generate(rig.batch(whole, chosen).to(device), 4)]


def assert_same(found: list[Any], expected: list[Any]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, torch.Tensor):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
        else:
            assert one == other


@pytest.mark.parametrize(("method", "name"), rig.pairs())
def test_another_device_gives_the_cpus_results(method: str, name: str) -> None:
    plain = rig.tuned(method, name)
    expected = answers(plain, "cpu"), gradients(plain, "cpu")
    with pretend.device() as device:
        whole = moved(rig.tuned(method, name), device)
        found = answers(whole, device), gradients(whole, device)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


# looks that a method cannot do without: which example it is (ids, mask, types), how many special tokens it has
LOOKS = {"lopa": 3, "idpg": 3, "pasta": 1}


@pytest.mark.parametrize(("method", "name"), rig.pairs())
def test_a_training_pass_waits_for_nothing(method: str, name: str) -> None:
    with pretend.device() as device:
        whole = moved(rig.tuned(method, name), device).train()
        batch = rig.batch(whole, rig.examples(name)).to(device)
        with pretend.waits() as seen:
            losses, counts = whole.losses(batch)
            (losses.sum() / counts.sum()).backward()
    assert sum(seen.values()) <= LOOKS.get(method, 0), seen


@pytest.mark.parametrize("finite", [True, False])
def test_steps_wait_only_where_a_loss_is_logged_and_a_nan_is_never_saved(tmp_path: Path, finite: bool) -> None:
    """Ten whole optimiser steps (passes, clipping, AdamW, schedule) on the device, one look at it."""
    run = Ledger(tmp_path).run("waits")
    run.folder.mkdir(parents=True)
    runner = RunnerConfig(max_steps=20, eval_every=20, batch_size=4, log_every=10, device="cpu")
    with pretend.device() as device:
        whole = moved(rig.tuned("dept", "tiny_t5"), device).train()
        batch = rig.batch(whole, rig.examples("tiny_t5")).to(device)
        order = BatchOrder([9, 3, 14, 6], 4, seed=1)
        session = Session(run, runner, whole.trainable(), {"prompt": 0.1, "offset": 0.1}, order)

        def step() -> None:
            losses, counts = whole.losses(batch)
            loss = losses.sum() / counts.sum()
            loss.backward()
            session.update(loss if finite or session.step != 7 else loss * math.nan, 4, 0.0)

        with pretend.waits() as seen:
            for _ in range(9):
                step()
        assert not seen
        if finite:
            with pretend.waits() as seen:
                step()
            assert sum(seen.values()) == 1 and math.isfinite(session.newest)
            return
        with pytest.raises(NotFinite, match="nan at step 8"):
            session.save([rng_state()])
        assert not (run / "checkpoint.pt").exists()


@pytest.mark.parametrize("name", ["tiny_llama", "tiny_t5"])
def test_decoding_looks_at_the_device_once_in_eight_tokens(name: str) -> None:
    counted = []
    for tokens in (1, 9):
        with pretend.device() as device:
            whole = moved(rig.tuned("pt", name), device)
            batch = rig.batch(whole, rig.examples(name)).to(device)
            with pretend.waits() as seen:
                whole.generate(batch, tokens)
        counted.append(sum(seen.values()))
    assert counted[1] <= counted[0] + 1


def test_a_tensor_left_on_the_host_is_found() -> None:
    with pretend.device() as device:
        there = torch.ones(3).to(device)
        with pytest.raises(RuntimeError, match="meets one of the device"):
            there + torch.ones(3)
        assert host(there + torch.tensor(1.0)).tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("work", "what"),
    [
        (lambda t: t.sum().item(), "_local_scalar_dense"),
        (lambda t: t.tolist(), "tolist"),
        (lambda t: (t > 0).nonzero(), "nonzero"),
        (lambda t: t[t > 0], "boolean index"),
        (lambda t: t.cpu(), "copy to the host"),
        (lambda t: bool(t.any()), "_local_scalar_dense"),
    ],
)
def test_every_kind_of_wait_is_counted_by_its_line(work: Any, what: str) -> None:
    with pretend.device() as device, pretend.waits() as seen:
        work(torch.ones(3).to(device))
    assert [key.split(" tests")[0] for key in seen] == [what], seen
    assert all("test_pretend_device.py:" in key for key in seen)
