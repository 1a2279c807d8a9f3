"""Packed sweeps: K runs of a grid share each pass through the frozen backbone.

Only the forward and backward passes are shared. Every run keeps its own method, learning rates, optimiser, schedule,
data order, early stopping, checkpoint, record and lock (runners.session, runners.record), so that a run that ends or
fails just leaves the pack, and a killed pack leaves runs that go on alone or packed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch

from backbones.tuned import Tuned
from conf.compose import name_run
from conf.packing import pack_key
from conf.paths import ledger_of
from conf.plan import Point, labels
from runners.ahead import Ahead
from runners.errors import memory_is_full, out_of_memory
from runners.evaluate import Evaluation, Split
from runners.job import claim, place_of, run_point
from runners.measures import reset_peak, resident_memory
from runners.outcome import Outcome, told
from runners.packed_inputs import PackedInputs
from runners.packed_member import Member, SharedData
from runners.packed_passes import Places, Shared, SharedPasses
from runners.packed_room import runs_that_fit
from runners.packed_scores import PackEvaluator
from runners.progress import Board, say
from runners.stopping import Stopped, StopSignal
from runners.train import standing
from runners.workers import Workers, reset

MOST = 16  # runs of a pack whose size nobody gave
ENDED_ALL = ("interrupted", "stopped")


class TooLarge(RuntimeError):
    """A shared pass does not fit into memory; what was trained is in the checkpoints."""


class Pack:
    """Runs that train together, from their locks to their records.

    Attributes:
        left: points that did not fit into memory; to be tried again with at most `fitting` runs in a pack.
    """

    def __init__(self, points: Sequence[Point]) -> None:
        self.points = list(points)
        self.members: list[Member] = []
        self.stop = StopSignal()
        self.loaded = 0
        self.left: list[Point] = []
        self.fitting = max(1, len(self.points) // 2)

    def run(self) -> dict[str, Outcome]:
        """Outcomes by run id; a member's failure is its own."""
        reset()
        self.workers = Workers(self.points[0].config.runner)
        with ExitStack() as held, self.stop.caught():
            outcomes = self._claim_all(held)
            try:
                self._together()
            except TooLarge as error:
                self._make_room(error)
            except (Exception, KeyboardInterrupt) as error:  # of the shared pass, or a signal
                for member in self._running():
                    member.outcome = member.record.ended_by(error)
        return outcomes | {m.run.id: m.outcome for m in self.members if m.outcome is not None}

    def _claim_all(self, held: ExitStack) -> dict[str, Outcome]:
        """Hold every run that is to be trained; the outcomes of the others."""
        outcomes: dict[str, Outcome] = {}
        for point in self.points:
            _, source, revision = name_run(point.resolved, point.config)
            run = ledger_of(point.config).run(point.run_id)
            found = claim(point.config, run, True, held)
            if found is not None:
                outcomes[point.run_id] = found
                continue
            place = place_of(point.config, run)
            member = Member(point.config, point.resolved, place, self.workers, source, revision)
            member.stop = self.stop
            self.members.append(member)
        return outcomes

    def _make_room(self, error: TooLarge) -> None:
        running = self._running()
        if len(running) == 1:
            running[0].outcome = running[0].record.fail("failed", out_of_memory(error))
            return
        say(f"{len(running)} runs in one pass do not fit into memory; on with {self.fitting}")
        self._leave(running)

    def _leave(self, members: Sequence[Member]) -> None:
        """Give runs back, to be trained in a later pack."""
        ids = {member.run.id for member in members}
        self.left += [point for point in self.points if point.run_id in ids]
        self.members = [member for member in self.members if member.run.id not in ids]

    def _running(self) -> list[Member]:
        return [member for member in self.members if member.outcome is None]

    def _active(self) -> dict[int, Member]:
        """Members in training by their place in the packed inputs."""
        return {index: member for index, member in enumerate(self.members) if member.outcome is None}

    def _attempt(self, member: Member, work: Callable[[], Any]) -> None:
        """Do a member's own work; its failure ends that member alone."""
        try:
            work()
        except (Stopped, TooLarge, KeyboardInterrupt):
            raise
        except Exception as error:
            if memory_is_full(error):
                raise TooLarge(str(error)) from error
            member.outcome = member.record.ended_by(error)

    def _together(self) -> None:
        shared, failed = SharedData(), []
        reset_peak(self.workers.device)
        for member in self.members:
            self._attempt(member, partial(member.load, shared))
        failed = [member for member in self.members if member.outcome is not None]
        self.members = self._running()
        try:
            if self.members:
                self._prepare()
                with self.stop.deferred():
                    self._train()
        finally:
            self.members += failed

    def _prepare(self) -> None:
        """Join the members' methods, drop those that memory has no room for, open the others' training states."""
        device = self.workers.device
        self.loaded = resident_memory() if device.type == "cpu" else torch.cuda.memory_allocated()
        self._join()
        if self.members[0].config.pack is None and len(self.members) > 1:
            self.fitting = self._guarded(lambda: runs_that_fit(self.passes))
            if self.fitting < len(self.members):
                self._leave(self.members[self.fitting :])
                self._join()
        ids = [member.run.id for member in self.members]
        scored: dict[tuple[int, str], Evaluation] = {}
        for index, member in enumerate(self.members):
            self._attempt(member, partial(member.open, partial(self._initial, scored, index), ids))

    def _join(self) -> None:
        first = self.members[0]
        self.inputs = PackedInputs([member.parts.tuned.method for member in self.members])
        self.tuned = Tuned(first.parts.tuned.backbone, self.inputs)
        self.evaluator = PackEvaluator(self.tuned, self.inputs, first, self.stop)
        self.passes = SharedPasses(self.members, self.tuned, self.inputs, self.evaluator.how)

    def _initial(self, scored: dict[tuple[int, str], Evaluation], index: int, split: Split) -> Evaluation:
        """The untrained score of a member; the others' are made in the same passes."""
        if (index, split.name) not in scored:
            later = {i: m.parts.splits[split.name] for i, m in self._active().items() if i >= index}
            for i, found in self.evaluator.together(later).items():
                scored[i, split.name] = found
        return scored[index, split.name]

    def _train(self) -> None:
        names = labels(self.points)
        shown_runs = {i: (names[m.run.id], m.session.total, m.session.step) for i, m in self._active().items()}
        with Ahead(self.passes.batch) as ahead, Board(shown_runs) as shown:
            while self._running():
                self._evaluate()
                self._end_finished()
                self._tell(shown, names)
                if not self._running():
                    return
                self._step(ahead)
                for index, member in self._active().items():
                    shown.update(index, standing(member.session, member.select_metric))
                stopping = self.stop.came
                for member in self._running():
                    if stopping or (member.session.checkpoint_is_due() and not member.session.evaluation_is_due()):
                        self._attempt(member, member.checkpoint)
                if stopping:
                    raise Stopped("stopped between two steps; the same command goes on from there")

    def _tell(self, shown: Board, names: dict[str, str]) -> None:
        """A line for every member that has ended since the last step."""
        for index, member in enumerate(self.members):
            if member.outcome is not None and index in shown.bars:
                shown.end(index, told(member.outcome, names[member.run.id]))

    def _evaluate(self) -> None:
        """Score the members for whom it is time, together, and keep their best tensors."""
        for member in self._running():
            if member.session.evaluation_is_due():
                self._attempt(member, member.session.read_losses)
        due = {i: m for i, m in self._active().items() if m.session.evaluation_is_due()}
        if not due:
            return
        try:
            found = self._guarded(
                lambda: self.evaluator.together({i: m.parts.splits[m.select_split] for i, m in due.items()})
            )
        except Stopped:
            for member in self._running():
                member.checkpoint()
            raise
        for index, member in due.items():
            metrics = found[index].metrics
            member.session.consider(member.select_split, metrics, member.select_metric)
            values = {f"{member.select_split}/{key}": value for key, value in metrics.items()}
            member.mirror.log(values, member.session.step)
            self._attempt(member, member.checkpoint)

    def _end_finished(self) -> None:
        """Members whose budget or patience is at its end leave the pack with their scores."""
        leaving = {i: m for i, m in self._active().items() if m.session.finished}
        if not leaving:
            return
        for member in leaving.values():
            self._attempt(member, partial(member._close, member.session, member.parts))
        leaving = {i: m for i, m in leaving.items() if m.outcome is None}
        scores: dict[str, dict[int, Evaluation]] = {}
        for name in dict.fromkeys(name for m in leaving.values() for name in (m.select_split, m.report_split)):
            splits = {i: m.parts.splits[name] for i, m in leaving.items()}
            scores[name] = self._guarded(partial(self.evaluator.together, splits))
        for index, member in leaving.items():
            own = {name: found[index] for name, found in scores.items()}
            self._attempt(member, partial(member.end, own, self.loaded))

    def _step(self, ahead: Ahead[Places, Shared]) -> None:
        """One optimiser step of every member from one shared pass (or a few, with micro-batches)."""
        begun = time.monotonic()
        running = self._active()
        now = tuple((i, m.session.step) for i, m in running.items())
        following = tuple((i, step + 1) for i, step in now)
        batch = self._guarded(lambda: ahead.take(now, following))
        losses = self._guarded(lambda: self.passes.gradients(batch))
        seconds = (time.monotonic() - begun) / len(running)
        for index, member in running.items():
            self._attempt(member, partial(member.update, losses[index], batch.rows[index], seconds))

    def _guarded(self, work: Callable[[], Any]) -> Any:
        """Shared work; where it does not fit, the members' checkpoints are what a smaller pack goes on from."""
        try:
            return work()
        except Exception as error:
            if memory_is_full(error):
                raise TooLarge(str(error)) from error
            raise


def run_packs(points: Sequence[Point]) -> dict[str, Outcome]:
    """Run points in packs; those that no pack takes run alone, one after another. Outcomes by run id."""
    outcomes: dict[str, Outcome] = {}
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(pack_key(point.resolved, point.config) or point.run_id, []).append(point)
    for key, waiting in groups.items():
        size = waiting[0].config.pack or MOST
        while waiting:
            chosen, waiting = waiting[:size], waiting[size:]
            if key == chosen[0].run_id:
                outcomes[key] = run_point(chosen[0].resolved, sweep=True)
            else:
                pack = Pack(chosen)
                outcomes |= pack.run()
                if pack.left:
                    size = max(1, pack.fitting)
                    waiting = pack.left + waiting
            ended = [outcome.status for outcome in outcomes.values()]
            fail_fast = points[0].config.fail_fast and {"failed", "refused"} & set(ended)
            if fail_fast or any(status in ENDED_ALL for status in ended):
                return outcomes
    return outcomes
