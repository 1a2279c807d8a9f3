"""How far a long loop is: a bar on a terminal, a line every half minute in a log; of runs side by side one each."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")
SECONDS = 30.0  # between two lines of a log
_SHARED = False  # whether other processes write to the same terminal
_WHOSE = ""  # then: in front of every line, the run that it is about


class Lines:
    """What stands for a bar where there is no terminal: one whole line, now and then.

    Args:
        label: what goes on.
        total: how many units it has.
        start: how many of them are done already.
        unit: what they are.
        quiet: say nothing (processes that do not write).
    """

    def __init__(self, label: str, total: int, start: int = 0, unit: str = "step", quiet: bool = False) -> None:
        self.label, self.total, self.start, self.n, self.unit, self.quiet = label, total, start, start, unit, quiet
        self.begun = self.told = time.monotonic()
        self.more = ""

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *error: object) -> None:
        return

    @property
    def due(self) -> bool:
        """Whether the next update prints a line."""
        return not self.quiet and time.monotonic() - self.told >= SECONDS

    def update(self, count: int = 1) -> None:
        self.n += count
        if not self.due:
            return
        self.told = time.monotonic()
        each = (self.told - self.begun) / max(self.n - self.start, 1)
        left = tqdm.format_interval(each * (self.total - self.n))
        say(f"{self.label}: {self.unit} {self.n} of {self.total}{self.more}, {left} left")

    def set_postfix(self, values: dict[str, str], refresh: bool = False) -> None:
        """What the next lines say beside the count."""
        self.more = "".join(f", {name} {value}" for name, value in values.items())


def bar(label: str, total: int, start: int = 0, *, unit: str = "step", main: bool = True, **options: Any) -> Any:
    """Progress on standard error: a bar on a terminal, lines elsewhere, nothing on a process that does not write."""
    if main and sys.stderr.isatty() and not _SHARED:
        return tqdm(desc=label, total=total, initial=start, unit=unit, dynamic_ncols=True, **options)
    return Lines(label, total, start, unit, quiet=not main)


def share_terminal(whose: str = "") -> None:
    """From now on lines and no bars: several processes side by side would draw over each other's.

    Args:
        whose: stands in front of every line (`run <id>: `).
    """
    global _SHARED, _WHOSE
    _SHARED, _WHOSE = True, whose


class Board:
    """Runs that train together: a bar each, or a line each every half minute, and a line for each that has ended.

    Args:
        runs: key -> (what the run is called, its steps, how many of them are done).
    """

    def __init__(self, runs: Mapping[int, tuple[str, int, int]]) -> None:
        self.bars = {
            key: bar(label, total, start, position=place, leave=False)
            for place, (key, (label, total, start)) in enumerate(runs.items())
        }

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *error: object) -> None:
        for shown in self.bars.values():
            shown.__exit__(*error)

    def update(self, key: int, values: Mapping[str, str]) -> None:
        """One step of a run, and what stands beside it."""
        self.bars[key].set_postfix(values, refresh=False)
        self.bars[key].update()

    def end(self, key: int, text: str) -> None:
        """A run has ended: its bar goes, a line stays."""
        shown = self.bars.pop(key, None)
        if shown is not None:
            shown.__exit__(None, None, None)
        say(text)


def counted(label: str, total: int, batches: Iterable[list[T]]) -> Iterator[list[T]]:
    """The same batches, with a bar over their rows."""
    with bar(label, total, unit="row", leave=False) as shown:
        for batch in batches:
            yield batch
            shown.update(len(batch))


def say(text: str, main: bool = True) -> None:
    if main:
        tqdm.write(f"{_WHOSE}{text}\n", file=sys.stderr, end="")  # in one piece: others write beside it
        sys.stderr.flush()
