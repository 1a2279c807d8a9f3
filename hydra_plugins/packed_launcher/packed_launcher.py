"""`hydra/launcher=packed`: input-level runs of a multirun share each pass through the frozen backbone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

# no options of its own: the size of a pack is `pack=K` (null: from memory)
ConfigStore.instance().store(
    group="hydra/launcher",
    name="packed",
    node={"_target_": "hydra_plugins.packed_launcher.packed_launcher.PackedLauncher"},
    provider="soft_prompt_bench",
)


class PackedLauncher(Launcher):
    """Hands the jobs of a multirun to runners.packed, which packs those that may share passes."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from conf.plan import point_of
        from runners.packed import run_packs

        points = [point_of(dict(o.removeprefix("++").split("=", 1) for o in overrides)) for overrides in job_overrides]
        outcomes = run_packs(points)
        returned = []
        for point, overrides in zip(points, job_overrides, strict=True):
            value: dict[str, Any] | None = None
            if point.run_id in outcomes:
                value = dataclasses.asdict(outcomes[point.run_id])
            job = JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED)
            job.return_value = value
            returned.append(job)
        return returned
