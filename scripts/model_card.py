"""The model card of an exported run: what it is, what it scored on what, what was noted, how to load it."""

from __future__ import annotations

from typing import Any

LOADED = """```python
from peft import PeftModel
from transformers import {auto}
{more}
model = {auto}.from_pretrained({base!r})
{table}model = PeftModel.from_pretrained(model, "FOLDER")
```"""
TABLE = """table = load_file("FOLDER/embed_tokens.safetensors")["weight"]  # the method's offsets, folded in
model.config.tie_word_embeddings = False  # the head keeps the model's own table
model.set_input_embeddings(torch.nn.Embedding.from_pretrained(table))
"""


def card(finished: Any, form: Any, worst: float) -> str:
    """Markdown with the Hub's header."""
    record, config = finished.record, finished.config
    split, metric = record["primary_split"], record["primary_metric"]
    value = record["metrics"][split][metric]
    base = config.backbone.hub or config.backbone.name
    rows = ((record.get("data") or {}).get("rows") or {}).get(split)
    size = f" ({rows:,} rows)" if rows else ""
    content = record.get("backbone_content")
    few = (record.get("backbone_admission") or {}).get("quantization")
    notes = [v["message"] for v in record.get("verdicts") or [] if v["level"] in ("warning", "note")]
    if (record.get("data") or {}).get("source") == "fixture":
        notes.insert(0, "made from fixture rows (a smoke run): its score means nothing")
    if few:
        notes.insert(0, f"trained and scored with the backbone's linear layers in {few}, not with its own weights")
    auto = config.backbone.traits.loader
    table = TABLE if form.table is not None else ""
    more = "import torch\nfrom safetensors.torch import load_file\n" if table else ""
    header = ["library_name: peft", *([f"base_model: {config.backbone.hub}"] if config.backbone.hub else [])]
    return "\n".join(
        [
            "---",
            *header,
            "tags:",
            "- soft-prompt-bench",
            f"- {record['method']}",
            "---",
            "",
            f"# {record['method']} on {record['task']} with {config.backbone.label}",
            "",
            f"- {metric} {100 * value:.1f} on {split}{size}, one run, seed {record['seed']}",
            f"- {record['trainable_parameters']:,} trained parameters; {config.runner.max_steps} steps of "
            f"{config.runner.batch_size}; protocol {config.protocol.name}, fidelity {config.fidelity}",
            *([f"- backbone {config.backbone.hub} at commit {content['commit']}"] if content else []),
            f"- run {finished.run.id} of soft-prompt-bench; PEFT {form.config.peft_type.value}",
            f"- exported with PEFT's log-probabilities equal to the run's own to {worst:.1e} of the largest",
            "",
            *(["Noted of the run:", "", *[f"- {note}" for note in notes], ""] if notes else []),
            LOADED.format(auto=auto, base=base, table=table, more=more),
            "",
            "Texts must be written as in training: `python scripts/predict.py` of soft-prompt-bench does that.",
            "",
        ]
    )
