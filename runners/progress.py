"""A bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


def bar(label: str, total: int, start: int = 0, *, unit: str = "step", main: bool = True, **options: Any) -> tqdm:
    """A progress bar on standard error; quiet when that is no terminal or on a process that does not write."""
    quiet = not main or not sys.stderr.isatty()
    return tqdm(desc=label, total=total, initial=start, unit=unit, disable=quiet, dynamic_ncols=True, **options)


def say(text: str, main: bool = True) -> None:
    if main:
        tqdm.write(text, file=sys.stderr)
        sys.stderr.flush()
