"""Filters of a command line: which runs are meant, what none of them has, what a table says it was narrowed to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from results.records import Run, matches

FREE = ("!", "*")  # anything but a value, anything that is set: no value that a run could lack


def settled(filters: Mapping[str, Any], runs: Sequence[Run]) -> tuple[dict[str, Any], list[str]]:
    """Filters as they are meant, and a sentence for every value that no run has.

    A value that was divided at its own commas (`method=dept, shuffled labels (control)`) is put together again where
    runs have it so; `null` is a value that is not set.

    Args:
        filters: key -> one value, or several of which a run has to have one.
    """
    made: dict[str, Any] = {}
    lacking = []
    for key, value in filters.items():
        parts = list(value) if isinstance(value, list | tuple) else [value]
        known = {str(found) for run in runs if (found := run.get(key)) is not None} if len(parts) > 1 else set()
        values = [None if part == "null" else part for part in _joined(parts, known)]
        lacking += [f"{key}={_word(one)}" for one in values if runs and not _met(key, one, runs)]
        made[key] = values[0] if len(values) == 1 else values
    return made, [f"No run of the ledger has {', '.join(lacking)}."] if lacking else []


def _met(key: str, value: Any, runs: Iterable[Run]) -> bool:
    return (isinstance(value, str) and value.startswith(FREE)) or any(matches(run, {key: value}) for run in runs)


def _joined(parts: Sequence[Any], known: set[str]) -> list[Any]:
    made: list[Any] = []
    place = 0
    while place < len(parts):
        longest = len(parts)
        for end in range(longest, place, -1):
            whole = ", ".join(str(part) for part in parts[place:end])
            if end == place + 1 or whole in known:
                made.append(parts[place] if end == place + 1 else whole)
                place = end
                break
    return made


def said(filters: Mapping[str, Any]) -> str:
    """Filters as they were given: seed=1,2, task=glue/rte."""
    return ", ".join(f"{key}={_words(value)}" for key, value in filters.items())


def _words(value: Any) -> str:
    return ",".join(map(_word, value)) if isinstance(value, list | tuple) else _word(value)


def _word(value: Any) -> str:
    return "null" if value is None else str(value)
