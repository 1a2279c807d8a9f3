"""How tensors start: bounds, zeros, the same seed, given rows, an earlier run."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from methods.accept import ACCEPT
from methods.adept import ADePT
from methods.apt import APT
from methods.base import Method
from methods.dept import DePT
from methods.prefix import Prefix
from methods.pt import PT
from methods.residual_pt import ResidualPT
from methods.spot import SPoT
from tests.sizes import BERT_BASE, T5_BASE, tiny

NOTHING: Any = None  # no source: these prompts depend on none

ALL = [PT, DePT, ADePT, ACCEPT, Prefix, APT, ResidualPT]


def uniform(tensor: torch.Tensor | None, bound: float) -> None:
    """The tensor fills [-bound, bound]."""
    assert tensor is not None
    assert tensor.abs().max() <= bound
    assert tensor.max() > 0.95 * bound and tensor.min() < -0.95 * bound
    assert tensor.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def seeded(cls: type[Method], seed: int = 0) -> Method:
    return cls(tiny(), generator=torch.Generator().manual_seed(seed))


def test_dept_starts_as_its_prompt_alone() -> None:
    method = DePT(T5_BASE, rank=30)
    uniform(method.offset_a, 1 / math.sqrt(30))
    assert method.offset_b is not None and not method.offset_b.any()
    assert method.scale == pytest.approx(8 / math.sqrt(30))


@pytest.mark.parametrize("rank, scale", [(60, 1.033), (45, 1.193), (30, 1.461), (24, 1.633), (15, 2.066)])
def test_dept_scale_of_the_authors_code(rank: int, scale: float) -> None:
    assert DePT(tiny(), rank=rank).scale == pytest.approx(scale, abs=5e-4)
    assert DePT(tiny(), rank=rank, offset_scale="none").scale == 1.0


def test_adept_takes_the_rank_as_fan_in() -> None:
    method = ADePT(T5_BASE, rank=19)
    uniform(method.w1, 1 / math.sqrt(19))  # 0.229; a linear layer would have 0.036
    assert not any(t.any() for t in (method.b1, method.w2, method.b2))


def test_accept_bounds_and_spreads() -> None:
    method = ACCEPT(T5_BASE)
    uniform(method.prompt_weights, 1 / math.sqrt(24 * 20))
    uniform(method.prompt_codebooks, 1 / math.sqrt(20 * 32))
    uniform(method.offset_weights, 1 / math.sqrt(3 * 20))
    uniform(method.offset_codebooks, math.sqrt(6 / (20 * 256)))
    # std of a sum of r products of two uniforms: sqrt(r) * b1 * b2 / 3
    delta = method.position_offsets(256)
    assert delta is not None
    expected = math.sqrt(20) * (1 / math.sqrt(60)) * math.sqrt(6 / 5120) / 3
    assert delta.std().item() == pytest.approx(expected, rel=0.05)
    assert method.prompts(NOTHING).std().item() == pytest.approx(0.0027, abs=2e-4)


def test_prefix_and_gates_start_at_the_models_own_spread() -> None:
    method = APT(BERT_BASE)
    assert method.tables["encoder"].std().item() == pytest.approx(0.02, rel=0.02)
    assert method.gate_weights["encoder"].std().item() == pytest.approx(0.02, rel=0.02)
    assert torch.equal(method.layer_scales["encoder"], torch.ones(12))
    gate = method.gate("encoder", 3, torch.zeros(2, 768))
    assert gate is not None and torch.equal(gate, torch.full((2, 20), 0.5))


def test_residual_pt_network_starts_as_linear_layers() -> None:
    method = ResidualPT(T5_BASE)
    uniform(method.w1, 1 / math.sqrt(768))
    uniform(method.w2, 1 / math.sqrt(800))


@pytest.mark.parametrize("cls", ALL)
def test_same_seed_same_tensors_and_no_global_randomness(cls: type[Method]) -> None:
    before = torch.get_rng_state()
    one, two, other = seeded(cls), seeded(cls), seeded(cls, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("cls", [PT, DePT, ADePT, ResidualPT])
def test_given_rows_become_the_prompt_and_are_not_shared(cls: type[Method]) -> None:
    rows = torch.randn(4, 8)
    method = cls(tiny(), prompt_length=4, init_rows=rows)
    assert torch.equal(method.prompt, rows) and method.prompt.data_ptr() != rows.data_ptr()  # type: ignore[arg-type, operator]
    with pytest.raises(ValueError, match=r"\(3, 8\).*needs \(4, 8\)"):
        cls(tiny(), prompt_length=4, init_rows=rows[:3])


def test_accept_starts_as_the_given_rows_repeated() -> None:
    rows = torch.randn(4, 8)
    method = ACCEPT(tiny(), prompt_length=4, prompt_width=4, prompt_codewords=3, budget_vectors=0, offset_codewords=1,
                    init_rows=rows)  # fmt: skip
    assert torch.equal(method.prompts(NOTHING), rows[[0, 1, 2, 0]])


@pytest.mark.parametrize("cls", [Prefix, APT])
def test_a_prefix_takes_keys_and_values_of_its_own_shape_alone(cls: type[Method]) -> None:
    good = torch.randn(20, 3 * 2 * 2 * 2)
    facts = tiny("llama")
    method = cls(facts, init_rows=good)
    (table,) = method.tables.values()  # type: ignore[union-attr, operator]
    assert torch.equal(table, good) and table.data_ptr() != good.data_ptr()
    for wrong, more in ((good[:3], {}), (good, {"reparameterisation": "mlp"})):
        with pytest.raises(ValueError, match=r"method\.init=random"):
            cls(facts, init_rows=wrong, **more)


def test_random_prompt_is_uniform_as_in_the_paper() -> None:
    uniform(PT(T5_BASE).prompt, 0.5)


def test_two_earlier_runs_of_accept_make_one() -> None:
    scpp, scap, both = ACCEPT(tiny(), scap=False), ACCEPT(tiny(), scpp=False), ACCEPT(tiny())
    both.load_state_dict({**scpp.state_dict(), **scap.state_dict()})
    assert torch.equal(both.prompts(NOTHING), scpp.prompts(NOTHING))


@pytest.mark.parametrize("cls", [DePT, ADePT, SPoT])
def test_a_prompt_of_one_method_has_the_name_it_has_in_another(cls: type[Method]) -> None:
    assert (
        cls(tiny(), prompt_length=4).state_dict()["prompt"].shape == PT(tiny(), prompt_length=4).prompts(NOTHING).shape
    )
