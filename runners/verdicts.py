"""Guard rails: what a reader should know before believing a run's number. Each is a line in the record."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from results.metric_sums import Sums

Verdict = dict[str, Any]
RESAMPLES = 200


def verdict(name: str, level: str, message: str, **numbers: float) -> Verdict:
    """One guard rail: level is `ok`, `note` or `warning`."""
    return {"name": name, "level": level, "message": message, **numbers}


def standard_error(
    predictions: Sequence[Any],
    metric: str,
    score: Callable[[Sequence[Any]], dict[str, float]],
    value: float,
    sums: Sums | None = None,
) -> float:
    """Standard error of one score over its test examples: binomial for accuracy, bootstrap for other metrics.

    Args:
        predictions: One per example.
        metric: Its name.
        score: The metric itself, for those that are no function of sums over examples.
        value: The score (fraction).
        sums: The metric as sums over the examples, where it has that form: the bootstrap is then a matrix product.
    """
    n = len(predictions)
    if n < 2:
        return math.nan
    if metric in ("accuracy", "exact_match", "em"):
        return math.sqrt(max(value * (1 - value), 0.0) / n)
    rng = np.random.default_rng(0)
    if sums is not None and math.isclose(float(sums.value(sums.terms.sum(0))), value, abs_tol=1e-6):
        drawn = rng.multinomial(n, [1 / n] * n, size=RESAMPLES).astype(float)
        return float(np.nanstd(sums.value(drawn @ sums.terms), ddof=1))
    if n > 5000:  # minutes of a metric that is no sum, for what the caption's test size says too
        return math.nan
    draws = [score([predictions[i] for i in rng.integers(0, n, n)])[metric] for _ in range(RESAMPLES)]
    return float(np.nanstd(draws, ddof=1))


def learned(value: float, error: float, majority: float | None, untrained: float | None, metric: str) -> list[Verdict]:
    """Whether the score is above the majority class and above the untrained method by more than a standard error."""
    found = []
    margin = 0.0 if math.isnan(error) else error
    for name, base, what in (
        ("above_majority", majority, "the majority class"),
        ("above_untrained", untrained, "the untrained method"),
    ):
        if base is None:
            continue
        clear = value > base + margin
        message = (
            f"{metric} {100 * value:.1f} is {'above' if clear else 'not above'} {what} ({100 * base:.1f}) "
            f"by more than its standard error ({100 * margin:.1f})"
        )
        found.append(verdict(name, "ok" if clear else "warning", message, value=value, base=base, error=margin))
    return found


def constant(predictions: Sequence[Any]) -> list[Verdict]:
    """One answer for everything is the commonest way in which prompt tuning fails unseen."""
    counts = Counter(str(p.prediction) for p in predictions)
    if len(predictions) < 2 or len(counts) > 1:
        return []
    return [verdict("constant_predictions", "warning", f"every prediction is {next(iter(counts))[:60]!r}")]


def rates(truncated: float, invalid: float | None) -> list[Verdict]:
    """Shares of truncated sources and of generated answers outside the label set."""
    found = [
        verdict(
            "truncated",
            "note" if truncated > 0 else "ok",
            f"{100 * truncated:.1f} % of the sources were cut to the length limit (never the answer)",
            rate=truncated,
        )
    ]
    if invalid is not None:
        level = "warning" if invalid > 0.05 else "note" if invalid > 0 else "ok"
        text = f"{100 * invalid:.1f} % of the generated answers are no label"
        found.append(verdict("invalid_answers", level, text, rate=invalid))
    return found


def over_budget(note: str | None) -> list[Verdict]:
    """An input-level method that costs more than the papers' 100 prompt vectors says by how much."""
    return [verdict("over_budget", "note", note)] if note else []


def budget(runner: Any, rows: dict[str, int], used: dict[str, int]) -> list[Verdict]:
    """A run under caps says which: its score is no reproduction of anything."""
    cut = [f"{used[role]:,} of {rows[role]:,} {role} rows" for role in rows if used.get(role, rows[role]) < rows[role]]
    if runner.max_source_length:
        cut.append(f"sources of at most {runner.max_source_length} tokens")
    if not cut:
        return []
    text = f"a small budget (runner={runner.name}): {runner.max_steps} steps of {runner.batch_size}, {', '.join(cut)}"
    return [verdict("small_budget", "note", text)]
