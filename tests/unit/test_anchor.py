"""The anchor's noise is of the size of the rounding that it stands for, and its figures are those of the scorings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from scripts import anchor_weights
from scripts.anchor_weights import BLOCK, eight_bits, noisy, told


def four_bits() -> torch.Tensor:
    """A weight as Q4_1 keeps it, every block from its level 0 to its level 15."""
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(0, 16, (64 * 4, BLOCK), generator=generator)
    levels[:, 0], levels[:, 1] = 0, 15
    step = torch.rand(64 * 4, 1, generator=generator) + 0.1
    return (levels * step - 7 * step).reshape(64, 4 * BLOCK)


@pytest.mark.parametrize("units", [1.0, 2.0])
def test_the_noise_has_the_variance_of_the_rounding_in_every_block(units: float) -> None:
    weight = four_bits()
    error = (noisy(weight, units, torch.Generator().manual_seed(1)) - weight).reshape(-1, BLOCK)
    step = (weight.reshape(-1, BLOCK).amax(1) - weight.reshape(-1, BLOCK).amin(1)) / 15
    assert (error.abs().amax(1) <= 0.5 * step * units**0.5 * 1.0001).all()
    assert float((error / step[:, None]).var() * 12 / units) == pytest.approx(1, abs=0.05)


def test_weights_of_another_rounding_are_refused() -> None:
    with pytest.raises(ValueError, match="not rounded to Q4_1"):
        noisy(torch.randn(8, BLOCK), 1.0, torch.Generator())


def test_eight_bits_move_a_weight_by_half_a_step_at_most() -> None:
    weight = torch.randn(8, 2 * BLOCK, generator=torch.Generator().manual_seed(2))
    step = weight.reshape(-1, BLOCK).abs().amax(1, keepdim=True) / 127
    assert ((eight_bits(weight) - weight).reshape(-1, BLOCK).abs() <= 0.501 * step).all()


def test_the_figures_are_those_of_the_scorings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("as is", 0, "1100"), ("1", 1, "1000"), ("1", 2, "0100")]
    store = tmp_path / "weights.jsonl"
    monkeypatch.setattr(anchor_weights, "STORE", store)
    assert "no scoring is kept" in told()[0]
    store.write_text("".join(json.dumps({"weights": w, "seed": s, "right": r}) + "\n" for w, s, r in rows))
    first, second = told()
    assert "50.0 on 4 rows" in first and "25.0 (seeds 2; change -25.0 ± 28.3; 25.0% of the rows turn)" in second
