"""`python -m results.power`: what a difference needs, and what the papers' own test sets can show.

    python -m results.power tests [protocol=dept]
    python -m results.power difference=2 seed_sd=1.5 rows=300 [share=0.8] [correlation=0.5] [power=0.8] [pairs=1]
    python -m results.power difference=2 paper=offline_v1 table=filings [ledger.root=DIR]

`tests` prints a table of test sets: the smallest difference that two single runs can show on them. The others print how
many seeds, or test rows, a difference of so many points needs: from a spread between seeds that you give (points; share
of right answers, correlation of two methods' answers to the same example), or from the spreads of a table's runs.
`pairs`: how many comparisons are looked at together (the first step of Holm).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from results.command_line import command
from results.statistics import binomial_error, detectable, fewest_discordant, minimal_detectable_difference
from results.two_way import Variance, satterthwaite

REQUIRED = ("difference", "seed_sd", "rows")
DEFAULTS = {"share": 0.8, "correlation": 0.5, "power": 0.8, "pairs": 1.0}
NUMBERS = (*REQUIRED, *DEFAULTS)
WORDS = ("protocol", "paper", "table", "ledger.root")
SEEDS = (3, 5, 10)  # numbers of seeds for which rows are said
MOST = 200


class Refused(ValueError):
    """The command line asks for something that is not there."""


@dataclass(frozen=True)
class Noise:
    """What two methods are compared in: variance between seeds of one run, and per example of the difference.

    Attributes:
        seeds: Variance of a run's score over seeds (fractions).
        examples: Variance of one example's difference between two means over seeds.
        rows: Test rows at hand.
    """

    seeds: float
    examples: float
    rows: int

    def smallest(self, seeds: int, rows: int, level: float, power: float) -> float:
        """The smallest difference (fraction) that so many seeds and rows show with that power."""
        side = Variance(self.seeds / seeds, seeds - 1.0)
        parts = [Variance(self.examples / rows, rows - 1.0), side, side]
        whole = satterthwaite(sum(part.variance for part in parts), parts)
        return detectable(math.sqrt(whole.variance), whole.degrees, level, power)


def first(holds: Callable[[int], bool], low: int, high: int) -> int | None:
    """The smallest number from `low` to `high` for which something holds that goes on holding; None where none does."""
    if not holds(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def needs(noise: Noise, difference: float, level: float, power: float) -> list[str]:
    """Sentences: the seeds that a difference (fraction) needs on these rows, and the rows it needs with few seeds."""
    seeds = first(lambda count: _shows(noise, difference, level, power, count, noise.rows), 2, MOST)
    enough = f"{seeds} seeds per method" if seeds else _hopeless(noise, level, power)
    said = [f"on {noise.rows:,} test rows: {enough}"]
    for count in SEEDS:
        rows = first(partial(_shows, noise, difference, level, power, count), 10, 10_000_000)
        now = 100 * noise.smallest(count, noise.rows, level, power)
        enough = f"{rows:,} test rows" if rows else "no number of test rows: the seeds alone spread too much"
        said.append(f"with {count} seeds per method: {enough} (on {noise.rows:,} they show {now:.1f} points)")
    return said


def _shows(noise: Noise, difference: float, level: float, power: float, seeds: int, rows: int) -> bool:
    return noise.smallest(seeds, rows, level, power) <= difference


def _hopeless(noise: Noise, level: float, power: float) -> str:
    least = 100 * noise.smallest(MOST, noise.rows, level, power)
    return f"no number of seeds up to {MOST}, which would show {least:.1f} points: the test rows are too few"


def given(numbers: dict[str, float]) -> Noise:
    """Noise from numbers that are given."""
    share, rows = numbers["share"], int(numbers["rows"])
    single = 2 * binomial_error(share, 1) ** 2 * (1 - numbers["correlation"])
    return Noise((numbers["seed_sd"] / 100) ** 2, single, rows)


def measured(paper: str, table: str | None, root: str | None) -> Noise:
    """Noise from the spreads of a table's first column of scores.

    Raises:
        Refused: no two cells of it can be tested.
    """
    from results.archive import with_archive
    from results.ledger import root_of
    from results.records import read_runs
    from results.tables.build import fill
    from results.tables.evidence import evidence
    from results.tables.layout import load
    from results.two_way import examples

    state, _ = fill(load(paper, table), with_archive(read_runs(root_of(root)), paper))
    key = next(column.key for column in state.layout.columns if column.kind == "score")
    found = [evidence(state, filled).sample for (_, column), filled in state.filled.items() if column == key]
    cells = [cell for cell in found if cell is not None and cell.trained]
    cells = [cell for cell in cells if cell.values.shape[1] == cells[0].values.shape[1]]
    if len(cells) < 2:
        raise Refused(f"paper={paper} table={table}: no two cells have several runs with predictions")
    spreads = [cell.spread for cell in cells if cell.spread is not None]
    seeds = sum(s.variance * s.degrees for s in spreads) / sum(s.degrees for s in spreads)
    rows = cells[0].values.shape[1]
    pairs = [examples(a, b).variance * rows for i, a in enumerate(cells) for b in cells[i + 1 :]]
    return Noise(seeds, sum(pairs) / len(pairs), rows)


def tests(protocol: str) -> str:
    """Test sets of a protocol as Markdown: rows, and the smallest differences that two single runs can show on them."""
    from results.audit.cells import sizes

    kinds = ("classification", "multiple_choice")
    held = {task: size for task, size in sizes().items() if task.split("/")[0] in ("glue", "superglue")}
    rows = {task: int(size[protocol]["n"]) for task, size in held.items() if protocol in size and size["kind"] in kinds}
    if not rows:
        raise Refused(f"protocol={protocol}: no sizes are on file; there are dept, lester and official")
    count = fewest_discordant()
    lines = [
        f"| {protocol}'s test sets | rows | one example | {count} examples | unpaired, 5% | and 80% power |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for task, n in sorted(rows.items(), key=lambda item: item[1]):
        points = [100.0 / n, 100.0 * count / n]
        points += [100 * minimal_detectable_difference(n, 0.8, power=power) for power in (0.5, 0.8)]
        lines.append(f"| {task} | {n:,} | " + " | ".join(f"{value:.1f}" for value in points) + " |")
    return "\n".join(lines) + "\n"


def parse(arguments: Sequence[str]) -> tuple[dict[str, float], dict[str, str]]:
    """Numbers and words of a command line.

    Raises:
        Refused: a key that is not known, or a value that is no number above zero.
    """
    numbers = dict(DEFAULTS)
    words: dict[str, str] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if key in WORDS and equals:
            words[key] = text
        elif key in NUMBERS and equals:
            try:
                numbers[key] = float(text)
            except ValueError:
                raise Refused(f"{argument}: must be a number, such as {key}=2") from None
            if not math.isfinite(numbers[key]) or numbers[key] < 0 or (numbers[key] == 0 and key != "correlation"):
                raise Refused(f"{argument}: must be above zero")
        else:
            raise Refused(f"{argument}: unknown; the keys are {', '.join((*NUMBERS, *WORDS))}")
    if not 0 <= numbers["correlation"] < 1 or not 0 < numbers["share"] < 1 or not 0 < numbers["power"] < 1:
        raise Refused("share, correlation and power lie between 0 and 1")
    return numbers, words


@command
def main(arguments: Sequence[str]) -> int:
    """0 where something was said, 2 where the arguments are wrong."""
    from results.tables.checked import LayoutError

    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(__doc__)
        return 0
    try:
        if arguments[0] == "tests":
            _, words = parse(arguments[1:])
            print(tests(words.get("protocol", "dept")), end="")
            return 0
        numbers, words = parse(arguments)
        missing = [key for key in ("difference",) if key not in numbers]
        missing += [key for key in ("seed_sd", "rows") if key not in numbers and "paper" not in words]
        if missing:
            raise Refused(f"{', '.join(missing)}: must be given; python -m results.power --help")
        if "paper" in words:
            noise = measured(words["paper"], words.get("table"), words.get("ledger.root"))
        else:
            noise = given(numbers)
        level = 1 - 0.05 / numbers["pairs"]
        print(
            f"A difference of {numbers['difference']:g} points, found with {numbers['power']:.0%} power at 5%"
            + (f" among {numbers['pairs']:g} comparisons" if numbers["pairs"] > 1 else "")
            + f"; seeds spread by {100 * math.sqrt(noise.seeds):.1f} points:"
        )
        for sentence in needs(noise, numbers["difference"] / 100, level, numbers["power"]):
            print(f"- {sentence}")
    except (Refused, LayoutError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
