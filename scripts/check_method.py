"""Hold a method to its contract on all three families: `python scripts/check_method.py methods/my_method.py`.

One line for each property, with the families on which it was held; a family that the method refuses is told with
its reason. Exit 0: all hold; 1: one is broken (its name stands in its line and in the last one), also where the method
cannot even be made (the property `made`); 2: there is no such method, or no such option.
Options are set as on run.py: `prompt_length=4 rank=2`. Its YAML is found in conf/, in a folder of yours around the
file, or by `--config-dir DIR`, and is held against the class as before a run.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT), *(p for p in sys.path if p != str(ROOT / "scripts"))]  # scripts/ names some packages

from results.command_line import command, place  # noqa: E402

if TYPE_CHECKING:
    from conf.schema import Config

BACKBONES = {"t5": "tiny_t5", "llama": "tiny_llama", "encoder": "tiny_bert"}
SMALL = {"prompt_length": 4, "prefix_length": 3, "rank": 2, "max_source_length": 32, "mlp_width": 8, "bottleneck": 4,
         "hidden": 8}  # fmt: skip


def yaml_of(file: Path) -> tuple[str, Path] | None:
    """The option of group `method` that names this file, and its YAML: in conf/, or in a folder laid out as conf/ is.

    Searched are the project's conf/, the folders of `--config-dir` and the two folders around the file.
    """
    import yaml

    from conf.choices import own_folders, use_folders
    from conf.resolve import CONF

    file = file.resolve()
    target = f"methods.{file.stem}." if file.parent == ROOT / "methods" else "no target"
    for folder in dict.fromkeys([CONF, *own_folders(), file.parent, file.parent.parent]):
        found = {}
        for path in sorted((folder / "method").rglob("*.yaml")):
            with suppress(yaml.YAMLError):
                values = yaml.safe_load(path.read_text(encoding="utf-8"))
                values = values if isinstance(values, dict) else {}
                named = Path(str(values.get("path") or "")).expanduser()
                if str(values.get("target")).startswith(target) or (folder / named).resolve() == file:
                    found[str(path.relative_to(folder / "method").with_suffix(""))] = path
        if found:
            if folder not in (CONF, *own_folders()):
                use_folders([str(folder)])
            name = file.stem if file.stem in found else next(iter(found))
            return name, found[name]
    return None


def config_of(file: Path, family: str, options: Sequence[str]) -> Config:
    """The configuration of the method in a file: by its YAML where there is one, else method=own.

    Raises:
        ConfigError: an option is wrong.
    """
    import yaml

    from conf.compose import compose, typed

    known, given = yaml_of(file), dict(option.partition("=")[::2] for option in options)
    length = given.get("max_source_length", SMALL["max_source_length"])
    common = [f"backbone={BACKBONES[family]}", "data=fixture", "runner=smoke", f"runner.max_source_length={length}"]
    if known:
        name, path = known
        has = yaml.safe_load(path.read_text(encoding="utf-8"))
        small = [f"method.{k}={v}" for k, v in SMALL.items() if k in has and k not in given]
        chosen = [f"method={name}", *small, *(f"method.{option}" for option in options)]
    else:
        own = ",".join(option.replace("=", ":", 1) for option in options)
        chosen = ["method=own", f"method.path={file.resolve()}", f"method.options={{{own}}}"]
    return typed(compose([*common, *chosen]))


def subject_of(config: Config, family: str) -> Any:
    """The method on a tiny backbone, or a list of sentences: why a run of it would be refused there."""
    import torch

    from backbones.load import load_backbone
    from backbones.tuned import Tuned
    from methods import load
    from runners.problems import problems_of
    from runners.promised import Subject, some_sources, stirred
    from tasks.families import family as traits_of

    method, facts = config.method, config.backbone.sizes()
    config.method = method | {key: method.get(key) or "a run" for key in ("init_from", "sources")}
    if refused := problems_of(config):
        return refused

    def make(seed: int, stir: bool) -> Tuned:
        head = {"n_labels": 3, "head": "sequence", "seed": 7} if not traits_of(family).writes else {}
        bare = load_backbone(config.backbone, cache_root="unused", **head)  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed(seed)
        made = load.build(method, bare.facts, None, generator, some_sources(method, bare.facts))
        return stirred(Tuned(bare, made)) if stir else Tuned(bare, made)

    return Subject(family, make, load.count(method, facts))


def lines(file: Path, options: Sequence[str]) -> tuple[list[str], list[str]]:
    """What to print, and the names of the broken properties.

    Raises:
        ValueError: the file holds no method, an option is wrong, or no family takes the method.
    """
    from conf.resolve import ConfigError
    from methods.load import NoMethod, Unloadable, method_class
    from runners.promised import PROMISES
    from runners.promises import broken

    found: dict[str, dict[str, str]] = {}
    told = []
    for family in BACKBONES:
        try:
            method_class(None, str(file))
            subject = subject_of(config_of(file, family, options), family)
        except Unloadable as error:
            found[family] = {"made": str(error)}
            continue
        except (ConfigError, NoMethod):
            raise
        except Exception as error:  # of the file itself, or of what its class says of itself
            found[family] = {"made": f"{type(error).__name__}: {error}{_where(error, file)}"}
            continue
        if isinstance(subject, list):
            told.append(f"refused     {family}: {' '.join(subject)}")
        else:
            found[family] = broken(subject)
    if not found:
        raise ValueError("\n".join(told))
    wrong = []
    for name, (text, _) in PROMISES.items():
        held = [family for family, what in found.items() if name == "made" or "made" not in what]
        if not held:
            continue  # nothing could be asked
        bad = [f"{family}: {what[name]}" for family, what in found.items() if name in what]
        wrong += [name] if bad else []
        told.append(f"{'BROKEN' if bad else 'ok':<7} {name:<14} {text} [{', '.join(held)}]")
        told += [f"{'':<8}{line}" for line in bad]
    return told, wrong


def _where(error: Exception, file: Path) -> str:
    """The line of the method's file that an error came from."""
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file.resolve())
    ]
    return f" ({file.name}, line {lines[-1]})" if lines else ""


@command
def main(arguments: Sequence[str]) -> int:
    """Print one line for each property; see the module's text for the exit code."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the models are tiny: more threads wait for each other
    from conf.choices import take_folders

    try:
        arguments = take_folders(arguments)
    except ValueError as error:
        print(f"check_method: {error}", file=sys.stderr)
        return 2
    files, options = [a for a in arguments if "=" not in a], [a for a in arguments if "=" in a]
    if len(files) != 1 or files[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if files in (["-h"], ["--help"]) else 2
    file = place(files[0])
    if not file.is_file():
        what = "a folder" if file.is_dir() else "there is no such file"
        print(f"check_method: {file}: {what}; give a Python file with one method", file=sys.stderr)
        return 2
    with file.open("rb"):
        pass  # whoever may not read it is told so, and no property is broken
    try:
        told, wrong = lines(file, options)
    except ValueError as error:
        print(f"check_method: {error}", file=sys.stderr)
        return 2
    known = yaml_of(file)
    print(
        "\n".join(
            [
                f"options     of {known[1]}" if known else "options     of the class alone (no YAML names this file)",
                *told,
            ]
        )
    )
    print(f"{file.name}: " + (f"BROKEN: {', '.join(wrong)}" if wrong else f"all {len(told)} lines hold"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
