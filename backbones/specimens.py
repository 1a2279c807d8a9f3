"""Tiny random checkpoints of many architectures, for scripts/walk.py and the tests.

Weights are drawn so large that a wrong mask, position, window or scale shows: attention is far from uniform and logits
spread over several units.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from backbones.build import auto_class
from backbones.tiny_tokenizer import tiny_tokenizer
from tasks.families import family

WINDOW = 8


@dataclass(frozen=True)
class Specimen:
    """One architecture.

    Attributes:
        family: ``llama`` | ``t5`` | ``encoder``; what it is asked for as.
        model_type: of transformers.
        options: of its configuration.
        wanted: it must be admitted (others are right or refused).
        says: a word for docs/backbones.md.
    """

    family: str
    model_type: str
    options: dict[str, Any] = field(default_factory=dict)
    wanted: bool = True
    says: str = ""


_L: dict[str, Any] = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 128, "vocab_size": 1024, "max_position_embeddings": 256, "pad_token_id": 0,
    "bos_token_id": 2, "eos_token_id": 1,
}  # fmt: skip
_G: dict[str, Any] = {
    "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128, "vocab_size": 1024, "bos_token_id": 2,
    "eos_token_id": 1,
}  # fmt: skip
_X: dict[str, Any] = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 1024,
    "max_position_embeddings": 128, "bos_token_id": 2, "eos_token_id": 1,
}  # fmt: skip
_T: dict[str, Any] = {
    "d_model": 64, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4, "d_kv": 16, "d_ff": 128,
    "vocab_size": 1024, "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1,
}  # fmt: skip
_V11 = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
_E: dict[str, Any] = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 1024,
    "max_position_embeddings": 128, "pad_token_id": 0,
}  # fmt: skip
_B = {**_E, "type_vocab_size": 2}
_R = {**_E, "type_vocab_size": 1, "pad_token_id": 1, "max_position_embeddings": 130}
_D = {
    **_E, "type_vocab_size": 0, "relative_attention": True, "pos_att_type": ["c2p", "p2c"],
    "position_biased_input": False,
}  # fmt: skip
_GEMMA = {"head_dim": 16, "sliding_window": WINDOW, "query_pre_attn_scalar": 16}
_LAYERS = ["sliding_attention", "full_attention"]

SPECIMENS: dict[str, Specimen] = {
    "llama": Specimen("llama", "llama", _L),
    "mistral": Specimen("llama", "mistral", {**_L, "sliding_window": None, "head_dim": 16}),
    "mistral_window": Specimen("llama", "mistral", {**_L, "sliding_window": WINDOW, "head_dim": 16}),
    "qwen2": Specimen("llama", "qwen2", _L),
    "qwen3": Specimen("llama", "qwen3", {**_L, "head_dim": 24}),
    "gemma": Specimen("llama", "gemma", {**_L, "head_dim": 16}),
    "gemma2": Specimen(
        "llama", "gemma2", {**_L, **_GEMMA, "final_logit_softcapping": 5.0, "attn_logit_softcapping": 2.0}
    ),
    "gemma3": Specimen("llama", "gemma3_text", {**_L, **_GEMMA, "layer_types": _LAYERS}),
    "phi3": Specimen("llama", "phi3", {**_L, "sliding_window": WINDOW}),
    "granite": Specimen(
        "llama", "granite",
        {
            **_L, "logits_scaling": 3.0, "embedding_multiplier": 2.0, "residual_multiplier": 0.5,
            "attention_multiplier": 0.2,
        },
    ),
    "cohere": Specimen("llama", "cohere", {**_L, "logit_scale": 0.3}),
    "olmo2": Specimen("llama", "olmo2", _L),
    "smollm3": Specimen("llama", "smollm3", {**_L, "no_rope_layers": [1, 0]}),
    "gpt2": Specimen("llama", "gpt2", _G),
    "gpt_neox": Specimen("llama", "gpt_neox", {**_X, "intermediate_size": 128}),
    "opt": Specimen("llama", "opt", {**_X, "word_embed_proj_dim": 64, "ffn_dim": 128, "pad_token_id": 0}),
    "opt_350m": Specimen(
        "llama", "opt",
        {**_X, "word_embed_proj_dim": 32, "ffn_dim": 128, "pad_token_id": 0, "do_layer_norm_before": False},
        wanted=False,
    ),
    "mixtral": Specimen("llama", "mixtral", {**_L, "num_local_experts": 4, "num_experts_per_tok": 2}, wanted=False),
    "olmoe": Specimen("llama", "olmoe", {**_L, "num_experts": 4, "num_experts_per_tok": 2}, wanted=False),
    "cohere2": Specimen("llama", "cohere2", {**_L, "sliding_window": WINDOW, "logit_scale": 0.3}, wanted=False),
    "olmo3": Specimen("llama", "olmo3", {**_L, "sliding_window": WINDOW}, wanted=False),
    "gpt_oss": Specimen(
        "llama", "gpt_oss",
        {**_L, "head_dim": 16, "sliding_window": WINDOW, "num_local_experts": 4, "num_experts_per_tok": 2},
        wanted=False,
    ),
    "gptj": Specimen("llama", "gptj", {**_G, "rotary_dim": 8}, wanted=False),
    "gpt_neo": Specimen(
        "llama", "gpt_neo",
        {
            **{k: v for k, v in _X.items() if "_hidden_layers" not in k and "attention_heads" not in k},
            "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": WINDOW,
        },
        wanted=False,
    ),
    "bloom": Specimen("llama", "bloom", {**_G, "hidden_size": 64, "pad_token_id": 0}, wanted=False),
    "falcon": Specimen("llama", "falcon", {**_X, "multi_query": True, "alibi": False}, wanted=False),
    "falcon_alibi": Specimen("llama", "falcon", {**_X, "multi_query": False, "alibi": True}, wanted=False),
    "phi": Specimen("llama", "phi", _L, wanted=False),
    "stablelm": Specimen("llama", "stablelm", _L, wanted=False),
    "starcoder2": Specimen("llama", "starcoder2", {**_L, "sliding_window": WINDOW}, wanted=False),
    "nemotron": Specimen("llama", "nemotron", {**_L, "head_dim": 16}, wanted=False),
    "glm": Specimen("llama", "glm", {**_L, "head_dim": 16}, wanted=False),
    "mamba": Specimen(
        "llama", "mamba", {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 1024, "state_size": 4}, wanted=False
    ),
    "t5": Specimen("t5", "t5", _T),
    "t5_v1_1": Specimen("t5", "t5", {**_T, **_V11}, says="T5 v1.1, LM-adapted T5, Flan-T5"),
    "mt5": Specimen("t5", "mt5", _T),
    "umt5": Specimen("t5", "umt5", _T),
    "byt5": Specimen("t5", "t5", {**_T, **_V11, "vocab_size": 384}, says="bytes, a slow tokenizer"),
    "longt5": Specimen("t5", "longt5", {**_T, "local_radius": 4, "encoder_attention_type": "local"}, wanted=False),
    "switch_transformers": Specimen(
        "t5", "switch_transformers",
        {**_T, "num_experts": 2, "num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1}, wanted=False,
    ),
    "bart": Specimen(
        "t5", "bart",
        {
            "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
            "decoder_attention_heads": 4, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "vocab_size": 1024,
            "max_position_embeddings": 128,
        },
        wanted=False,
    ),
    "bert": Specimen("encoder", "bert", _B),
    "roberta": Specimen("encoder", "roberta", _R),
    "xlm_roberta": Specimen("encoder", "xlm-roberta", _R),
    "deberta": Specimen("encoder", "deberta", _D),
    "deberta_v2": Specimen("encoder", "deberta-v2", _D),
    "deberta_v3": Specimen(
        "encoder", "deberta-v2",
        {**_D, "position_buckets": 16, "norm_rel_ebd": "layer_norm", "share_att_key": True},
    ),
    "electra": Specimen("encoder", "electra", {**_B, "embedding_size": 64}),
    "electra_small": Specimen("encoder", "electra", {**_B, "embedding_size": 32}),
    "albert": Specimen("encoder", "albert", {**_B, "embedding_size": 32}),
    "mpnet": Specimen("encoder", "mpnet", {**_E, "pad_token_id": 1, "max_position_embeddings": 130}),
    "modernbert": Specimen("encoder", "modernbert", {**_E, "local_attention": WINDOW, "global_attn_every_n_layers": 2}),
    "distilbert": Specimen(
        "encoder", "distilbert",
        {
            "dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128, "vocab_size": 1024,
            "max_position_embeddings": 128, "pad_token_id": 0,
        },
    ),
    "ernie": Specimen("encoder", "ernie", _B, wanted=False),
    "nomic_bert": Specimen("encoder", "nomic_bert", _B, wanted=False),
    "eurobert": Specimen("encoder", "eurobert", _L, wanted=False),
    "longformer": Specimen("encoder", "longformer", {**_R, "attention_window": WINDOW}, wanted=False),
    "big_bird": Specimen("encoder", "big_bird", {**_B, "block_size": 4, "num_random_blocks": 1}, wanted=False),
    "fnet": Specimen("encoder", "fnet", _B, wanted=False),
    "xlnet": Specimen(
        "encoder", "xlnet", {"d_model": 64, "n_layer": 2, "n_head": 4, "d_inner": 128, "vocab_size": 1024}, wanted=False
    ),
    "llama_as_encoder": Specimen("encoder", "llama", _L, wanted=False, says="a decoder-only model, as encoder"),
    "bert_as_llama": Specimen("llama", "bert", _B, wanted=False, says="an encoder, as language model"),
}  # fmt: skip


def settings_of_specimen(specimen: Specimen) -> Any:
    """Its transformers configuration."""
    from transformers import AutoConfig

    special = {"cls_token_id": 4, "sep_token_id": 5, "mask_token_id": 6} if specimen.model_type == "modernbert" else {}
    return AutoConfig.for_model(specimen.model_type, **{**special, **specimen.options})


def specimen_model(name: str, seed: int = 0) -> nn.Module:
    """The model, with weights from one seed (the global random state is left as it was)."""
    specimen = SPECIMENS[name]
    causal = specimen.model_type == "llama"  # whatever family it is asked for as
    loader = auto_class(family("llama" if causal else specimen.family))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = loader.from_config(settings_of_specimen(specimen))
        for path, parameter in model.named_parameters():
            _redraw(path, parameter)
    model.tie_weights()
    return model.eval()


@torch.no_grad()
def _redraw(path: str, parameter: nn.Parameter) -> None:
    if parameter.dim() > 1:
        table = "embed" in path or "wte" in path or "wpe" in path or "shared" in path
        parameter.normal_(0, 1.0 if table else 1.3 * parameter.shape[-1] ** -0.5)
    else:
        parameter.add_(0.1 * torch.randn_like(parameter))


def save_specimen(name: str, folder: str | Path, seed: int = 0) -> Path:
    """Write a specimen and a tokenizer for it as a checkpoint folder."""
    specimen, folder = SPECIMENS[name], Path(folder)
    specimen_model(name, seed).save_pretrained(folder)  # type: ignore[operator]
    if name == "byt5":
        from transformers import ByT5Tokenizer

        ByT5Tokenizer().save_pretrained(folder)
    else:
        tiny_tokenizer(family(specimen.family).face).save_pretrained(folder)
    return folder
