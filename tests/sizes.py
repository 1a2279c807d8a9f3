"""Facts of backbones for tests: no weights, no torch."""

from __future__ import annotations

from typing import Any

from backbones.config import Facts

T5_BASE = Facts("t5", 768, 12, 12, 12, 64, 32128, decoder_layers=12, dropout=0.1)
T5_SMALL = Facts("t5", 512, 6, 8, 8, 64, 32128, decoder_layers=6, dropout=0.1)
T5_LARGE = Facts("t5", 1024, 24, 16, 16, 64, 32128, decoder_layers=24, dropout=0.1)
BERT_BASE = Facts("encoder", 768, 12, 12, 12, 64, 30522, max_positions=512, dropout=0.1)
BERT_LARGE = Facts("encoder", 1024, 24, 16, 16, 64, 30522, max_positions=512, dropout=0.1)
DEBERTA_XLARGE = Facts("encoder", 1024, 48, 16, 16, 64, 50265, max_positions=512, dropout=0.1)
SMOLLM2 = Facts("llama", 576, 30, 9, 3, 64, 49152, max_positions=8192)


def wide(width: int) -> Facts:
    """A backbone of which only the width matters."""
    return Facts("llama", width, 2, 4, 4, width // 4, 100)


def tiny(family: str = "t5", width: int = 8, **changes: Any) -> Facts:
    """A backbone small enough for plain loops; LLaMA with grouped-query attention."""
    values: dict[str, Any] = {"layers": 3, "heads": 4, "kv_heads": 2 if family == "llama" else 4, "head_dim": 2}
    values |= {"vocab": 11, "decoder_layers": 2 if family == "t5" else 0} | changes
    return Facts(family, width, **values)
