"""Which family a checkpoint belongs to, and its sizes, from its config.json alone (no torch, no transformers).

The five questions (losses, rank, generate; classify, tag) are asked of three kinds of models: decoder-only language
models (``llama``), encoder-decoder models of the T5 kind (``t5``), and bidirectional encoders (``encoder``). Names of
model types here sort checkpoints; whether a model is used rightly is not read here but proved (backbones/admission.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.families import FAMILIES
from tasks.families import family as traits_of

T5_TYPES = ("t5", "mt5", "umt5", "switch_transformers", "longt5")
ENCODER_TYPES = (
    "albert", "bert", "big_bird", "camembert", "convbert", "data2vec-text", "deberta", "deberta-v2", "distilbert",
    "electra", "ernie", "esm", "eurobert", "flaubert", "fnet", "funnel", "ibert", "jina_embeddings_v3", "layoutlm",
    "longformer", "megatron-bert", "mobilebert", "modernbert", "mpnet", "mra", "nezha", "nomic_bert", "nystromformer",
    "rembert", "roberta", "roberta-prelayernorm", "roformer", "splinter", "squeezebert", "xlm", "xlm-roberta",
    "xlm-roberta-xl", "xlnet", "xmod", "yoso",
)  # fmt: skip
# tables of positions that start behind the padding row: two rows fewer than the table has
POSITIONS_BEHIND_PADDING = (
    "roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer", "roberta-prelayernorm",
    "data2vec-text", "ibert", "xmod",
)  # fmt: skip
_NAMES: dict[str, tuple[str, ...]] = {
    "width": ("hidden_size", "d_model", "n_embd", "dim"),
    "layers": ("num_hidden_layers", "num_layers", "n_layer", "n_layers"),
    "heads": ("num_attention_heads", "num_heads", "n_head", "n_heads"),
    "ffn": ("intermediate_size", "d_ff", "ffn_dim", "n_inner", "hidden_dim", "ffn_hidden_size"),
    "max_positions": ("max_position_embeddings", "n_positions", "seq_length"),
    "dropout": ("hidden_dropout_prob", "dropout_rate", "dropout", "embd_pdrop"),
    "embedding": ("embedding_size", "word_embed_proj_dim"),
}


def family_of(settings: Mapping[str, Any], where: str) -> str:
    """The family of a checkpoint.

    Args:
        settings: its config.json.
        where: what to call it in a message.

    Raises:
        ValueError: it is of none of the three.
    """
    kind, heads = settings.get("model_type"), [str(name) for name in settings.get("architectures") or ()]
    if settings.get("is_encoder_decoder") or kind in T5_TYPES:
        if kind in T5_TYPES and not any(name.endswith("EncoderModel") for name in heads):
            return "t5"
        raise ValueError(
            f"{where} is a model of type {kind!r} ({', '.join(heads) or 'no architecture named'}); of models with an "
            f"encoder and a decoder, those of the T5 kind are built here ({', '.join(T5_TYPES)})."
        )
    if kind in ENCODER_TYPES:
        return "encoder"
    language = ("ForCausalLM", "LMHeadModel")
    if any(name.endswith(language) for name in heads) or (kind and not heads):
        return "llama"
    if any(name.endswith("ForMaskedLM") for name in heads):
        return "encoder"
    raise ValueError(
        f"{where}: its family cannot be told from its config.json (model_type {kind!r}, architectures {heads}). Say "
        "which with backbone=hub_llama (decoder-only language models), hub_t5 or hub_encoder."
    )


def refuse_other_family(settings: Mapping[str, Any], family: str, name: str) -> None:
    """Refuse a checkpoint under the name of another family than its own.

    Raises:
        ValueError: a decoder-only model as an encoder, an encoder as a language model, and the like.
    """
    kind = settings.get("model_type")
    known = "t5" if kind in T5_TYPES else "encoder" if kind in ENCODER_TYPES else None
    heads = [str(head) for head in settings.get("architectures") or ()]
    if known is None and any(head.endswith(("ForCausalLM", "LMHeadModel")) for head in heads):
        known = "llama"
    if known is None and settings.get("is_encoder_decoder"):
        family_of(settings, f"backbone {name!r}")
    if known and known != family:
        raise ValueError(
            f"backbone {name!r} is {FAMILIES[known].model} (model_type {kind!r}), and was asked for as "
            f"{traits_of(family).model}; use "
            f"backbone=hub, which finds the family, or backbone=hub_{known}."
        )


def facts_from(settings: Mapping[str, Any], family: str) -> dict[str, Any]:
    """Facts from the keys of a transformers config.json, by any of the names that models give them.

    Raises:
        ValueError: a key that the family needs is missing.
    """
    s = settings
    width, layers, heads = (_one_of(s, name, family) for name in ("width", "layers", "heads"))
    facts = {
        "width": width, "layers": layers, "heads": heads, "kv_heads": _kv_heads(s, heads),
        "head_dim": s.get("d_kv") or s.get("head_dim") or width // heads, "vocab": _vocab(s, family),
        "ffn": _ffn(s, width), "dropout": _first(s, "dropout") or 0.0,
    }  # fmt: skip
    if traits_of(family).encoder_decoder:
        facts |= {"decoder_layers": s.get("num_decoder_layers") or layers, "dropout": s.get("dropout_rate", 0.1)}
        return facts
    longest = _first(s, "max_positions") or 0
    spare = 2 if s.get("model_type") in POSITIONS_BEHIND_PADDING and longest > 0 else 0
    own = _first(s, "embedding") or width
    if traits_of(family).continues:
        facts["dropout"] = s.get("hidden_dropout_prob", 0.0)
    return facts | {"max_positions": max(0, longest - spare)} | ({"embedding": own} if own != width else {})


def _first(settings: Mapping[str, Any], fact: str) -> Any:
    return next((settings[name] for name in _NAMES[fact] if settings.get(name) is not None), None)


def _one_of(settings: Mapping[str, Any], fact: str, family: str) -> int:
    found = _first(settings, fact)
    if found is None:
        raise ValueError(
            f"the model's config.json has no {_NAMES[fact][0]!r} (nor {', '.join(_NAMES[fact][1:])}): it is no model "
            f"of family {family!r} (its model_type is {settings.get('model_type')!r}); allowed families are "
            f"{', '.join(FAMILIES)}."
        )
    return int(found)


def _vocab(settings: Mapping[str, Any], family: str) -> int:
    if "vocab_size" not in settings:
        raise ValueError(
            f"the model's config.json has no 'vocab_size': it is no model of family {family!r} (its model_type is "
            f"{settings.get('model_type')!r}); allowed families are {', '.join(FAMILIES)}."
        )
    return int(settings["vocab_size"])


def _kv_heads(settings: Mapping[str, Any], heads: int) -> int:
    if settings.get("multi_query") and not settings.get("new_decoder_architecture"):
        return 1  # Falcon 7B
    return int(settings.get("num_key_value_heads") or settings.get("num_kv_heads") or heads)


def _ffn(settings: Mapping[str, Any], width: int) -> int:
    return int(_first(settings, "ffn") or 4 * width)
