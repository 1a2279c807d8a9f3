"""Runs that may be drawn on the same axes: parted by what no method is tuned by, however it came to differ."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TypeVar

from results.records import UNTRAINED, Run
from results.setting import CODE, LEARNING, between, condensed, short, shown

One = TypeVar("One", bound=Run)
# what a row without training may have otherwise than the trained runs that it is a rule for: its own label tells it
FREE = (*LEARNING, "protocol.label_words", "task.decoder_cue")
METRIC = "metric"
LONGEST = 60  # characters of what stands in a title and in the name of a figure's file


def _differing(runs: Sequence[Run]) -> dict[str, list[str]]:
    found = between(runs)
    metrics = sorted({run.primary_metric for run in runs})
    return condensed(found | ({METRIC: metrics} if len(metrics) > 1 else {}))


def by_setting(runs: Sequence[One]) -> list[tuple[str, list[One], list[One]]]:
    """Runs of one task, backbone and protocol, parted.

    Returns:
        For each setting its words (empty where there is one alone), the runs that are its own, and with these the runs
        without training that are its rules: every run is some part's own once, a rule may serve several.
    """
    trained = [run for run in runs if run.get("method") not in UNTRAINED]
    rules = [run for run in runs if run.get("method") in UNTRAINED]
    parts = _parted(trained)
    left = []
    owned: dict[int, list[One]] = defaultdict(list)
    serving: dict[int, list[One]] = defaultdict(list)
    for rule in rules:
        fitting = [number for number, (_, own) in enumerate(parts) if not set(_differing([own[0], rule])) - set(FREE)]
        for number in fitting:
            serving[number].append(rule)
        if fitting:
            owned[fitting[0]].append(rule)
        else:
            left.append(rule)
    made = [(words, [*own, *owned[number]], [*own, *serving[number]]) for number, (words, own) in enumerate(parts)]
    free = [key for key in FREE if key not in LEARNING]
    alone = [(words or ("no training" if parts else ""), own, own) for words, own in _parted(left, free)]
    return made + alone


def _parted(runs: Sequence[One], free: Sequence[str] = ()) -> list[tuple[str, list[One]]]:
    keys = sorted(set(_differing(runs)) - set(free)) if runs else []
    found: dict[str, list[One]] = defaultdict(list)
    for run in runs:
        found[", ".join(f"{key.rpartition('.')[2]}={_value(run, key)}" for key in keys)].append(run)
    return [(_cut(words), own) for words, own in sorted(found.items())]


def _value(run: Run, key: str) -> str:
    return run.primary_metric if key == METRIC else shown(run.setting.get(key, run.setting.get(f"{key}.name")))


def _cut(words: str) -> str:
    return words if len(words) <= LONGEST else f"{words[:LONGEST]} {short(words)}"


def told_apart(runs: Sequence[Run]) -> Callable[[Run], str]:
    """What stands after the name of a method of which runs of several codes or versions are there (else nothing)."""
    seen: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for run in runs:
        if run.done:
            seen[str(run.get("method"))].add(_code(run))

    def words(run: Run) -> str:
        known = seen.get(str(run.get("method")), set())
        if len(known) < 2 or run.get("method") in UNTRAINED:
            return ""
        version, code = _code(run)
        file = re.split(r"[/\\]", str(run.get("method.path") or ""))[-1]
        return ", ".join(
            word for word in (file, f"version {version}" if version else "", code and f"code {code}") if word
        )

    return words


def _code(run: Run) -> tuple[str, str]:
    return str(run.get("method.version") or ""), str(run.setting.get(CODE) or "")
