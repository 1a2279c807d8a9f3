"""`method.init_from`: a run that begins with the tensors of earlier ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file

from backbones.tuned import Tuned
from conf.paths import ledger_of
from conf.schema import Config
from runners.errors import Refused
from runners.same_backbone import other_backbone


def start_from(tuned: Tuned, config: Config) -> None:
    """Begin with the tensors of an earlier run (SPoT, few-shot transfer): those of equal name and shape are taken.

    Raises:
        Refused: there is no such finished run, it had another backbone, or nothing of it fits.
    """
    wanted: Mapping[str, torch.Tensor] = tuned.state()
    taken: dict[str, torch.Tensor] = {}
    for run_id in str(config.method["init_from"]).split("+"):
        try:
            run = ledger_of(config).find(run_id.strip())
        except KeyError as error:
            raise Refused(f"method.init_from={run_id}: {error.args[0]}") from None
        path: Path = run / "method.safetensors"
        if not path.exists():
            raise Refused(f"method.init_from={run_id}: {path} is not there; that run is not done")
        other = None if config.method.get("init_across") else other_backbone(run.record() or {}, config, tuned.backbone)
        if other:
            raise Refused(
                f"method.init_from={run_id}: {other}. method.init_across=true takes its tensors all the same."
            )
        saved = load_file(path)
        wrong = [
            k for k, v in saved.items() if k in wanted and v.shape != wanted[k].shape and not k.startswith("head.")
        ]
        if wrong:
            seen = ", ".join(f"{k} {tuple(saved[k].shape)} there, {tuple(wanted[k].shape)} here" for k in wrong)
            raise Refused(f"method.init_from={run_id}: {seen}; give the method the lengths and ranks of that run")
        taken |= {k: v for k, v in saved.items() if k in wanted and v.shape == wanted[k].shape}
    if not taken:
        raise Refused(
            f"method.init_from={config.method['init_from']}: no tensor of that run has a name and shape of this "
            f"method's ({', '.join(f'{k} {tuple(v.shape)}' for k, v in wanted.items())})"
        )
    tuned.load_state({**wanted, **taken})
