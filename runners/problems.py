"""What is wrong with a configuration, as far as it can be known without data and weights."""

from __future__ import annotations

from backbones.compiled import problem as compile_problem
from backbones.config import check as check_backbone
from conf.capabilities import Capabilities, capabilities
from conf.schema import Config
from methods import load as methods
from methods.base import InputMethod
from runners import controls
from runners.data import capped_length
from runners.workers import DTYPES, missing_device


def problems_of(config: Config) -> list[str]:
    """Everything wrong with a configuration that can be known without data and weights."""
    found = check_backbone(config.backbone)
    missing = missing_device(config.runner.device)
    found += [missing] if missing else []
    if found:
        return found
    if config.backbone.quantization and config.runner.sharding:
        found.append(
            f"runner.sharding={config.runner.sharding} with backbone.quantization={config.backbone.quantization}: "
            "layers in few bits are not held in parts here; leave one of them out"
        )
    facts = config.backbone.sizes()
    can = capabilities(config.method)
    if can.trains:
        found += methods.check(config.method, facts, capped_length(config)) or _not_as_said(can, config)
    elif config.method.get("target") or config.method.get("path"):
        found.append(f"method={config.method['name']} has a class, but its YAML says capabilities.trains=false")
    found += controls.problems(config)
    if config.runner.compile:
        found += _compile_problems(config)
    init, network = config.method.get("init"), config.method.get("reparameterisation", "none")
    deep_from_text = config.method.get("prefix_length") and init not in (None, "random")
    if deep_from_text and (not facts.traits.continues or network != "none"):
        found.append(
            f"method.init={init}: a deep prefix starts from the keys and values of real tokens on decoder-only models "
            f"without a network (family {facts.family}, reparameterisation {network} here); set method.init=random"
        )
    if config.runner.precision not in DTYPES:
        found.append(f"runner.precision={config.runner.precision!r} is not one of {', '.join(DTYPES)}")
    elif config.runner.precision == "fp16" and not facts.traits.half:
        found.append(
            "runner.precision=fp16 with T5: its activations overflow in half precision and the loss becomes NaN; "
            "use bf16 or fp32"
        )
    return found


def _compile_problems(config: Config) -> list[str]:
    others = {"runner.sharding": config.runner.sharding, "backbone.quantization": config.backbone.quantization}
    found = [
        f"runner.compile=true with {key}={value}: such layers are not compiled here; leave one of them out"
        for key, value in others.items()
        if value
    ]
    wrong = compile_problem(config.runner.device)
    return [*found, wrong] if wrong else found


def _not_as_said(can: Capabilities, config: Config) -> list[str]:
    """Where the class of a user's own file is not what the configuration says it can do."""
    method = methods.method_class(config.method.get("target"), config.method.get("path"))
    if can.packs and getattr(method, "answers_together", False):
        return [
            f"method.capabilities.packs=true, but several prompts of {method.__name__} answer each row together: it "
            "cannot share passes with other runs; leave packs out"
        ]
    if can.packs and not issubclass(method, InputMethod):
        return [
            f"method.capabilities.packs=true, but {method.__name__} is no methods.base.InputMethod: runs of it cannot "
            "share passes; leave packs out"
        ]
    return []
