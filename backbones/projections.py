"""The linear layers of a transformer block by one set of names over all families: q, k, v, o, up, down.

``up`` of a gated feed-forward layer is its linear branch (T5 v1.1 ``wi_1``, LLaMA ``up_proj``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from torch import nn

from methods.shapes import Shape, shapes, unknown

_PATTERNS: dict[str, dict[str, str]] = {
    "t5": {
        "q": r"(SelfAttention|EncDecAttention)\.q", "k": r"(SelfAttention|EncDecAttention)\.k",
        "v": r"(SelfAttention|EncDecAttention)\.v", "o": r"(SelfAttention|EncDecAttention)\.o",
        "up": r"DenseReluDense\.(wi|wi_1)", "down": r"DenseReluDense\.wo",
    },
    "llama": {
        "q": r"(self_attn|attn)\.q_proj", "k": r"(self_attn|attn)\.k_proj", "v": r"(self_attn|attn)\.v_proj",
        "o": r"(self_attn|attn)\.(o_proj|out_proj)", "up": r"(mlp\.up_proj|fc1)", "down": r"(mlp\.down_proj|fc2)",
    },
    "encoder": {
        "q": r"(attention\.self\.(query|query_proj)|attention\.q_lin|attention\.attn\.q|self_attn\.q_proj)",
        "k": r"(attention\.self\.(key|key_proj)|attention\.k_lin|attention\.attn\.k|self_attn\.k_proj)",
        "v": r"(attention\.self\.(value|value_proj)|attention\.v_lin|attention\.attn\.v|self_attn\.v_proj)",
        "o": r"(attention\.output\.dense|attention\.out_lin|attention\.attn\.o|self_attn\.o_proj)",
        "up": r"(intermediate\.dense|ffn\.lin1|mlp\.up_proj)",
        "down": r"(layer\.\d+\.output\.dense|ffn\.lin2|mlp\.down_proj)",
    },
}  # fmt: skip


def find(model: nn.Module, family: str, name: str) -> Iterator[tuple[str, nn.Module]]:
    """(path, module) of every layer of one kind, in the model's order."""
    ends = re.compile(rf"(^|\.){_PATTERNS[family][name]}$")
    for path, module in model.named_modules():
        if ends.search(path):
            yield path, module


__all__ = ["Shape", "find", "shapes", "unknown"]
