r"""Two questions to the store: does each net still do what its record says, and how do two runs differ?"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from scipy.stats import binomtest, norm

from simadv import evaluation
from simadv.runs import load_data, pick_device
from simadv.specs import EvalSpec
from simadv.store import Run, Store
from simbook.measures.autoattack import AutoAttack

WITHIN = 0.2  # points; float32 on another device rounds a few images the other way


@dataclass(frozen=True)
class Check:
    """One stored accuracy measured again from the stored weights.

    Attributes:
        run, attack: what was measured.
        stored, measured: in percent, under true labels.
    """

    run: str
    attack: str
    stored: float
    measured: float

    @property
    def holds(self) -> bool:
        """Whether the two agree within 0.2 points."""
        return abs(self.stored - self.measured) <= WITHIN + 1e-9


def accuracies(store: Store, run: Run) -> dict[EvalSpec, dict]:
    """Return a run's stored accuracies, clean images first; its other measures are not among them."""
    names = {field.name for field in fields(EvalSpec)}
    records = [record for record in store.evaluations(run) if record["spec"].keys() == names]
    found = {EvalSpec(**record["spec"]): record for record in records}
    return dict(sorted(found.items(), key=lambda pair: (pair[0].attack != "none", pair[0].attack, pair[0].id)))


def counted(store: Store, run: Run) -> dict[EvalSpec | AutoAttack, dict]:
    """Return all of a run's stored measures that count images: its accuracies, then AutoAttack's."""
    names = {field.name for field in fields(AutoAttack)}
    records = [record for record in store.evaluations(run) if record["spec"].keys() == names]
    return accuracies(store, run) | {AutoAttack(**record["spec"]): record for record in records}


def verify(store: Store, *, device: str = "cpu") -> Iterator[Check]:
    """Measure clean and BIM accuracy of every stored run that has its weights again, one by one.

    A run that a reader trained anew hides the published one of its name; that is measured as well, after the others.

    Raises:
        StoreError: a record or its weights are damaged. InputError: the data are not there.
    """
    target = pick_device(device)
    for layer, run in [(store, store.get(run_id)) for run_id in store.ids()] + hidden(store):
        if not run.measurable:
            continue
        model, dataset = layer.model(run, device=target), load_data(run.spec.dataset, target)
        for spec, record in accuracies(layer, run).items():
            if spec.attack != "none" and not spec.attack.startswith("BIM"):
                continue
            x, y = dataset.x_test[: spec.images], dataset.y_test[: spec.images]
            label = f"{run.spec.id} under {spec.attack}"
            again = evaluation.accuracy(model, x, y, spec.attack_on(run.spec), seed=spec.seed, label=label)
            yield Check(run.spec.id, spec.attack, 100 * record["true"] / record["images"], again.percent())


def hidden(store: Store) -> list[tuple[Store, Run]]:
    """Return the runs of lower layers, each with its layer, that one of the same name in the first hides."""
    layers = [Store(root) for root in store.roots[1:]]
    runs = [(layer, layer.get(run_id)) for layer in layers for run_id in layer.ids()]
    return [(layer, run) for layer, run in runs if store.get(run.spec.id).folder != run.folder]


def compare(store: Store, a: Run, b: Run) -> tuple[list[str], pd.DataFrame]:
    """Return how the settings of two runs differ, and their accuracies and costs side by side.

    The table has, for each measure that both have, ours in percent with the 95 % interval of the test set (Wilson),
    the difference in points, and its 95 % interval as if the two test sets were drawn apart. Seconds are subtracted
    where both runs had the same device to themselves.
    """
    first, second = counted(store, a), counted(store, b)
    rows = {}
    for spec in (spec for spec in first if spec in second):
        two = isinstance(spec, EvalSpec) and spec.attack != "none"  # conventions
        for labels in ("true", "predicted")[: 1 + two]:
            pair = [(record[labels], record["images"]) for record in (first[spec], second[spec])]
            name = f"{_name(spec)}, {labels} labels" if two else _name(spec)
            rows[name] = {"A": _percent(*pair[0]), "B": _percent(*pair[1])} | _difference(*pair)
    for name, unit in (("seconds", "s"), ("forward", "passes"), ("backward", "passes")):
        costs = [run.cost[name] for run in (a, b)]
        rows[f"training {name}"] = {"A": f"{costs[0]:.0f} {unit}", "B": f"{costs[1]:.0f} {unit}"}
        rows[f"training {name}"] |= {"A - B": f"{costs[0] - costs[1]:+.0f}", "95 %": ""}
    about = [run.provenance for run in (a, b)]
    devices = [told["device"] + ("" if told["alone"] else ", beside other work") for told in about]
    if devices[0] != devices[1] or about[0]["threads"] != about[1]["threads"] or not about[0]["alone"]:
        rows["training seconds"]["A - B"] = ""
    rows["trained on"] = dict(zip(("A", "B"), devices, strict=True)) | {"A - B": "", "95 %": ""}
    return a.spec.differs(b.spec), pd.DataFrame(rows).T


def _name(spec: EvalSpec | AutoAttack) -> str:
    """Return a measure's attack, with those of its settings that are not the usual ones."""
    known = {field.name: (field.default, getattr(spec, field.name)) for field in fields(spec) if field.name != "attack"}
    own = [f"{name} {value}" for name, (usual, value) in known.items() if value != usual]
    return ", ".join(["Original" if spec.attack == "none" else spec.attack, *own])


def _percent(right: int, images: int) -> str:
    interval = binomtest(right, images).proportion_ci(method="wilson")
    return f"{100 * right / images:.2f} [{100 * interval.low:.2f}, {100 * interval.high:.2f}]"


def _difference(a: tuple[int, int], b: tuple[int, int]) -> dict[str, str]:
    shares = [right / images for right, images in (a, b)]
    variance = sum(p * (1 - p) / images for p, (_, images) in zip(shares, (a, b), strict=True))
    reach = norm.ppf(0.975) * np.sqrt(variance)
    gap = shares[0] - shares[1]
    return {"A - B": f"{100 * gap:+.2f}", "95 %": f"[{100 * (gap - reach):+.2f}, {100 * (gap + reach):+.2f}]"}
