"""The linear layers of a transformer block by one set of names over all families: q, k, v, o, up, down.

Where a family has them stands in the `LAYERS` of its class (a regular expression for the end of a module's path).

``up`` of a gated feed-forward layer is its linear branch (T5 v1.1 ``wi_1``, LLaMA ``up_proj``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from torch import nn

from backbones.engine import engine_of


def find(model: nn.Module, family: str, name: str) -> Iterator[tuple[str, nn.Module]]:
    """(path, module) of every layer of one kind, in the model's order."""
    ends = re.compile(rf"(^|\.){engine_of(family).LAYERS[name]}$")
    for path, module in model.named_modules():
        if ends.search(path):
            yield path, module
