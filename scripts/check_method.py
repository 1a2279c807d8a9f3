"""Hold a method to its contract on all three families: `python scripts/check_method.py methods/my_method.py`.

One line for each property, with the families on which it was held; a family that the method refuses is told with
its reason. Exit 0: all hold; 1: one is broken (its name stands in its line and in the last one), also where the method
cannot even be made (the property `made`); 2: there is no such method, or no such option.
Options are set as on run.py: `prompt_length=4 rank=2`.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT), *(p for p in sys.path if p != str(ROOT / "scripts"))]  # scripts/ names some packages
BACKBONES = {"t5": "tiny_t5", "llama": "tiny_llama", "encoder": "tiny_bert"}
SMALL = {"prompt_length": 4, "prefix_length": 3, "rank": 2, "max_source_length": 32, "mlp_width": 8, "bottleneck": 4,
         "hidden": 8}  # fmt: skip


def config_of(file: Path, family: str, options: Sequence[str]) -> dict[str, Any]:
    """The resolved configuration of the method in a file: its own YAML where conf/ has one, else method=own.

    Raises:
        ConfigError: an option is wrong.
    """
    import yaml

    from conf.compose import compose

    target = f"methods.{file.stem}." if file.resolve().parent == ROOT / "methods" else "no target"
    yamls = {p.stem: yaml.safe_load(p.read_text(encoding="utf-8")) for p in (ROOT / "conf/method").glob("*.yaml")}
    names = [name for name, values in sorted(yamls.items()) if str(values.get("target")).startswith(target)]
    common = [f"backbone={BACKBONES[family]}", "data=fixture", "runner=smoke"]
    if names:
        name = file.stem if file.stem in names else names[0]
        given = {o.partition("=")[0] for o in options}
        small = [f"method.{k}={v}" for k, v in SMALL.items() if k in yamls[name] and k not in given]
        chosen = [f"method={name}", *small, *(f"method.{option}" for option in options)]
    else:
        own = ",".join(option.replace("=", ":", 1) for option in options)
        chosen = ["method=own", f"method.path={file.resolve()}", f"method.options={{{own}}}"]
    return dict(compose([*common, *chosen])["method"])


def subject_of(config: dict[str, Any], family: str) -> Any:
    """The method on a tiny backbone, or a list of sentences: why it is refused there."""
    import torch

    from backbones.load import load_backbone
    from backbones.tuned import Tuned
    from conf.compose import compose, typed
    from methods import load
    from runners.promised import Subject, some_sources, stirred
    from tasks.families import family as traits_of

    backbone = typed(compose(["method=pt", f"backbone={BACKBONES[family]}", "data=fixture"])).backbone
    facts = backbone.sizes()
    if refused := load.check(config | {key: config.get(key) or "a run" for key in ("init_from", "sources")}, facts):
        return refused

    def make(seed: int, stir: bool) -> Tuned:
        head = {"n_labels": 3, "head": "sequence", "seed": 7} if not traits_of(family).writes else {}
        bare = load_backbone(backbone, cache_root="unused", **head)  # type: ignore[arg-type]
        method = load.build(
            config, bare.facts, None, torch.Generator().manual_seed(seed), some_sources(config, bare.facts)
        )
        return stirred(Tuned(bare, method)) if stir else Tuned(bare, method)

    return Subject(family, make, load.count(config, facts))


def lines(file: Path, options: Sequence[str]) -> tuple[list[str], list[str]]:
    """What to print, and the names of the broken properties.

    Raises:
        ValueError: the file holds no method, an option is wrong, or no family takes the method.
    """
    from conf.resolve import ConfigError
    from methods.load import NoMethod, Unloadable, method_class
    from runners.promises import PROMISES, broken

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


def main(arguments: Sequence[str]) -> int:
    """Print one line for each property; see the module's text for the exit code."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the models are tiny: more threads wait for each other
    files, options = [a for a in arguments if "=" not in a], [a for a in arguments if "=" in a]
    if len(files) != 1 or files[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if files in (["-h"], ["--help"]) else 2
    file = Path(files[0]).expanduser()
    if not file.is_file():
        print(f"check_method: there is no file {file}; give a Python file with one method", file=sys.stderr)
        return 2
    try:
        told, wrong = lines(file, options)
    except ValueError as error:
        print(f"check_method: {error}", file=sys.stderr)
        return 2
    print("\n".join(told))
    print(f"{file.name}: " + (f"BROKEN: {', '.join(wrong)}" if wrong else f"all {len(told)} lines hold"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
