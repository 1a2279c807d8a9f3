"""transformers configs and models from a backbone's facts: for tiny models and for ``random_weights``."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoConfig, PreTrainedConfig

from backbones.config import BackboneConfig, Facts
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
    sizes = _SIZES[config.family](facts)
    return AutoConfig.for_model(model_type, **{**sizes, **options})


def _llama(facts: Facts) -> dict[str, Any]:
    return {
        "hidden_size": facts.width,
        "num_hidden_layers": facts.layers,
        "num_attention_heads": facts.heads,
        "num_key_value_heads": facts.kv_heads,
        "head_dim": facts.head_dim,
        "vocab_size": facts.vocab,
        "intermediate_size": facts.ffn,
        "max_position_embeddings": facts.max_positions,
    }


def _t5(facts: Facts) -> dict[str, Any]:
    return {
        "d_model": facts.width,
        "num_layers": facts.layers,
        "num_decoder_layers": facts.decoder_layers,
        "num_heads": facts.heads,
        "d_kv": facts.head_dim,
        "d_ff": facts.ffn,
        "vocab_size": facts.vocab,
        "dropout_rate": facts.dropout,
    }


def _encoder(facts: Facts) -> dict[str, Any]:
    return {
        "hidden_size": facts.width,
        "num_hidden_layers": facts.layers,
        "num_attention_heads": facts.heads,
        "vocab_size": facts.vocab,
        "intermediate_size": facts.ffn,
        "max_position_embeddings": facts.max_positions,
        "hidden_dropout_prob": facts.dropout,
        "attention_probs_dropout_prob": facts.dropout,
    }


_SIZES = {"t5": _t5, "llama": _llama, "encoder": _encoder}


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
