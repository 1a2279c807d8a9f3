"""Every example answered exactly once, by however many processes, and scored as one set."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch

from backbones.batch import Batch
from backbones.errors import NoNumber
from runners.ahead import Ahead, collated
from runners.config import RunnerConfig
from runners.progress import bar
from runners.stopping import Stopped
from runners.workers import Workers
from tasks.answers import answer_of, decoded, parse_answer, reference_of
from tasks.config import ProtocolConfig, TaskConfig
from tasks.encode import AnswerEncoder, Encoded, word_tags
from tasks.encoded import EncodedSplit
from tasks.examples import Example
from tasks.families import family as traits_of
from tasks.kinds import kind_of
from tasks.metrics import Prediction, score
from tasks.scoring import answer_scores


@dataclass
class Split:
    """One split as it is trained on or scored: examples and their token ids, in the same order."""

    name: str
    examples: Sequence[Example]
    encoded: EncodedSplit

    @property
    def truncated(self) -> float:
        """Share of examples that were cut to the length limit."""
        return float(self.encoded.truncated_share)

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of every example."""
        return [int(length) for length in self.encoded.lengths]


@dataclass
class Evaluation:
    """Predictions by id in the split's order, their metrics, and what they took."""

    predictions: list[Prediction]
    metrics: dict[str, float]
    examples_per_second: float
    invalid: float | None = None


CEILING_ROWS = 1000  # rows whose right answers are decoded at once


def _best(example: Example, text: str, encoder: AnswerEncoder, tokenizer: Any, limit: int) -> str:
    """Of the accepted answers as a model can write them, the one that scores best (``text`` is the first one's)."""
    if answer_scores(text, example.references)[0] == 1:
        return text
    texts = [text, *(decoded(tokenizer, ids[:limit]) for ids in encoder(list(example.references)))]
    return max(texts, key=lambda one: answer_scores(one, example.references))


class Answer(NamedTuple):
    """What was answered, and candidate -> normalised log-probability where candidates were compared."""

    prediction: Any
    scores: dict[str, float] | None = None


class Asked(NamedTuple):
    """Some examples: as text, as token ids, and as one batch on the host."""

    examples: list[Example]
    encoded: list[Encoded]
    batch: Batch


class IncompleteEvaluation(RuntimeError):
    """An example was answered twice or not at all."""


def answering(task: TaskConfig, protocol: ProtocolConfig, family: str) -> str:
    """How a model of this family answers: `rank`, `generate`, `classify` or `tag`."""
    if not traits_of(family).writes:
        return "tag" if kind_of(task).head == "token" else "classify"
    return "rank" if kind_of(task).ranked and protocol.scoring == "rank" else "generate"


def per_unit(scores: torch.Tensor, examples: Sequence[Example], unit: str | None) -> torch.Tensor:
    """Log-probabilities (B, C) of the candidates, per character of each where the protocol says so."""
    if unit is None:
        return scores
    lengths = torch.ones_like(scores)
    for row, example in enumerate(examples):
        lengths[row, : len(example.choices)] = torch.tensor([max(1, len(text)) for text in example.choices])
    return scores / lengths


def refuse_unsound(sound: Sequence[bool], examples: Sequence[Example]) -> None:
    """Refuse answers that were taken from no numbers: the largest of some NaN is whichever stands first.

    Args:
        sound: of each example, whether what it is answered by is a number.

    Raises:
        NoNumber: of some it is none.
    """
    if not all(sound):
        raise NoNumber([e.id for e, one in zip(examples, sound, strict=True) if not one], len(examples))


class Evaluator:
    """Scores splits with one tuned model.

    Attributes:
        stopping: whether to stop between two batches (SIGTERM during training).
    """

    stopping: Callable[[], bool] = staticmethod(lambda: False)

    def __init__(
        self, tuned: Any, task: TaskConfig, protocol: ProtocolConfig, runner: RunnerConfig, workers: Workers
    ) -> None:
        self.tuned, self.task, self.protocol, self.runner, self.workers = tuned, task, protocol, runner, workers
        self.kind = kind_of(task)
        self.how = answering(task, protocol, tuned.backbone.facts.family)

    def __call__(self, split: Split) -> Evaluation:
        """Answer the whole split.

        Raises:
            IncompleteEvaluation: the gathered ids are not the split's ids.
            Stopped: `stopping` said so, here or on another process.
        """
        begun = time.monotonic()
        order = sorted(range(len(split.examples)), key=split.lengths.__getitem__)
        batches = [
            order[s : s + self.runner.eval_batch_size] for s in range(0, len(order), self.runner.eval_batch_size)
        ]
        mine = batches[self.workers.rank :: self.workers.count]
        own = self.workers.jointly(lambda: self._answers(split, mine))
        if self.workers.any(self.stopping()):
            raise Stopped(f"stopped while scoring {split.name}; the same command goes on from there")
        answers = sorted(self.workers.gather(own), key=lambda pair: pair[0])
        if [index for index, _ in answers] != list(range(len(split.examples))):
            raise IncompleteEvaluation(
                f"{split.name}: {len(answers)} answers to {len(split.examples)} examples, or some twice"
            )
        return self.evaluation(split, [answer for _, answer in answers], time.monotonic() - begun)

    def evaluation(self, split: Split, answers: Sequence[Answer], seconds: float) -> Evaluation:
        """Score answers that stand in the split's order."""
        golds = [reference_of(self.task, example) for example in split.examples]
        if self.kind.several and self.protocol.answer_length and self.how == "generate":
            golds = [
                [self._decoded(encoded.target)] for encoded in split.encoded
            ]  # the label as the author code reads it
        predictions = [
            Prediction(example.id, answer.prediction, gold, example.group, answer.scores)
            for example, answer, gold in zip(split.examples, answers, golds, strict=True)
        ]
        return Evaluation(
            predictions,
            score(self.task, self.protocol, predictions),
            len(predictions) / max(seconds, 1e-9),
            self._invalid(split, predictions),
        )

    def perfect(self, split: Split) -> Evaluation:
        """What a model would score that answers everything right: the ceiling of the split.

        Below 1 where the gold does not come through the tokenizer and back, does not fit the answer's limit or was
        cut off with its words; 0 where the metric is not defined on this gold (one value alone, no entity).
        """
        answers: list[Any] = []
        for start in range(0, len(split.examples), CEILING_ROWS):
            stop = min(start + CEILING_ROWS, len(split.examples))
            examples = [split.examples[i] for i in range(start, stop)]
            answers += self._right(examples, [split.encoded[i] for i in range(start, stop)])
        return self.evaluation(split, [Answer(answer) for answer in answers], 1.0)

    def ceiling(self, split: Split) -> dict[str, float]:
        """The metrics in which a perfect answer scores below 1, with what it scores."""
        return {metric: value for metric, value in self.perfect(split).metrics.items() if value < 1 - 1e-9}

    def _right(self, examples: Sequence[Example], encoded: Sequence[Encoded]) -> list[Any]:
        """The right answers in the form in which a model can give them."""
        if self.how == "tag":
            return [word_tags(e, e.tags[: len(ids.word_starts)]) for e, ids in zip(examples, encoded, strict=True)]
        if self.how != "generate":
            golds = [reference_of(self.task, example) for example in examples]
            return [gold[0] if isinstance(gold, list) else gold for gold in golds]
        limit, tokenizer = self.max_new_tokens(encoded), self.tuned.backbone.tokenizer
        texts = [self._decoded(ids.target[:limit]) for ids in encoded]
        if self.kind.several:
            own = AnswerEncoder(tokenizer, self.tuned.backbone.facts.family, eos=False)
            texts = [_best(e, text, own, tokenizer, limit) for e, text in zip(examples, texts, strict=True)]
        return [parse_answer(self.task, e, text) for e, text in zip(examples, texts, strict=True)]

    def _answers(self, split: Split, batches: Sequence[Sequence[int]]) -> list[tuple[int, Answer]]:
        """(index, answer) of the examples in some batches."""
        answers: list[tuple[int, Answer]] = []
        self.tuned.eval()
        with (
            self.tuned.backbone.in_step(),
            torch.inference_mode(),
            Ahead[int, Asked](lambda number: self.asked(split, batches[number])) as ahead,
            bar(f"score {split.name}", len(batches), unit="batch", main=self.workers.main, leave=False) as shown,
        ):
            for number, indices in enumerate(batches):
                if self.stopping():
                    break
                following = number + 1 if number + 1 < len(batches) else None
                answers += zip(indices, self.answered(ahead.take(number, following)), strict=True)
                shown.update()
        return answers

    def answer(self, split: Split, indices: Sequence[int]) -> list[Answer]:
        """Answers to some examples of a split, in the order of `indices`."""
        return self.answered(self.asked(split, indices))

    def asked(self, split: Split, indices: Sequence[int]) -> Asked:
        """Some examples of a split as tensors of the host; it follows from the arguments alone."""
        examples = [split.examples[i] for i in indices]
        encoded = [split.encoded[i] for i in indices]
        batch = collated(self.tuned.backbone, encoded, self.workers.device, candidates=self.how == "rank")
        return Asked(examples, encoded, batch)

    def answered(self, asked: Asked) -> list[Answer]:
        """Answers to examples, in their order."""
        examples, encoded, batch = asked.examples, asked.encoded, asked.batch.to(self.workers.device)
        if self.how == "rank":
            return self._chosen(per_unit(self.tuned.rank(batch).cpu(), examples, self.protocol.rank_per), examples)
        if self.how == "classify":
            logits = self.tuned.classify(batch).cpu()
            if self.kind.numbers:
                refuse_unsound(logits.isfinite().all(-1).tolist(), examples)
                return [Answer(value) for value in logits[:, 0].float().tolist()]
            return self._chosen(logits, examples)
        if self.how == "tag":
            logits = self.tuned.tag(batch)
            best = torch.where(logits.isfinite().all(-1), logits.argmax(-1), -1).tolist()
            starts = [[row[start] for start in ids.word_starts] for row, ids in zip(best, encoded, strict=True)]
            refuse_unsound([min(row, default=0) >= 0 for row in starts], examples)
            return [Answer(tags) for tags in self._tags(starts, examples)]
        tokens = self.tuned.generate(batch, self.max_new_tokens(encoded))
        texts = [self._decoded(ids) for ids in tokens]
        return [Answer(parse_answer(self.task, e, text)) for e, text in zip(examples, texts, strict=True)]

    def _chosen(self, scores: torch.Tensor, examples: Sequence[Example]) -> list[Answer]:
        """The best candidate of every row of (B, C), of equal ones the first, with the normalised log-probability of
        each; -inf is none."""
        scores = scores.cpu()  # the one look at the device of a batch
        top = scores.max(-1).values  # NaN where one is
        refuse_unsound(top.isfinite().tolist(), examples)
        best, logs = scores.argmax(-1).tolist(), scores.float().log_softmax(-1).tolist()
        found = []
        for example, index, row in zip(examples, best, logs, strict=True):
            names = example.names or example.choices
            told = {name: round(value, 6) for name, value in zip(names, row, strict=False)}
            # candidates of one name (two options that read the same) cannot be told apart: no scores then
            found.append(Answer(answer_of(self.task, example, index), told if len(told) == len(names) else None))
        return found

    def _decoded(self, ids: Sequence[int]) -> str:
        """Token ids as text, special tokens left out."""
        return decoded(self.tuned.backbone.tokenizer, ids)

    def max_new_tokens(self, encoded: Sequence[Encoded]) -> int:
        """What the task or the protocol says; for a closed label set its longest label."""
        longest = max((len(ids) for e in encoded for ids in e.choices), default=0)
        limit = self.task.max_new_tokens or longest or self.protocol.max_new_tokens or 20
        # the author code's limit counts the decoder's start token
        return min(limit, self.protocol.answer_length - 1) if self.protocol.answer_length else limit

    def _tags(self, best: Sequence[Sequence[int]], examples: Sequence[Example]) -> list[list[str]]:
        """Tag names per word; a word that truncation dropped is tagged O, so that its entities count as missed."""
        names = self.tuned.tag_names
        return [word_tags(e, [names[tag] for tag in row]) for e, row in zip(examples, best, strict=True)]

    def _invalid(self, split: Split, predictions: Sequence[Prediction]) -> float | None:
        """Share of generated answers outside the label set; None where there is no such set."""
        if self.how != "generate" or not self.kind.closed:
            return None
        wrong = [p.prediction not in e.choices for p, e in zip(predictions, split.examples, strict=True) if e.choices]
        return sum(wrong) / max(len(wrong), 1) if wrong else None
