"""Every method on every family answers on another device as on the CPU, without a tensor left behind."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from backbones.batch import sent
from backbones.tuned import Tuned
from methods.pt import PT
from methods.source import Source
from results.ledger import Ledger
from runners.config import RunnerConfig
from runners.order import BatchOrder
from runners.packed_inputs import PackedInputs
from runners.session import NotFinite, Session, rng_state
from tasks.encode import Encoded
from tests import pretend
from tests.contract import rig

# a tagging head, under one method of each kind
TAGGING = [(method, "tiny_bert", "token") for method in ("pt", "prefix", "lora", "pasta")]


def moved(whole: Tuned, device: torch.device) -> Tuned:
    """The model on another device; parameters stay the objects that they are (a method keeps hold of its own)."""
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        return whole.to(device)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


def host(value: Any) -> Any:
    return value.detach().to("cpu") if isinstance(value, torch.Tensor) else value


def questions(whole: Tuned) -> list[str]:
    """What is asked of a model: each of the five that its family answers."""
    if whole.backbone.facts.family != "encoder":
        return ["loss", "rank", "generate"]
    return ["loss", "tag" if whole.backbone.head_kind == "token" else "classify"]  # type: ignore[attr-defined]


def asked(whole: Tuned, question: str, device: str | torch.device, chosen: list[Encoded]) -> list[Any]:
    """An answer, or the losses and every gradient, still on their device; from the collated batch on."""
    batch = rig.batch(whole, chosen, candidates=question == "rank").to(device)
    if question == "loss":
        whole.train()
        losses, counts = whole.losses(batch)
        (losses.sum() / counts.sum()).backward()
        whole.eval()
        return [losses, *(p.grad for _, p in sorted(rig.parameters(whole).items()) if p.grad is not None)]
    if question == "generate":
        return [whole.generate(batch, 4)]
    return [getattr(whole, question)(batch)]


def assert_same(found: list[Any], expected: list[Any]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, torch.Tensor):
            torch.testing.assert_close(host(one), other.detach(), rtol=1e-4, atol=1e-5)
        else:
            assert one == other


def looks(method: str, name: str, question: str) -> int:
    """How often the device is asked for something in the second batch of a kind."""
    if question in ("loss", "classify", "tag"):
        return int(method == "pasta")  # how many special tokens there are: it refuses more than it has vectors for
    prompts = rig.method_config(method, name).get("prompt_length") is not None or method == "spot"
    kept = int(name == "tiny_llama" and prompts)  # whether the prompts are still those whose keys are kept
    return kept + (question == "generate")  # and the tokens, once all have ended


@pytest.mark.parametrize(("method", "name", "head"), [(m, b, "sequence") for m, b in rig.pairs()] + TAGGING)
def test_another_device_gives_the_cpus_results_and_is_hardly_waited_for(method: str, name: str, head: str) -> None:
    plain, chosen = rig.tuned(method, name, head=head), rig.examples(name)
    rig.no_dropout(plain)
    with pretend.device() as device:
        whole = moved(rig.tuned(method, name, head=head), device)
        rig.no_dropout(whole)
        for question in questions(plain):
            assert_same(asked(whole, question, device, chosen), asked(plain, question, "cpu", chosen))
            whole.zero_grad()
            with pretend.waits() as seen:
                asked(whole, question, device, chosen)
            assert sum(seen.values()) <= looks(method, name, question), (question, seen)


def packed(method: str, name: str) -> Tuned:
    """Two runs of a method with prompts of different lengths on one backbone."""
    alone = [rig.tuned(method, name, seed=seed) for seed in (3, 4)]
    inputs = PackedInputs([whole.method for whole in alone])
    inputs.use([0, 1], [4, 4])
    return Tuned(alone[0].backbone, inputs).eval()


PACKING = [(m, b) for m, b in rig.pairs() if rig.method_config(m, b)["capabilities"].get("packs") and b != "tiny_bert"]


@pytest.mark.parametrize(("method", "name"), PACKING)
def test_packed_runs_on_another_device(method: str, name: str) -> None:
    plain, chosen = packed(method, name), rig.examples(name) * 2
    rig.no_dropout(plain)
    with pretend.device() as device:
        whole = moved(packed(method, name), device)
        rig.no_dropout(whole)
        for question in questions(plain):
            assert_same(asked(whole, question, device, chosen), asked(plain, question, "cpu", chosen))
            whole.zero_grad()
            with pretend.waits() as seen:
                asked(whole, question, device, chosen)
            assert sum(seen.values()) <= looks(method, name, question), (question, seen)


class Asking(PT):
    """A method that looks at its own values in every pass: what the tests above must find."""

    def prompts(self, source: Source) -> torch.Tensor:
        return self.prompt * 1.0 if float(self.prompt.detach().sum()) else self.prompt


@pytest.mark.parametrize("name", ["tiny_t5", "tiny_llama"])
def test_a_planted_wait_is_found_alone_and_packed(name: str) -> None:
    bare = rig.backbone(name)
    for count in (1, 3):
        methods = [Asking(bare.facts, prompt_length=2) for _ in range(count)]
        inputs = PackedInputs(methods)
        inputs.use(range(count), [4] * count)
        with pretend.device() as device:
            whole = moved(Tuned(rig.backbone(name), inputs), device)
            with pretend.waits() as seen:
                asked(whole, "loss", device, rig.examples(name) * count)
        assert sum(seen.values()) == count and all("prompts" in line or "test_pretend" in line for line in seen), seen


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


def test_a_copy_that_nobody_waits_for_is_no_wait() -> None:
    with pretend.device() as device, pretend.waits() as seen:
        assert host(sent(torch.ones(3), device)).tolist() == [1.0, 1.0, 1.0]
    assert list(seen) and all(key.startswith("copy to the host") for key in seen)  # the one that reads it


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
        (lambda t: t + torch.tensor([1.0], device=t.device), "copy from the host"),
        (lambda t: t.copy_(torch.ones(3)), "copy from the host"),
    ],
)
def test_every_kind_of_wait_is_counted_by_its_line(work: Any, what: str) -> None:
    with pretend.device() as device:
        there = torch.ones(3).to(device)
        with pretend.waits() as seen:
            work(there)
    assert [key.split(" tests")[0] for key in seen] == [what], seen
    assert all("test_pretend_device.py:" in key for key in seen)
