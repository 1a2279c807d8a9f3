"""Parameter formulas against the real tensors, with the worked numbers of the papers and of the released runs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones.config import Facts
from methods.accept import ACCEPT
from methods.adept import ADePT
from methods.apt import APT
from methods.base import Method
from methods.dept import DePT
from methods.load import budget_note
from methods.prefix import Prefix
from methods.pt import PT
from methods.residual_pt import ResidualPT
from tests.sizes import BERT_BASE, BERT_LARGE, DEBERTA_XLARGE, SMOLLM2, T5_BASE, T5_LARGE, T5_SMALL, tiny, wide


def held(cls: type[Method], facts: Facts, **options: Any) -> int:
    """The formula's count, after it was held against the tensors; every tensor is in exactly one group."""
    method = cls(facts, **options)
    real = sum(p.numel() for p in method.parameters())
    grouped = [id(p) for tensors in method.groups().values() for p in tensors]
    assert cls.count(options, facts) == real
    assert sorted(grouped) == sorted(id(p) for p in method.parameters())
    return real


@pytest.mark.parametrize("width, frozen", [(512, 51_200), (768, 76_800), (1024, 102_400), (2048, 204_800)])
def test_pt_counts_of_the_papers_table_4(width: int, frozen: int) -> None:
    assert held(PT, wide(width), prompt_length=100) == frozen
    assert held(PT, wide(width), prompt_length=20) == frozen // 5  # Small/20 is misprinted as 10,420 there
    assert held(PT, wide(width), prompt_length=1) == width


@pytest.mark.parametrize(
    "length, m, r, total",
    [
        (256, 20, 60, 76_800),
        (256, 40, 45, 76_800),
        (256, 60, 30, 76_800),
        (256, 80, 15, 76_800),
        (256, 0, 75, 76_800),
        (512, 60, 24, 76_800),
        (512, 40, 36, 76_800),
        (348, 60, 30, 79_560),
        (348, 60, 27, 76_212),
    ],
)
def test_dept_counts(length: int, m: int, r: int, total: int) -> None:
    assert held(DePT, T5_BASE, max_source_length=length, prompt_length=m, rank=r) == total


@pytest.mark.parametrize(
    "width, totals",
    [
        (1024, (97_280, 98_560, 99_840, 101_120)),
        (512, (56_320, 55_040, 53_760, 52_480)),
        (4096, (343_040, 359_680, 376_320, 392_960)),
    ],
)
def test_dept_counts_on_other_widths(width: int, totals: tuple[int, ...]) -> None:
    pairs = ((20, 60), (40, 45), (60, 30), (80, 15))
    assert tuple(held(DePT, wide(width), prompt_length=m, rank=r) for m, r in pairs) == totals


@pytest.mark.parametrize(
    "width, m, r, total",
    [
        (768, 60, 19, 76_051),
        (768, 40, 29, 76_061),
        (768, 20, 39, 76_071),
        (768, 80, 9, 76_041),
        (768, 60, 20, 77_588),
        (1024, 60, 19, 101_395),
    ],
)
def test_adept_counts(width: int, m: int, r: int, total: int) -> None:
    assert held(ADePT, wide(width), prompt_length=m, rank=r) == total


def test_accept_counts_of_the_published_settings() -> None:
    assert held(ACCEPT, T5_BASE) == 74_880  # the 74.9K of the paper's table
    assert held(ACCEPT, T5_BASE, scap=False) == 44_160
    assert held(ACCEPT, T5_BASE, scpp=False) == 30_720
    assert held(ACCEPT, T5_SMALL, prompt_length=40) == 19_584 + 30_720 == 50_304
    assert held(ACCEPT, T5_BASE, prompt_length=40, scpp=False) == 46_080
    assert held(ACCEPT, T5_BASE, prompt_width=16, prompt_codewords=12, scap=False) == 43_776
    assert held(ACCEPT, T5_BASE, prompt_width=8, prompt_codewords=7, scap=False) == 45_696
    assert held(ACCEPT, T5_BASE, offset_width=32, offset_codewords=4, scpp=False) == 27_648
    for t, r in ((64, 8), (256, 20), (384, 24), (768, 30)):
        assert held(ACCEPT, T5_BASE, offset_width=t, offset_codewords=r, scpp=False) == 30_720
    assert held(ACCEPT, T5_BASE, max_source_length=512, scpp=False) == 29_952
    llama = wide(4096)
    assert held(ACCEPT, llama, scap=False) == 235_520
    assert held(ACCEPT, llama, max_source_length=64, scpp=False) == 163_840


@pytest.mark.parametrize(
    "width, most",
    [
        (8, (7, 1, 0)),
        (16, (12, 2, 1)),
        (24, (17, 3, 1)),
        (32, (20, 4, 2)),
        (48, (26, 6, 3)),
        (64, (30, 8, 4)),
        (96, (36, 10, 6)),
        (128, (40, 13, 8)),
        (192, (45, 17, 10)),
        (256, (48, 20, 13)),
        (384, (51, 24, 17)),
        (768, (55, 30, 24)),
    ],
)
def test_accept_largest_codebooks_under_the_caps(width: int, most: tuple[int, int, int]) -> None:
    both = {"prompt_width": width, "offset_width": width}
    _, r_p, _, r_a = ACCEPT.sizes(both, T5_BASE)
    _, _, _, r_long = ACCEPT.sizes(both | {"max_source_length": 512}, T5_BASE)
    assert (r_p, r_a, r_long) == most


@pytest.mark.parametrize(
    "facts, length, prefix, total",
    [
        (BERT_BASE, 8, 147_456, 221_196),
        (BERT_BASE, 20, 368_640, 552_972),
        (BERT_BASE, 40, 737_280, 1_105_932),
        (BERT_BASE, 128, 2_359_296, 3_538_956),
        (BERT_LARGE, 20, 983_040, 1_474_584),
        (BERT_LARGE, 128, 6_291_456, 9_437_208),
        (DEBERTA_XLARGE, 20, 1_966_080, 2_949_168),
    ],
)
def test_prefix_and_apt_counts(facts: Facts, length: int, prefix: int, total: int) -> None:
    assert held(Prefix, facts, prefix_length=length) == prefix
    assert held(APT, facts, prefix_length=length) == total
    # the control with a prefix 1.5 times as long costs the same but for the L layer scales
    assert Prefix.count({"prefix_length": length * 3 // 2}, facts) == total - facts.layers


def test_prefix_enters_both_stacks_of_t5_and_the_key_value_heads_of_llama() -> None:
    assert held(Prefix, T5_SMALL, prefix_length=2) == 2 * 2 * (6 + 6) * 512
    assert held(Prefix, SMOLLM2, prefix_length=2) == 2 * 2 * 30 * 3 * 64
    assert held(APT, SMOLLM2, prefix_length=2) == 2 * 2 * 30 * 3 * 64 + 30 * 576 * 2 + 30


def test_residual_pt_counts() -> None:
    assert held(ResidualPT, T5_LARGE, prompt_length=100, bottleneck=400) == 925_072
    assert held(ResidualPT, T5_BASE, prompt_length=10) == 1_231_904 + 10 * 768


@settings(max_examples=30, deadline=None)
@given(
    family=st.sampled_from(["t5", "llama", "encoder"]),
    length=st.integers(1, 5),
    gate=st.sampled_from(["hidden", "free", "none"]),
    layer_gate=st.booleans(),
    bias=st.booleans(),
    network=st.sampled_from(["none", "mlp"]),
)
def test_apt_count_in_every_arm(
    family: str, length: int, gate: str, layer_gate: bool, bias: bool, network: str
) -> None:
    options = {"prefix_length": length, "token_gate": gate, "layer_gate": layer_gate, "mlp_width": 3}
    options |= {"gate_bias": bias and gate == "hidden", "reparameterisation": network}
    assert held(APT, tiny(family), **options) > 0


@settings(max_examples=30, deadline=None)
@given(
    width=st.sampled_from([8, 12, 30]),
    m=st.integers(1, 9),
    s=st.integers(1, 20),
    parts=st.sampled_from([(True, True), (True, False), (False, True)]),
)
def test_accept_count_keeps_to_the_caps(width: int, m: int, s: int, parts: tuple[bool, bool]) -> None:
    options = {"prompt_length": m, "max_source_length": s, "scpp": parts[0], "scap": parts[1], "budget_vectors": 40}
    facts = tiny(width=width)
    if not ACCEPT.check(options, facts):
        assert held(ACCEPT, facts, **options) <= 40 * width


def test_a_budget_that_is_exceeded_is_said() -> None:
    config = {"target": "methods.dept.DePT", "max_source_length": 348}
    assert budget_note(config, T5_BASE) is not None
    assert "79,560" in str(budget_note(config, T5_BASE)) and "76,800" in str(budget_note(config, T5_BASE))
    assert budget_note({"target": "methods.dept.DePT"}, T5_BASE) is None
    assert budget_note({"target": "methods.prefix.Prefix"}, T5_BASE) is None  # has no such budget
