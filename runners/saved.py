"""The trained tensors as files of a run, and the proof that they give what its record tells."""

from __future__ import annotations

import json
from typing import Any

from safetensors.torch import load_file, save_file

from backbones.tuned import Tuned
from conf.schema import Config
from methods.base import Method
from results.files import replacing, write_json
from results.ledger import RunFolder
from results.scores import write_scores
from runners.evaluate import Evaluation, Evaluator, Split
from runners.measures import versions
from runners.verdicts import Verdict, verdict

CHECKED = 32  # predictions that are made again from the saved file


def write_tensors(run: RunFolder, config: Config, tuned: Tuned, selected_step: int) -> None:
    """method.safetensors, and manifest.json, which says what it is."""
    state = tuned.state()
    with replacing(run / "method.safetensors") as temporary:
        save_file(state, temporary)
    manifest = {
        "method": config.method,
        "backbone": {"name": config.backbone.name, "revision": config.backbone.revision},
        "task": config.task.name,
        "shapes": {name: list(tensor.shape) for name, tensor in state.items()},
        "run_id": run.id,
        "selected_step": selected_step,
        "versions": {key: value for key, value in versions().items() if key in ("torch", "transformers", "commit")},
    }
    write_json(run / "manifest.json", json.loads(json.dumps(manifest, default=str)))


def answer_again(run: RunFolder, tuned: Tuned, evaluator: Evaluator, split: Split, told: Evaluation) -> Verdict:
    """Load what was saved, answer some examples again and hold them against the answers that the record tells.

    What the method notes of itself meanwhile is kept under diagnostics/.
    """
    tuned.load_state(load_file(run / "method.safetensors"))
    some = list(range(min(CHECKED, len(split.examples))))
    tuned.eval()
    watched = tuned.method if isinstance(tuned.method, Method) else None
    if watched is not None:
        watched.watch()
    again = evaluator.answer(split, some)
    for name, seen in (watched.diagnostics() if watched is not None else {}).items():
        write_json(run / "diagnostics" / f"{name}.json", seen)
    before = [told.predictions[i].prediction for i in some]
    different = sum(one.prediction != other for one, other in zip(again, before, strict=True))
    level = "ok" if different == 0 else "warning"
    text = f"{different} of {len(some)} predictions differ when they are made again from the saved tensors"
    return verdict("saved_equals_trained", level, text, different=different)


def write_candidate_scores(run: RunFolder, name: str, found: Evaluation) -> None:
    """scores.<split>.npz: the log-probability of every candidate, where every answer has them."""
    scores = [p.scores for p in found.predictions if p.scores is not None]
    if scores and len(scores) == len(found.predictions):
        write_scores(run / f"scores.{name}.npz", [p.id for p in found.predictions], scores)


def prediction_rows(found: Evaluation) -> list[dict[str, Any]]:
    """The lines of predictions.<split>.jsonl."""
    return [
        {"id": p.id, "prediction": p.prediction, "reference": p.reference, "group": p.group} for p in found.predictions
    ]
