"""Frozen layers in few bits: what they compute, what they keep, what trains on them, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import run
from backbones import config as backbone_config
from backbones.admission import compared
from backbones.base import Backbone
from backbones.config import missing_library
from backbones.errors import BackboneError
from backbones.load import load_backbone
from backbones.quantised import KINDS, Quantised, quantise, quantised_layers
from conf.compose import compose, name_run, typed
from conf.resolve import ConfigError
from results.identity import run_id
from results.ledger import Ledger
from runners.problems import problems_of
from tests.contract import rig
from tests.running import overrides, record, run_here

# The 16 values of NF4 (Dettmers et al. 2023, appendix E)
NF4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
       -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
       0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]  # fmt: skip
BITS = [
    pytest.param(how, marks=pytest.mark.skipif(missing_library(how) is not None, reason=str(missing_library(how))))
    for how in ("int8", "nf4")
]


def quantised(name: str, how: str) -> Backbone:
    config = replace(rig.backbone_config(name), quantization=how)
    more: dict[str, Any] = {} if config.family != "encoder" else {"n_labels": 3, "head": "sequence", "seed": 7}
    return load_backbone(config, cache_root="unused", **more)


def linear(outputs: int = 96, inputs: int = 128, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(inputs, outputs, bias=bias).requires_grad_(False)


@pytest.mark.parametrize("how", BITS)
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_computes_with_its_de_quantised_weights_forwards_and_backwards(how: str, bias: bool) -> None:
    layer = linear(bias=bias)
    few = KINDS[how](layer)
    x = torch.randn(3, 5, 128, requires_grad=True)
    y = few(x)
    expected = (x.double() @ few.weight.double().T + (layer.bias.double() if bias else 0)).float()
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    upstream = torch.randn_like(y)
    (gradient,) = torch.autograd.grad(y, x, upstream)
    torch.testing.assert_close(gradient, (upstream.double() @ few.weight.double()).float(), rtol=1e-5, atol=1e-5)
    with torch.inference_mode():
        torch.testing.assert_close(few(x), y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("how", BITS)
def test_what_is_kept_is_as_near_to_the_weights_as_the_bits_allow(how: str) -> None:
    layer = linear()
    weight = layer.weight.detach()
    few = KINDS[how](layer)
    if how == "int8":  # symmetric, one scale for each output: 255 steps between its largest value and its negative
        step = weight.abs().amax(1, keepdim=True) / 127.5
        assert bool(((few.weight - weight).abs() <= 0.5 * step + 1e-6).all())
    else:
        scale = weight.reshape(-1, 64).abs().amax(1, keepdim=True)
        nearest = torch.tensor(NF4)
        shares = weight.reshape(-1, 1, 64) / scale[..., None]
        own = nearest[(shares.squeeze(1)[..., None] - nearest).abs().argmin(-1)] * scale
        torch.testing.assert_close(few.weight, own.reshape(weight.shape))


@pytest.mark.parametrize("how", BITS)
def test_no_more_than_the_bits_are_kept_here_or_for_a_backward_pass(how: str) -> None:
    bits = {"int8": 8, "nf4": 4}[how]
    few = KINDS[how](linear(bias=False))
    kept = sum(t.numel() * t.element_size() for t in few.state_dict().values())
    assert kept <= few.count * bits / 8 + 8 * max(few.out_features, few.count // 64 + 16)
    assert not list(few.parameters())
    saved: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: saved.append(t.numel() * t.element_size()) or t, lambda t: t
    ):
        few(torch.randn(2, 128, requires_grad=True)).sum().backward()
    assert max(saved, default=0) < few.count


@pytest.mark.parametrize("how", BITS)
@pytest.mark.parametrize("name", rig.BACKBONES)
def test_a_model_is_admitted_with_its_bound_and_has_as_many_weights_as_before(how: str, name: str) -> None:
    whole, few = rig.backbone(name), quantised(name, how)
    assert few.weights == whole.weights and len(quantised_layers(few.model)) > 10
    report = compared(few)
    assert report["quantization"].startswith(how) and report["bound"] == 1e-4
    assert report["differences"]["weights in few bits against the de-quantised ones"] <= 1e-5


@pytest.mark.parametrize("how", BITS)
def test_a_layer_that_computes_something_else_is_refused(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = KINDS[how].forward
    monkeypatch.setattr(KINDS[how], "forward", lambda self, x: own(self, x) * 1.001)
    with pytest.raises(BackboneError, match="few bits"):
        compared(quantised("tiny_llama", how))


@pytest.mark.parametrize("how", BITS)
@pytest.mark.parametrize("name", rig.BACKBONES)
@pytest.mark.parametrize("method", ["pt", "dept", "prefix", "apt", "lora", "ia3", "adapter", "bitfit", "ether"])
def test_methods_train_on_it_as_on_the_de_quantised_model(how: str, name: str, method: str) -> None:
    if (method, name) not in rig.pairs():
        pytest.skip("refused on this family")

    def plainly(bare: Backbone) -> None:
        quantise(bare.model, how, name)
        for owner, place, few in [(m, n, c) for m in bare.model.modules() for n, c in m.named_children()]:
            if isinstance(few, Quantised):
                plain = nn.Linear(few.in_features, few.out_features, bias=few.bias is not None).requires_grad_(False)
                plain.load_state_dict({"weight": few.weight} | ({} if few.bias is None else {"bias": few.bias}))
                setattr(owner, place, plain)

    few = rig.tuned(method, name, prepare=lambda bare: quantise(bare.model, how, name))
    assert quantised_layers(few.backbone.model)
    plain = rig.tuned(method, name, prepare=plainly)
    assert not quantised_layers(plain.backbone.model)
    sides = [answers_and_gradients(whole, name) for whole in (few, plain)]
    assert len(sides[0]) == len(sides[1]) > 2
    for one, other in zip(*sides, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def answers_and_gradients(whole: Any, name: str) -> list[torch.Tensor]:
    whole.zero_grad(set_to_none=True)
    chosen = rig.examples(name)
    answers = torch.nan_to_num(rig.answers(whole, chosen))
    losses, counts = whole.losses(rig.batch(whole, chosen))
    (losses.sum() / counts.sum()).backward()
    gradients = [p.grad.clone() for _, p in sorted(rig.parameters(whole).items()) if p.grad is not None]
    assert gradients and all(bool(g.isfinite().all()) for g in gradients)
    assert any(bool(g.abs().max() > 0) for g in gradients)
    return [answers, losses.detach(), *gradients]


@pytest.mark.parametrize("how", BITS)
def test_a_run_says_what_its_layers_are_kept_in(how: str, tmp_path: Path) -> None:
    few = f"backbone.quantization={how}"
    for method in ("pt", "lora"):
        root = tmp_path / method
        outcome = run_here(root, few, f"method={method}")
        assert outcome.status == "done", outcome.reason
        kept = record(root)
        assert kept["config"]["backbone"]["quantization"] == how
        assert kept["backbone_admission"]["quantization"].startswith(how)
        assert kept["backbone"] == f"tiny_llama ({how})"
        assert kept["backbone_parameters"] == rig.backbone("tiny_llama").weights
        verdicts = {v["name"]: v["level"] for v in kept["verdicts"]}
        assert verdicts["saved_equals_trained"] == "ok"


@pytest.mark.parametrize("how", BITS)
def test_full_fine_tuning_is_refused(how: str, tmp_path: Path) -> None:
    outcome = run_here(tmp_path, f"backbone.quantization={how}", "method=full")
    assert outcome.exit_code == 2 and "full fine-tuning with backbone.quantization" in str(outcome.reason)


def test_refusals_before_anything_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(backbone_config, "find_spec", lambda name: None)
        config = typed(compose(overrides(tmp_path, "backbone.quantization=nf4")))
        assert any("bitsandbytes" in said and "pip install" in said for said in problems_of(config))
        plain = typed(compose(overrides(tmp_path)))
        assert not problems_of(plain)
    monkeypatch.setattr(backbone_config, "find_spec", lambda name: object())
    both = typed(compose(overrides(tmp_path, "backbone.quantization=int8", "runner.sharding=fsdp")))
    assert any("runner.sharding=fsdp with backbone.quantization=int8" in said for said in problems_of(both))
    with pytest.raises(ConfigError, match="int8, nf4"):
        compose(overrides(tmp_path, "backbone.quantization=int4"))


def test_the_bits_count_in_a_runs_name_and_none_is_no_choice(tmp_path: Path) -> None:
    names = {
        how: name_run(config := compose(overrides(tmp_path, *more)), typed(config))[0]
        for how, more in {
            "": (),
            "null": ("backbone.quantization=null",),
            "int8": ("backbone.quantization=int8",),
            "nf4": ("backbone.quantization=nf4",),
        }.items()
    }
    assert names[""] == names["null"] and len(set(names.values())) == 3
    without = compose(overrides(tmp_path))
    del without["backbone"]["quantization"], without["runner"]["sharding"]
    assert run_id(without, "data") == run_id(compose(overrides(tmp_path, "runner.sharding=fsdp")), "data")


@pytest.mark.parametrize("how", BITS)
def test_a_pack_on_few_bits_equals_the_runs_alone(how: str, tmp_path: Path) -> None:
    chosen = [f"backbone.quantization={how}", "method.lr.prompt=0.1,0.3", "-m"]
    assert run.main(overrides(tmp_path / "alone", *chosen)) == 0
    assert run.main(overrides(tmp_path / "packed", *chosen, "hydra/launcher=packed")) == 0
    alone, packed = (Ledger(tmp_path / name / "runs") for name in ("alone", "packed"))
    assert len(alone.records()) == 2
    for seen in packed.records():
        mine, theirs = packed.run(seen["run_id"]), alone.run(seen["run_id"])
        assert seen["packed"] and seen["metrics"] == theirs.record()["metrics"]
        for name, tensor in load_file(mine / "method.safetensors").items():
            torch.testing.assert_close(tensor, load_file(theirs / "method.safetensors")[name], rtol=1e-5, atol=1e-6)
