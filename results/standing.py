"""What a table must say beside the name of a method whose paper was not read whole; said here and on its card."""

from __future__ import annotations

from typing import Any

from results.controls import base

FROM_ABSTRACT = "after the abstract"
TEXT_FORM = f"text form {FROM_ABSTRACT}"
STANDING = {
    "apt": f"gates {FROM_ABSTRACT}",
    "sesom": FROM_ABSTRACT,
    "context_lora": TEXT_FORM,
    "context_bitfit": TEXT_FORM,
    "context_ia3": TEXT_FORM,
}


def told(methods: Any, label: str) -> str:
    """A label with what must stand beside it.

    Args:
        methods: a method's name, a list of some (a row over several), or anything else: then nothing is added.
        label: of a row, a column or a table.
    """
    names = methods if isinstance(methods, list | tuple) else [methods]
    of = [base(name) for name in names if isinstance(name, str)]
    words = dict.fromkeys(STANDING[name] for name in of if name in STANDING)
    missing = [text for text in words if text not in label]
    return ", ".join([label, *missing])
