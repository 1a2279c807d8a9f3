"""The typed schema of `runner=`: how long, how fast and with which optimiser a run trains. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class OptimizerConfig:
    """AdamW as the DePT family's code really runs it: eps 1e-6 and no weight decay (their flags never reach it)."""

    name: str = "adamw"  # adamw | adafactor
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    eps: float = 1e-6
    weight_decay: float = 0.0
    decay_rate: float = 0.8  # Adafactor: second-moment decay (Lester et al. 2021)


@dataclass
class ScheduleConfig:
    name: str = "linear"  # linear (warm-up, then decay to 0) | constant | exponential (factor per epoch)
    warmup_steps: int | None = None  # null: the protocol's
    factor_per_epoch: float = 0.95  # exponential: P-tuning v2 on NER


@dataclass
class RunnerConfig:
    """Every field that can move a score counts in the run's id; the others are listed in results/identity.py."""

    name: str = "paper"
    max_steps: int | None = None  # null: the protocol's steps for the task
    batch_size: int | None = None  # global, whatever the number of processes; null: the protocol's
    micro_batch: int | str | None = (
        "auto"  # rows per forward pass of one process: auto (cut for the lengths), a number, null (all)
    )
    eval_batch_size: int = 32
    eval_every: int | None = None  # steps; null: the protocol's
    train_rows: int | None = None  # caps on the rows; null: all
    validation_rows: int | None = None
    test_rows: int | None = None
    max_source_length: int | None = None  # a cap in tokens under the task's own length; null: none
    group_by_length: bool = False
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    clip_norm: float = 1.0  # 0: off
    patience: int | None = None  # evaluations without a better validation score before stopping; null: never
    precision: str = "fp32"  # fp32 | bf16
    gradient_checkpointing: bool = False
    backbone_dropout: bool = True  # the frozen backbone's dropout while training (always off in evaluation)
    label_loss: str = "vocabulary"  # vocabulary (the papers') | labels (restricted to the label words; never a default)
    evaluate_untrained: bool = True  # score the method at step 0 on the validation and the reported split
    checkpoint_every: int = 50  # steps between checkpoints
    checkpoint_seconds: float = 30.0  # or seconds, whichever comes first
    log_every: int = 10
    threads: int | None = None
    device: str | None = None  # null: what Accelerate finds


PRECISIONS = ("fp32", "bf16", "fp16")
