"""From a method's config to its class, its options, its parameter count and its tensors.

There is no registry: `target` is a dotted class (`methods.dept.DePT`), `path` a Python file anywhere.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from methods.base import Facts, InputMethod, Method, option_defaults

_IDENTITY = (
    "name", "target", "version", "path", "init_from", "init_across", "lr", "init", "init_text", "init_text_eos",
    "options",
)  # fmt: skip
_DOCUMENTATION = (
    "capabilities",
    "defaults_by_family",
    "defaults_by_fidelity",
    "choices",
    "lengths",
    "ranges",
    "space",
    "about",
)
_SOURCES = ("sources", "allow_same_task")  # finished runs whose prompts a method mixes (runners.assemble)
_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "bool": (bool,),
    "None": (type(None),),
}

_MAY_BE_NULL = ("prompt_length",)  # conf/method/own.yaml has it for methods with a prompt; null where there is none

_THE_BACKBONES_OWN = ("forward", "read", "shift", "answered")
_OLD_NAMES = {
    "prompt_vectors": "prompts(source)",
    "offset": "position_offsets(count) or token_offset(embeds)",
    "fold": "done by itself for token_offset",
    "prompt_depends_on_input": "told by the shape of prompts(source): (m, d) shared, (B, m, d) one for each example",
}

NOT_OPTIONS = frozenset((*_IDENTITY, *_DOCUMENTATION, *_SOURCES))
"""Keys of a method's YAML that others read (the runner, the prompt initialiser, the config resolver)."""


class NoMethod(ValueError):
    """A file or a dotted name that holds no method, or more than one."""


class Unloadable(NoMethod):
    """A file that is there and raises when it is loaded."""


def method_class(target: str | None, path: str | None = None) -> type:
    """The class of a method.

    Args:
        target: Dotted class name, for example `methods.dept.DePT`.
        path: A Python file outside the tree; its single `Method` subclass is taken and `target` is not read.

    Raises:
        NoMethod: If there is no such file, or it does not hold exactly one method.
        ValueError: If there is no such module or class.
    """
    if path:
        return _class_in_file(Path(path).expanduser())
    if not target:
        raise ValueError(
            "This method has no class: none and majority train nothing; for a method in a file of yours use "
            "method=own method.path=<file>.py."
        )
    module_name, _, class_name = target.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise  # the module is there, one of its own imports is not: that message is the true one
        raise ValueError(f"method.target={target}: there is no module {module_name!r}.") from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        classes = [n for n, c in vars(module).items() if isinstance(c, type) and c.__module__ == module.__name__]
        near = _near(class_name, classes)
        raise ValueError(f"method.target={target}: {module_name} has no class {class_name!r}{near}.")
    return found


def _class_in_file(path: Path) -> type:
    """The single `Method` subclass that a Python file defines."""
    if not path.is_file():
        raise NoMethod(f"method.path={path}: there is no such file. Give the path of a Python file with one method.")
    name = f"method_from_path_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise NoMethod(f"method.path={path}: not a Python file (its name must end in .py).")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that pickling and inspect find the class
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever stands in a file of one's own
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        line = getattr(error, "lineno", None) or (lines[-1] if lines else None)
        where = f"{path}, line {line}" if line else str(path)
        raise Unloadable(f"method.path={where}: cannot be loaded ({type(error).__name__}: {error}).") from error
    found = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, Method) and c.__module__ == name]
    if len(found) != 1:
        names = ", ".join(sorted(c.__name__ for c in found)) or "none"
        raise NoMethod(f"method.path={path}: exactly one subclass of methods.base.Method is wanted, found {names}.")
    return found[0]


def options_of(method_config: Mapping[str, Any]) -> dict[str, Any]:
    """The method's own options: its config without the keys that others read, and without what is not chosen (null)."""
    named = {**method_config, **(method_config.get("options") or {})}  # `options`: of a method in a user's own file
    return {str(k): v for k, v in named.items() if k not in NOT_OPTIONS and v is not None}


def check(method_config: Mapping[str, Any], facts: Facts, source_length: int | None = None) -> list[str]:
    """Everything that is wrong with a method's config, before any model is loaded; [] = nothing.

    Args:
        method_config: The resolved config of the method group.
        facts: The backbone's facts.
        source_length: The configured source length of the task, in tokens.
    """
    try:
        said = _problems(method_config, facts)
    except NoMethod as error:
        return [str(error)]
    cls, options = _class_of(method_config), options_of(method_config)
    if getattr(cls, "needs_source", False) and not method_config.get("init_from"):
        name = method_config.get("name")
        said.append(f"method={name} starts from another run: give method.init_from=<run id of the source task>.")
    if getattr(cls, "takes_sources", False) and not method_config.get("sources"):
        said.append(
            f"method={method_config.get('name')} mixes the prompts of finished runs: give "
            "method.sources={<name>: <run id>, ...}."
        )
    rows = options.get("max_source_length", option_defaults(cls).get("max_source_length"))
    if getattr(cls, "position_indexed", False) and source_length and isinstance(rows, int) and source_length > rows:
        said.append(
            f"The task's source length is {source_length} tokens, but method.max_source_length={rows}: position "
            f"{rows} and later would have no offset row. Set method.max_source_length={source_length} (it costs "
            "parameters: mind the rank), or shorten task.max_source_length."
        )
    return said


def count(method_config: Mapping[str, Any], facts: Facts) -> int:
    """Trainable parameters by the method's formula (no head, no weights needed)."""
    cls = _class_of(method_config)
    return int(cls.count(options_of(method_config), _facts_for(cls, facts)))  # type: ignore[attr-defined]


def _facts_for(cls: type, facts: Facts) -> Facts:
    """What a method sees: an input-level one stands among embeddings, whose width may not be the hidden size."""
    at_input = getattr(facts, "at_input", None)
    return at_input() if at_input is not None and issubclass(cls, InputMethod) else facts


def budget_note(method_config: Mapping[str, Any], facts: Facts, vectors: int = 100) -> str | None:
    """A sentence where an input-level method costs more than `vectors` prompt vectors (the papers' 100); else None."""
    if not issubclass(_class_of(method_config), InputMethod):
        return None
    total, budget = count(method_config, facts), vectors * _facts_for(_class_of(method_config), facts).width
    if total <= budget:
        return None
    over = f"{100 * (total - budget) / budget:.1f} %"
    return f"{total:,} trainable parameters: {over} over the budget of {vectors} prompt vectors, {budget:,}."


def build(
    method_config: Mapping[str, Any],
    facts: Facts,
    init_rows: Tensor | None = None,
    generator: torch.Generator | None = None,
    sources: Tensor | None = None,
) -> Method:
    """Make the method's tensors.

    Args:
        method_config: The resolved config of the method group.
        facts: The backbone's facts.
        init_rows: (m, d) starting prompt vectors, or None.
        sources: (t, m, d) prompts of finished runs, for a method that takes them.
        generator: A CPU generator; the same seed gives the same tensors on any machine.

    Raises:
        ValueError: If the config is wrong; the message lists every problem.
    """
    problems = _problems(method_config, facts)
    if problems:
        raise ValueError("\n".join(problems))
    cls = _class_of(method_config)
    own = _facts_for(cls, facts)
    more = {"sources": sources} if cls.takes_sources else {}  # type: ignore[attr-defined]
    return cls(own, init_rows=init_rows, generator=generator, **more, **options_of(method_config))


def start_rows(method_config: Mapping[str, Any]) -> int:
    """How many starting rows the method takes; 0 = none."""
    return int(_class_of(method_config).start_rows(options_of(method_config)))  # type: ignore[attr-defined]


def _problems(method_config: Mapping[str, Any], facts: Facts) -> list[str]:
    """What keeps the method's tensors from being made."""
    cls = _class_of(method_config)
    options, defaults = options_of(method_config), option_defaults(cls)
    given = {**method_config, **(method_config.get("options") or {})}
    named = [str(k) for k in given if k not in NOT_OPTIONS and (k in defaults or k not in _MAY_BE_NULL or given[k])]
    said = [] if _takes_any(cls) else [_unknown(cls, k, list(defaults)) for k in named if k not in defaults]
    missing = [k for k, v in defaults.items() if v is inspect.Parameter.empty and k not in options]
    place = (
        "method.options={{{}: <value>}}" if method_config.get("name") == "own" else "a line `{}: <value>` in its YAML"
    )
    said += [f"method.{k} is not set: {cls.__name__} needs it; give it {place.format(k)}." for k in missing]
    said += _never_given(cls, method_config) + _wrong_types(cls, options) + _outside_choices(cls, options)
    said += _past_the_contract(cls)
    # The method's own checks may read any option, so they run on well-named and well-typed ones only.
    return said or list(cls.check(options, _facts_for(cls, facts)))  # type: ignore[attr-defined]


def _never_given(cls: type, method_config: Mapping[str, Any]) -> list[str]:
    """Options under names that others read: the constructor would keep its default, whatever is given."""
    taken = [k for k in option_defaults(cls) if k in NOT_OPTIONS]
    taken += [str(k) for k in method_config.get("options") or {} if k in NOT_OPTIONS and k not in taken]
    return [
        f"method.{k} is read by the bench itself and never given to {cls.__name__}: call that option otherwise"
        for k in taken
    ]


def _past_the_contract(cls: type) -> list[str]:
    """What an input-level method defines that no backbone would call, or that only some would."""
    if not issubclass(cls, InputMethod):
        return []
    name, said = cls.__name__, []
    if kept := [n for n in _THE_BACKBONES_OWN if getattr(cls, n) is not getattr(InputMethod, n)]:
        said.append(
            f"{name} overrides {', '.join(kept)}, which not every family calls; define prompts(source), "
            "position_offsets(count) or token_offset(embeds) instead (methods/base.py, InputMethod)."
        )
    if old := [n for n in _OLD_NAMES if hasattr(cls, n)]:
        told = ", ".join(f"{n} is now {_OLD_NAMES[n]}" for n in old)
        said.append(f"{name} defines what no backbone calls any more: {told} (methods/base.py, InputMethod).")
    return said


def _class_of(method_config: Mapping[str, Any]) -> type:
    return method_class(method_config.get("target"), method_config.get("path"))


def _takes_any(cls: type) -> bool:
    kinds = [p.kind for p in inspect.signature(cls.__init__).parameters.values()]  # type: ignore[misc]
    return inspect.Parameter.VAR_KEYWORD in kinds


def _unknown(cls: type, key: str, known: list[str]) -> str:
    listed = ", ".join(known) or "none"
    return f"method.{key}: {cls.__name__} has no such option{_near(key, known)}. Its options: {listed}."


def _near(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _wrong_types(cls: type, options: dict[str, Any]) -> list[str]:
    """Options whose values are not of the types that the constructor's annotations name."""
    said = []
    for name, parameter in inspect.signature(cls.__init__).parameters.items():  # type: ignore[misc]
        types = [_TYPES.get(part.strip()) for part in str(parameter.annotation).split("|")]
        if name not in options or None in types:
            continue  # not given, or annotated with something richer than the plain types of a YAML
        allowed = tuple(t for some in types if some for t in some)
        value = options[name]
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            said.append(f"method.{name}={value!r}: a value of type {parameter.annotation} is wanted.")
    return said


def _outside_choices(cls: type, options: dict[str, Any]) -> list[str]:
    said = []
    for key, allowed in getattr(cls, "choices", {}).items():
        if key in options and options[key] not in allowed:
            names = [str(value) for value in allowed]
            near = _near(str(options[key]), names)
            said.append(f"method.{key}={options[key]}: allowed are {', '.join(names)}{near}.")
    return said
