"""One run of a pack: everything of a run but its forward passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from conf.packing import has_dropout
from conf.paths import cache_root
from runners.assemble import Parts, assemble
from runners.data import load_data
from runners.errors import Refused
from runners.evaluate import Evaluation, Evaluator, Split
from runners.execute import Execution
from runners.outcome import Outcome
from runners.packed_inputs import draws
from runners.progress import say
from runners.session import Session, rng_state
from runners.tracking import Tracker, tracker


class Member(Execution):
    """One run of a pack."""

    parts: Parts
    session: Session
    mirror: Tracker
    single: Evaluator
    data: Any
    outcome: Outcome | None = None

    def load(self, data_of: Callable[[Member], Any]) -> None:
        """Data (those of another member with the same rows, where there is one), method, counts."""
        self.record.begin()
        self.data = data_of(self)
        self._take(self.data)
        self.parts = assemble(self.config, self.workers.device, self.data)
        self.record.as_named()
        self._refuse_unnamed_draws()
        self.single = Evaluator(self.parts.tuned, self.config.task, self.config.protocol, self.runner, self.workers)
        self._count(self.parts)
        self._before_training(self.parts, self.single)

    def _refuse_unnamed_draws(self) -> None:
        """Random numbers that no option names would make this run another one than it is alone, under the same id.

        Raises:
            Refused: the method draws some, or changes the model.
        """
        backbone, method = self.parts.tuned.backbone, self.parts.tuned.inputs
        if method is not self.parts.tuned.method or backbone.changed:
            raise Refused("this method changes the model: it cannot share passes; run it without hydra/launcher=packed")
        batch = backbone.collate([self.parts.splits["train"].encoded[0]]).to(self.workers.device)
        if not has_dropout(self.config) and draws(method, backbone.source(batch)):
            raise Refused(
                "this method draws random numbers while it trains that no option (…dropout, …noise) names: in "
                "a pack they are others than alone; run it without hydra/launcher=packed"
            )

    def open(self, evaluate: Callable[[Split], Evaluation], others: Sequence[str]) -> None:
        """Start or resume the training state."""
        self.record["packed"] = {"with": [run for run in others if run != self.run.id], "size": len(others)}
        self.session = self._open(self.parts, evaluate)
        self.mirror = tracker(self.config.tracking, self.run.id, self.resolved, cache_root(self.config), True)
        self.record.write()

    def checkpoint(self) -> None:
        self.session.save([rng_state()])
        self.record.write()

    def update(self, loss: torch.Tensor, examples: int, seconds: float) -> None:
        """One optimiser step from the gradients that the shared pass left."""
        self.session.update(loss, examples, seconds)
        if self.session.step % self.runner.log_every == 0:
            self.mirror.log({"loss": self.session.newest}, self.session.step)

    def end(self, scores: Mapping[str, Evaluation], loaded: int) -> None:
        """Keep the scores of the best tensors, judge, write the record.

        Args:
            scores: split -> evaluation.
            loaded: bytes of the process before it trained.
        """
        self.mirror.finish({"selected_step": self.session.best.step, "best": self.session.best.score})
        self._report(self.parts, _Answering(scores, self.single))  # type: ignore[arg-type]
        self.record["loaded_memory_bytes"] = loaded
        self._judge(self.parts, self.data)
        self.outcome = self.record.finished()


class _Answering:
    """An evaluator whose scores come from the pack and whose single answers from the run's own model."""

    def __init__(self, scores: Mapping[str, Evaluation], single: Evaluator) -> None:
        self.scores, self.answer = scores, single.answer

    def __call__(self, split: Split) -> Evaluation:
        return self.scores[split.name]


class SharedData:
    """Rows, loaded once for members that differ in nothing that draws or words them.

    Token ids are each member's own: what they hang on (a protocol may cut [prompt; source] to a length as one) is told
    by their key, by which splits are scored together.
    """

    def __init__(self) -> None:
        self.loaded: dict[str, Any] = {}

    def __call__(self, member: Member) -> Any:
        config = member.config
        key = repr((config.task, config.protocol, config.data, config.fidelity, config.control, config.seed))
        if key not in self.loaded:
            self.loaded[key] = load_data(config)
            if len(self.loaded) == 1:
                for note in self.loaded[key].report.get("notes", []):
                    say(note)
        return self.loaded[key]
