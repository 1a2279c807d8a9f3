"""What every method of this project keeps, by itself and without a backbone; a new method file is picked up.

Methods are found by their YAML (conf/method/*.yaml with a target in methods/).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from backbones.config import Facts
from conf.resolve import _fill
from methods import load
from methods.base import InputMethod, LayerMethod, Method, option_defaults, stacks_of
from methods.source import Source
from runners.promised import some_sources
from tests.sizes import tiny

CONF = Path(__file__).resolve().parents[2] / "conf" / "method"
FAMILIES = {"t5": tiny("t5"), "llama": tiny("llama"), "encoder": tiny("encoder")}


def yamls() -> dict[str, dict[str, Any]]:
    found = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(CONF.glob("*.yaml"))}
    named = {name: config for name, config in found.items() if str(config.get("target")).startswith("methods.")}
    # those that live inside a model are held by test_promises.py
    kinds = {name: load.method_class(config["target"]) for name, config in named.items()}
    return {name: named[name] for name, kind in kinds.items() if issubclass(kind, InputMethod | LayerMethod)}


METHODS = yamls()
KINDS = {name: load.method_class(config["target"]) for name, config in METHODS.items()}
TOGETHER = {name for name, kind in KINDS.items() if issubclass(kind, InputMethod) and kind.answers_together}
# prompts that answer an example together have no head in common on an encoder (tests/parity/test_sesom.py: refused)
PAIRS = [(name, family) for name in METHODS for family in FAMILIES if not (name in TOGETHER and family == "encoder")]
EVERY = pytest.mark.parametrize(("name", "family"), PAIRS)
ONE_ANSWER = pytest.mark.parametrize(("name", "family"), [pair for pair in PAIRS if pair[0] not in TOGETHER])
NAMED = pytest.mark.parametrize("name", METHODS)


def resolved(name: str, family: str) -> tuple[dict[str, Any], Facts]:
    config = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    _fill(config, "corrected", f"tiny_{family}", family)
    small = {key: value for key, value in {"blocks": 2, "pieces": 2}.items() if key in config}  # the width is 8
    sources = {"sources": {"one": "a run"}} if "sources" in config else {}
    return config | small | sources | {"init_from": "an earlier run"}, FAMILIES[family]


def made(name: str, family: str, seed: int = 0) -> Method:
    config, facts = resolved(name, family)
    return load.build(config, facts, None, torch.Generator().manual_seed(seed), some_sources(config, facts))


def seen(method: Method) -> list[Tensor]:
    """What a frozen backbone would be given, on a fixed batch."""
    generator = torch.Generator().manual_seed(5)
    if isinstance(method, InputMethod):
        embeds = torch.randn(3, 4, 8, generator=generator)
        mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]])
        ids = torch.arange(12).view(3, 4) % 11
        return list(method(Source(embeds, ids, mask, reader=lambda s: s.embeds[:, 0])))
    assert isinstance(method, LayerMethod)
    summary = torch.randn(3, 8, generator=generator) if method.needs_summary else None
    stacks = stacks_of(FAMILIES[method_family(method)])
    return [t for stack, depth in stacks.items() for i in range(depth) for t in method.prefix(stack, i, 3, summary)]


def method_family(method: LayerMethod) -> str:
    """Which of the test's families a layer-level method was built for, by its stacks."""
    names = {name.split(".")[-1] for name, _ in method.named_parameters()}
    return "t5" if {"encoder", "decoder"} <= names else "llama" if "decoder" in names else "encoder"


def moved(method: Method, seed: int = 3) -> Method:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in method.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return method


@EVERY
def test_config_is_sound(name: str, family: str) -> None:
    config, facts = resolved(name, family)
    assert load.check(config, facts, source_length=config.get("max_source_length") or 64) == []
    assert config["name"] == name
    assert set(config) - load.NOT_OPTIONS == set(option_defaults(load.method_class(config["target"])))


@EVERY
def test_count_equals_formula_and_groups_hold_every_tensor_once(name: str, family: str) -> None:
    config, facts = resolved(name, family)
    method = made(name, family)
    assert sum(p.numel() for p in method.parameters()) == load.count(config, facts) > 0
    grouped = [id(p) for tensors in method.groups().values() for p in tensors]
    assert sorted(grouped) == sorted(id(p) for p in method.parameters())
    rates = {group: config["lr"].get(group) for group in method.groups()}
    assert all(isinstance(rate, float) and rate > 0 for rate in rates.values()), rates


@EVERY
def test_same_seed_same_method(name: str, family: str) -> None:
    for one, two in zip(seen(made(name, family).eval()), seen(made(name, family).eval()), strict=True):
        assert torch.equal(one, two)


@EVERY
def test_saved_and_loaded_gives_the_same(name: str, family: str) -> None:
    method, other = moved(made(name, family)).eval(), made(name, family, seed=1).eval()
    other.load_state_dict({key: tensor.clone() for key, tensor in method.state_dict().items()})
    other.restored()
    for one, two in zip(seen(method), seen(other), strict=True):
        assert torch.equal(one, two)


@ONE_ANSWER
def test_shapes_and_precision(name: str, family: str) -> None:
    method, facts = made(name, family).eval(), FAMILIES[family]
    if isinstance(method, InputMethod):
        out, mask = seen(method)
        assert out.shape == (3, method.prompt_slots + 4, facts.width) and mask.shape == out.shape[:2]
        few = (torch.randn(1, 4, 8).bfloat16(), torch.zeros(1, 4).long(), torch.ones(1, 4))
        half, _ = method(Source(*few, reader=lambda s: s.embeds[:, 0]))
        assert half.dtype == torch.bfloat16 and bool(half.isfinite().all())
    else:
        assert isinstance(method, LayerMethod) and method.prefix_length > 0
        shape = (3, method.prefix_length, facts.kv_heads, facts.head_dim)
        assert all(t.shape == shape and bool(t.isfinite().all()) for t in seen(method))


@ONE_ANSWER
def test_every_tensor_that_is_used_learns(name: str, family: str) -> None:
    method = moved(made(name, family))
    generator = torch.Generator().manual_seed(1)
    outs = [t for t in seen(method) if t.is_floating_point()]
    sum((t * torch.randn(t.shape, generator=generator)).sum() for t in outs).backward()  # type: ignore[union-attr]
    without = [n for n, p in method.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@EVERY
def test_nothing_is_random_or_changed_in_evaluation(name: str, family: str) -> None:
    method = moved(made(name, family)).eval()
    before = {key: tensor.clone() for key, tensor in method.state_dict().items()}
    for one, two in zip(seen(method), seen(method), strict=True):
        assert torch.equal(one, two)
    assert all(torch.equal(before[key], tensor) for key, tensor in method.state_dict().items())


@NAMED
def test_has_a_card(name: str) -> None:
    assert (CONF.parents[1] / "docs" / "methods" / f"{name}.md").is_file()
