"""Intervals, exact tests, corrections and power: what the verdicts are made of (results/two_way.py, equivalence.py).

Nothing here rounds or scales: scores come as they are (fractions or points) and go back so. Quantiles and exact
binomials are scipy.special's; scipy.stats is not imported, since it takes longer than a table should.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def deviation(values: Sequence[float]) -> float | None:
    """Sample standard deviation (n - 1); None from fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else None


def t_quantile(probability: float, degrees: float) -> float:
    """Quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def student_p(value: float, error: float, degrees: float) -> float:
    """Two-sided p of a value with a standard error known from so many degrees of freedom."""
    from scipy.special import stdtr

    if error <= 0:
        return float(value == 0)
    return min(1.0, 2.0 * float(stdtr(degrees, -abs(value) / error)))


def detectable(error: float, degrees: float, level: float = 0.95, power: float = 0.8) -> float:
    """Smallest true difference that a t-test with this standard error finds with the given power."""
    from scipy.special import nctdtrinc

    critical = t_quantile(0.5 + level / 2, degrees)
    return float(nctdtrinc(degrees, 1.0 - power, critical)) * error


def expected_best(count: int) -> float:
    """Expected largest of so many standard normal draws: how far the winner of `count` equal trials is flattered."""
    from scipy.special import ndtr

    step = 0.01
    places = [step * (place + 0.5) for place in range(-900, 900)]
    below = [float(ndtr(place)) ** count for place in places]
    # the integral of the survival above zero, less that of the distribution below it
    return step * sum(1.0 - share if place > 0 else -share for place, share in zip(places, below, strict=True))


def binomial_error(share: float, n: int) -> float:
    """Standard error of a proportion from n examples."""
    share = min(max(share, 0.0), 1.0)
    return math.sqrt(share * (1.0 - share) / n)


def proportion_error(share: float, n: int) -> float | None:
    """Standard error of a proportion from n examples; None where all of them or none are right.

    The formula gives 0 there, as if no other result were possible. What n equal answers do say is `least_share`.
    """
    return binomial_error(share, n) if n > 0 and 0.0 < share < 1.0 else None


def least_share(n: int, level: float = 0.95) -> float:
    """The smallest true share of right answers that n right ones of n leave standing: exact (Clopper and Pearson 1934),
    one-sided, (1 - level) ** (1 / n); about 1 - 3 / n at 95%."""
    return float((1.0 - level) ** (1.0 / n))


def minimal_detectable_difference(n: int, share: float, level: float = 0.95, power: float = 0.5) -> float:
    """Smallest difference of two proportions, each of n examples, that an unpaired test finds.

    At power 0.5 it is the difference that is just significant (RTE, 139 rows at 0.8: 0.094); at 0.8 the one
    that is found four times in five. Pairing by example can only make it smaller.
    """
    normal = statistics.NormalDist()
    return (normal.inv_cdf(0.5 + level / 2) + normal.inv_cdf(power)) * math.sqrt(2.0) * binomial_error(share, n)


def fewest_discordant(level: float = 0.05) -> int:
    """How many examples must differ, all in one direction, until the exact McNemar test calls it significant (6)."""
    count = 1
    while 2.0 ** (1 - count) > level:
        count += 1
    return count


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
