"""The typed schema of `runner=`: how long, how fast and with which optimiser a run trains. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, field

from tasks.config import ranged


@dataclass
class OptimizerConfig:
    """AdamW as the DePT family's code really runs it: eps 1e-6 and no weight decay (their flags never reach it)."""

    name: str = ranged("adamw", "one of adamw, adafactor")
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999], metadata={"wanted": "2 numbers >= 0 < 1"})
    eps: float = ranged(1e-6, "number > 0")
    eps_first: bool | None = None  # true: eps joins before the bias correction (transformers' AdamW, the papers' one)
    weight_decay: float = ranged(0.0, "number >= 0")
    decay_rate: float = ranged(0.8, "number > 0 <= 1")  # Adafactor: second-moment decay (Lester et al. 2021)


@dataclass
class ScheduleConfig:
    # linear: warm-up, then decay to 0; exponential: a factor per epoch
    name: str = ranged("linear", "one of linear, constant, exponential")
    warmup_steps: int | None = ranged(None, "integer >= 0")  # null: the protocol's
    factor_per_epoch: float = ranged(0.95, "number > 0 <= 1")  # exponential: P-tuning v2 on NER


@dataclass
class RunnerConfig:
    """Every field that can move a score counts in the run's id; the others are listed in results/identity.py."""

    name: str = "paper"
    version: int = 1  # raised when a change to the training loop or the optimisers moves scores
    max_steps: int | None = ranged(None, "integer >= 1")  # null: the protocol's steps for the task
    batch_size: int | None = ranged(None, "integer >= 1")  # global, whatever the processes; null: the protocol's
    # rows per forward pass of one process: auto (cut for the lengths), a number, null (all)
    micro_batch: int | str | None = ranged("auto", "integer >= 1 | one of auto")
    eval_batch_size: int = ranged(32, "integer >= 1")
    eval_every: int | None = ranged(None, "integer >= 1")  # steps; null: the protocol's
    train_rows: int | None = ranged(None, "integer >= 1")  # caps on the rows; null: all
    validation_rows: int | None = ranged(None, "integer >= 1")
    test_rows: int | None = ranged(None, "integer >= 1")
    max_source_length: int | None = ranged(None, "integer >= 1")  # a cap in tokens under the task's own; null: none
    group_by_length: bool = False
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    clip_norm: float = ranged(1.0, "number >= 0")  # 0: off
    # evaluations without a better validation score before stopping; null: never
    patience: int | None = ranged(None, "integer >= 1")
    precision: str = ranged("fp32", "one of fp32, bf16, fp16")
    gradient_checkpointing: bool = False
    # fsdp: each of several processes holds its part of every frozen layer; null: every process holds them whole
    sharding: str | None = ranged(None, "one of fsdp")
    # the frozen layers through torch.compile: minutes of compiling (the record has them), then faster steps
    compile: bool = False
    backbone_dropout: bool = True  # the frozen backbone's dropout while training (always off in evaluation)
    # its rate outside the attention weights; null: the model's own
    hidden_dropout: float | None = ranged(None, "number >= 0 < 1")
    # rows whose token means are averaged (accumulation in the author code); null: the batch's tokens
    mean_rows: int | None = ranged(None, "integer >= 1")
    evaluate_untrained: bool = True  # score the method at step 0 on the validation and the reported split
    checkpoint_every: int = ranged(50, "integer >= 1")  # steps between checkpoints
    checkpoint_seconds: float = ranged(30.0, "number >= 0")  # or seconds, whichever comes first
    log_every: int = ranged(10, "integer >= 1")
    threads: int | None = ranged(None, "integer >= 1")
    device: str | None = ranged(None, "one of cpu, cuda, mps")  # null: what Accelerate finds
