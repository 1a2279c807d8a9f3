"""Compose configurations from overrides: Hydra composes the choice of groups, the values are checked and laid on it.

Every problem is reported at once, in a sentence with the nearest valid name. Hydra composes each distinct choice once
(conf/choices.py), so that a grid of thousands of points is planned in seconds.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import fields, make_dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, get_type_hints

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from conf import choices
from conf.check import GROUPS as NEEDED
from conf.check import interpolated, is_free_text, needed, quoted
from conf.choices import groups, nearest, own_folders
from conf.resolve import DOCUMENTATION, ConfigError, copied, get, put, resolve, with_schema
from conf.schema import Config
from results.identity import flatten, run_id, without_gone

OPEN = ("task.columns.", "task.rows.", "backbone.facts.", "sweep.")  # a user's own columns, sizes, grids
WRITTEN = ("method.capabilities", *(f"method.{block}" for block in DOCUMENTATION))  # said by a YAML, never by a choice


def parse(overrides: Sequence[str]) -> tuple[list[Override], list[str]]:
    """Parsed overrides and, for those that cannot be parsed, a sentence each."""
    parsed, problems = [], []
    for text in overrides:
        try:
            override = _parsed(text)
        except HydraException:
            problems.append(_unreadable(text))
            continue
        if override.key_or_group:
            parsed.append(override)
        else:
            problems.append(f"{text!r} names no key: write key=value")
    return parsed, problems


@lru_cache(maxsize=8192)
def _parsed(text: str) -> Override:
    return OverridesParser.create().parse_override(text)


def _unreadable(text: str) -> str:
    """What is wrong with an override that cannot be parsed; where quoting helps, the quoting that works."""
    ways = quoted(text, lambda tried: OverridesParser.create().parse_override(tried).value())
    if ways:
        return f"{text!r} cannot be read as it stands; quoted it can: {ways}"
    return f"{text!r} is not an override: write key=value (lists as key=[a,b], null as key=null)"


def compose(overrides: Sequence[str]) -> dict[str, Any]:
    """The resolved configuration of one point.

    Raises:
        ConfigError: every problem of the overrides and of the values.
    """
    config, problems = _laid(overrides)
    try:
        resolved = resolve(config)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return resolved


def compose_raw(overrides: Sequence[str]) -> dict[str, Any]:
    """As `compose`, before nulls are filled (with the groups' documentation blocks)."""
    config, problems = _laid(overrides)
    if problems:
        raise ConfigError(problems)
    return config


def _laid(overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """What the overrides compose, those that are wrong left out, and what is wrong with them."""
    parsed, problems = parse(overrides)
    chosen = [override for override in parsed if override.key_or_group in groups()]
    values = [override for override in parsed if not is_hydras(override) and override not in chosen]
    problems += [problem for override in chosen for problem in _check_choice(override)]
    composed, known = _whole(own_folders(), _choices(chosen))
    config = copied(composed)
    for override in values:
        problems += _lay(config, override, known)
    if any("${" in str(value) for _, value in flatten(config)):
        config, found = interpolated(config)
        problems += found
    return config, problems


def has_grid(parsed: Sequence[Override]) -> bool:
    """Whether the experiment that is chosen is a table: a grid of runs."""
    chosen = [override for override in parsed if override.key_or_group in groups()]
    if not any(override.key_or_group == "experiment" for override in chosen):
        return False
    try:
        return _whole(own_folders(), _choices(chosen))[0].get("sweep") is not None
    except ConfigError:
        return False


def is_hydras(override: Override) -> bool:
    """Whether an override is of Hydra itself (its launchers) and no part of a run."""
    return override.key_or_group.split("/")[0].split(".")[0] == "hydra"


def _choices(chosen: Sequence[Override]) -> tuple[str, ...]:
    """Choices as Hydra wants them; wrong ones are left out and the default stands in, so that all else is checked."""
    last = {override.key_or_group: override for override in chosen if not _check_choice(override)}
    # `sweep` stands in no defaults list, and so has a plus
    return tuple(
        f"{'+' if group == 'sweep' else ''}{group}={override.get_value_element_as_str()}"
        for group, override in sorted(last.items())
    )


@lru_cache(maxsize=2048)
def _whole(own: tuple[Path, ...], chosen: tuple[str, ...]) -> tuple[dict[str, Any], frozenset[str]]:
    """A composed choice over its schemas' defaults, and the dotted keys (leaves, branches) that it has."""
    tree = {key: value for key, value in choices.composed(chosen).items() if key != "hydra"}
    for group in [key for key, value in tree.items() if isinstance(value, dict)]:
        tree[group] = with_schema(group, tree[group])
    return tree, frozenset({key for key, _ in flatten(tree)} | _branches(tree))


def _branches(node: Mapping[str, Any], prefix: str = "") -> set[str]:
    """Dotted names of inner nodes (values may be laid on them: `method.lr={prompt:0.1}`)."""
    found: set[str] = set()
    for key, value in node.items():
        if isinstance(value, dict):
            found |= {f"{prefix}{key}"} | _branches(value, f"{prefix}{key}.")
    return found


def wrong_sign(override: Override) -> str | None:
    """What is wrong with an override before its value is looked at: `~`, `+` where something is, `@package`."""
    key, line = override.key_or_group, str(override.input_line)
    if not key or override.package is not None:
        return f"{line}: write key=value"
    if key in groups():
        plus = "+" if key == "sweep" else ""
        if override.is_delete():
            return needed(key) if key in NEEDED else f"{line}: nothing can be taken away; {plus}{key}=null chooses none"
        given = override.is_add() or override.is_force_add()
        return f"{line}: write {plus}{line.lstrip('+')}" if given != bool(plus) else None
    if override.is_delete():
        return f"{line}: nothing can be taken away; give another value, {key}=..."
    return f"{line}: write {line[1:]}" if override.is_add() and not key.startswith(OPEN) else None


def _check_choice(override: Override) -> list[str]:
    group, line = override.key_or_group, str(override.input_line)
    options = groups()[group]
    if wrong := wrong_sign(override):
        return [wrong]
    if override.is_sweep_override():
        return [f"{line}: several values make a sweep; add -m"]
    value = override.value()
    if value is None:
        return [needed(group)] if group in NEEDED else []
    if isinstance(value, str | int | float) and str(value) in options:
        return []
    near = nearest(str(value), options)
    return [f"{group}={value}: there is no such {group}. {near or 'There are: ' + ', '.join(options[:40])}"]


def _lay(config: dict[str, Any], override: Override, known: frozenset[str]) -> list[str]:
    """Lay one value on `config`, mappings key by key, as Hydra does; returns what is wrong with it."""
    key = override.key_or_group
    rate_of_own = key.startswith("method.lr.") and get(config, "method.name") == "own"  # its groups are in its own file
    if key not in known and not key.startswith(OPEN) and not rate_of_own:  # with a sign or without
        return [f"{key}: there is no such key. {_cure(key, known, str(get(config, 'method.name')))}"]
    if wrong := wrong_sign(override):
        return [wrong]
    if key != "method.capabilities.packs" and any(f"{key}.".startswith(f"{stem}.") for stem in WRITTEN):
        return [f"{key}: this is said by the method's YAML, not by a choice"]
    if override.is_sweep_override():
        return [_several(override)]
    value = json.loads(json.dumps(override.value(), default=str))
    before = get(config, key)
    fitted, wrong = _fitting(key, value, before)
    if wrong:
        return [wrong]
    if isinstance(fitted, str) and not isinstance(value, str) and is_free_text(Config, key):
        return [_no_text(override)]
    value = fitted
    unknown = _unknown(key, value, before)
    if unknown:
        return unknown
    try:
        put(config, key, _merged(before, value))
    except (TypeError, AttributeError):
        return [f"{key}: there is no such key, {key.rpartition('.')[0]} is a value"]
    return []


def _cure(key: str, known: frozenset[str], method: str) -> str:
    """What to do about a key that is not there; a method's YAML is what says which of them it has."""
    near = nearest(key, known) or "See --cfg job for all of them"
    group, _, name = key.removeprefix("method.").rpartition(".")
    if not key.startswith("method.") or group not in ("", "lr"):
        return near
    if group:
        return f"{near} (a parameter group of your own has a line `{name}: <rate>` under `lr` in {method}.yaml)"
    place = f"method.options={{{name}: <value>}}" if method == "own" else f"a line `{name}: <value>` in {method}.yaml"
    return f"{near} (an option of a class of your own has {place})"


def _unknown(key: str, value: Any, before: Any) -> list[str]:
    """Keys of a mapping that the mapping which it is laid on has not (`method.lr={promt:0.1}`)."""
    if not (key.startswith("method.") and isinstance(value, dict) and isinstance(before, dict) and before):
        return []
    what = "learning rate" if key == "method.lr" else "key"
    return [
        f"{key}.{name}: there is no such {what}. {nearest(name, before) or 'There are: ' + ', '.join(before)}"
        for name in map(str, value)
        if name not in before
    ]


def _merged(before: Any, value: Any) -> Any:
    if not (isinstance(before, dict) and isinstance(value, dict)):
        return value
    return before | {key: _merged(before.get(key), inner) for key, inner in value.items()}


def _several(override: Override) -> str:
    """A comma makes a sweep of what may be one path: both ways on."""
    ways = quoted(str(override.input_line), lambda tried: OverridesParser.create().parse_override(tried).value())
    return f"{override.input_line}: several values make a sweep; add -m" + (f", or quote it: {ways}" if ways else "")


def _fitting(key: str, value: Any, default: Any) -> tuple[Any, str | None]:
    """The value as its key has it (the text '5' of a number is 5), and what is wrong with it."""
    if not key.startswith("method."):
        fitted, wrong = _of_schema(key, json.dumps(value))
        return (value if isinstance(value, dict | list) else fitted), wrong
    if isinstance(default, dict):
        if isinstance(value, dict):
            return value, None
        names = ", ".join(f"{name}: ..." for name in default)
        return value, f"{key}={value!r}: a mapping is wanted, {key}={{{names}}}"
    if default is None or (isinstance(value, str) and "${" in value):
        return value, None
    fits = isinstance(value, type(default)) and isinstance(value, bool) == isinstance(default, bool)
    if fits or (isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool)):
        return value, None
    return (
        value,
        f"{key}={'null' if value is None else repr(value)}: a {type(default).__name__} is wanted ({default!r} now)",
    )


def _no_text(override: Override) -> str:
    """Where a name or a path is wanted a number would be taken by its digits (1e5 as 100000.0)."""
    line, key = str(override.input_line), override.key_or_group
    given = line.partition("=")[2]
    what = "true or false" if isinstance(override.value(), bool) else "a number"
    path = f"; a file or folder of that name is {key}=./{given}" if key.endswith((".root", ".path")) else ""
    way = quoted(line, lambda tried: OverridesParser.create().parse_override(tried).value())
    return f"{line}: text is wanted, and this reads as {what}{path or f'; quoted it is text: {way}'}"


@cache
def _slot(key: str) -> DictConfig:
    """The schema of one key of the whole configuration, the others left out (a copy of all costs 20 ms)."""
    hint = get_type_hints(Config).get(key)
    if hint is None:
        raise ConfigError([f"{key}: there is no such key. {nearest(key, [f.name for f in fields(Config)])}"])
    return OmegaConf.structured(make_dataclass("Slot", [(key, hint, MISSING)]))  # type: ignore[no-any-return]


@lru_cache(maxsize=4096)
def _of_schema(key: str, text: str) -> tuple[Any, str | None]:
    value = nested = json.loads(text)
    for part in reversed(key.split(".")):
        nested = {part: nested}
    try:
        merged = OmegaConf.merge(_slot(key.split(".")[0]), nested)
        return (value if "${" in text else OmegaConf.select(merged, key)), None
    except OmegaConfBaseException as error:
        return value, f"{key}={'null' if value is None else repr(value)}: {_sentence(error)}"


def typed(resolved: dict[str, Any]) -> Config:
    """The resolved configuration as dataclasses.

    Raises:
        ConfigError: a key that no schema has, or a value of the wrong type.
    """
    # one conversion per group and content: the points of a grid share most of their groups
    parts = {key: json.dumps({key: value}, default=str) for key, value in resolved.items() if key != "method"}
    return Config(method=copied(resolved["method"]), **{key: _typed(text) for key, text in parts.items()})


def typed_record(config: dict[str, Any]) -> Config:
    """As `typed`, of the configuration that a record holds: options that are gone since are left out."""
    return typed(without_gone(config))


def _typed(text: str) -> Any:
    """A copy of the value that one key of the whole configuration holds, as its schema's dataclass."""
    return pickle.loads(_typed_once(text))


@lru_cache(maxsize=4096)
def _typed_once(text: str) -> bytes:
    """Pickled, which is the quickest copy of a dataclass."""
    ((key, value),) = json.loads(text).items()
    try:
        found = OmegaConf.merge(_slot(key), {key: value})[key]  # type: ignore[index]
        return pickle.dumps(OmegaConf.to_object(found) if OmegaConf.is_config(found) else found)
    except OmegaConfBaseException as error:
        raise ConfigError([_sentence(error)]) from None


def name_run(resolved: dict[str, Any], config: Config) -> tuple[str, str, str]:
    """(run id, data source, declared data revision) of a resolved configuration; loads neither data nor torch."""
    from conf.paths import cache_root
    from tasks.task import data_revision

    source, revision = data_revision(config.task, config.data, cache_root(config))
    return run_id(resolved, revision), source, revision


def _sentence(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    where = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("full_key:")), "")
    return lines[0] + (f" ({where})" if where and where not in lines[0] else "")
