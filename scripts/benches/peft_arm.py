"""The other side of `make bench`: prompt tuning with the PEFT library and the Transformers Trainer."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from peft import PromptTuningConfig, TaskType, get_peft_model
from torch import Tensor
from transformers import Trainer, TrainerCallback, TrainingArguments

from runners.evaluate import Split
from runners.meters import clock

IGNORE = -100


def peft_model(tuned: Any) -> Any:
    """PEFT's model around the same frozen weights, its prompt starting where ours starts."""
    prompt = tuned.method.prompt.detach()
    config = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=len(prompt))
    model = get_peft_model(tuned.backbone.model, config)
    with torch.no_grad():
        model.prompt_encoder["default"].embedding.weight.copy_(prompt)
    return model


def collate(rows: Sequence[dict[str, Any]], pad: int) -> dict[str, Tensor]:
    """Right padding to the longest row of the batch, as DataCollatorForSeq2Seq does it."""
    longest = max(len(row["input_ids"]) for row in rows)

    def padded(key: str, value: int) -> Tensor:
        return torch.tensor([row[key] + [value] * (longest - len(row[key])) for row in rows])

    masks = [{"attention_mask": [1] * len(row["input_ids"])} for row in rows]
    mask = torch.tensor([m["attention_mask"] + [0] * (longest - len(m["attention_mask"])) for m in masks])
    return {"input_ids": padded("input_ids", pad), "attention_mask": mask, "labels": padded("labels", IGNORE)}


def row_of(source: Sequence[int], target: Sequence[int]) -> dict[str, Any]:
    return {"input_ids": [*source, *target], "labels": [IGNORE] * len(source) + list(target)}


def kept_logits(model: Any, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Logits and shifted labels of the last positions alone: from the shortest source's last token on."""
    labels = batch["labels"]
    first = int((labels != IGNORE).int().argmax(1).min())
    keep = labels.shape[1] - first + 1
    logits = model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], logits_to_keep=keep, use_cache=False
    ).logits
    return logits[:, :-1], labels[:, first:]


class TunedTrainer(Trainer):
    """The Trainer of someone who computes only the logits that a label needs."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        logits, labels = kept_logits(model, inputs)
        return F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORE)


class Watch(TrainerCallback):
    """Times the steps after the first two and notes the losses."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.begun, self.ended = device, 0.0, 0.0
        self.losses: list[float] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 2:
            self.begun = clock(self.device)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == state.max_steps:
            self.ended = clock(self.device)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self.losses.append(logs["loss"])


def train(
    model: Any, tokenizer: Any, split: Split, batches: list[list[int]], tuned: bool, lr: float
) -> tuple[list[float], float, list[list[int]]]:
    """(losses, seconds of the timed steps, their batches), on the given batches in their order."""
    chosen = [split.encoded[i] for batch in batches for i in batch]
    rows = [row_of(encoded.source, encoded.target) for encoded in chosen]
    size = len(batches[0])
    device = next(model.parameters()).device
    watch = Watch(device)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, per_device_train_batch_size=size, max_steps=len(batches), learning_rate=lr, adam_epsilon=1e-6,
            weight_decay=0.0, lr_scheduler_type="constant", max_grad_norm=1.0, logging_steps=1, save_strategy="no",
            report_to=[], disable_tqdm=True, remove_unused_columns=False, use_cpu=device.type == "cpu",
            train_sampling_strategy="sequential", dataloader_pin_memory=False,
        )  # fmt: skip
        kind = TunedTrainer if tuned else Trainer
        trainer = kind(
            model=model, args=arguments, train_dataset=rows, callbacks=[watch],
            data_collator=lambda part: collate(part, tokenizer.pad_token_id),
        )  # fmt: skip
        trainer.train()
    return watch.losses, watch.ended - watch.begun, batches[2:]


@torch.inference_mode()
def score(model: Any, tokenizer: Any, split: Split, size: int, tuned: bool) -> tuple[list[str], float]:
    """(answers, seconds): every candidate of every example is a row, its log-probabilities are summed."""
    model.eval()
    device = next(model.parameters()).device
    begun = clock(device)
    every = list(split.encoded)
    rows = [(i, c) for i, encoded in enumerate(every) for c in range(len(encoded.choices))]
    if tuned:
        rows.sort(key=lambda row: len(every[row[0]].source) + len(every[row[0]].choices[row[1]]))
    scores: dict[tuple[int, int], float] = {}
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        chosen = [row_of(every[i].source, every[i].choices[c]) for i, c in part]
        batch = {key: value.to(device) for key, value in collate(chosen, tokenizer.pad_token_id).items()}
        if tuned:
            logits, labels = kept_logits(model, batch)
        else:
            outputs = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
            labels = batch["labels"][:, 1:]
            logits = outputs.logits[:, -labels.shape[1] - 1 : -1]
        losses = F.cross_entropy(logits.transpose(1, 2).float(), labels, ignore_index=IGNORE, reduction="none")
        scores |= dict(zip(part, (-losses.sum(1)).tolist(), strict=True))
    answers = [
        example.choices[max(range(len(encoded.choices)), key=lambda c, i=i: scores[i, c])]
        for i, (example, encoded) in enumerate(zip(split.examples, every, strict=True))
    ]
    return answers, clock(device) - begun
