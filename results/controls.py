"""What a control is called: never by the bare name of the method that it stands beside.

Records, tables, figures and tests go by `record["method"]`. A control has a name of its own there, so that no table of
a method ever takes one of its controls for a run of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MARK = "(control)"
THEIRS = "(theirs)"  # ends the name of a row of other people's predictions (results/adopt.py)
WORDS = {
    "shuffled_labels": "shuffled labels",
    "random_prompt": "random prompt",
    "matched_lora": "parameter-matched",
}


def named(method: Mapping[str, Any], control: str | None) -> str:
    """A run's method as records have it: `dept`, or `dept, shuffled labels (control)`.

    The rank stands in the name of a matched LoRA: those beside two methods are two rows, not two trials of one.
    """
    name = str(method["name"])
    if control is None:
        return name
    rank = f" r={method.get('rank')}" if control == "matched_lora" else ""
    return f"{name}{rank}, {WORDS[control]} {MARK}"


def base(name: str) -> str:
    """The method that a name of a record is of."""
    return re.split(r" r=\d+,|,", name)[0] if name.endswith(MARK) else name


def overrides(name: str) -> dict[str, str]:
    """The choices of a command line that make runs of a record's method."""
    control = next((key for key, words in WORDS.items() if name.endswith(f", {words} {MARK}")), None)
    if control is None:
        return {"method": name}
    rank = re.search(r" r=(\d+),", name)
    more = {"method.rank": rank[1], "method.alpha": str(2 * int(rank[1]))} if rank else {}
    return {"method": base(name), "control": control, **more}
