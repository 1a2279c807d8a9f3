"""The class that runs a family: tasks/families.py names it, its module in backbones/ has it."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from tasks.families import family


@cache
def engine_of(name: str) -> type[Any]:
    """The class of a family, a `backbones.base.Backbone`.

    Raises:
        ValueError: there is no such family.
    """
    module, _, cls = family(name).engine.partition(".")
    found: type[Any] = getattr(import_module(f"backbones.{module}"), cls)
    return found
