"""Every method on every family, tiny: what the contract tests run on.

A new file in conf/method/ is picked up by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from backbones.base import Backbone
from backbones.batch import Batch
from backbones.config import BackboneConfig
from backbones.load import load_backbone
from backbones.tuned import Tuned
from conf.resolve import _fill
from methods import load
from runners.promised import some_sources
from tasks.encode import Encoded

CONF = Path(__file__).resolve().parents[2] / "conf"
NO_CLASS = ("none", "majority", "own")  # zero-shot, a constant, and the place of a user's own file
METHODS = sorted(p.stem for p in (CONF / "method").glob("*.yaml") if p.stem not in NO_CLASS)
BACKBONES = ("tiny_llama", "tiny_t5", "tiny_bert")
SMALL: dict[str, Any] = {
    "prompt_length": 4,
    "prefix_length": 3,
    "rank": 2,
    "max_source_length": 32,
    "mlp_width": 8,
    "bottleneck": 4,
    "hidden": 8,
}
EOS = {"tiny_llama": 1, "tiny_t5": 1, "tiny_bert": 5}


@cache
def backbone_config(name: str) -> BackboneConfig:
    """A backbone's configuration, as its YAML says."""
    plain = OmegaConf.load(CONF / "backbone" / f"{name}.yaml")
    config: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(BackboneConfig), plain))
    return config


@cache
def method_config(method: str, name: str) -> dict[str, Any]:
    """A method's resolved configuration on a tiny backbone, with small sizes."""
    config: Any = OmegaConf.to_container(OmegaConf.load(CONF / "method" / f"{method}.yaml"))
    _fill(config, "corrected", name, backbone_config(name).family)
    config |= {key: value for key, value in SMALL.items() if key in config}
    # what another run's tensors would start; the tests stir every tensor anyway
    made_up = {"sources": {"one": "a run"}} if "sources" in config else {}
    return (
        config | {"init_from": "a run" if config["capabilities"].get("needs_source") else None, "init": None} | made_up
    )


def backbone(name: str, dtype: torch.dtype = torch.float32, head: str = "sequence", n_labels: int = 3) -> Backbone:
    """A tiny backbone; encoders get a head."""
    config = backbone_config(name)
    if config.family != "encoder":
        return load_backbone(config, dtype=dtype, cache_root="unused")
    return load_backbone(config, dtype=dtype, cache_root="unused", n_labels=n_labels, head=head, seed=7)


def refusals(method: str, name: str) -> list[str]:
    """Why a combination is refused before anything is loaded; [] = it runs."""
    return load.check(method_config(method, name), backbone_config(name).sizes())


def pairs() -> list[tuple[str, str]]:
    """(method, backbone) of every combination that runs."""
    return [(m, b) for m in METHODS for b in BACKBONES if not refusals(m, b)]


def tuned(
    method: str,
    name: str,
    *,
    seed: int = 3,
    stir: bool = True,
    dtype: torch.dtype = torch.float32,
    options: dict[str, Any] | None = None,
    head: str = "sequence",
    prepare: Callable[[Backbone], None] = lambda bare: None,
) -> Tuned:
    """A method on a fresh tiny backbone, in evaluation mode.

    Args:
        method: name of its YAML.
        name: name of the backbone's YAML.
        seed: of the method's tensors.
        stir: move every tensor off its start (some start at zero, where much of a forward cannot be seen).
        dtype: precision of the frozen weights.
        options: of the method, over its small sizes.
        head: of encoders.
        prepare: what is done to the backbone before the method is put on.
    """
    bare = backbone(name, dtype, head)
    prepare(bare)
    config = method_config(method, name) | (options or {})
    sources = some_sources(config, bare.facts)
    made = load.build(config, bare.facts, None, torch.Generator().manual_seed(seed), sources)
    whole = Tuned(bare, made).eval()
    if stir:
        generator = torch.Generator().manual_seed(99)
        scale = 0.01 if method == "full" else 0.2
        with torch.no_grad():
            for parameter in parameters(whole).values():
                parameter += scale * torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
    return whole


def parameters(whole: Tuned) -> dict[str, nn.Parameter]:
    """Everything that is trained, by name."""
    return {name: p for group in whole.trainable().values() for name, p in group.items()}


def no_dropout(whole: Tuned) -> None:
    """Switch off every dropout and noise, wherever it is."""
    for module in whole.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in ("dropout", "dropout_rate", "noise"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def examples(name: str) -> list[Encoded]:
    """Four examples of different lengths; candidates differ in length and share their first tokens."""
    generator = torch.Generator().manual_seed(5)
    eos, found = EOS[name], []
    for index, length in enumerate((9, 3, 14, 6)):
        ids = torch.randint(10, 1000, (length,), generator=generator).tolist()
        if name == "tiny_bert":
            types = [0] * (length // 2 + 1) + [1] * (length - length // 2 + 1)
            tags = [-100, *(place % 3 for place in range(length)), -100]
            segments = {"segments": [[4, *ids, eos]], "token_types": [types]}
            found.append(
                Encoded(str(index), label=index % 3, tags=tags, word_starts=[*range(1, length + 1)], **segments)
            )
            continue
        choices = [[40, eos], [40, 41, eos], [40, 42, 43, 44, eos], [50, eos]]
        source = [*ids, eos] if name == "tiny_t5" else [2, *ids]
        found.append(Encoded(str(index), source, choices[index % 4], choices[: 4 - index % 2], index % 3))
    return found


def batch(whole: Tuned, chosen: list[Encoded], candidates: bool = False) -> Batch:
    """A padded batch."""
    return whole.backbone.collate(chosen, candidates=candidates)


def answers(whole: Tuned, chosen: list[Encoded]) -> Tensor:
    """What the model says of each example: candidate scores, or class logits."""
    if whole.backbone.facts.family == "encoder":
        return whole.classify(batch(whole, chosen))
    return whole.rank(batch(whole, chosen, candidates=True))


def close(a: Tensor, b: Tensor, within: float = 2e-4) -> bool:
    """Equal up to rounding; infinities must stand in the same places."""
    return bool(torch.allclose(a, b, atol=within, rtol=1e-4))
