r"""The tables of the cost page: passes, what ``make bench`` measured (``bench/results``), and Table 5 of the paper."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from simadv.runs import passes_per_image
from simadv.specs import DATASETS, TRAINING_IMAGES, run_spec
from simbook import paper
from simbook.settings import Settings
from simbook.tables.common import NAMES, NOT_RUN, short, title

RESULTS = Path(__file__).resolve().parents[2] / "bench" / "results"
METHODS = ("vanilla", "fgsm", "rfgsm", "free", "atda", "sim", "bim", "madry")
TIMED = ("free", "atda", "sim", "bim")  # the rows of Table 5
CYCLE = 20  # epochs: SIM(10,20) ends at full strength after whole cycles alone
NETS = {"lenet": "LeNet-5", "resnet20": "ResNet-20"}
Parts = dict[str, list[dict]]


def parts(folder: Path = RESULTS) -> Parts:
    """Return what was measured, by the name of the part: one record for each device that it was taken on."""
    found: Parts = {}
    for path in sorted(folder.glob("*.json")):
        for name, part in json.loads(path.read_text(encoding="utf-8")).items():
            found.setdefault(name, []).append(part)
    return found


def datasets(settings: Settings) -> tuple[str, ...]:
    """Return the data sets of Table 5 to show; all of them where a reader has chosen none of them."""
    return tuple(name for name in settings.datasets if name in paper.DATASETS) or paper.DATASETS


def card(found: Parts) -> pd.DataFrame:
    """Return where and when each part was measured, and whether the device had nothing else to do."""
    names = ("attacks", "training", "growth", "floors", "gpu")
    rows = {name: part["about"] for name in names for part in found.get(name, [])}
    table = pd.DataFrame(rows).T.reindex(names, columns=["device", "threads", "alone", "torch", "date", "commit"])
    table["commit"] = table.commit.map(short, na_action="ignore")
    table["alone"] = table.alone.map({True: "yes", False: "no: beside other work"})
    return table.fillna(NOT_RUN).rename_axis("part")


def by_device(records: list[dict], rows: Callable[[dict], pd.DataFrame]) -> pd.DataFrame:
    """Return ``rows`` of the records of one part below each other, the device named; one line where there are none."""
    if not records:
        return pd.DataFrame({"measured": [NOT_RUN]}, index=pd.Index(["-"], name="device"))
    return pd.concat({part["about"]["device"]: rows(part) for part in records}, names=["device"])


def passes(dataset: str = "mnist") -> pd.DataFrame:
    """Return the gradient passes of each method: an image and epoch, in F, and as multiples of Vanilla's and SIM's."""
    specs = {name: run_spec(dataset, name) for name in METHODS}
    counts = {name: [n / (spec.m or 1) for n in passes_per_image(spec)] for name, spec in specs.items()}
    table = pd.DataFrame(counts, index=["forward", "backward", "to the weights"]).T
    table["F"] = table.sum(axis=1)
    table["of Vanilla's"], table["of SIM's"] = table.F / table.F["vanilla"], table.F / table.F["sim"]
    whole = dict.fromkeys(["forward", "backward", "to the weights", "F"], int)
    return table.astype(whole).set_axis([title(spec) for spec in specs.values()]).rename_axis("method").round(2)


def training(part: dict) -> pd.DataFrame:
    """Return seconds an epoch, as multiples of Vanilla's, beside what the passes predict, for both nets.

    Columns: ``method`` as the code calls it, ``batch``, ``images`` and ``rounds`` that were timed, ``seconds`` (of as
    many images as the data set has), ``spread``, ``over``, ``predicted``, ``dearer``; labels: ``net``, and the method
    as the paper writes it.
    """
    frames = {}
    for net, found, images in (("LeNet-5", part, 60_000), ("ResNet-20", part["resnet20"], 50_000)):
        rows = pd.DataFrame(found["rows"]).rename(columns={"over_vanilla": "over"})
        rows["images"] = found["settings"]["images"]
        rows["seconds"] = rows["median"] * images / rows["images"]
        names = [title(run_spec("mnist", method)) + ", a replay" * (method == "free") for method in rows.method]
        frames[net] = rows.set_index(pd.Index(names, name="trained with"))
    table = pd.concat(frames, names=["net"])
    table["dearer"] = table.over / table.predicted
    return table[["method", "batch", "images", "rounds", "seconds", "spread", "over", "predicted", "dearer"]]


def training_shown(part: dict) -> pd.DataFrame:
    """Return :func:`training` as a table to read."""
    table = training(part)
    timed = table.groupby(level="net").first()
    names = {row.Index: f"{row.Index} ({row.images:,} images, {row.rounds} rounds)" for row in timed.itertuples()}
    table = table.rename(index=names, level="net")
    shown = pd.DataFrame({"batch": table.batch, "seconds an epoch": table.seconds.round(2)})
    shown["spread"] = table.spread.map("{:.0%}".format)
    shown["over Vanilla"], shown["passes predict"] = table.over.round(2), table.predicted.round(2)
    return shown.assign(**{"over what they predict": table.dearer.round(2)})


def seconds_of(found: Parts, dataset: str, *, alone: bool = False, batch: int | None = None) -> dict[str, float]:
    """Return our seconds an epoch of Table 5's methods, see :func:`timed`."""
    return timed(found, dataset, alone=alone, batch=batch).seconds.to_dict()


def timed(
    found: Parts, dataset: str, *, alone: bool = False, batch: int | None = None, methods: Sequence[str] = TIMED
) -> pd.DataFrame:
    """Return ``seconds`` an epoch of some methods and their ``spread``, on the first device that was measured.

    Args:
        alone: leave out what was measured beside other work.
        batch: images a batch, by default each method's own.
        methods: by default those of Table 5.
    """
    records = [part for part in found.get("training", []) if part["about"]["alone"] or not alone]
    if not records:
        return pd.DataFrame(columns=["seconds", "spread"], dtype=float)
    net, scale = ("ResNet-20", 1) if dataset == "cifar10" else ("LeNet-5", TRAINING_IMAGES[dataset] / 60_000)
    rows = training(records[0]).loc[net].set_index(["method", "batch"])[["seconds", "spread"]]
    own = [(method, batch or run_spec(dataset, method).batch_size) for method in methods]
    return rows.reindex(own).set_index(pd.Index(methods)).assign(seconds=lambda table: table.seconds * scale)


def table5(found: Parts, settings: Settings) -> pd.DataFrame:
    """Return Table 5: the paper's seconds in all and their ratios to SIM-Adv's, beside passes and our own seconds.

    Ours are seconds an epoch times the epochs that fit the paper's times, or those that a reader asks for.
    """
    rows = []
    for dataset in datasets(settings):
        epochs, ours = settings.epochs or DATASETS[dataset]["epochs"], seconds_of(found, dataset)
        for method in TIMED:
            spec = run_spec(dataset, method)
            printed = {name: paper.TABLE5[name][dataset] for name in (method, "sim")}
            units = {name: f_of(dataset, name) for name in (method, "sim")}
            row = {"data set": NAMES[dataset], "method": title(spec), "the paper, s": f"{printed[method]:.2f}"}
            row |= {"ours, s": f"{epochs * ours[method]:.0f}" if ours else NOT_RUN}
            row |= {"of SIM's: the paper": f"{printed[method] / printed['sim']:.2f}"}
            row |= {"passes": f"{units[method] / units['sim']:.2f}"}
            rows.append(row | {"ours": f"{ours[method] / ours['sim']:.2f}" if ours else NOT_RUN})
    return pd.DataFrame(rows).set_index(["data set", "method"])


def f_of(dataset: str, method: str) -> float:
    """Return the F of an image and epoch: forwards, backwards, and once more for each that reaches the weights."""
    spec = run_spec(dataset, method)
    return sum(passes_per_image(spec)) / (spec.m or 1)


def steps_that_fit(ratio: float, overhead: float = 0.0) -> float:
    """Return the n2 of BIM-Adv whose time is ``ratio`` times SIM-Adv's, where an image costs ``overhead`` F besides."""
    return (ratio * (8 + overhead) - overhead - 6) / 2


def overhead_that_fits(ratio: float, n2: int) -> float:
    """Return how many F an image must cost besides its passes for BIM(n1,n2)-Adv to take ``ratio`` times SIM-Adv's."""
    return (2 * n2 + 6 - 8 * ratio) / (ratio - 1)


def explained(settings: Settings, steps: tuple[int, ...] = (10, 15, 20, 30)) -> pd.DataFrame:
    """Return what would make the paper's ratio of BIM-Adv's time to SIM-Adv's: fewer steps, or time besides passes."""
    rows = {}
    for dataset in datasets(settings):
        ratio = paper.TABLE5["bim"][dataset] / paper.TABLE5["sim"][dataset]
        row = {"BIM / SIM": f"{ratio:.2f}", "n2 by passes alone": f"{steps_that_fit(ratio):.1f}"}
        for n2 in steps:
            needed = overhead_that_fits(ratio, n2)
            row[f"n2 = {n2}: F besides"] = f"{needed:.1f}" if needed >= 0 else "impossible"
        rows[NAMES[dataset]] = row
    return pd.DataFrame(rows).T.rename_axis("data set")


def whole_epochs(dataset: str, *, most: int = 200) -> list[int]:
    """Return the multiples of a cycle by which the times of SIM-Adv, ATDA and BIM-Adv are whole milliseconds."""
    totals = [round(1000 * paper.TABLE5[method][dataset]) for method in ("sim", "atda", "bim")]
    return [n for n in range(CYCLE, most + 1, CYCLE) if not any(total % n for total in totals)]


def an_epoch(settings: Settings) -> pd.DataFrame:
    """Return the paper's seconds an epoch at the number of epochs that fits, and the numbers that fit at all."""
    rows = {}
    for dataset in datasets(settings):
        fits = whole_epochs(dataset)
        row = {"epochs that fit": ", ".join(map(str, fits)), "taken": DATASETS[dataset]["epochs"]}
        row |= {
            f"{method}, s an epoch": f"{paper.TABLE5[method][dataset] / DATASETS[dataset]['epochs']:.3f}"
            for method in ("atda", "sim", "bim")
        }
        row["free, s an epoch: not whole"] = f"{paper.TABLE5['free'][dataset] / DATASETS[dataset]['epochs']:.5f}"
        rows[NAMES[dataset]] = row
    return pd.DataFrame(rows).T.rename_axis("data set")


def attackers(part: dict) -> pd.DataFrame:
    """Return images a second of each attacker, robust accuracy, and how many examples are the same as ours."""
    table = pd.DataFrame(part["rows"]).set_index("attacker")
    shown = pd.DataFrame({"images a second": table.images_per_second.round(0).astype(int)})
    shown["spread"], shown["robust (%)"] = table.spread.map("{:.0%}".format), table.robust.round(2)
    same = {name: f"{found['images']:.2f}" for name, found in part["agreement"].items()}
    shown["same as our float32 (% of images)"] = [same.get(name, "-") for name in shown.index]
    return shown


def alike(part: dict) -> pd.DataFrame:
    """Return in how many percent of the images two attackers of one net, in float32, make the same example."""
    names = {name: name.removesuffix(", plain net") for name in part["agreement_on_plain_net"]}
    table = pd.DataFrame(part["agreement_on_plain_net"]).T.map(lambda same: same["images"], na_action="ignore")
    table = table.rename(index=names, columns=names).map("{:.2f}".format).replace("nan", "-")
    return table.rename_axis(index="same to 1e-6 (% of images)")


def growth(part: dict) -> pd.DataFrame:
    """Return seconds and the memory that a call adds, as images and as steps grow, with the fitted powers."""
    frames = {}
    for what, name in (("images", "SIM epoch, images"), ("n2", "BIM(10,n2), n2")):
        rows = pd.DataFrame(part[what]["rows"]).set_index("size")
        shown = pd.DataFrame({"seconds": rows["median"], "MiB more": (rows.memory / 2**20).round(1)})
        powers = [
            f"{part[what][key]:.2f}" if key in part[what] else "-" for key in ("time_exponent", "memory_exponent")
        ]
        frames[f"{name} (powers: time {powers[0]}, memory {powers[1]})"] = shown
    return pd.concat(frames, names=["what grows"])


def floors(part: dict) -> pd.DataFrame:
    """Return the arithmetic and the bytes of a gradient pass, the floors that they give, and our multiple."""
    table = pd.DataFrame(part["rows"]).replace({"net": NETS}).set_index(["net", "precision"])
    shown = pd.DataFrame({"MFLOP an image": table.flops_an_image / 1e6, "kB an image": table.bytes_an_image / 1e3})
    shown = shown.round(2).assign(batch=table.batch)
    for name, column in (("arithmetic", "arithmetic_seconds"), ("memory", "memory_seconds"), ("ours", "seconds")):
        shown[f"{name}, ms"] = (1000 * table[column]).round(2)
    return shown.assign(**{"times the larger floor": table.times_the_floor.round(1)})


def training_of(found: Parts) -> pd.DataFrame:
    """Return :func:`training` of the first device that was measured; empty where none was."""
    return training(found["training"][0]) if "training" in found else pd.DataFrame()


def speeds_of(found: Parts) -> pd.DataFrame:
    """Return ``attacker`` and ``speed``, images a second, of the first device that was measured."""
    rows = found["attacks"][0]["rows"] if "attacks" in found else []
    return pd.DataFrame([(row["attacker"], row["images_per_second"]) for row in rows], columns=["attacker", "speed"])


def figure_rows(timed: pd.DataFrame, speeds: pd.DataFrame) -> pd.DataFrame:
    """Return what the figure shows in one frame: epochs, then attackers."""
    return pd.concat([timed.reset_index(), speeds], ignore_index=True)


def step(part: dict) -> pd.DataFrame:
    """Return the shares of a SIM epoch, and what the first convolution's way back to the image adds to a pass."""
    names = {"rest": "all the rest", "examples": "of that, to read, move and store the carried examples"}
    shares = {f"{names.get(name, name)} (% of a SIM epoch)": value for name, value in part["sim_step"].items()}
    shares["first convolution: a pass to the image is dearer by (%)"] = part["first_layer"]["dearer_percent"]
    return pd.Series(shares, name="LeNet-5").round(1).to_frame().rename_axis("share")


def over_fastest(part: dict) -> pd.DataFrame:
    """Return how many times the speed of the fastest library ours has, with the libraries on either net."""
    rows = {
        f"libraries on the {net}": {"fastest": found["fastest"].split(",")[0]}
        | {name: round(value, 2) for name, value in found["times"].items()}
        for net, found in part["ours_over_fastest"].items()
    }
    return pd.DataFrame(rows).T.rename_axis("ours over the fastest")


def gpu(part: dict) -> pd.DataFrame:
    """Return seconds an epoch on a GPU beside the goals, as multiples of ours, and whether the bits are the same."""
    rows = pd.DataFrame(part["rows"]).set_index("epoch")
    shown = pd.DataFrame({"seconds": rows["median"].round(3), "goal": rows.goal_seconds})
    for name in ("over_ours", "same_bits"):
        shown[name.replace("_", " ")] = rows.get(name)
    return shown.astype(object).where(shown.notna(), "-")
