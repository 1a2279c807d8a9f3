"""Guard rails: what a reader should know before believing a run's number. Each is a line in the record."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from results.statistics import proportion_error
from tasks.metrics import of_nature
from tasks.sums import Sums

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
) -> float | None:
    """Standard error of one score over its test examples: binomial for accuracy, bootstrap for other metrics.

    Args:
        predictions: One per example.
        metric: Its name.
        score: The metric itself, for those that are no function of sums over examples.
        value: The score (fraction).
        sums: The metric as sums over the examples, where it has that form: the bootstrap is then a matrix product.

    Returns:
        None where it cannot be estimated: of fewer than two examples, and where it would come out as 0 (all answers are
        right, or none), as if no other score were possible.
    """
    error = _spread_of(predictions, metric, score, value, sums) if len(predictions) > 1 else 0.0
    return error if error > 0 else None  # not NaN either


def _spread_of(
    predictions: Sequence[Any],
    metric: str,
    score: Callable[[Sequence[Any]], dict[str, float]],
    value: float,
    sums: Sums | None,
) -> float:
    n = len(predictions)
    if metric in of_nature("proportion"):  # of rows, or of groups of them: what the sums count
        return proportion_error(value, n if sums is None else int(sums.terms[:, -1].sum())) or 0.0
    rng = np.random.default_rng(0)
    if sums is not None and math.isclose(float(sums.value(sums.terms.sum(0))), value, abs_tol=1e-6):
        drawn = rng.multinomial(n, [1 / n] * n, size=RESAMPLES).astype(float)
        return float(np.nanstd(sums.value(drawn @ sums.terms), ddof=1))
    if n > 5000:  # minutes of a metric that is no sum, for what the caption's test size says too
        return math.nan
    draws = [score([predictions[i] for i in rng.integers(0, n, n)])[metric] for _ in range(RESAMPLES)]
    return float(np.nanstd(draws, ddof=1))


def learned(
    value: float, error: float | None, majority: float | None, untrained: float | None, metric: str, n: int
) -> list[Verdict]:
    """Whether the score is above the majority class and above the untrained method by more than a standard error.

    Args:
        error: None: it cannot be estimated, and one example in its place is asked for.
        n: test examples.
    """
    found = []
    margin = error if error is not None else 1.0 / max(n, 1)
    than = "its standard error" if error is not None else "one example; its standard error cannot be estimated"
    for name, base, what in (
        ("above_majority", majority, "the majority class"),
        ("above_untrained", untrained, "the untrained method"),
    ):
        if base is None:
            continue
        clear = value > base + margin
        message = (
            f"{metric} {100 * value:.1f} is {'above' if clear else 'not above'} {what} ({100 * base:.1f}) "
            f"by more than {than} ({100 * margin:.1f})"
        )
        found.append(verdict(name, "ok" if clear else "warning", message, value=value, base=base, error=margin))
    return found


def constant(predictions: Sequence[Any]) -> list[Verdict]:
    """One answer for everything is the commonest way in which prompt tuning fails unseen."""
    counts = Counter(str(p.prediction) for p in predictions)
    if len(predictions) < 2 or len(counts) > 1:
        return []
    return [verdict("constant_predictions", "warning", f"every prediction is {next(iter(counts))[:60]!r}")]


TRUNCATED = 0.01  # share of a split above which it is a warning


def truncation(role: str, cut_from: Sequence[int], rows: int, limit: int) -> Verdict:
    """How many rows of a split were cut to the length limit, and how long they were.

    Args:
        cut_from: tokens of each row that was cut, sorted.
        rows: of the split.
        limit: tokens that a source may have.
    """
    share = len(cut_from) / max(rows, 1)
    if not len(cut_from):
        return verdict("truncated", "ok", f"no {role} source was cut to {limit} tokens", rate=0.0)
    middle, longest = int(cut_from[len(cut_from) // 2]), int(cut_from[-1])
    lengths = f"from {middle} tokens (median) and up to {longest}" if len(cut_from) > 1 else f"from {longest} tokens"
    text = f"{len(cut_from):,} of {rows:,} {role} sources ({100 * share:.1f} %) were cut {lengths} to {limit}"
    level = "warning" if share > TRUNCATED else "note"
    return verdict("truncated", level, text + " (never the answer)", rate=share)


def told_apart(role: str, split: Any) -> list[Verdict]:
    """Rows whose right candidate has the token ids of another one: of equal scores the first one wins."""
    rows = [e.choices for e in split.encoded if e.choices and e.choices.count(e.choices[int(e.label or 0)]) > 1]
    if not rows:
        return []
    text = (
        f"{len(rows)} of {len(split.encoded)} {role} rows have their right option twice, and the first one is answered"
    )
    return [verdict("told_apart", "note", text, rate=len(rows) / len(split.encoded))]


def invalid_answers(invalid: float | None) -> list[Verdict]:
    """The share of generated answers outside the label set."""
    if invalid is None:
        return []
    level = "warning" if invalid > 0.05 else "note" if invalid > 0 else "ok"
    text = f"{100 * invalid:.1f} % of the generated answers are no label"
    return [verdict("invalid_answers", level, text, rate=invalid)]


def ceiling(split: str, below: dict[str, float]) -> Verdict:
    """What a perfect answer scores, where that is under 100."""
    scores = ", ".join(f"{metric} {100 * value:.1f}" for metric, value in below.items())
    text = f"a perfect answer scores {scores} on {split}: the rest is lost in the tokenizer or to a length limit"
    return verdict("ceiling", "note", text)


def unreached(names: Sequence[str]) -> list[Verdict]:
    """Tensors that are called trained and were not: no loss depended on them."""
    text = f"no gradient reached {', '.join(names)} in any step: as drawn, not trained (detached, or not used?)"
    return [verdict("unreached", "warning", text)] if names else []


def over_budget(note: str | None) -> list[Verdict]:
    """An input-level method that costs more than the papers' 100 prompt vectors says by how much."""
    return [verdict("over_budget", "note", note)] if note else []


def epochs(protocol: Any, runner: Any, examples: int) -> list[Verdict]:
    """A run whose steps are not its protocol's epochs says how many it had (answers apart, own rows, steps chosen)."""
    batches = math.ceil(examples / runner.batch_size)
    if not protocol.epochs or not examples or runner.max_steps == protocol.epochs * batches:
        return []
    passes = runner.max_steps / batches
    text = (
        f"{runner.max_steps:,} steps of {runner.batch_size} are {passes:.1f} epochs of the {examples:,} training "
        f"examples; protocol={protocol.name} has {protocol.epochs} (runner.max_steps={protocol.epochs * batches})"
    )
    return [verdict("epochs", "note", text, epochs=passes)]


def budget(runner: Any, rows: dict[str, int], used: dict[str, int]) -> list[Verdict]:
    """A run under caps says which: its score is no reproduction of anything."""
    cut = [f"{used[role]:,} of {rows[role]:,} {role} rows" for role in rows if used.get(role, rows[role]) < rows[role]]
    if runner.max_source_length:
        cut.append(f"sources of at most {runner.max_source_length} tokens")
    if not cut:
        return []
    cut.append(f"{runner.schedule.name} schedule" + ("" if runner.backbone_dropout else ", the model's dropout off"))
    text = f"a small budget (runner={runner.name}): {runner.max_steps} steps of {runner.batch_size}, {', '.join(cut)}"
    return [verdict("small_budget", "note", text)]
