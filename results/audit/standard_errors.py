"""Standard errors that the size of a test set alone implies, metric by metric.

Scores are fractions here (0.85), differences too; the page shows points. Every formula is held against simulation in
tests/unit/test_audit_errors.py. Where a quantity that a formula needs is not printed (exact match beside token F1, how
many rows were answered with the positive class), the error is a range: `Range.low` and `Range.high`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

SPEARMAN = 1.03  # standard error of Fisher's z of a rank correlation over that of Pearson's


@dataclass(frozen=True)
class Range:
    """A standard error between two bounds (equal where nothing is unknown)."""

    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> Range:
        """A standard error without anything unknown in it."""
        return cls(value, value)


def accuracy(p: float, n: int) -> float:
    """Accuracy or exact match on n examples: sqrt(p (1 - p) / n).

    For a mean of R runs on the same examples the same value is used. The truth then lies between it and it over
    sqrt(R), because runs of one method err on the same examples, so this is conservative.
    """
    _check(p, n)
    return math.sqrt(p * (1.0 - p) / n)


def accuracy_floored(p: float, n: int) -> float:
    """The same, never below that of one example off: at 0 and at 1 the formula would give certainty."""
    _check(p, n)
    edge = min(1.0 / n, 0.5)
    return accuracy(min(max(p, edge), 1.0 - edge), n)


def f1_of_class(f: float, positives: int, n: int) -> Range:
    """F1 of one class: sqrt(F (1 - F) (2 - F) / T), T = 2 TP + FP + FN.

    T is positives gold plus positives answered. The second is not printed. From F = 2 TP / T with TP <= positives and
    positives <= T <= positives + n follows T in [2 positives F / ..., ...] as below; the error is largest at the
    smallest T.

    Args:
        f: F1, a fraction; positives: gold examples of the class; n: examples.
    """
    _check(f, n)
    if not 0 < positives <= n:
        raise ValueError(f"positives must be between 1 and n = {n}, not {positives}")
    smallest, largest = f1_totals(f, positives, n)
    spread = f * (1.0 - f) * (2.0 - f)
    return Range(math.sqrt(spread / largest), math.sqrt(spread / smallest))


def f1_totals(f: float, positives: int, n: int) -> tuple[float, float]:
    """The least and the greatest T = 2 TP + FP + FN that go with an F1.

    Least: nothing is answered positive wrongly (FP = 0), 2 positives / (2 - F). Greatest: nothing is missed
    (FN = 0), 2 positives / F, or all n rows are answered positive, positives + n.
    """
    greatest = min(2.0 * positives / f if f > 0 else math.inf, float(positives + n))
    return 2.0 * positives / (2.0 - f), max(greatest, 2.0 * positives / (2.0 - f))


def matthews(f: float, n: int, gold: tuple[float, float], answered: tuple[float, float] | None = None) -> float:
    """Matthews correlation, the delta method for the phi coefficient (Bishop, Fienberg and Holland 1975).

    Args:
        f: the coefficient; n: examples.
        gold: margins of the two gold classes (counts or shares); answered: those of the answers. Where they are not
            printed they are taken as gold's.
    """
    if n < 1 or not -1.0 <= f <= 1.0:
        raise ValueError(f"a coefficient in [-1, 1] and n >= 1 are needed, not {f} and {n}")
    r1, r2 = (part / sum(gold) for part in gold)
    c1, c2 = (part / sum(answered) for part in answered) if answered else (r1, r2)
    if min(r1, r2, c1, c2) <= 0:
        raise ValueError("every margin must be above zero")
    cross = f * (1.0 + f**2 / 2.0) * (r1 - r2) * (c1 - c2) / math.sqrt(r1 * r2 * c1 * c2)
    own = 0.75 * f**2 * ((r1 - r2) ** 2 / (r1 * r2) + (c1 - c2) ** 2 / (c1 * c2))
    return math.sqrt(max(1.0 - f**2 + cross - own, 0.0) / n)


def fisher_z(r: float) -> float:
    """Fisher's z of a correlation."""
    if not -1.0 < r < 1.0:
        raise ValueError(f"a correlation inside (-1, 1) is needed, not {r}")
    return math.atanh(r)


def fisher_error(n: int, *, rank: bool = False) -> float:
    """Standard error of Fisher's z: 1 / sqrt(n - 3) (Pearson), 1.03 times that (Spearman); approximate."""
    if n < 4:
        raise ValueError(f"a correlation needs at least 4 examples, not {n}")
    return (SPEARMAN if rank else 1.0) / math.sqrt(n - 3)


def correlation(r: float, n: int, *, rank: bool = False) -> float:
    """Standard error of a correlation itself, that of Fisher's z carried back: (1 - r^2) times it."""
    return (1.0 - r * r) * fisher_error(n, rank=rank)


def token_f1(mean: float, n: int, exact: float | None = None) -> Range:
    """Mean token F1 over n questions.

    Each question scores in [0, 1], so the variance is at most m (1 - m) (all of it zeros and ones). With the share e
    of exact matches known, the rest has the mean h = (m - e) / (1 - e), and the variance is least where all of the
    rest scores h: e (1 - e) (1 - h)^2. Unknown e: the lower end is 0.
    """
    _check(mean, n)
    high = math.sqrt(mean * (1.0 - mean) / n)
    if exact is None:
        return Range(0.0, high)
    if not 0.0 <= exact <= mean:
        raise ValueError(f"exact match must be between 0 and token F1 = {mean}, not {exact}")
    rest = (mean - exact) / (1.0 - exact) if exact < 1.0 else 0.0
    return Range(math.sqrt(exact * (1.0 - exact) * (1.0 - rest) ** 2 / n), high)


@dataclass(frozen=True)
class Training:
    """A printed spread between runs.

    Attributes:
        spread: as printed, a fraction; runs: how many it is over.
        kind: "sd" (standard deviation between runs), "se" (standard error of their mean) or "unknown".
        divisor: "n-1" or "unknown" (then the variance is enlarged by R / (R - 1), as if it had been n).
    """

    spread: float
    runs: int
    kind: str = "unknown"
    divisor: str = "unknown"

    def variances(self) -> tuple[float, float]:
        """The least and the greatest variance of the mean over runs that the spread can stand for."""
        if self.runs < 2:
            raise ValueError(f"a spread is over at least 2 runs, not {self.runs}")
        enlarged = self.spread**2 / self.runs
        if self.divisor == "unknown":
            enlarged *= self.runs / (self.runs - 1)
        readings = {"sd": (enlarged, enlarged), "se": (self.spread**2, self.spread**2)}
        both = (min(enlarged, self.spread**2), max(enlarged, self.spread**2))
        return readings.get(self.kind, both)


def satterthwaite(parts: Sequence[tuple[float, float]]) -> float:
    """Welch and Satterthwaite's degrees of freedom of a sum of variances, each with its own (infinite allowed)."""
    total = sum(variance for variance, _ in parts)
    below = sum(variance**2 / degrees for variance, degrees in parts if math.isfinite(degrees) and variance > 0)
    return total**2 / below if below > 0 else math.inf


def average(errors: Sequence[tuple[str, float]]) -> float:
    """Standard error of the average over tasks, each (test set, error): sqrt(sum SE^2) / T.

    A test set that stands in the average twice (RTE in GLUE and in SuperGLUE) is one variable: its errors add up
    before they are squared. The tasks are these and no others; nothing is said about further tasks.
    """
    if not errors:
        raise ValueError("an average needs at least one task")
    by_set: dict[str, float] = {}
    for name, error in errors:
        by_set[name] = by_set.get(name, 0.0) + error
    return math.sqrt(sum(error**2 for error in by_set.values())) / len(errors)


def _check(p: float, n: int) -> None:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"a share in [0, 1] is needed, not {p}")
    if n < 1:
        raise ValueError(f"at least one example is needed, not {n}")
