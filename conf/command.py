"""The command line of run.py: flags, own folders, Hydra's own keys. What nobody knows is said, nothing is ignored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields

from conf.choices import nearest, use_folders
from conf.resolve import ConfigError

# flag -> what it asks for
FLAGS = {
    "-m": "sweep", "--multirun": "sweep", "-r": "run", "--run": "run", "--resolve": "run",
    "-h": "help", "--help": "help",
    "--hydra-help": "hydra", "--info": "hydra", "--version": "hydra", "-sc": "hydra", "--shell-completion": "hydra",
}  # fmt: skip
VALUED = {"-c": "--cfg", "--cfg": "--cfg", "-cd": "--config-dir", "--config-dir": "--config-dir"}
REFUSED = {
    "--config-name": "there is one configuration; make an experiment of yours (--config-dir DIR, experiment=<name>)",
    "--config-path": "add a folder of yours with --config-dir DIR",
    "--experimental-rerun": "a run is named by its configuration: give the same overrides again",
    "--package": "--cfg job shows the whole",
    "--dry-run": "plan=true shows what would run, --cfg job every value",
}
SHORT = {"-cn": "--config-name", "-cp": "--config-path", "-p": "--package"}
SHOWN = ("job", "hydra", "all")
KNOWN = "Flags: -m (a sweep), --cfg job (every value of a run), --config-dir DIR, --help"
HYDRAS = ("hydra/launcher", "hydra.launcher.", "hydra.mode", "hydra.searchpath", "hydra.sweep.dir")


@dataclass
class Command:
    """What a command line asks for.

    Attributes:
        what: run | sweep (-m) | job (--cfg job) | hydra (answered by Hydra) | help.
        overrides: its `key=value` words, without what was settled here (own folders, hydra.mode).
        problems: a sentence for each word that is none of the above.
    """

    what: str = "run"
    overrides: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read(arguments: Sequence[str]) -> Command:
    """Read a command line; own folders (`--config-dir`, `hydra.searchpath`) are in force from here on."""
    asked: list[str] = []
    command, folders = Command(), []
    words = iter(arguments)
    for word in words:
        if not word.startswith("-"):
            command.overrides.append(word)
            continue
        flag, equals, value = word.partition("=")
        if flag in VALUED:
            value = value if equals else next(words, "")
            if VALUED[flag] == "--config-dir":
                folders.append(value)
            elif value in SHOWN:
                asked.append("job" if value == "job" else "hydra")
            else:
                command.problems.append(f"--cfg {value}: shown can be {', '.join(SHOWN)}")
        elif flag in FLAGS and not equals:
            asked.append(FLAGS[flag])
            if flag == "--info":  # Hydra's, with a word of its own
                next(words, None)
        else:
            command.problems.append(_unknown(word))
    command.what = next((what for what in ("help", "hydra", "job", "sweep") if what in asked), "run")
    if "sweep" in asked and command.what == "job":
        command.problems.append("-m --cfg: these are one run's values; leave -m out, or see the grid with plan=true")
    folders += _searched(command)
    try:
        use_folders(folders)
    except ConfigError as error:
        command.problems += error.problems
    command.problems += _of_hydra(command)
    return command


def _unknown(word: str) -> str:
    flag, equals, value = word.partition("=")
    flag = SHORT.get(flag, flag)
    if flag in REFUSED:
        return f"{word}: {REFUSED[flag]}"
    name = flag.lstrip("-").replace("-", "_")
    if equals:
        from conf.schema import Config

        near = nearest(name, [f.name for f in fields(Config)])
        return f"{word}: values are given without dashes, {name}={value}. {near or KNOWN}"
    return f"{word}: there is no such flag. {nearest(flag, [*FLAGS, *VALUED, *REFUSED]) or KNOWN}"


def _searched(command: Command) -> list[str]:
    """The folders of `hydra.searchpath=[...]`, which is then no override any more."""
    from conf.compose import parse

    folders: list[str] = []
    for word in [w for w in command.overrides if w.startswith("hydra.searchpath=")]:
        command.overrides.remove(word)
        parsed, problems = parse([word])
        value = parsed[0].value() if parsed else []
        places = [value] if isinstance(value, str) else value
        if problems or not isinstance(places, list) or not all(isinstance(place, str) for place in places):
            command.problems += problems or [f"{word}: a list of folders is wanted, hydra.searchpath=[DIR]"]
            continue
        for place in places:
            scheme, colon, rest = place.partition("://")
            if colon and scheme != "file":
                command.problems.append(f"{word}: {scheme}:// is not searched; give a folder")
            else:
                folders.append(rest if colon else place)
    return folders


def _of_hydra(command: Command) -> Iterator[str]:
    """What is wrong with the words that are Hydra's own; `hydra.mode` is settled here."""
    launcher = "basic"
    for word in [w for w in command.overrides if w.lstrip("+~").startswith("hydra")]:
        key, _, value = word.partition("=")
        if key == "hydra/launcher":
            launcher = value
            if value not in launchers():
                near = f"{nearest(value, launchers())} Here: {', '.join(launchers())}".strip()
                yield f"{word}: there is no such launcher. {near}"
        elif key == "hydra.mode":
            command.overrides.remove(word)
            if value not in ("RUN", "MULTIRUN"):
                yield f"{word}: RUN or MULTIRUN"
            elif value == "MULTIRUN" and command.what == "run":
                command.what = "sweep"
        elif not any(key == own or (own.endswith(".") and key.startswith(own)) for own in HYDRAS):
            near = nearest(key, HYDRAS) or "A sweep is planned by this project (docs/sweeps.md)."
            yield f"{word}: no such key of Hydra's is taken here. {near} There are {', '.join(HYDRAS)}"
    options = [w for w in command.overrides if w.startswith(("hydra.launcher.", "hydra.sweep.dir"))]
    if launcher == "basic" and options:
        yield f"{options[0]}: the basic launcher has no options; name one with hydra/launcher="


def launchers() -> list[str]:
    """Names of the launchers that are installed; basic runs in this process, without Hydra's."""
    from hydra.core.config_store import ConfigStore
    from hydra.core.plugins import Plugins

    Plugins.instance()
    found = {name.removesuffix(".yaml") for name in ConfigStore.instance().list("hydra/launcher")}
    return sorted(found | {"basic"})
