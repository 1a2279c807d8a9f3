"""Scoring what a paper's authors released: their tensors take the place of training."""

from __future__ import annotations

from typing import Any

from methods.released import dept_options, dept_state, load_dept_released
from runners.errors import Refused


def take_released(tuned: Any, path: str) -> None:
    """Put the released DePT tensors into a DePT method of the same shapes.

    Raises:
        Refused: the file cannot be read, or the method's options do not fit it; the message has the ones that do.
    """
    try:
        tensors = load_dept_released(path)
    except ValueError as error:
        raise Refused(str(error)) from None
    try:
        tuned.load_state(dept_state(tensors))
    except ValueError as error:
        fitting = " ".join(f"method.{key}={value}" for key, value in dept_options(tensors).items())
        raise Refused(f"released.path={path}: {error} It was trained with method=dept {fitting}") from None
