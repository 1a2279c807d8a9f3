"""Records whose rows were read with another split's token ids (a fault of earlier versions).

Until `data.format` was 3 the token ids of a split were kept under the places of its rows alone: where two official
splits had the same places in use (validation and test of one size), the second was scored on the texts of the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MENDED = 3  # tasks.cache.FORMAT since then
ORDER = ("train", "validation", "test")  # in which splits were encoded: the first one's token ids were kept


def misread(record: Mapping[str, Any]) -> str | None:
    """Which split of a record was read as which other; None where each was read as itself."""
    data = record.get("data")
    if not isinstance(data, Mapping) or (data.get("format") or 0) >= MENDED or record.get("adopted"):
        return None
    official, rows = data.get("official_rows"), data.get("rows")
    used, named = data.get("used_rows") or rows, data.get("official_split") or {}
    if not (
        isinstance(official, Mapping)
        and isinstance(rows, Mapping)
        and isinstance(used, Mapping)
        and isinstance(named, Mapping)
    ):
        return None
    known: dict[tuple[Any, ...], tuple[str, str]] = {}
    for role in sorted(used, key=lambda role: ORDER.index(role) if role in ORDER else len(ORDER)):
        split = named.get(role, role)
        if split not in official:
            continue
        # equal sizes at every stage are equal places: carving and capping draw by size and seed alone
        first = known.setdefault((official[split], rows.get(role), used[role]), (role, split))
        if first[1] != split:
            return (
                f"its {role} rows were read with the token ids of its {first[0]} rows, which are as many (a fault of "
                "earlier versions)"
            )
    return None
