"""transformers configs and models from a backbone's facts: for tiny models and for ``random_weights``."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoConfig, PreTrainedConfig

from backbones.config import BackboneConfig, Facts
from backbones.engine import engine_of
from backbones.model_types import facts_from
from tasks.families import Family


def auto_class(family: Family) -> Any:
    """The class of transformers that loads a family's checkpoints."""
    return getattr(transformers, family.loader)


def hf_config(config: BackboneConfig) -> PreTrainedConfig:
    """The transformers config that a YAML's facts and architecture describe.

    Raises:
        ValueError: ``architecture.model_type`` is missing or unknown to transformers.
    """
    options = dict(config.architecture)
    model_type = options.pop("model_type", None)
    if not model_type:
        raise ValueError(
            f"backbone {config.name!r} has no architecture.model_type (for example t5, llama, bert, roberta, "
            "deberta-v2), so its shapes cannot be built without its weights."
        )
    facts = config.sizes()
    sizes = {theirs: getattr(facts, ours) for theirs, ours in engine_of(str(config.family)).SIZES.items()}
    return AutoConfig.for_model(model_type, **{**sizes, **options})


def random_model(config: BackboneConfig, seed: int, attention: str, dtype: torch.dtype) -> nn.Module:
    """A model of the YAML's shapes with seeded random weights (the global random state is left as it was)."""
    shapes = hf_config(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = auto_class(config.traits).from_config(shapes, attn_implementation=attention, dtype=dtype)
        if config.traits.encoder_decoder and config.architecture.get("tie_word_embeddings") is False:
            # T5 v1.1 has a head of its own; transformers ties T5 whenever it has no checkpoint that says otherwise
            weight = torch.randn(model.lm_head.weight.shape, dtype=dtype) * shapes.d_model**-0.5
            model.lm_head.weight = nn.Parameter(weight)
        return model


def facts_of(model_config: PreTrainedConfig, family: str) -> Facts:
    """Facts read from a loaded model's transformers config."""
    return Facts.of(family, facts_from(model_config.to_dict(), family))
