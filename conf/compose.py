"""Compose configurations from overrides, and check overrides before anything starts.

Every problem is reported at once, in a sentence with the nearest valid name. Composition by groups is cached, so that
a grid of thousands of points is planned in seconds.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from copy import deepcopy
from functools import cache, lru_cache
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from conf.check import GROUPS as NEEDED
from conf.check import interpolated, needed, quoted
from conf.resolve import CONF, ConfigError, get, put, resolve, with_schema
from conf.schema import Config
from results.identity import flatten, run_id


@cache
def groups() -> dict[str, list[str]]:
    """Every config group with its options, e.g. {"method": ["dept", "dept/m60_r30", ...], ...}."""
    found: dict[str, list[str]] = {}
    for folder in sorted(path for path in CONF.iterdir() if path.is_dir() and not path.name.startswith("_")):
        options = sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml"))
        if options:
            found[folder.name] = options
    return found


def parse(overrides: Sequence[str]) -> tuple[list[Override], list[str]]:
    """Parsed overrides and, for those that cannot be parsed, a sentence each."""
    parser, parsed, problems = OverridesParser.create(), [], []
    for text in overrides:
        try:
            parsed.append(parser.parse_override(text))
        except HydraException:
            problems.append(_unreadable(text))
    return parsed, problems


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
    values = [override for override in parsed if not _is_hydras(override) and override not in chosen]
    wrong = {override.key_or_group: _check_choice(override) for override in chosen}
    problems += [problem for found in wrong.values() for problem in found]
    # a wrong choice is left out and the default stands in, so that the other overrides are checked all the same
    texts = tuple(sorted(str(override.input_line) for override in chosen if not wrong[override.key_or_group]))
    try:
        composed, known = _composed(texts)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError([str(error).split("\n")[0]]) from None
    config = deepcopy(composed)
    for override in values:
        problems += _apply(config, override, known)
    if any("${" in str(value) for _, value in flatten(config)):
        config, found = interpolated(config)
        problems += found
    return config, problems


def typed(resolved: dict[str, Any]) -> Config:
    """The resolved configuration as dataclasses.

    Raises:
        ConfigError: a key that no schema has, or a value of the wrong type.
    """
    # one conversion per group and content: the points of a grid share most of their groups
    parts = {key: json.dumps({key: value}, default=str) for key, value in resolved.items() if key != "method"}
    return Config(method=deepcopy(resolved["method"]), **{key: _typed(text) for key, text in parts.items()})


def _typed(text: str) -> Any:
    """A copy of the value that one key of the whole configuration holds, as its schema's dataclass."""
    return deepcopy(_typed_once(text))


@lru_cache(maxsize=4096)
def _typed_once(text: str) -> Any:
    ((key, value),) = json.loads(text).items()
    try:
        found = OmegaConf.merge(OmegaConf.structured(Config), {key: value})[key]  # type: ignore[index]
        return OmegaConf.to_object(found) if OmegaConf.is_config(found) else found
    except OmegaConfBaseException as error:
        raise ConfigError([_sentence(error)]) from None


def name_run(resolved: dict[str, Any], config: Config) -> tuple[str, str, str]:
    """(run id, data source, declared data revision) of a resolved configuration; loads neither data nor torch."""
    from conf.paths import cache_root
    from tasks.task import data_revision

    source, revision = data_revision(config.task, config.data, cache_root(config))
    return run_id(resolved, revision), source, revision


def _is_hydras(override: Override) -> bool:
    return override.key_or_group.split("/")[0].split(".")[0] == "hydra"


@lru_cache(maxsize=512)
def _composed(chosen: tuple[str, ...]) -> tuple[dict[str, Any], set[str]]:
    """What Hydra composes from choices of groups, and the dotted keys that may be overridden.

    Hydra is asked once per choice, not once per combination: a group's values depend on no other group's choice, and
    what an experiment writes into a group (it comes last) is laid over it.
    """
    pairs = dict(text.lstrip("+").split("=", 1) for text in chosen)
    whole = {group: pairs[group] for group in ("experiment", "sweep") if group in pairs}
    base = tuple(text for text in chosen if text.lstrip("+").split("=", 1)[0] in whole)
    tree, experiment = deepcopy(_hydra_composed(base)), _experiment(pairs.get("experiment"))
    for text in chosen:
        group = text.split("=", 1)[0]
        if text not in base:
            own = deepcopy(_hydra_composed((text,)).get(group))
            laid = OmegaConf.merge(own or {}, experiment.get(group) or {})
            tree[group] = OmegaConf.to_container(laid) if own is not None else None
    for group in [key for key, value in tree.items() if isinstance(value, dict)]:
        tree[group] = with_schema(group, tree[group])
    return tree, {key for key, _ in flatten(tree)} | _branches(tree)


@lru_cache(maxsize=512)
def _hydra_composed(chosen: tuple[str, ...]) -> dict[str, Any]:
    held = GlobalHydra.instance().hydra  # inside a Hydra job there is one already: put it back afterwards
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = hydra_compose("config", list(chosen))
        return OmegaConf.to_container(config)  # type: ignore[return-value]
    finally:
        GlobalHydra.instance().hydra = held


@cache
def _experiment(name: str | None) -> dict[str, Any]:
    """What an experiment writes over the groups that it chose."""
    if name in (None, "null"):
        return {}
    return OmegaConf.to_container(OmegaConf.load(CONF / "experiment" / f"{name}.yaml"))  # type: ignore[return-value]


def _check_choice(override: Override) -> list[str]:
    group, options = override.key_or_group, groups()[override.key_or_group]
    value = override.value()
    if override.is_delete() or (value is None and group in NEEDED):
        return [needed(group)]
    if override.is_sweep_override():
        return [f"{override.input_line}: several values make a sweep; add -m"]
    if value is None or str(value) in options:
        return []
    near = _nearest(str(value), options)
    return [f"{group}={value}: there is no such {group}. {near or 'There are: ' + ', '.join(options[:40])}"]


def _apply(config: dict[str, Any], override: Override, known: set[str]) -> list[str]:
    """Set one value in `config`; returns what is wrong with it."""
    key = override.key_or_group
    if override.is_delete():
        return [f"~{key}: keys cannot be taken away; give another value"]
    if not key:
        return [f"{override.input_line}: no key before the =; write key=value"]
    if key not in known and not _is_open(key):
        return [f"{key}: there is no such key. {_nearest(key, known) or 'See --cfg job for all of them'}"]
    if key.startswith("method.capabilities") and key != "method.capabilities.packs":
        return [f"{key}: what a method can do is said by its YAML and its class; choose another method"]
    if override.is_sweep_override():
        return [_several(override)]
    value = json.loads(json.dumps(override.value(), default=str))
    wrong = _wrong_type(key, value, get(config, key))
    if wrong:
        return [wrong]
    try:
        put(config, key, value)
    except (TypeError, AttributeError):
        return [f"{key}: there is no such key, {key.rpartition('.')[0]} is a value"]
    return []


def _several(override: Override) -> str:
    """A comma makes a sweep of what may be one path: both ways on."""
    ways = quoted(str(override.input_line), lambda tried: OverridesParser.create().parse_override(tried).value())
    return f"{override.input_line}: several values make a sweep; add -m" + (f", or quote it: {ways}" if ways else "")


def _is_open(key: str) -> bool:
    """Keys under which anything may be written: a user's own columns, label words, tuning space."""
    return any(key.startswith(stem) for stem in ("task.columns.", "task.rows.", "backbone.facts.", "sweep."))


def _wrong_type(key: str, value: Any, default: Any) -> str | None:
    if key.startswith("method."):
        if isinstance(default, dict) and not isinstance(value, dict) and value is not None:
            return f"{key}={value!r}: a mapping is wanted, {key}={{{', '.join(f'{name}: ...' for name in default)}}}"
        if default is None or value is None or isinstance(default, dict):
            return None
        fits = isinstance(value, type(default)) and isinstance(value, bool) == isinstance(default, bool)
        if fits or (isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool)):
            return None
        return f"{key}={value!r}: a {type(default).__name__} is wanted (default {default!r})"
    return _misfit(key, json.dumps(value))


@lru_cache(maxsize=4096)
def _misfit(key: str, text: str) -> str | None:
    value = nested = json.loads(text)
    for part in reversed(key.split(".")):
        nested = {part: nested}
    try:
        OmegaConf.merge(OmegaConf.structured(Config), nested)
    except OmegaConfBaseException as error:
        return f"{key}={value!r}: {_sentence(error)}"
    return None


def _sentence(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    where = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("full_key:")), "")
    return lines[0] + (f" ({where})" if where and where not in lines[0] else "")


def _nearest(name: str, names: Iterable[str]) -> str:
    """'Did you mean …?' over whole names and over their last parts."""
    names = sorted(names)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    last = name.split(".")[-1]
    near += [other for other in names if difflib.SequenceMatcher(None, last, other.split(".")[-1]).ratio() > 0.8]
    near = list(dict.fromkeys(near))[:3]
    return f"Did you mean {' or '.join(near)}?" if near else ""


def _branches(config: dict[str, Any]) -> set[str]:
    """Dotted names of inner nodes (they may be overridden whole: `method.lr={prompt:0.1}`)."""
    found: set[str] = set()

    def walk(node: Any, prefix: str) -> None:
        for key, value in node.items():
            if isinstance(value, dict):
                found.add(f"{prefix}{key}")
                walk(value, f"{prefix}{key}.")

    walk(config, "")
    return found | {"task", "method"}


__all__ = ["ConfigError", "compose", "compose_raw", "get", "groups", "name_run", "parse", "typed"]
