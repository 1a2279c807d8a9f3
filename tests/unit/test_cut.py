"""A batch cut for its lengths: every row once, at the least cost, with the same gradients."""

from __future__ import annotations

from functools import partial
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from runners.config import RunnerConfig
from runners.cut import PassCost, cheapest_cut
from runners.evaluate import Split
from runners.passes import passes
from runners.train import gradients, trained
from runners.workers import Workers
from tests.contract import rig

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=9)


def cost_of(pieces: list[list[int]], lengths: list[int], cost: PassCost) -> float:
    return sum(cost.fixed + len(p) * (max(lengths[i] for i in p) + cost.prompt) for p in pieces)


@settings(max_examples=80, deadline=None)
@given(LENGTHS, st.floats(0, 200), st.integers(0, 40), st.randoms())
def test_no_cut_costs_less(lengths: list[int], fixed: float, prompt: int, shuffle) -> None:  # type: ignore[no-untyped-def]
    batch = list(range(len(lengths)))
    shuffle.shuffle(batch)
    cost = PassCost(fixed, prompt)
    found = cheapest_cut(batch, lengths, cost)
    assert sorted(index for piece in found for index in piece) == sorted(batch)
    rows = sorted(batch, key=lambda i: lengths[i])
    every = [
        [rows[a:b] for a, b in zip((0, *cuts), (*cuts, len(rows)), strict=True)]
        for count in range(len(rows))
        for cuts in combinations(range(1, len(rows)), count)
    ]
    assert cost_of(found, lengths, cost) == pytest.approx(min(cost_of(pieces, lengths, cost) for pieces in every))


def test_a_whole_batch_keeps_its_order_and_an_empty_one_has_no_pass() -> None:
    assert cheapest_cut([3, 0, 2, 1], [5, 9, 1, 7], PassCost(1e9)) == [[3, 0, 2, 1]]
    assert cheapest_cut([], [5, 9], PassCost(10)) == []
    assert cheapest_cut([1], [5, 9], PassCost(0)) == [[1]]


def test_the_choice_depends_on_nothing_but_lengths_and_constants() -> None:
    lengths = torch.randint(5, 200, (64,), generator=torch.Generator().manual_seed(1)).tolist()
    cost = PassCost.of("cpu", 100_000_000, 30, prompt=20)
    cuts = [cheapest_cut(range(64), lengths, cost) for _ in range(2)]
    assert cuts[0] == cuts[1] and len(cuts[0]) > 1


@pytest.mark.parametrize(
    ("device", "weights", "layers", "several"),
    [
        ("cpu", 106_000_000, 30, True),  # smollm2_135m: matrix products rule
        ("cpu", 40_000, 4, False),  # a tiny model: passes rule
        ("cuda", 106_000_000, 30, False),  # launching kernels rules
        ("cuda", 11_000_000_000, 48, True),
    ],
)
def test_small_models_and_fast_devices_take_a_batch_whole(
    device: str, weights: int, layers: int, several: bool
) -> None:
    lengths = [20, 25, 30, 40, 45, 60, 70, 80, 90, 95, 100, 110, 120, 150, 170, 171] * 2
    assert (len(cheapest_cut(range(32), lengths, PassCost.of(device, weights, layers))) > 1) == several


@pytest.mark.parametrize("name", ["tiny_t5", "tiny_llama", "tiny_bert"])
def test_a_cut_batch_has_the_gradient_of_the_whole_one(name: str) -> None:
    """Loss and gradient of one batch in one pass, and cut wherever a row is longer than the one before."""
    whole, encoded = rig.tuned("pt", name), rig.examples(name)
    rig.no_dropout(whole)
    how = "classify" if name == "tiny_bert" else "rank"
    split = Split("train", [], encoded)  # type: ignore[arg-type]
    lengths = [len(e.source) + len(e.target) + sum(map(len, e.segments)) for e in encoded]
    workers = Workers(RunnerConfig(device="cpu"))
    found = []
    for cost in (PassCost(1e9), PassCost(0.0)):
        whole.zero_grad()
        cut = partial(cheapest_cut, lengths=lengths, cost=cost)
        batch = partial(passes, whole.backbone, split, range(4), how, workers, cut)
        loss, rows, _ = gradients(whole, batch, workers)
        assert rows == 4
        found.append((float(loss), [p.grad.clone() for p in trained(whole) if p.grad is not None]))
    (one, first), (cut, second) = found
    assert len(cheapest_cut(range(4), lengths, PassCost(0.0))) > 1
    assert cut == pytest.approx(one, rel=1e-6)
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
