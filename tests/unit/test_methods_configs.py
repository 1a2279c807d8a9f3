"""The YAML of every method of this package: its keys are its class's, its defaults resolve, its presets compose."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from backbones.config import Facts
from conf.capabilities import capabilities
from conf.resolve import _fill, get
from methods import load
from methods.base import InputMethod, option_defaults
from runners.promised import some_sources
from tests.sizes import BERT_BASE, SMOLLM2, T5_BASE, tiny, wide

FOLDER = Path(__file__).resolve().parents[2] / "conf" / "method"
NAMES = [
    "pt",
    "dept",
    "adept",
    "accept",
    "prefix",
    "apt",
    "residual_pt",
    "spot",
    "ulpt",
    "lopa",
    "idpg",
    "smop",
    "attempt",
]
PRESETS = sorted(str(p.relative_to(FOLDER).with_suffix("")) for name in NAMES for p in FOLDER.glob(f"{name}/*.yaml"))
BACKBONES = {
    "t5_base": T5_BASE,
    "smollm2_135m": SMOLLM2,
    "bert_base": BERT_BASE,
    "llama_2_7b": wide(4096),
    "tiny_t5": tiny(),
    "tiny_llama": tiny("llama", 64),
}


@cache
def composed(choice: str) -> dict[str, Any]:
    with initialize_config_dir(str(FOLDER.parent), version_base="1.3"):
        whole: Any = OmegaConf.to_container(compose(overrides=[f"+method={choice}"]))
    return dict(whole["method"])


def resolved(choice: str, backbone: str, facts: Facts, fidelity: str = "corrected") -> dict[str, Any]:
    config = {**composed(choice)}
    config["lr"] = dict(config["lr"])
    _fill(config, fidelity, backbone, facts.family)
    return config


@pytest.mark.parametrize("name", [*NAMES, "unipelt", "sesom"])
def test_keys_are_the_options_of_the_class(name: str) -> None:
    config = composed(name)
    cls = load.method_class(config["target"])
    own = set(config) - load.NOT_OPTIONS
    assert config["name"] == name and own == set(option_defaults(cls))
    allowed = {key: list(values) for key, values in cls.choices.items()}  # type: ignore[attr-defined]
    listed = {key: values for key, values in config["choices"].items() if key != "init"} if "choices" in config else {}
    assert listed == allowed
    assert set(config["about"]) == {"paper", "defaults", "inference"}


@pytest.mark.parametrize("fidelity", ["author", "corrected"])
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("name", NAMES)
def test_defaults_resolve_for_every_family(name: str, backbone: str, fidelity: str) -> None:
    facts = BACKBONES[backbone]
    config = resolved(name, backbone, facts, fidelity)
    problems = [
        p for p in load.check(config, facts) if "starts from another run" not in p and "mixes the prompts" not in p
    ]
    assert problems == []
    small = facts.width * facts.layers < 20_000
    method = load.build(config, facts, sources=some_sources(config, facts)) if small else None
    groups = set(config["lr"]) - {"head"}
    assert method is None or set(method.groups()) == groups
    rates = [config["lr"][g] for g in groups]
    assert all(isinstance(rate, float) and 0 < rate <= 1 for rate in rates)
    assert (config["lr"]["head"] is not None) == (facts.family == "encoder")
    if "init" in config:
        assert config["init"] in config["choices"]["init"]
        assert ("postive" in config["init_text"]) == (fidelity == "author") == config["init_text_eos"]


@pytest.mark.parametrize("name", NAMES)
def test_dotted_keys_of_the_blocks_exist(name: str) -> None:
    config, absent = composed(name), object()
    blocks = [*config["defaults_by_family"].values(), *config["space"].values()]
    blocks += config.get("defaults_by_fidelity", {}).values()
    assert all(get(config, key, absent) is not absent for block in blocks for key in block)
    assert all(len(values) > 0 for block in config["space"].values() for values in block.values())
    by_fidelity = config.get("defaults_by_fidelity", {})
    assert not by_fidelity or set(by_fidelity) == {"author", "corrected"}
    assert all(config[key] is None for block in by_fidelity.values() for key in block)


def test_quirks_follow_the_fidelity() -> None:
    def quirk(name: str, key: str) -> tuple[Any, Any]:
        return tuple(resolved(name, "bert_base", BERT_BASE, f)[key] for f in ("author", "corrected"))  # type: ignore[return-value]

    for name in ("dept", "accept"):
        assert quirk(name, "row_alignment") == ("right_edge", "source_end")
    for name in ("prefix", "apt"):
        assert quirk(name, "position_shift") == (True, False)
    assert quirk("dept", "offset_scale") == ("alpha_over_sqrt_rank", "alpha_over_sqrt_rank")
    assert quirk("adept", "bottleneck_dropout") == (0.1, 0.0)
    assert quirk("adept", "offset_generated") == (False, True)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_compose_and_change_only_what_they_say(preset: str) -> None:
    base, config = composed(preset.split("/")[0]), composed(preset)
    said = yaml.safe_load((FOLDER / f"{preset}.yaml").read_text())
    said.pop("defaults")
    assert said and config == base | said
    assert load.check(config, BERT_BASE) == []


@pytest.mark.parametrize(
    "preset, total",
    [
        ("pt", 76_800),
        ("dept", 76_800),
        ("dept/m20_r60", 76_800),
        ("dept/m40_r45", 76_800),
        ("dept/m60_r30", 76_800),
        ("dept/m80_r15", 76_800),
        ("dept/m60_r24", 76_800),
        ("adept", 76_051),
        ("adept/m60_r19", 76_051),
        ("adept/m20_r39", 76_071),
        ("adept/m40_r29", 76_061),
        ("adept/m80_r9", 76_041),
        ("accept", 74_880),
        ("accept/m60", 74_880),
        ("accept/m40", 75_456),
        ("accept/m60_scpp", 44_160),
        ("accept/m60_scap", 30_720),
        ("spot", 76_800),
    ],
)
def test_presets_cost_what_they_say(preset: str, total: int) -> None:
    assert load.count(composed(preset), T5_BASE) == total


@pytest.mark.parametrize("length", [8, 20, 40, 128])
def test_the_longer_prefix_costs_what_the_gates_cost(length: int) -> None:
    gated = load.count(composed(f"apt/l{length}"), BERT_BASE)
    assert load.count(composed(f"prefix/l{length * 3 // 2}"), BERT_BASE) == gated - BERT_BASE.layers
    assert load.count(composed(f"prefix/l{length}"), BERT_BASE) * 3 // 2 == gated - BERT_BASE.layers


@pytest.mark.parametrize("name", ["none", "majority"])
def test_methods_that_train_nothing_have_no_options(name: str) -> None:
    assert composed(name) == {"name": name, "target": None, "version": 1, "capabilities": {"trains": False}}


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != "own"))
def test_capabilities_are_those_of_the_class(name: str) -> None:
    config = composed(name)
    said = capabilities(config)
    assert said.trains == bool(config["target"])
    if said.trains:
        cls = load.method_class(config["target"])
        options = set(option_defaults(cls))
        assert said.length == next((key for key in ("prompt_length", "prefix_length") if key in options), None)
        assert said.needs_source == cls.needs_source  # type: ignore[attr-defined]
        # a method of this package that stands in front of the embeddings packs; tests/contract/test_packed.py tries it
        alone = getattr(cls, "answers_together", False)  # several answers to a row
        assert said.packs == (issubclass(cls, InputMethod) and cls.__module__.startswith("methods.") and not alone)
    for key, values in config.get("lengths", {}).items():
        assert key in config and len(values) == len(config["lengths"][said.length])


def test_a_capability_that_is_none_is_said() -> None:
    with pytest.raises(ValueError, match=r"lenght.*there are trains, length"):
        capabilities({"name": "my_pt", "capabilities": {"lenght": "prompt_length"}})
