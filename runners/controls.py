"""Controls beside a method (`+sweep=controls`): what a score is worth is seen next to what should not reach it.

shuffled_labels: the method as it is, on training labels permuted by the run's seed (validation and test untouched).
random_prompt: its prompt or prefix drawn at random and left so; on encoders the task head is trained on it.
head_only: the task head alone (`method=head_only`, an ordinary run); encoders.
matched_lora: LoRA at the rank whose trained parameters are nearest to the method's.
"""

from __future__ import annotations

from dataclasses import replace

from conf.capabilities import capabilities
from conf.grid import Chosen
from conf.plan import ONE_POINT, Plan, Point, compose_all, in_order, varying
from conf.schema import Config

DRAWN = ("random", "sampled_vocabulary", "uniform", "normal")  # initialisations that are drawn, not written


def stays_as_drawn(config: Config) -> bool:
    """Whether the method's tensors are never trained."""
    return config.control == "random_prompt"


def trains_something(config: Config) -> bool:
    """Whether there are steps to take: a random prompt on a model that writes has nothing to train."""
    if not capabilities(config.method).trains or config.released.path:
        return False
    return not (stays_as_drawn(config) and config.backbone.traits.writes)


def problems(config: Config) -> list[str]:
    """Why a control makes no sense for a run."""
    control, method = config.control, config.method
    if control is None:
        return []
    said = f"control={control} with method={method['name']}"
    if not capabilities(method).trains or config.released.path:
        return [f"{said}: nothing is trained there, so there is nothing to hold a control against"]
    if control == "matched_lora" and method["name"] != "lora":
        return [f"{said}: this control is LoRA itself: method=lora method.rank=N (+sweep=controls finds the rank)"]
    if control == "random_prompt":
        return _not_random(config, said)
    return []


def _not_random(config: Config, said: str) -> list[str]:
    method = config.method
    if capabilities(method).length is None:
        return [f"{said}: it has no prompt or prefix that could stay random"]
    if method.get("init_from") or method.get("sources"):
        return [f"{said}: it starts from other runs, so its prompt is not random; leave method.init_from out"]
    if method.get("init") is not None and method["init"] not in DRAWN:
        return [
            f"{said}: method.init={method['init']} is not drawn at random; give method.init=sampled_vocabulary "
            "(random tokens) or, where the method has it, method.init=random"
        ]
    return []


def with_controls(plan: Plan) -> Plan:
    """The plan with the controls that its sweep names put beside each of its points.

    A control that makes no sense for a point is left out with a sentence; points of one id stand once.
    """
    if not plan.controls:
        return plan
    notes, problems_, points = list(plan.notes), list(plan.problems), []
    for point in plan.points:
        points.append(point)
        chosen = [more for name in plan.controls if (more := _chosen(name, point, notes)) is not None]
        made, found = compose_all(chosen, plan.launcher == "packed", plan.only_shown)
        points += made
        problems_ += found
    named: dict[str, Point] = {}
    for point in points:
        named.setdefault(_name(point), point)
    distinct = list(named.values())
    notes = [note for note in dict.fromkeys(notes) if note != ONE_POINT or len(distinct) == 1]
    return replace(
        plan, points=in_order(distinct), varying=varying([p.chosen for p in distinct]), notes=notes,
        problems=list(dict.fromkeys(problems_)),
    )  # fmt: skip


def _name(point: Point) -> str:
    """What two equal points share; a point without an id has its choices."""
    return repr(sorted(point.chosen.items())) if point.unreachable else point.run_id


def _chosen(control: str, point: Point, notes: list[str]) -> Chosen | None:
    """The choices of one control beside a point; None (and a note) where it makes no sense."""
    config, name = point.config, point.config.method["name"]
    if config.control is not None or name in ("head_only", "none", "majority"):
        notes.append(f"method={name} has no controls beside it: it is one")
        return None
    rest = {key: value for key, value in point.chosen.items() if key != "method" and not key.startswith("method.")}
    if control == "head_only":
        if config.backbone.traits.writes:
            notes.append(f"head_only left out: {config.backbone.name} answers in words and has no task head")
            return None
        return rest | {"method": "head_only"}
    if control == "matched_lora":
        return _matched(point, rest, notes)
    more: Chosen = {"control": control}
    if control == "random_prompt" and config.method.get("init") not in (None, *DRAWN):
        more["method.init"] = "random" if config.method.get("prefix_length") else "sampled_vocabulary"
    wrong = problems(_as(config, control, more.get("method.init")))
    notes += [f"{control} left out: {text}" for text in wrong]
    return None if wrong else {**point.chosen, **more}


def _as(config: Config, control: str, init: str | None) -> Config:
    method = config.method | ({"init": init} if init else {})
    return replace(config, control=control, method=method)


def _matched(point: Point, rest: Chosen, notes: list[str]) -> Chosen | None:
    """LoRA at the rank of the nearest count, the two counts in a note."""
    from conf.compose import compose
    from conf.grid import texts
    from methods import load

    config, name = point.config, point.config.method["name"]
    if name == "lora":
        notes.append("matched_lora left out beside method=lora: it is LoRA")
        return None
    lora = compose(texts(rest | {"method": "lora"}))["method"]
    try:
        facts = config.backbone.sizes()
        wanted = load.count(config.method, facts)
        rank = nearest_rank(wanted, load.count(lora | {"rank": 1}, facts))
        found = load.count(lora | {"rank": rank}, facts)
    except ValueError as error:
        notes.append(f"matched_lora left out beside method={name}: {error}")
        return None
    if rank > facts.width:
        notes.append(f"matched_lora left out beside method={name}: {wanted:,} parameters are more than any rank has")
        return None
    least = ", the least that LoRA has there" if rank == 1 and found > wanted else ""
    notes.append(
        f"parameter-matched LoRA on {config.backbone.name}: rank {rank} trains {found:,} parameters{least}; "
        f"{name} {wanted:,}"
    )
    alpha = lora["alpha"] / lora["rank"] * rank  # the update's scale stays LoRA's own
    return rest | {"method": "lora", "control": "matched_lora", "method.rank": str(rank), "method.alpha": f"{alpha:g}"}


def nearest_rank(wanted: int, of_one: int) -> int:
    """The rank, from 1, whose count (rank x the count of rank 1) is nearest; of two equally near the smaller."""
    below = max(1, wanted // of_one)
    return below if wanted - below * of_one <= (below + 1) * of_one - wanted else below + 1
