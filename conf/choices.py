"""What can be chosen, and what Hydra composes of a choice: groups with their options, folders of a user's own.

`--config-dir DIR` (any number of times) or $SOFT_PROMPT_BENCH_CONFIG (folders divided as in PATH) adds folders that are
laid out as conf/ is: DIR/method/my_pt.yaml, DIR/task/my/reviews.yaml, DIR/experiment/mine.yaml. Hydra searches them
after conf/. A relative `path:` in a YAML of such a folder is meant from that folder.
"""

from __future__ import annotations

import difflib
import os
import pickle
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from conf.resolve import CONF, ConfigError

ENVIRONMENT = "SOFT_PROMPT_BENCH_CONFIG"
GIVEN: list[str] = []  # folders that this process's command line named (commands that are shown name them again)
NAMELESS = ("experiment=", "+sweep=")
WITH_PATHS = ("method", "backbone")  # groups whose `path` may be relative to the folder of their YAML


def use_folders(given: Sequence[str]) -> None:
    """Add folders of configurations; processes started from here have them too.

    Raises:
        ConfigError: one is not a folder, or has an option that the project has already.
    """
    earlier = [part for part in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if part]
    added = [str(Path(folder).expanduser().resolve()) for folder in given]
    together = os.pathsep.join(dict.fromkeys([*earlier, *added]))
    _checked(together)
    os.environ[ENVIRONMENT] = together
    GIVEN.extend(folder for folder in added if folder not in earlier and folder not in GIVEN)


def take_folders(arguments: Sequence[str]) -> list[str]:
    """The arguments of a script without `--config-dir DIR`, whose folders are used from here on.

    Raises:
        ConfigError: as `use_folders`.
    """
    folders, rest, words = [], [], iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            folders.append(value if equals else next(words, ""))
        else:
            rest.append(word)
    use_folders(folders)
    return rest


def own_folders() -> tuple[Path, ...]:
    """The user's own folders of configurations, in the order in which they are searched.

    Raises:
        ConfigError: as `use_folders`.
    """
    return _checked(os.environ.get(ENVIRONMENT, ""))


@lru_cache(maxsize=16)
def _checked(listed: str) -> tuple[Path, ...]:
    folders = tuple(Path(part).expanduser().resolve() for part in listed.split(os.pathsep) if part)
    problems, seen = [], {group: set(options) for group, options in _groups((CONF,)).items()}
    for folder in folders:
        if not folder.is_dir():
            problems.append(f"--config-dir {folder}: there is no such folder (--config-dir and ${ENVIRONMENT})")
            continue
        for group, options in _groups((folder,)).items():
            if group not in seen:
                problems.append(f"{folder / group}: there is no such group. {nearest(group, seen) or ', '.join(seen)}")
                continue
            problems += [
                f"{folder / group / option}.yaml: {group}={option} is taken already and would not be read; rename it"
                for option in options
                if option in seen[group]
            ]
            seen[group] |= set(options)
    if problems:
        raise ConfigError(problems)
    return folders


def groups() -> Mapping[str, list[str]]:
    """Every config group with its options, own folders included: {"method": ["dept", "dept/m60_r30", ...], ...}."""
    return _groups((CONF, *own_folders()))


@lru_cache(maxsize=64)
def _groups(roots: tuple[Path, ...]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for root in roots:
        for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(("_", "."))):
            options = {str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml")}
            if options:
                found.setdefault(folder.name, set()).update(options)
    return {group: sorted(options) for group, options in sorted(found.items())}


def file_of(group: str, option: str) -> Path | None:
    """The YAML of an option."""
    files = (root / group / f"{option}.yaml" for root in (CONF, *own_folders()))
    return next((file for file in files if file.is_file()), None)


def composed(chosen: Sequence[str]) -> Mapping[str, Any]:
    """What Hydra composes, whole, from choices of groups (defaults lists, inheritance, search path).

    Composed once per distinct choice: the result is shared and must not be changed.

    Args:
        chosen: `group=option`, `+group=option`.

    Raises:
        ConfigError: a YAML cannot be read, or Hydra cannot compose it.
    """
    return _composed(own_folders(), tuple(sorted(chosen)))


READ: dict[tuple[Path, ...], dict[str, bytes]] = {}  # own folders -> what Hydra read (pickled: quick to copy), by path


@lru_cache(maxsize=2048)
def _composed(own: tuple[Path, ...], chosen: tuple[str, ...]) -> dict[str, Any]:
    from hydra import compose, initialize_config_dir
    from hydra._internal import config_loader_impl
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    plain: Any = config_loader_impl.CachingConfigRepository

    class Shared(plain):  # type: ignore[misc]
        """Reads a file once for all compositions. Hydra changes what it composes, so each gets a copy."""

        def load_config(self, config_path: str) -> Any:
            read = READ.setdefault(own, {})
            if config_path not in read:
                read[config_path] = pickle.dumps(self.delegate.load_config(config_path=config_path))
            if config_path not in self.cache:
                self.cache[config_path] = pickle.loads(read[config_path])
            return self.cache[config_path]

    held = GlobalHydra.instance().hydra  # inside a Hydra job there is one already: put it back afterwards
    GlobalHydra.instance().clear()
    try:
        config_loader_impl.CachingConfigRepository = Shared  # type: ignore[misc]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            whole: Any = OmegaConf.to_container(compose("config", [*chosen, *search_path()]))
    except Exception as error:  # whatever a YAML with a mistake makes Hydra, OmegaConf and the YAML reader raise
        raise ConfigError([f"{' '.join(chosen) or 'conf/config.yaml'}: {_of_yaml(error)}"]) from None
    finally:
        config_loader_impl.CachingConfigRepository = plain  # type: ignore[misc]
        GlobalHydra.instance().hydra = held
    for group, option in (text.lstrip("+").split("=", 1) for text in chosen if not text.startswith(NAMELESS)):
        values = whole.get(group)
        if values is not None and not (isinstance(values, dict) and isinstance(values.get("name"), str)):
            raise ConfigError([f"{file_of(group, option)}: this is no {group}: a mapping with a `name` is wanted"])
    _place(whole, own)
    return dict(whole)


def search_path() -> list[str]:
    """The override by which Hydra finds the own folders."""
    places = ",".join("'file://" + str(folder).replace("'", "\\'") + "'" for folder in own_folders())
    return [f"hydra.searchpath=[{places}]"] if places else []


def _place(whole: dict[str, Any], own: Iterable[Path]) -> None:
    """Make the relative paths of own YAMLs absolute."""
    for group in WITH_PATHS:
        values = whole.get(group)
        path = values.get("path") if isinstance(values, dict) else None
        if isinstance(path, str) and not Path(path).expanduser().is_absolute():
            found = next((folder / path for folder in own if (folder / path).exists()), None)
            if found is not None:
                whole[group]["path"] = str(found)


def _of_yaml(error: Exception) -> str:
    """What is wrong with a configuration file, in one line, with its place where that is known."""
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"{mark.name}, line {mark.line + 1}: {getattr(error, 'problem', '') or 'cannot be read'}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def nearest(name: str, names: Iterable[str]) -> str:
    """'Did you mean …?' over whole names and over their last parts."""
    names = sorted(names)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    last = name.split(".")[-1]
    near += [other for other in names if difflib.SequenceMatcher(None, last, other.split(".")[-1]).ratio() > 0.8]
    near = list(dict.fromkeys(near))[:3]
    return f"Did you mean {' or '.join(near)}?" if near else ""
