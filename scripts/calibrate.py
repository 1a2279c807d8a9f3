"""`make calibrate`: how often the verdicts of this project are wrong, by simulation through its own functions.

    python scripts/calibrate.py                     the whole grid: about ten minutes on 2 cores
    python scripts/calibrate.py trials=200 metric=accuracy seeds=3 n=56,300
    python scripts/calibrate.py small               the grid of the slow test

Two methods, or nine, answer the same examples. Their answers come from a crossed probit model: an example is hard for
all or for one method, a seed is good or bad, the rest is chance. Where the methods are equal, every difference that is
found is false; where they are not, the interval should hold the true one. One line a case; the last line counts the
cells (seeds x n x sd x metric) and the failed cases: a rate of false differences whose lower 99% bound is above 6.5%,
or a coverage whose upper 99% bound is below 93%. Lines of `deterministic` and `collapse` are what no test reaches or
promises (docs/statistics.md) and are not counted.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from scipy.special import bdtr, ndtr

from results.command_line import command
from results.tables.compare import Piece, hold
from results.tables.evidence import Evidence
from results.two_way import Sample, compare, sample
from tasks.sums import Sums, of_classes, of_entities, of_right

LIMIT, COVERAGE, TAIL = 0.065, 0.93, 0.01
SHARE, EFFECT = 0.80, 0.10  # of right answers; the difference where there is one
CLASSES = (0.5, 0.4, 0.1)  # shares of the classes of macro-F1, about CommitmentBank's
ENTITIES, INVENTED = 1.2, 0.3  # per sentence, of which the first are there to be found
GRID: dict[str, tuple[Any, ...]] = {
    "seeds": (2, 3, 5, 10),
    "n": (56, 300, 3000),
    "sd": (0, 2, 5, 10),
    "metric": ("accuracy", "f1_macro", "f1_entities"),
}
SMALL = GRID | {"seeds": (2, 3), "n": (56, 300), "sd": (0, 5)}
HARD, OWN = 1.0, 0.6  # standard deviations of what all methods find hard, and of what one method does
MIXED = (1, 1, 1, 5, 5, 5, 10, 10, 10)
# (seeds, n, standard deviation over seeds of each of nine methods, points)
FAMILIES = (
    (3, 300, (5,) * 9),
    (3, 300, (2,) * 9),
    (3, 3000, (10,) * 9),
    (3, 300, MIXED),
    (2, 300, (5,) * 9),
    (2, 300, MIXED),
    (5, 300, (5,) * 9),
    (5, 300, MIXED),
)


@dataclass(frozen=True)
class Case:
    """One cell of the grid."""

    seeds: int
    n: int
    sd: float
    metric: str
    trials: int

    @property
    def name(self) -> str:
        return f"seeds={self.seeds} n={self.n} sd={self.sd:g} metric={self.metric}"


@dataclass(frozen=True)
class SimulatedMethod:
    """A method of the simulation: its mean share of right answers, and how its seeds spread, both as fractions."""

    share: float
    sd: float
    collapse: float = 0.0  # share of seeds that fall to one half


@cache
def latent(share: float, sd: float) -> tuple[float, float]:
    """(mean, standard deviation over seeds) on the probit scale that give these on the scale of answers."""
    places = np.linspace(-5, 5, 801)
    weights = np.exp(-(places**2) / 2)
    weights /= weights.sum()
    total = math.sqrt(1 + HARD**2 + OWN**2)

    def moments(mean: float, spread: float) -> tuple[float, float]:
        shares = ndtr((mean + spread * places) / total)
        middle = float(weights @ shares)
        return middle, math.sqrt(max(float(weights @ (shares - middle) ** 2), 0.0))

    def mean_for(spread: float) -> float:
        low, high = -30.0, 30.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if moments(middle, spread)[0] < share else (low, middle)
        return (low + high) / 2

    low, high = 0.0, 20.0 if sd else 0.0
    for _ in range(50 if sd else 0):
        middle = (low + high) / 2
        low, high = (middle, high) if moments(mean_for(middle), middle)[1] < sd else (low, middle)
    return mean_for((low + high) / 2), (low + high) / 2


def seed_levels(method: SimulatedMethod, seeds: int, random: np.random.Generator) -> np.ndarray:
    """Probit level of each seed, (S,)."""
    mean, spread = latent(method.share, method.sd)
    levels = mean + spread * random.normal(size=seeds)
    return np.where(random.random(seeds) < method.collapse, 0.0, levels)


def runs(
    methods: Sequence[SimulatedMethod], case: Case, random: np.random.Generator, seeds: int | None = None
) -> list[Sample]:
    """The cells of several methods on the same examples, as the tables would read them from predictions."""
    n = case.n
    hard = HARD * random.normal(size=n)
    gold = random.choice(3, size=n, p=CLASSES)
    there = random.poisson(ENTITIES, size=n)
    return [
        sample([_run(case.metric, level, hard + own, gold, there, random) for level in levels])
        for method in methods
        for own in [OWN * random.normal(size=n)]
        for levels in [seed_levels(method, seeds or case.seeds, random)]
    ]


def _run(
    metric: str, level: float, easy: np.ndarray, gold: np.ndarray, there: np.ndarray, random: np.random.Generator
) -> Sums:
    n = len(easy)
    if metric == "f1_entities":
        right = random.binomial(there, ndtr(level + easy))
        return of_entities("f1", np.stack([right, right + random.poisson(INVENTED, size=n), there], axis=1))
    right = level + easy + random.normal(size=n) > 0
    if metric == "accuracy":
        return of_right(right)
    return of_classes("f1_macro", np.where(right, gold, (gold + random.integers(1, 3, size=n)) % 3), gold, 3)


@cache
def true_score(metric: str, method: SimulatedMethod) -> float:
    """Expected metric over seeds of a method on all examples there could be."""
    mean, spread = latent(method.share, method.sd)
    places = np.linspace(-5, 5, 401)
    weights = np.exp(-(places**2) / 2)
    shares = ndtr((mean + spread * places) / math.sqrt(1 + HARD**2 + OWN**2))
    if metric == "accuracy":
        scores = shares
    elif metric == "f1_entities":
        counts = np.stack([shares * ENTITIES, shares * ENTITIES + INVENTED, np.full_like(shares, ENTITIES)], axis=1)
        scores = of_entities("f1", counts).value(counts)
    else:
        table = np.zeros((len(shares), 3, 4))
        for one, other in product(range(3), range(3)):
            table[:, one, other] = CLASSES[one] * (shares if one == other else (1 - shares) / 2)
        scores = of_classes("f1_macro", np.zeros(1, int), np.zeros(1, int), 3).value(table.reshape(len(shares), -1))
    return float(weights @ scores / weights.sum())


def pair_lines(case: Case) -> list[tuple[str, bool]]:
    """False differences of two equal methods; coverage and power where they are EFFECT apart."""
    random = np.random.default_rng([case.seeds, case.n, int(case.sd), len(case.metric)])
    equal, better, worse = (SimulatedMethod(SHARE + shift, case.sd / 100) for shift in (0.0, EFFECT / 2, -EFFECT / 2))
    truth = true_score(case.metric, better) - true_score(case.metric, worse)
    false = covered = found = 0
    for _ in range(case.trials):
        seen = compare(*runs([equal, equal], case, random))
        apart = compare(*runs([better, worse], case, random))
        assert seen is not None and apart is not None
        false += seen.p <= 0.05
        covered += apart.low <= truth <= apart.high
        found += apart.p <= 0.05
    return [
        (line("false_different", case.name, false, case.trials), lower_bound(false, case.trials) > LIMIT),
        (line("coverage", case.name, covered, case.trials), upper_bound(covered, case.trials) < COVERAGE),
        (line("power", f"{case.name} effect={100 * truth:.1f}", found, case.trials), False),
    ]


def family_line(case: Case, spreads: Sequence[float]) -> tuple[str, bool]:
    """How often, in a table of nine equal methods, one loses its bold wrongly, or a pair is called different.

    `one_pair` and `worst_pair` are rates before Holm: of all pairs, and of the pair with the highest.
    """
    random = np.random.default_rng([len(spreads), case.seeds, case.n, int(sum(spreads))])
    methods = [SimulatedMethod(SHARE, spread / 100) for spread in spreads]
    bold = pairs = 0
    single = dict.fromkeys(combinations(range(len(methods)), 2), 0)
    for _ in range(case.trials):
        cells = runs(methods, case, random)
        held = hold({row: [Piece(1.0, "", Evidence("", (), cell))] for row, cell in enumerate(cells)})
        best = max(range(len(cells)), key=lambda row: cells[row].scores.mean())
        wrong = [pair for pair, found in held.items() if found.significant]
        pairs += bool(wrong)
        for pair, found in held.items():
            single[pair] += found.difference.p <= 0.05
        bold += any(best in pair for pair in wrong)
    low, high = min(spreads), max(spreads)
    spread = f"{low:g}" if low == high else f"{low:g}to{high:g}"
    text = (
        f"family methods={len(spreads)} seeds={case.seeds} n={case.n} sd={spread} "
        f"any_false_bold={bold / case.trials:.3f} se={error(bold, case.trials):.3f} "
        f"any_false_pair={pairs / case.trials:.3f} one_pair={sum(single.values()) / case.trials / len(single):.3f} "
        f"worst_pair={max(single.values()) / case.trials:.3f}"
    )
    return text, lower_bound(bold, case.trials) > LIMIT


def deterministic_line(case: Case) -> tuple[str, bool]:
    """A row that trains nothing against an equal method: the one case of false differences that seeds alone cause."""
    random = np.random.default_rng([7, case.seeds, case.n, int(case.sd)])
    false = 0
    for _ in range(case.trials):
        still, trained = runs([SimulatedMethod(SHARE, 0.0), SimulatedMethod(SHARE, case.sd / 100)], case, random)
        one = Sample(still.scores[:1], still.values[:1], trained=False)
        found = compare(one, trained)
        # equal in expectation over the seeds: the still row is one draw of its own, so its share is the method's
        false += found is not None and found.p <= 0.05
    return line("deterministic", case.name, false, case.trials), False


def collapse_line(case: Case, both: bool) -> tuple[str, bool]:
    """One method falls to chance in a fifth of its seeds, the other is stable with the same mean; or both fall."""
    random = np.random.default_rng([11, case.seeds, case.n, int(both)])
    falling = SimulatedMethod(0.85, 0.01, collapse=0.2)
    stable = falling if both else SimulatedMethod(0.8 * 0.85 + 0.2 * 0.5, 0.01)
    false = 0
    for _ in range(case.trials):
        found = compare(*runs([falling, stable], case, random))
        false += found is not None and found.p <= 0.05
    name = f"seeds={case.seeds} n={case.n} share=0.2 methods={'both' if both else 'one'}"
    return line("collapse", name, false, case.trials), False


def line(kind: str, name: str, count: int, trials: int) -> str:
    return f"{kind} {name} rate={count / trials:.3f} se={error(count, trials):.3f}"


def error(count: int, trials: int) -> float:
    """Monte Carlo standard error of a rate."""
    share = count / trials
    return math.sqrt(share * (1 - share) / trials)


def lower_bound(count: int, trials: int) -> float:
    """One-sided exact 99% bound (Clopper and Pearson): the rate at which so many or more come in 1% of cases."""
    low, high = 0.0, count / trials
    for _ in range(60):
        middle = (low + high) / 2
        above = 1.0 - float(bdtr(count - 1, trials, middle)) if count else 1.0
        low, high = (middle, high) if above < TAIL else (low, middle)
    return low


def upper_bound(count: int, trials: int) -> float:
    return 1.0 - lower_bound(trials - count, trials)


def jobs(grid: dict[str, tuple[Any, ...]], trials: int | None, full: bool) -> Iterator[tuple[Any, ...]]:
    """What is to be simulated: (kind of line, arguments), the longest first."""
    for seeds, n, sd, metric in sorted(product(*grid.values()), key=lambda key: -key[0] * key[1]):
        case = Case(seeds, n, sd, metric, trials or (1000 if n < 1000 else 400))
        yield "pair", case
    for seeds, n, spreads in FAMILIES if full else FAMILIES[:1]:
        yield "family", Case(seeds, n, 0, "accuracy", trials or (400 if n < 1000 else 200)), spreads
    if full:
        for seeds, n, sd in product((2, 3, 5), (300, 3000), (2, 5, 10)):
            yield "deterministic", Case(seeds, n, sd, "accuracy", trials or (1000 if n < 1000 else 400))
        for seeds, both in product((3, 5, 10), (False, True)):
            yield "collapse", Case(seeds, 300, 1, "accuracy", trials or 1000), both


def work(job: tuple[Any, ...]) -> tuple[str, list[tuple[str, bool]]]:
    kind, case, *more = job
    made = {
        "pair": pair_lines,
        "family": lambda c: [family_line(c, *more)],
        "deterministic": lambda c: [deterministic_line(c)],
        "collapse": lambda c: [collapse_line(c, *more)],
    }
    return kind, made[kind](case)


@command
def main(arguments: Sequence[str]) -> int:
    """Print a line per case; 1 where a case failed, 2 where the arguments are wrong."""
    given = dict(word.partition("=")[::2] for word in arguments)
    grid = SMALL if "small" in given else GRID
    unknown = set(given) - set(GRID) - {"small", "trials", "workers"}
    if unknown or "--help" in given:
        print(f"{', '.join(sorted(unknown))}: unknown\n\n{__doc__}" if "--help" not in given else __doc__)
        return 2 if "--help" not in given else 0
    convert = {"seeds": int, "n": int, "sd": float, "metric": str}
    chosen = {key: tuple(map(convert[key], given[key].split(","))) for key in GRID if key in given}
    trials = int(given["trials"]) if "trials" in given else (300 if "small" in given else None)
    cells = failed = 0
    todo = list(jobs(grid | chosen, trials, full=not chosen and "small" not in given))
    with ProcessPoolExecutor(int(given.get("workers") or 2)) as pool:
        for kind, lines in pool.map(work, todo):
            cells += kind == "pair"
            for text, wrong in lines:
                failed += wrong
                print(text + ("  FAILED" if wrong else ""), flush=True)
    print(f"cells={cells} failed={failed}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
