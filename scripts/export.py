"""A finished run as a PEFT adapter: `python scripts/export.py run=<run_id> [to=<folder>]`.

Writes adapter_config.json and adapter_model.safetensors, which `peft.PeftModel.from_pretrained(model, folder)` loads
with equal logits. Prompt tuning (pt, spot) exports on T5 and decoder-only models, deep prefixes on decoder-only models;
what PEFT cannot express is refused with the reason.

    options: run=<id or its beginning>  to=<folder>  ledger=<folder>  cache=<folder>
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT), *(p for p in sys.path if p != str(ROOT / "scripts"))]  # scripts/ names some packages
OPTIONS = {"run": "id", "to": "folder", "ledger": "folder", "cache": "folder"}


def main(arguments: Sequence[str]) -> int:
    """Export one run; 2 where it cannot be."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    from results.ledger import default_root
    from runners.finished import load_finished, options_of

    try:
        given, rest = options_of(list(arguments), OPTIONS)
        if "run" not in given or rest:
            raise ValueError("give run=<run_id>; see --help")
        root = Path(given["ledger"]).expanduser() if "ledger" in given else default_root()
        finished = load_finished(root, given["run"], cache=given.get("cache"))
        folder = Path(given.get("to") or f"{finished.run.id}-peft").expanduser()
        export(finished, folder)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"wrote {folder}; load it with peft.PeftModel.from_pretrained(model, {str(folder)!r})")
    return 0


def export(finished: Any, folder: Path) -> None:
    """Write the adapter of a finished run.

    Raises:
        ValueError: PEFT has no form for this method on this backbone.
    """
    from safetensors.torch import save_file

    name, family = finished.record["method"], finished.config.backbone.family
    if name in ("pt", "spot") and family in ("t5", "llama"):
        config, rows = prompt(finished)
    elif name == "prefix" and family == "llama":
        config, rows = prefix(finished)
    else:
        raise ValueError(
            f"run {finished.run.id} is method={name} on a {family} backbone, which PEFT's format cannot express "
            "exactly; pt and spot export on t5 and llama, prefix on llama. Use method.safetensors and manifest.json"
        )
    folder.mkdir(parents=True, exist_ok=True)
    config.inference_mode = True
    config.save_pretrained(str(folder))
    save_file({"prompt_embeddings": rows.detach().float().contiguous().clone()}, folder / "adapter_model.safetensors")


def base_settings(finished: Any) -> dict[str, Any]:
    from peft import TaskType

    backbone = finished.config.backbone
    kinds = {"t5": TaskType.SEQ_2_SEQ_LM, "llama": TaskType.CAUSAL_LM}
    return {"task_type": kinds[backbone.family], "base_model_name_or_path": backbone.hub or backbone.name}


def prompt(finished: Any) -> tuple[Any, Any]:
    """Prompt vectors in front of the (encoder's) input: one sub-module, not PEFT's default of two on T5."""
    from peft import PromptTuningConfig

    facts, rows = finished.tuned.backbone.facts, finished.tuned.method.prompt
    config = PromptTuningConfig(
        **base_settings(finished), num_virtual_tokens=len(rows), token_dim=facts.width, num_layers=facts.layers,
        num_attention_heads=facts.heads, num_transformer_submodules=1,
    )  # fmt: skip
    return config, rows


def prefix(finished: Any) -> tuple[Any, Any]:
    """Keys and values of every layer in PEFT's order (position; layer; key, value; head; channel).

    PEFT counts the text's positions from l on and ours from 0; rotary attention sees only differences, so turning the
    prefix's keys on by l positions makes both the same.
    """
    import torch
    from peft import PrefixTuningConfig
    from transformers.models.llama.modeling_llama import rotate_half

    backbone, method = finished.tuned.backbone, finished.tuned.method
    facts, length = backbone.facts, method.prefix_length
    place = torch.tensor([[length]], device=backbone.device)
    cosine, sine = backbone.model.model.rotary_emb(torch.zeros(1, 1, facts.width, device=backbone.device), place)
    parts = []
    for layer in range(facts.layers):
        keys, values = (pair[0] for pair in method.prefix("decoder", layer, 1))  # (l, kv_heads, head_dim)
        parts += [keys * cosine[0] + rotate_half(keys) * sine[0], values]
    rows = torch.stack(parts, 1).flatten(1)
    config = PrefixTuningConfig(
        **base_settings(finished), num_virtual_tokens=length, num_layers=facts.layers,
        token_dim=facts.kv_heads * facts.head_dim, num_attention_heads=facts.kv_heads, num_transformer_submodules=1,
    )  # fmt: skip
    return config, rows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
