"""The whole configuration, typed. Groups have their schemas beside the code that reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from backbones.config import BackboneConfig
from runners.config import RunnerConfig
from tasks.config import SEED, DataConfig, ProtocolConfig, TaskConfig, ranged


@dataclass
class LedgerConfig:
    root: str | None = None  # null: results/runs beside run.py


@dataclass
class CacheConfig:
    root: str | None = None  # null: $SOFT_PROMPT_BENCH_CACHE or ~/.cache/soft-prompt-bench


@dataclass
class TrackingConfig:
    name: str = ranged("none", "one of none, wandb")
    mode: str = ranged("offline", "one of online, offline")
    project: str = "soft-prompt-bench"


@dataclass
class BudgetConfig:
    """Equal tuning: the same number of trials from each method's own space, under the same cap on steps."""

    trials: int | None = ranged(None, "integer >= 1")
    kind: str | None = None  # of a paper's experiment: released | search | reduced
    seed: int = ranged(0, "integer >= 0")
    # run the chosen points again with so many fresh seeds; it marks these runs
    confirm: int | None = ranged(None, "integer >= 1")


@dataclass
class ReleasedConfig:
    """Parameters that a paper's authors released: scored as they are, nothing is trained."""

    path: str | None = None  # their adapter_model.bin, or its folder; null: <root>/<set>
    root: str | None = None  # a copy of their checkpoints/ folder (experiment=dept/released)
    set: str | None = None  # which of the sets of results/released/dept.yaml


@dataclass
class Config:
    """A run, whole. `method` stays a mapping: its options are typed by the values in its own YAML."""

    method: dict[str, Any] = field(default_factory=dict)
    task: TaskConfig = MISSING
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    protocol: ProtocolConfig = MISSING
    runner: RunnerConfig = field(default_factory=RunnerConfig)
    data: DataConfig = field(default_factory=DataConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    ledger: LedgerConfig = field(default_factory=LedgerConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    released: ReleasedConfig = field(default_factory=ReleasedConfig)
    fidelity: str = ranged("corrected", "one of corrected, author")  # author: every quirk of the released code
    seed: int = ranged(42, SEED)
    # what this run is beside the method that it names (runners/controls.py); null: that method itself
    control: str | None = ranged(None, "one of shuffled_labels, random_prompt, matched_lora")
    experiment: str | None = None  # the name of the experiment that chose these values
    sweep: dict[str, Any] | None = None  # grid, pairs, conditions of `+sweep=`
    force: bool = False  # train again although the run is done
    retry_failed: bool = False
    retry_stale: bool = False
    fail_fast: bool = False
    plan: bool = False  # print the grid and what it lacks; load nothing
    yes: bool = False  # agree to sweeps of more than 24 hours
    pack: int | None = ranged(None, "integer >= 1")  # runs per pack of the packed launcher; null: from memory
    packed: bool = False  # trained in a pack with dropout on: its random numbers are not those of a run alone
