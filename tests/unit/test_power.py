"""What a difference needs: against simulation, by hand, and what the README shows of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from results import power
from results.two_way import Sample, compare
from tests.unit.results_fixtures import mcnemar

ROOT = Path(__file__).resolve().parents[2]


def test_cbs_28_rows_need_six_examples_which_are_21_points() -> None:
    (line,) = [line for line in power.tests("dept").splitlines() if line.startswith("| superglue/cb ")]
    assert line.split("|")[2:5] == [" 28 ", " 3.6 ", " 21.4 "]
    right = np.arange(28) < 22
    assert mcnemar([True] * 28, right.tolist()) < 0.05 < mcnemar([True] * 28, (np.arange(28) < 23).tolist())


def test_the_readme_shows_what_the_command_prints() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = text.split("<!-- power -->\n")[1].split("<!-- /power -->")[0].splitlines()
    assert len(shown) > 5 and set(shown) <= set(power.tests("dept").splitlines())
    assert text.index("<!-- power -->") < text.index("## Two commands")


@pytest.mark.parametrize("seeds", [3, 6])
def test_the_smallest_difference_is_found_four_times_in_five(seeds: int) -> None:
    """Normal scores of seeds and examples; Welch's test beside, as for a pair without other rows, finds no more."""
    noise = power.Noise(0.03**2, 0.16, 400)
    gap = noise.smallest(seeds, 400, 0.95, 0.8)
    random = np.random.default_rng(seeds)
    found = 0
    for _ in range(300):
        sides = []
        for shift in (gap, 0.0):
            own = 0.75 + shift + random.normal(0, np.sqrt(0.08), 400) + random.normal(0, 0.03, (seeds, 1))
            sides.append(Sample(own.mean(axis=1), own))
        seen = compare(*sides, others=[])
        assert seen is not None
        found += seen.p <= 0.05
    assert 0.68 < found / 300 < 0.88


def test_seeds_and_rows_that_are_needed_are_the_fewest(capsys: pytest.CaptureFixture[str]) -> None:
    noise = power.given({"share": 0.8, "correlation": 0.5, "seed_sd": 1.0, "rows": 3000.0})
    count = power.first(lambda seeds: noise.smallest(seeds, 3000, 0.95, 0.8) <= 0.03, 2, 100)
    assert count is not None
    assert noise.smallest(count, 3000, 0.95, 0.8) <= 0.03 < noise.smallest(count - 1, 3000, 0.95, 0.8)
    assert power.main(["difference=3", "seed_sd=1", "rows=3000"]) == 0
    assert f"on 3,000 test rows: {count} seeds per method" in capsys.readouterr().out
    assert power.main(["difference=0.1", "seed_sd=1", "rows=300"]) == 0
    assert "no number of seeds" in capsys.readouterr().out


def test_spreads_come_from_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert power.main(["difference=20", "paper=offline_v1", "table=filings", f"ledger.root={tmp_path}"]) == 0
    out = capsys.readouterr().out
    assert "on 133 test rows" in out and "seeds spread by" in out


@pytest.mark.parametrize(
    "arguments",
    [
        "difference=two", "difference=2", "rows=3", "tests protocol=nobody", "paper=offline_v2 difference=1",
        "difference=2 seed_sd=1 rows=300 share=2", "nonsense", "difference=-1 seed_sd=1 rows=9",
    ],
)  # fmt: skip
def test_mistakes_are_sentences(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert power.main(arguments.split()) == 2 and capsys.readouterr().err.strip()
