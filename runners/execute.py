"""The inside of one run, once it is held: data, model, training, scores, record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from conf.capabilities import capabilities
from conf.paths import cache_root
from conf.schema import Config
from results.ledger import RunFolder
from runners import guard_rails
from runners.assemble import Parts, assemble
from runners.baselines import majority_predictions
from runners.config import RunnerConfig
from runners.controls import stays_as_drawn, trains_something
from runners.data import load_data
from runners.deployed import deployed_parameters
from runners.errors import Refused
from runners.evaluate import Evaluation, Evaluator, Split
from runners.last_backbone import hold_backbone
from runners.measures import compile_seconds, peak_memory, reset_peak, resident_memory
from runners.order import BatchOrder
from runners.outcome import Outcome
from runners.progress import say
from runners.record import RunRecord
from runners.released import take_released
from runners.saved import answer_again, prediction_rows, write_candidate_scores, write_tensors
from runners.session import Session
from runners.stopping import StopSignal
from runners.tracking import Tracker, tracker
from runners.train import Training
from runners.verdicts import ceiling, unreached
from runners.watching import Watch
from runners.workers import Workers
from tasks.config import metric_of
from tasks.errors import DataError
from tasks.metrics import score
from tasks.task import TaskData


class Execution:
    """One run being executed by this process (the main one writes, the others compute)."""

    def __init__(
        self, config: Config, resolved: dict[str, Any], run: RunFolder, workers: Workers, source: str, revision: str
    ) -> None:
        self.config, self.resolved, self.run, self.workers = config, resolved, run, workers
        self.runner: RunnerConfig = config.runner
        self.stop = StopSignal()
        self._compiled_before = -compile_seconds()  # by earlier runs of this process
        protocol, task = config.protocol, config.task
        self.select_split, self.report_split = protocol.select_split, protocol.report_split
        self.select_metric = metric_of(task, protocol, "select")
        self.report_metric = metric_of(task, protocol, "report")
        self.record = RunRecord(config, resolved, run, workers, source, revision)

    def run_through(self) -> Outcome:
        """One run from its data to its record, in the order in which it happens; every failure becomes a record."""
        try:
            with self.stop.caught():
                self.record.begin()
                data = self._data()  # rows of the task, split as the protocol says
                if self.config.method["name"] == "majority":
                    self._majority(data)
                    return self.record.finished()
                parts = self._parts(data)  # the frozen backbone, the method on it, the rows as tokens
                evaluator = Evaluator(parts.tuned, self.config.task, self.config.protocol, self.runner, self.workers)
                self._before_training(parts, evaluator)  # what the length limit cuts, what a perfect answer scores
                if self.config.released.path:
                    self._take_released(parts)
                elif trains_something(self.config):
                    session = self._open(parts, evaluator)  # new, and scored untrained; or as a checkpoint left it
                    self._train(session, parts, evaluator)  # steps; the selection split says which were the best
                    self._close(session, parts)  # the best tensors are taken and saved
                elif stays_as_drawn(self.config):
                    self._leave_as_drawn(parts)
                self._report(parts, evaluator)  # their scores, and every prediction
                self._judge(parts, data)  # standard error and guard rails
                return self.record.finished()  # the record
        except (Exception, KeyboardInterrupt) as error:
            return self.record.ended_by(error)

    def _data(self) -> TaskData:
        data = self.workers.jointly(lambda: load_data(self.config))
        self._take(data)
        return data

    def _parts(self, data: TaskData) -> Parts:
        reset_peak(self.workers.device)
        if self.runner.sharding:
            if self.workers.count == 1:
                say(f"runner.sharding={self.runner.sharding}: one process holds every layer whole")
            self.workers.jointly(lambda: hold_backbone(self.config, self.workers.device))
        parts = self.workers.jointly(lambda: assemble(self.config, self.workers.device, data))
        self.workers.jointly(self.record.as_named)
        self._seen_alike(parts)
        if parts.tuned.backbone.shards is not None:
            self.record["sharding"] = f"{self.runner.sharding} over {self.workers.count} processes"
            reset_peak(self.workers.device)  # of a process's part: it was loaded whole
        on_cpu = self.workers.device.type == "cpu"
        self.record["loaded_memory_bytes"] = resident_memory() if on_cpu else torch.cuda.memory_allocated()
        self.record["steps"] = 0  # until it is trained
        self._count(parts)
        return parts

    def _seen_alike(self, parts: Parts) -> None:
        """Machines have caches of their own, in which a branch may stand elsewhere.

        Raises:
            Refused: processes see other data or another backbone.
        """
        seen = [self.record["data"].get("sha256"), parts.tuned.backbone.content]
        for rank, other in enumerate(self.workers.gather([seen])):
            if other != seen:
                raise Refused(
                    f"process {self.workers.rank} sees data and backbone {seen}, process {rank} {other}; fetch both "
                    "anew on every machine, or give a commit as revision"
                )

    def _count(self, parts: Parts) -> None:
        counts = parts.tuned.counts()
        self.record |= {
            "trainable_parameters": counts["method"],
            "head_parameters": counts["head"],
            "backbone_parameters": counts["backbone"],
            "backbone_content": parts.tuned.backbone.content,
            "backbone_admission": parts.tuned.backbone.admission,
            "train_examples_per_second": None,
        }

    def _take_released(self, parts: Parts) -> None:
        """Parameters that a paper's authors released are scored as they are."""
        take_released(parts.tuned, self.config.released.path or "")
        self.record["selected_step"] = 0
        self.workers.jointly(lambda: self._save(parts))

    def _leave_as_drawn(self, parts: Parts) -> None:
        """A random prompt is scored as it is."""
        self.record["selected_step"] = 0
        self.workers.jointly(lambda: self._save(parts))

    def _take(self, data: TaskData) -> None:
        """Note what the data say of themselves, and which of their splits select and are reported.

        Raises:
            DataError: a split that the run needs is not there.
            Refused: they are not those that the run was named by.
        """
        self.record.as_named(data.report["revision"])
        self.record["data"] = data.report
        self.record["verdicts"] += guard_rails.of_data(self.config, data.report, self.workers.main)
        self.select_split, self.report_split = data.report["select_split"], data.report["report_split"]
        self.record |= {
            "primary_split": self.report_split,
            "selection": {"split": self.select_split, "metric": self.select_metric},
        }
        roles = (
            {self.report_split}
            if self.config.method["name"] == "none"
            else {"train", self.select_split, self.report_split}
        )
        for role in sorted(roles):
            if not len(data.splits.get(role, ())):
                raise DataError(
                    f"{self.config.task.name}: protocol {self.config.protocol.name} needs a {role} split and "
                    f"data={self.record['data']['source']} has none; another protocol= or data= may have one"
                )

    def _before_training(self, parts: Parts, evaluator: Evaluator) -> None:
        """Say what the length limit cuts, and note what a perfect answer would score.

        Raises:
            Refused: the metric that selects or is reported cannot be above 0 on this gold.
        """
        main = self.workers.main
        self.record["verdicts"] += guard_rails.of_lengths(self.config, parts.splits, self.report_split, main)
        wanted = [(self.select_split, self.select_metric), (self.report_split, self.report_metric)]
        self.record["ceiling"] = guard_rails.ceilings(self.config, evaluator, parts.splits, wanted)
        self.record["verdicts"] += [ceiling(role, metrics) for role, metrics in self.record["ceiling"].items()]

    def _open(self, parts: Parts, evaluator: Callable[[Split], Evaluation]) -> Session:
        """The training state: new and scored before it is trained, or as a checkpoint left it."""
        order = BatchOrder(
            parts.splits["train"].lengths, self.runner.batch_size or 32, self.config.seed, self.runner.group_by_length
        )
        rates_ = dict(self.config.method.get("lr") or {})
        session = Session(self.run, self.runner, parts.tuned.trainable(), rates_, order, self.workers.main)
        torch.manual_seed(self.config.seed + 7919 * self.workers.rank)  # what dropout draws from
        content = parts.tuned.backbone.content or {}
        session.about = {
            "data": self.record["data"].get("sha256"), "backbone": content.get("sha256"), "forced": self.config.force
        }  # fmt: skip
        resumed = self.workers.jointly(lambda: session.resume(self.workers.rank))
        if resumed:
            say(f"goes on from step {session.step} of {session.total}", self.workers.main)
        elif self.runner.evaluate_untrained:
            for split in dict.fromkeys((self.select_split, self.report_split)):
                found = evaluator(parts.splits[split])
                session.untrained[split] = found.metrics
                if split == self.report_split:  # so that what training brought can be tested
                    self._write_predictions(f"untrained.{split}", found)
                session.log({"step": 0, "split": split, "metrics": found.metrics})
        self.record["untrained_metrics"] = session.untrained
        return session

    def _train(self, session: Session, parts: Parts, evaluator: Evaluator) -> None:
        mirror: Tracker = tracker(
            self.config.tracking, self.run.id, self.resolved, cache_root(self.config), self.workers.main
        )
        label = f"{self.config.method['name']} {self.config.task.name}"
        selection = parts.splits[self.select_split]
        watch = Watch(self.run, parts.tuned.method, evaluator, selection, self.workers.main)
        try:
            watch.begin(session.step)
            Training(
                session, parts.tuned, parts.splits["train"], selection, evaluator, self.select_metric, self.stop,
                log=mirror.log, beat=self.record.write, note=watch.note,
            ).run(label)  # fmt: skip
        finally:
            mirror.finish({"selected_step": session.best.step, "best": session.best.score})
        evaluator.stopping = lambda: False

    def _close(self, session: Session, parts: Parts) -> None:
        """Take the best tensors, note what training took, save them."""
        session.load(session.best.tensors)
        self._compiled_before = session.earlier_compile_seconds
        self.record["verdicts"] += unreached(session.unreached())
        self.record |= {
            "steps": session.step,
            "selected_step": session.best.step,
            "train_examples_per_second": session.examples / max(session.train_seconds, 1e-9),
            "wall_seconds": session.wall_seconds,
            "epochs": session.step / session.order.steps_per_epoch,
        }
        self.workers.jointly(lambda: self._save(parts))

    def _report(self, parts: Parts, evaluator: Evaluator) -> None:
        """Score the selected checkpoint on the selection and the reported split, and keep every prediction."""
        for name in dict.fromkeys((self.select_split, self.report_split)):
            split = parts.splits.get(name)
            if split is None or not len(split.examples):
                continue
            found = evaluator(split)
            self._keep(name, found)
            self.record["eval_examples_per_second"] = found.examples_per_second
            if name == self.report_split:
                self.reported, self.reported_split = found, split
        if capabilities(self.config.method).trains:
            self.workers.jointly(lambda: self._check_saved(parts, evaluator))

    def _keep(self, name: str, found: Evaluation) -> None:
        if self.workers.main:
            write_candidate_scores(self.run, name, found)
        self.record["metrics"][name] = found.metrics
        self._write_predictions(name, found)

    def _write_predictions(self, name: str, found: Evaluation) -> None:
        if self.workers.main:
            self.run.write_predictions(name, prediction_rows(found))

    def _save(self, parts: Parts) -> None:
        with parts.tuned.backbone.in_step():
            if self.workers.main:
                self._save_here(parts)

    def _save_here(self, parts: Parts) -> None:
        write_tensors(self.run, self.config, parts.tuned, self.record["selected_step"])
        some = parts.splits[self.report_split].encoded[0]
        batch = parts.tuned.backbone.collate([some]).to(self.workers.device)
        self.record["deployed_parameters"] = deployed_parameters(parts.tuned, batch)

    def _check_saved(self, parts: Parts, evaluator: Evaluator) -> None:
        """The file of the tensors must give what the record tells."""
        with parts.tuned.backbone.in_step():
            if self.workers.main:
                found = answer_again(self.run, parts.tuned, evaluator, self.reported_split, self.reported)
                self.record["verdicts"].append(found)

    def _majority(self, data: TaskData) -> None:
        task = self.config.task
        for name in dict.fromkeys((self.select_split, self.report_split)):
            predictions = majority_predictions(self.config, data, name)
            found = Evaluation(predictions, score(task, self.config.protocol, predictions), 0.0)
            self._keep(name, found)
        self.record |= {"steps": 0, "trainable_parameters": 0, "head_parameters": 0, "backbone_parameters": 0}
        self.record |= {"train_examples_per_second": None, "eval_examples_per_second": None, "peak_memory_bytes": None}

    def _judge(self, parts: Parts, data: TaskData) -> None:
        """The reported score's standard error, and the guard rails (runners/guard_rails.py)."""
        self.record["peak_memory_bytes"] = peak_memory(self.workers.device)
        if self.runner.compile:
            self.record["compile_seconds"] = self._compiled_before + compile_seconds()
            say(f"runner.compile: {self.record['compile_seconds']:.1f} s of compiling in all", self.workers.main)
        self.record["standard_error"] = guard_rails.error_of(self.config, self.record, self.reported)
        self.record["truncated"] = {name: split.truncated for name, split in parts.splits.items()}
        facts = parts.tuned.backbone.facts
        self.record["verdicts"] += guard_rails.of_scores(self.config, self.record, self.reported, data, facts)
