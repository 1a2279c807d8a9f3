"""The inside of one run, once it is held: data, model, training, scores, record."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from backbones.lineage import trained_on
from conf.capabilities import capabilities
from conf.paths import cache_root
from conf.schema import Config
from methods import load as methods
from methods.base import Method
from results.controls import named
from results.files import replacing, write_json
from results.identity import contents, id_of
from results.ledger import RunFolder
from results.released import compared
from results.scores import write_scores
from results.verify import hashes
from runners import checkpoint
from runners.assemble import Parts, assemble
from runners.baselines import majority_predictions
from runners.config import RunnerConfig
from runners.controls import stays_as_drawn, trains_something
from runners.data import capped_length, load_data
from runners.deployed import deployed_parameters
from runners.errors import Refused
from runners.evaluate import Evaluation, Evaluator, Split
from runners.last_backbone import hold_backbone
from runners.measures import compile_seconds, peak_memory, reset_peak, resident_memory, versions
from runners.order import BatchOrder
from runners.outcome import Outcome, describe, outcome_of
from runners.progress import apart, say
from runners.released import take_released
from runners.session import CorruptCheckpoint, NotFinite, Session
from runners.stopping import Stopped, StopSignal
from runners.tracking import Tracker, tracker
from runners.train import train
from runners.verdicts import (
    Verdict,
    budget,
    ceiling,
    constant,
    epochs,
    invalid_answers,
    learned,
    over_budget,
    standard_error,
    truncation,
    unreached,
    verdict,
)
from runners.watching import Watch
from runners.workers import Workers
from tasks.config import metric_of
from tasks.errors import DataError
from tasks.kinds import kind_of
from tasks.metrics import score, sums_of
from tasks.task import TaskData
from tasks.templates import label_words

CHECKED = 32  # predictions that are made again from the saved file


class Execution:
    """One run being executed by this process (the main one writes, the others compute)."""

    def __init__(
        self, config: Config, resolved: dict[str, Any], run: RunFolder, workers: Workers, source: str, revision: str
    ) -> None:
        self.config, self.resolved, self.run, self.workers = config, resolved, run, workers
        self.runner: RunnerConfig = config.runner
        self.stop, self.begun = StopSignal(), time.monotonic()
        self._before: bytes | None = None
        self._compiled_before = -compile_seconds()  # by earlier runs of this process
        protocol, task = config.protocol, config.task
        self.select_split, self.report_split = protocol.select_split, protocol.report_split
        self.select_metric = metric_of(task, protocol, "select")
        self.report_metric = metric_of(task, protocol, "report")
        self.record: dict[str, Any] = {
            "run_id": run.id,
            "status": "running",
            "reason": None,
            "method": named(config.method, config.control),
            "task": task.name,
            "backbone": config.backbone.label,
            "protocol": protocol.name,
            "seed": config.seed,
            "fidelity": config.fidelity,
            "experiment": config.experiment,
            "config": resolved,
            "data": {"source": source, "revision": revision},
            # with the configuration, what the id is made of
            "identity": {"data": revision, "contents": contents(resolved)},
            "primary_metric": self.report_metric,
            "primary_split": self.report_split,
            "selection": {"split": self.select_split, "metric": self.select_metric},
            "metrics": {},
            "untrained_metrics": {},
            "verdicts": [],
            "versions": versions(),
            "process": os.getpid(),
            "host": socket.gethostname(),
            "processes": workers.count,
            "started": time.time(),
        }

    def run_through(self) -> Outcome:
        """One run from its data to its record, in the order in which it happens; every failure becomes a record."""
        try:
            with self.stop.caught():
                self._begin()
                data = self._data()  # rows of the task, split as the protocol says
                if self.config.method["name"] == "majority":
                    self._majority(data)
                    return self.finished()
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
                return self.finished()  # the record
        except (Exception, KeyboardInterrupt) as error:
            return self.ended_by(error)

    def _begin(self) -> None:
        """What was named is what runs, or nothing does; from here on the record says that it is running.

        Raises:
            Refused: a file that counts has changed since.
        """
        counted = self.record["identity"]
        if id_of(self.resolved, counted["data"], counted["contents"]) != self.run.id:
            raise Refused(f"a file that counts in the id {self.run.id} has changed since it was named; start again")
        if counted["contents"].get("source"):
            names = sorted(counted["contents"]["source"])
            more = f" and {len(names) - 4} more files" if len(names) > 4 else ""
            say(f"not as shipped, so its text counts in the run's id: {', '.join(names[:4])}{more}", self.workers.main)
        path = self.run / "record.json"
        self._before = path.read_bytes() if self.workers.main and path.exists() else None
        self.workers.jointly(self._write)

    def _put_back(self) -> None:
        """Leave the record as it was: nothing was begun."""
        if self.workers.main and self._before is not None:
            with replacing(self.run / "record.json") as temporary:
                temporary.write_bytes(self._before)

    def finished(self) -> Outcome:
        """Write the record of a run that is done."""
        self.record["status"] = "done"
        self.record.setdefault("wall_seconds", time.monotonic() - self.begun)
        self.workers.jointly(self._end)
        return outcome_of(self.record)

    def _end(self) -> None:
        if not self.workers.main:
            return
        self.record["files"] = hashes(self.run.folder)
        self._write()
        for name in (checkpoint.NAME, checkpoint.BEFORE):
            (self.run / name).unlink(missing_ok=True)
        if self.run.folder.name == "again":  # the finished run was kept until now
            RunFolder(self.run.folder.parent).exchange()

    def ended_by(self, error: BaseException) -> Outcome:
        """The outcome of a run that did not get to its end; a failure is written down with its reason."""
        if isinstance(error, Stopped):
            return Outcome("stopped", self.run.id, reason=str(error))
        if isinstance(error, KeyboardInterrupt):
            reason = "interrupted; the same command goes on from its checkpoint"
            return Outcome("interrupted", self.run.id, reason=reason)
        if isinstance(error, CorruptCheckpoint):
            self._put_back()
            return Outcome("refused", self.run.id, reason=str(error))
        if isinstance(error, DataError | Refused):
            return self._fail("refused", str(error))
        if isinstance(error, NotFinite):
            self.record["verdicts"].append(verdict("loss_not_finite", "warning", str(error)))
            if self.workers.main:
                checkpoint.throw_away(self.run)
            return self._fail("failed", str(error))
        if memory_is_full(error):
            return self._fail("failed", out_of_memory(error))
        if os.environ.get("SOFT_PROMPT_BENCH_TRACEBACK"):
            raise error
        return self._fail("failed", describe(error))

    def _fail(self, status: str, reason: str) -> Outcome:
        self.record |= {"status": "failed", "reason": reason}
        try:
            self._write()
        except OSError as error:
            say(f"the record cannot be written ({error}); {self.run.folder} is as it was", self.workers.main)
        return Outcome(status, self.run.id, reason=reason)

    def _write(self) -> None:
        if self.workers.main:
            self.run.write_config(self.resolved)
            self.run.write_record(self.record)

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
        """
        self.record["data"] = data.report
        self.record["verdicts"] += [verdict("data", "warning", text) for text in data.report["verdicts"]]
        self.record["verdicts"] += [
            verdict(
                "shared_with_train", "note", f"{count} of {data.report['rows'][role]} {role} rows are training rows too"
            )
            for role, count in (data.report.get("shared_with_train") or {}).items()
        ]
        if data.report.get("control"):
            self.record["verdicts"].append(verdict("control", "note", data.report["control"]))
            say(data.report["control"], self.workers.main)
        seen = trained_on(self.config.backbone, self.config.task.name)
        if seen and not self.config.backbone.random_weights:
            self.record["verdicts"].append(verdict("trained_before", "note", seen))
            say(f"note: {seen}", self.workers.main)
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
        limit = capped_length(self.config)
        for role, split in parts.splits.items():
            found = truncation(role, split.encoded.cut_from.tolist(), len(split.examples), limit)
            if role == self.report_split or found["level"] == "warning":
                self.record["verdicts"].append(found)
            if found["level"] == "warning":
                say(found["message"], self.workers.main)
        wanted = {self.select_split: self.select_metric} | {self.report_split: self.report_metric}
        below = {role: evaluator.ceiling(parts.splits[role]) for role in wanted if role in parts.splits}
        for role, metrics in below.items():
            if metrics.get(wanted[role], 1) <= 0:
                raise Refused(
                    f"{self.config.task.name}: a perfect answer scores {wanted[role]} 0 on the {role} split "
                    f"({len(parts.splits[role].examples)} rows): its gold is all of one value, or none of it comes "
                    "through the tokenizer and the answer's limit; use more rows (runner.*_rows), another metric "
                    "(task.report_metric.default) or protocol.label_words=digits"
                )
        self.record["ceiling"] = {role: metrics for role, metrics in below.items() if metrics}
        for role, metrics in self.record["ceiling"].items():
            self.record["verdicts"].append(ceiling(role, metrics))

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
        label = f"{self.config.method['name']} {self.config.task.name}{apart(self.run.id)}"
        selection = parts.splits[self.select_split]
        watch = Watch(self.run, parts.tuned.method, evaluator, selection, self.workers.main)
        try:
            watch.begin(session.step)
            train(
                session, parts.tuned, parts.splits["train"], selection, evaluator, self.select_metric, label=label,
                log=mirror.log, beat=self._write, stop=self.stop, note=watch.note,
            )  # fmt: skip
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
        scores = [p.scores for p in found.predictions if p.scores is not None]
        if self.workers.main and scores and len(scores) == len(found.predictions):
            write_scores(self.run / f"scores.{name}.npz", [p.id for p in found.predictions], scores)
        self.record["metrics"][name] = found.metrics
        self._write_predictions(name, found)

    def _write_predictions(self, name: str, found: Evaluation) -> None:
        if self.workers.main:
            rows = [
                {"id": p.id, "prediction": p.prediction, "reference": p.reference, "group": p.group}
                for p in found.predictions
            ]
            self.run.write_predictions(name, rows)

    def _save(self, parts: Parts) -> None:
        with parts.tuned.backbone.in_step():
            if self.workers.main:
                self._save_here(parts)

    def _save_here(self, parts: Parts) -> None:
        with replacing(self.run / "method.safetensors") as temporary:
            save_file(parts.tuned.state(), temporary)
        backbone, some = parts.tuned.backbone, parts.splits[self.report_split].encoded[0]
        batch = backbone.collate([some]).to(self.workers.device)
        self.record["deployed_parameters"] = deployed_parameters(parts.tuned, batch)
        manifest = {
            "method": self.config.method,
            "backbone": {"name": self.config.backbone.name, "revision": self.config.backbone.revision},
            "task": self.config.task.name,
            "shapes": {name: list(tensor.shape) for name, tensor in parts.tuned.state().items()},
            "run_id": self.run.id,
            "selected_step": self.record["selected_step"],
            "versions": {key: value for key, value in versions().items() if key in ("torch", "transformers", "commit")},
        }
        write_json(self.run / "manifest.json", json.loads(json.dumps(manifest, default=str)))

    def _check_saved(self, parts: Parts, evaluator: Evaluator) -> None:
        """Load what was saved and answer some examples again: the file must give what the record tells."""
        with parts.tuned.backbone.in_step():
            if self.workers.main:
                self._answer_again(parts, evaluator)

    def _answer_again(self, parts: Parts, evaluator: Evaluator) -> None:
        parts.tuned.load_state(load_file(self.run / "method.safetensors"))
        some = list(range(min(CHECKED, len(self.reported_split.examples))))
        parts.tuned.eval()
        watched = parts.tuned.method if isinstance(parts.tuned.method, Method) else None
        if watched is not None:
            watched.watch()
        again = evaluator.answer(self.reported_split, some)
        for name, seen in (watched.diagnostics() if watched is not None else {}).items():
            write_json(self.run / "diagnostics" / f"{name}.json", seen)
        before = [self.reported.predictions[i].prediction for i in some]
        different = sum(one.prediction != other for one, other in zip(again, before, strict=True))
        level = "ok" if different == 0 else "warning"
        text = f"{different} of {len(some)} predictions differ when they are made again from the saved tensors"
        self.record["verdicts"].append(verdict("saved_equals_trained", level, text, different=different))

    def _majority(self, data: TaskData) -> None:
        task = self.config.task
        for name in dict.fromkeys((self.select_split, self.report_split)):
            predictions = majority_predictions(self.config, data, name)
            found = Evaluation(predictions, score(task, self.config.protocol, predictions), 0.0)
            self._keep(name, found)
        self.record |= {"steps": 0, "trainable_parameters": 0, "head_parameters": 0, "backbone_parameters": 0}
        self.record |= {"train_examples_per_second": None, "eval_examples_per_second": None, "peak_memory_bytes": None}

    def _judge(self, parts: Parts, data: TaskData) -> None:
        """Append the guard rails (runners/verdicts.py)."""
        self.record["peak_memory_bytes"] = peak_memory(self.workers.device)
        if self.runner.compile:
            self.record["compile_seconds"] = self._compiled_before + compile_seconds()
            say(f"runner.compile: {self.record['compile_seconds']:.1f} s of compiling in all", self.workers.main)
        task, protocol, metric = self.config.task, self.config.protocol, self.report_metric
        value = self.record["metrics"][self.report_split][metric]
        found: list[Verdict] = []
        rows = self.reported.predictions
        columns = [r.prediction for r in rows], [r.reference for r in rows]
        words = label_words(task, protocol) or task.labels
        sums = sums_of(metric, *columns, words, task.kind, protocol.invalid_output, mean_of=task.mean_of)
        error = standard_error(rows, metric, lambda drawn: score(task, protocol, drawn), value, sums)
        majority = None
        if "train" in data.splits and len(data.splits["train"]):
            majority = score(task, protocol, majority_predictions(self.config, data, self.report_split))[metric]
        untrained = (self.record["untrained_metrics"].get(self.report_split) or {}).get(metric)
        found += learned(value, error, majority, untrained, metric)
        if not kind_of(task).tags:
            found += constant(self.reported.predictions)
        found += invalid_answers(self.reported.invalid)
        if capabilities(self.config.method).trains:
            found += over_budget(methods.budget_note(self.config.method, parts.tuned.backbone.facts))
            found += epochs(self.config.protocol, self.runner, data.report["used_rows"]["train"])
        found += budget(self.runner, data.report["rows"], data.report["used_rows"])
        if self.config.released.set:
            same, text = compared("dept", self.config.released.set, self.record)
            found.append(verdict("released", "ok" if same else "warning", text))
        self.record["standard_error"] = error
        self.record["truncated"] = {name: split.truncated for name, split in parts.splits.items()}
        self.record["verdicts"] += found


def memory_is_full(error: BaseException) -> bool:
    """Whether an error says so (torch's allocator on the CPU raises a plain RuntimeError)."""
    plain = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return plain or isinstance(error, torch.OutOfMemoryError | MemoryError)


def out_of_memory(error: BaseException) -> str:
    """The reason of a run that did not fit, and what may make it fit."""
    advice = "try runner.micro_batch=4 runner.gradient_checkpointing=true, or runner.precision=bf16"
    return f"out of memory ({str(error).strip().splitlines()[0] if str(error).strip() else 'killed'}); {advice}"
