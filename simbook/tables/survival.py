r"""Who survives: what the nets of chapter 7 withstand, attack by attack, and their signs of masked gradients."""

import numpy as np
import pandas as pd

from simadv.specs import EvalSpec, RunSpec
from simadv.store import Run, Store, default
from simbook import chapters
from simbook.measures.four import FOUR
from simbook.measures.survival import Signs, Transfer
from simbook.settings import Settings
from simbook.tables.common import NOT_RUN, Found, by_setting, leading, rate, share_of, title

JUDGES = ("BIM(10,40)", "Madry(20,50)x10", "CW(20,50)", "AutoAttack")  # the three last took no part in any choice
CHANCE = 1.0  # percent of the images: what a weaker attack may find beyond a stronger one before it is a sign
FROM = {"vanilla": "from Vanilla", "bim": "from BIM-Adv"}  # whose examples, by the net that they were made for
ROBUST = 5.0  # percent: a net that the iterated attack leaves with less has nothing to hide


def percent(run: Run | None, spec, store: Store | None) -> float:
    """Return a stored accuracy in percent, NaN where there is none."""
    record = None if run is None else (store or default()).evaluation(run, spec)
    return float("nan") if record is None else 100 * record["true"] / record["images"]


def judged(spec: RunSpec, run: Run | None, store: Store | None) -> dict[str, float]:
    """Return what a run classifies correctly (%) of the slice under each of :data:`JUDGES` that is asked for there."""
    images = chapters.SLICE.get(spec.dataset, 1000)
    judges = [EvalSpec(attack=attack, images=images) for attack in JUDGES if attack != "AutoAttack"]
    return {of.attack: percent(run, of, store) for of in [*judges, *chapters.standard(spec.dataset)]}


def others(settings: Settings, *, store: Store | None = None) -> Found:
    """Return the nets of the other chapters that are tested like these, where they were run."""
    store = store or default()
    return [(spec, run) for spec in chapters.checkpoints(settings) if (run := store.find(spec)) is not None]


def survivors(found: Found, settings: Settings, *, store: Store | None = None) -> pd.DataFrame:
    """Return what each net classifies correctly (%) under each test of a slice, and its signs of masked gradients.

    ``title`` says the rate where there are several, ``seeds`` has what AutoAttack leaves of each seed that it was run
    on; all else is of the first. ``own`` is the column whose examples were made for this net itself.
    """
    store, names = store or default(), titles(found)
    rows = []
    for several in by_setting(found):
        spec, run = several[0]
        images = chapters.SLICE.get(spec.dataset, 1000)
        row = {"dataset": spec.dataset, "title": names[spec], "method": spec.method, "reset": spec.reset}
        row["images"] = images
        row |= judged(spec, run, store)
        row["seeds"] = list(left_of(several, store).values())
        row |= dict.fromkeys(FROM.values(), np.nan)
        sources = chapters.sources(settings, spec.dataset)
        row["own"] = next((FROM[method] for method, source in sources.items() if source == spec), None)
        for method, source in sources.items():
            transfer = Transfer(source=source.id, attack="BIM(10,40)", images=images)
            row[FROM[method]] = percent(run, transfer, store)
        signs = None if run is None else store.evaluation(run, Signs(attack="BIM(10,40)", images=images))
        for name in ("clean", "fgsm", "iterated", "random", "chance", "flat", "unbounded"):
            row[name] = np.nan if signs is None else 100 * signs[name] / signs["images"]
        row["at"] = None if signs is None else [100 * count / signs["images"] for count in signs["at"]]
        left = four(spec, run, store).get("left")
        row["search"] = np.nan if left is None else 100 * (left["fab-t"] - left["square"]) / images
        row["apgd"] = np.nan if left is None else 100 * left["apgd-ce"] / images
        row["fab"] = np.nan if left is None else 100 * (left["apgd-t"] - left["fab-t"]) / images
        rows.append(row)
    return pd.DataFrame(rows)


def titles(found: Found) -> dict[RunSpec, str]:
    """Return the name of each run; with its rate, where a data set's have several."""
    rates = {(spec.dataset, spec.lr) for spec, _ in found}
    several = len(rates) > len({dataset for dataset, _ in rates})
    return {spec: title(spec) + (f", rate {rate(spec.lr)}" if several else "") for spec, _ in found}


def four(spec: RunSpec, run: Run | None, store: Store) -> dict:
    """Return what is stored of a run under AutoAttack, attack by attack; empty where it was not run."""
    records = [store.evaluation(run, measure) for measure in chapters.standard(spec.dataset) if run is not None]
    return next((record for record in records if record is not None), {})


def left_of(several: Found, store: Store | None) -> dict[int, float]:
    """Return what AutoAttack leaves (%) of each of some runs that it was run on, by seed."""
    met = {spec.seed: four(spec, run, store or default()) for spec, run in several}
    return {seed: 100 * of["true"] / of["images"] for seed, of in met.items() if of}


def survivors_shown(table: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return :func:`survivors` of a data set as text to read, with the interval of the test set at the worst."""
    part = table[table.dataset == dataset]
    shown = pd.DataFrame({"net": part.title})
    names = tests(part)
    for name in names:
        values = [NOT_RUN if pd.isna(value) else f"{value:.1f}" for value in part[name]]
        # a net's own examples are BIM(10,40)'s
        shown[head(name)] = ["-" if own == name else value for value, own in zip(values, part.own, strict=True)]
    worst = part[names].min(axis=1)
    shown["worst, 95 %"] = [
        NOT_RUN if pd.isna(value) else "{:.1f} to {:.1f}".format(*interval(value, n))
        for value, n in zip(worst, part.images, strict=True)
    ]
    return shown.set_index("net")


def four_shown(found: Found, dataset: str, *, store: Store | None = None) -> pd.DataFrame:
    """Return what each of AutoAttack's four in turn leaves (%) of the nets that it was run on, as text to read.

    The head of the nets says on how many images, and of which library.
    """
    store, names, rows, about = store or default(), titles(found), {}, {}
    for spec, run in leading(found):
        if spec.dataset == dataset and (record := four(spec, run, store)):
            rows[names[spec]] = {
                name: f"{100 * count / record['images']:.1f}" for name, count in record["left"].items()
            }
            about[f"{record['images']:,} images, {record['library']}"] = None
    rows = rows or {"none yet": dict.fromkeys(("clean", *FOUR), NOT_RUN)}
    return pd.DataFrame(rows).T.rename_axis(", ".join(["net", *about]))


def tests(nets: pd.DataFrame) -> list[str]:
    """Return the columns of :func:`survivors` that are accuracies under a test that is asked for on these data."""
    datasets = nets.dataset.unique()
    asked = {of.attack for dataset in datasets for of in chapters.standard(dataset)}
    others = {FROM[method] for dataset in datasets for method in chapters.sources(Settings(), dataset)}
    known = [name for name in JUDGES if name != "AutoAttack" or name in asked]
    return known + [name for name in FROM.values() if name in others]


def strongest(rows: pd.DataFrame) -> str:
    """Return the strongest attack that is asked for on the data of some rows, the last of :data:`JUDGES`."""
    return [name for name in tests(rows) if name in JUDGES][-1]


def head(attack: str) -> str:
    """Return the head of a column, with a place where a narrow page may break it."""
    return attack.replace("(", " (")


def interval(percents: float, images: int) -> tuple[float, float]:
    """Return the Wilson interval (95 %) of an accuracy, all in percent."""
    return share_of(round(percents * images / 100), images)[1:]


def seen(table: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return in how many images (%) each of Athalye's signs of masked gradients is seen, a row a net.

    Only nets that BIM leaves more than :data:`ROBUST` are there. ``ten starts`` (Madry's attack from ten random points)
    and ``AutoAttack find more``: by so much they leave less than BIM from the image, and ``find less`` more, as
    ``APGD``, the first of AutoAttack's four. ``FAB`` and ``Square find more``: images that withstand those of the four
    that come before and fall to this one; Square follows no gradient.
    """
    part = table[(table.dataset == dataset) & (table.iterated > ROBUST)]
    rows = {}
    for row in part.rename(columns={chapters.STRONGER: "ten", "BIM(10,40)": "once"}).to_dict("records"):
        rows[row["title"]] = {
            "one step beats many": row["iterated"] - row["fgsm"],
            "another net beats its own": row["iterated"] - np.fmin(row["from Vanilla"], row["from BIM-Adv"]),
            "unbounded is not 0": row["unbounded"],
            "chance finds more": row["chance"],
            "more epsilon does not help": max(b - a for a, b in zip(row["at"], row["at"][1:], strict=False)),
            "ten starts find more": row["once"] - row["ten"],
            "AutoAttack finds more": row["once"] - row.get("AutoAttack", np.nan),
            "FAB finds more": row["fab"],
            "Square finds more": row["search"],
            "ten starts find less": row["ten"] - row["once"],
            "APGD finds less": row["apgd"] - row["once"],
            "no gradient": row["flat"],
        }
    return pd.DataFrame(rows).T.rename_axis("net")


def ticks(table: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return :func:`seen` as text: ``no`` is good, a number (%) where a sign concerns more than :data:`CHANCE`."""
    return seen(table, dataset).map(tick)


def shown_signs(table: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return those columns of :func:`ticks` that say something: a sign that some net shows, or that was not run."""
    signs = ticks(table, dataset)
    return signs.loc[:, signs.ne("no").any()]


def unseen(table: pd.DataFrame, dataset: str) -> str:
    """Return the other columns of :func:`ticks`, in words."""
    signs = ticks(table, dataset)
    if signs.empty:
        return f"BIM leaves no net more than {ROBUST:g} %"
    names = signs.columns[signs.eq("no").all()]
    return f"shown by no net: {', '.join(names)}" if len(names) else "each shown by some net"


def tick(percents: float) -> str:
    """Return whether a sign was seen, and if so, in how many of the images (%)."""
    return NOT_RUN if pd.isna(percents) else f"{percents:.1f}" if percents > CHANCE else "no"
