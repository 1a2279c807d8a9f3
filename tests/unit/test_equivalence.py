"""Reproduced, differs, inconclusive, undecidable: floors of the noise, what blocks a verdict, error rates."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pytest

from results.equivalence import equivalence, largest_spread, spread_of


def verdict(values: list[float], published: float, seeds: int | None = 3, **options: Any) -> str:
    step = options.pop("step", 0.0)
    others = options.pop("others", ())
    mean = statistics.fmean(values) if values else 0.0
    return equivalence(mean - published, [spread_of(values, step, others)], seeds, step=step, **options).name


@pytest.mark.parametrize(
    ("values", "options", "name"),
    [
        ([85.0, 85.2, 84.9], {}, "reproduced"),
        ([85.0, 85.2, 84.9], {"blocked_by": ["selection"]}, "inconclusive"),
        ([85.0, 85.2, 84.9], {"blocked_by": ["seeds"]}, "inconclusive"),
        ([88.0, 88.2, 87.9], {}, "differs"),
        ([88.0, 88.2, 87.9], {"blocked_by": ["selection"]}, "differs"),
        ([88.0, 88.2, 87.9], {"blocked_by": ["split"]}, "inconclusive"),
        ([88.0, 88.2, 87.9], {"blocked_by": ["seeds"]}, "inconclusive"),
        ([88.0, 88.2, 87.9], {"seeds": None}, "inconclusive"),
        ([85.0], {}, "inconclusive"),
        ([], {}, "inconclusive"),
        ([83.0, 87.0, 85.0], {}, "inconclusive"),
        ([85.0, 85.2, 84.9], {"published_std": 4.0}, "inconclusive"),
        ([85.5, 85.6, 85.5], {"margin": 0.1}, "differs"),
        ([85.7, 85.7, 85.7], {"step": 100 / 28}, "undecidable"),
        ([88.0, 88.2, 87.9], {"step": 1.01}, "undecidable"),
        ([86.0, 86.0, 86.0], {}, "inconclusive"),  # one score from all seeds, and nothing tells of their noise
        ([86.6, 86.6, 86.6], {"others": [0.2]}, "differs"),
        ([86.6, 86.6, 86.6], {"others": [3.0]}, "inconclusive"),
        ([85.0, 85.0, 85.1], {"others": [3.0]}, "inconclusive"),
        ([85.8, 85.8, 85.9], {"step": 0.9}, "inconclusive"),  # rounding to whole examples is a spread of its own
    ],
)
def test_verdicts(values: list[float], options: dict[str, Any], name: str) -> None:
    assert verdict(values, 85.0, **options) == name


def test_reproduced_is_wrong_at_most_at_its_level() -> None:
    """At a true difference of exactly the margin, both sides with the noise of their seeds."""
    random = np.random.default_rng(7)
    names = [verdict((86.0 + random.normal(0, 0.4, 5)).tolist(), 85.0 + random.normal(0, 0.4 / 5**0.5), 5)
             for _ in range(800)]  # fmt: skip
    assert names.count("reproduced") / 800 <= 0.05 + 2.6 * (0.05 * 0.95 / 800) ** 0.5


def test_differs_is_wrong_at_most_at_its_level() -> None:
    random = np.random.default_rng(8)
    names = [verdict((85.0 + random.normal(0, 1.0, 3)).tolist(), 85.0 + random.normal(0, 1.0), 1) for _ in range(800)]
    assert names.count("differs") / 800 <= 0.05 + 2.6 * (0.05 * 0.95 / 800) ** 0.5


def test_what_so_many_seeds_can_reproduce_at_all() -> None:
    limit = largest_spread(3, 1)
    exact = [85.0 - limit * 1.01, 85.0, 85.0 + limit * 1.01], [85.0 - limit * 0.99, 85.0, 85.0 + limit * 0.99]
    assert [verdict(values, 85.0, 1) for values in exact] == ["inconclusive", "reproduced"]
    assert largest_spread(5, 1) > limit and largest_spread(3, 3) > limit
