"""Points through a Hydra launcher: joblib, submitit (local, Slurm), packed, or any other plugin that is installed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from conf.choices import groups, search_path
from conf.command import launchers
from conf.compose import compose, name_run, typed
from conf.grid import Chosen, texts
from conf.plan import Plan, Point
from conf.resolve import CONF, ConfigError


def launcher_for(plan: Plan, folder: Path) -> Launcher:
    """The launcher that a plan names, set up.

    Args:
        plan: whose `hydra` overrides choose and configure it.
        folder: where launchers keep their own files (pickled jobs, logs).

    Raises:
        ConfigError: there is no such launcher, or it has no such option.
    """
    chosen = [*plan.hydra, *search_path()]
    if not any(o.startswith("hydra.sweep.dir=") for o in chosen):
        chosen.append(f"hydra.sweep.dir='{folder}'")
    held = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            config = hydra.compose_config(
                config_name="config", overrides=chosen, run_mode=RunMode.MULTIRUN, with_log_configuration=False
            )
            context = HydraContext(config_loader=hydra.config_loader, callbacks=_no_callbacks())
            return Plugins.instance().instantiate_launcher(config=config, hydra_context=context, task_function=launched)
    except (HydraException, OmegaConfBaseException, ImportError) as error:
        raise ConfigError([f"{' '.join(plan.hydra)}: {_first_line(error)}. Here: {', '.join(launchers())}"]) from None
    finally:
        GlobalHydra.instance().hydra = held


def launch(launcher: Launcher, points: Sequence[Point]) -> list[dict[str, Any] | None]:
    """Hand points to a launcher; the outcomes in their order, None where a job died without one.

    A job that dies (scancel, kill -9) may make its launcher raise: what became of the points is then for the ledger
    to tell, so every outcome is None.
    """
    try:
        returned = launcher.launch([overrides_for_hydra(point) for point in points], initial_job_idx=0)
    except KeyboardInterrupt:
        raise
    except Exception as error:  # launchers raise whatever their back end does
        print(f"the launcher ended early: {type(error).__name__}: {_first_line(error)}", flush=True)
        return [None] * len(points)
    outcomes: list[dict[str, Any] | None] = []
    for job in returned:
        value = job._return_value
        outcomes.append(value if isinstance(value, dict) else None)
    return outcomes


def launched(config: DictConfig) -> dict[str, Any]:
    """One job of a launcher: its overrides are composed anew and run; never raises."""
    from runners.job import run_point
    from runners.outcome import told
    from runners.progress import say, share_terminal

    own = [str(o).removeprefix("++") for o in HydraConfig.get().overrides.task]
    _one_gpu(int(HydraConfig.get().job.num))
    try:
        resolved = compose(own)
        share_terminal(f"run {name_run(resolved, typed(resolved))[0]}: ")
    except ValueError as error:  # a ConfigError's sentences, or that its data cannot be had
        return {"status": "refused", "reason": str(error)}
    outcome = run_point(resolved, sweep=True)
    share_terminal()
    say(told(outcome, "").rstrip())  # what its id stands for was said when the points were handed over
    return dataclasses.asdict(outcome)


def overrides_for_hydra(point: Point) -> list[str]:
    """A point's overrides as Hydra's own composition accepts them: values may also be new keys."""
    chosen: Chosen = {key: value for key, value in point.chosen.items() if key != "sweep"}
    return [text if text.split("=", 1)[0] in groups() else f"++{text}" for text in texts(chosen)]


def _one_gpu(number: int) -> None:
    """Give this process one GPU of several, once; later jobs of the same process keep it."""
    if os.environ.get("SOFT_PROMPT_BENCH_GPU") or "SLURM_JOB_ID" in os.environ:
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [p.name[6:] for p in sorted(Path("/dev").glob("nvidia[0-9]*"))]
    if len(names) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = names[number % len(names)]
    os.environ["SOFT_PROMPT_BENCH_GPU"] = names[number % len(names)] if names else "none"


def _no_callbacks() -> Any:
    from hydra._internal.callbacks import Callbacks

    return Callbacks()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
