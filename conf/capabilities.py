"""What a method can do, as its YAML says it, so that planning and naming ask the method and load no torch.

`capabilities` stands in every method's YAML. tests/unit/test_methods_configs.py holds it against the method's class,
`runners.problems.problems_of` against a class in a user's own file before such a run starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Capabilities:
    """A method's capabilities; what its YAML leaves out is as here.

    Attributes:
        trains: it has tensors that are trained (`none` and `majority` have not).
        length: the option that is its prompt's or prefix's length (`prompt_length`, `prefix_length`); None: none.
        packs: runs of it can share each pass through the frozen backbone (`hydra/launcher=packed`).
        needs_source: it starts from another run (`method.init_from`).
    """

    trains: bool = True
    length: str | None = None
    packs: bool = False
    needs_source: bool = False


def capabilities(method: Mapping[str, Any]) -> Capabilities:
    """Of a configuration of the method group, resolved or not.

    Raises:
        ValueError: `capabilities` names something that is none.
    """
    said = method.get("capabilities")
    if said is None:  # records of before there were any: a method without a class trained nothing
        return Capabilities(trains=bool(method.get("target") or method.get("path")))
    known = [field.name for field in fields(Capabilities)]
    unknown = sorted(set(said) - set(known))
    if unknown:
        raise ValueError(f"method.capabilities.{unknown[0]}: there is no such capability; there are {', '.join(known)}")
    return Capabilities(**said)
