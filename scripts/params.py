"""What a method trains on a backbone: tensors, shapes, the total by formula and the budget it is held against.

    python scripts/params.py method=dept/m60_r30 backbone=t5_base

No weights, no network: a backbone's sizes are in its YAML. The last line is `trainable_parameters=<n>`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from backbones.build import random_model
from backbones.config import BackboneConfig, Facts
from backbones.tuned import Tuned
from conf.compose import compose, typed
from conf.resolve import ConfigError
from methods import load
from methods.base import InputMethod
from results.command_line import command

SHOWN = 40  # tensors that are listed one by one
VECTORS = 100  # the papers' budget: as many prompt vectors


def tensors_of(method: dict[str, Any], config: BackboneConfig, facts: Facts) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that is trained (without the head).

    Weight-level methods are put on a model without memory (the meta device); where the backbone's YAML has no
    architecture (`hub_*`), nothing is listed for them.
    """
    made = load.build(method, facts, None, torch.Generator().manual_seed(0))
    if any(True for _ in made.parameters()):  # others make theirs when they are attached
        return {name: tuple(p.shape) for name, p in made.named_parameters()}
    if not config.architecture:
        return {}
    with torch.device("meta"):
        model = random_model(config, 0, config.attention, torch.float32)
        groups = Tuned(_bare(model, config), made).trainable()
    return {name: tuple(p.shape) for group, found in groups.items() if group != "head" for name, p in found.items()}


def _bare(model: Any, config: BackboneConfig) -> Any:
    from backbones.base import Backbone

    # the head alone has no tensors of its own; any module stands for the head there
    return Backbone(model, None, config, torch.nn.Linear(1, 1) if not config.traits.writes else None)


def lines(overrides: Sequence[str]) -> list[str]:
    """The report for a choice of method and backbone.

    Raises:
        ConfigError: the choice is wrong, with every problem.
    """
    config = typed(compose(overrides))
    method, backbone = dict(config.method), config.backbone
    if not method.get("target") and not method.get("path"):
        return [f"{method['name']} trains nothing", "trainable_parameters=0"]
    facts = backbone.sizes()
    if problems := load.check({**method, "init_from": method.get("init_from") or "a run"}, facts):
        raise ConfigError(problems)
    total, tensors = load.count(method, facts), tensors_of(method, backbone, facts)
    said = [f"{method['name']} on {backbone.name}: d={facts.width}, {_depth(facts)}, {facts.heads} heads"]
    wide = max((len(name) for name in list(tensors)[:SHOWN]), default=0)
    for name, shape in list(tensors.items())[:SHOWN]:
        size = torch.Size(shape).numel()
        said.append(f"  {name:<{wide}}  {' x '.join(map(str, shape)):>18}  {size:>12,}")
    if len(tensors) > SHOWN:
        rest = list(tensors.values())[SHOWN:]
        said.append(f"  and {len(rest)} more tensors with {sum(torch.Size(s).numel() for s in rest):,} parameters")
    real = sum(torch.Size(shape).numel() for shape in tensors.values())
    if tensors and real != total:
        raise ConfigError([f"the formula says {total:,}, the tensors hold {real:,}: correct the method's `count`"])
    said.append(f"total by formula: {total:,}")
    said += _held_against(method, facts, total)
    if backbone.quantization:
        said.append(f"the backbone's linear layers are kept in {backbone.quantization}")
    if backbone.architecture.get("model_type") == "deberta":
        said.append(f"and its own pooler, as DeBERTa brings none: {facts.width * (facts.width + 1):,}")
    return [*said, f"trainable_parameters={total}"]


def _depth(facts: Facts) -> str:
    return f"{facts.layers}+{facts.decoder_layers} layers" if facts.decoder_layers else f"{facts.layers} layers"


def _held_against(method: dict[str, Any], facts: Facts, total: int) -> list[str]:
    said = []
    if facts.parameters:
        said.append(f"backbone: {facts.parameters:,} parameters ({100 * total / facts.parameters:.4f} % of them)")
    if not facts.traits.writes:
        said.append(f"head, counted apart: {facts.width + 1:,} per output")
    if issubclass(load.method_class(method.get("target"), method.get("path")), InputMethod):
        budget = VECTORS * facts.width
        left = budget - total
        word = "exactly" if left == 0 else f"{abs(left):,} {'under' if left > 0 else 'over'}"
        said.append(f"budget: {VECTORS} prompt vectors of width {facts.width} = {budget:,} ({word})")
    return said


@command
def main(arguments: Sequence[str]) -> int:
    """Print the report; 2 where the choice is refused."""
    try:
        print("\n".join(lines(arguments)))
    except (ConfigError, ValueError) as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
