"""Which runs the words of a command ask for: `key=value`, of which some are options and the others filters."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.filters import settled
from results.ledger import root_of
from results.records import Run, matches, read_runs
from results.tables.checked import LayoutError
from results.tables.layout import check_filters


@dataclass(frozen=True)
class Asked:
    """The options that were given, the ledger, and its runs that match the filters."""

    given: dict[str, str]
    root: Path
    runs: list[Run]


def asked_for(arguments: Sequence[str], options: Sequence[str], name: str) -> Asked:
    """Read the words; a value that no run has is said on standard error.

    Args:
        options: words that are no filters.
        name: the module, for the way to its help.

    Raises:
        LayoutError: a word without `=`, or a filter that no run has.
    """
    bad = [word for word in arguments if "=" not in word]
    if bad:
        raise LayoutError(f"{', '.join(bad)}: arguments are key=value (python -m {name} --help)")
    given = dict(word.partition("=")[::2] for word in arguments)
    where: dict[str, Any] = {key: value.split(",") for key, value in given.items() if key not in options}
    reading = read_runs(root_of(given.get("ledger.root")))
    check_filters(where, reading.runs)
    where, lacking = settled(where, reading.runs)
    for sentence in lacking:
        print(sentence, file=sys.stderr)
    return Asked(given, reading.root, [run for run in reading.runs if matches(run, where)])
