r"""The tables of chapter 7: labels, resets, the fewest passes to a bar, who survives, and how stale a gradient is."""

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from simadv import paper
from simadv.runs import passes_per_image
from simadv.specs import EvalSpec, RunSpec
from simadv.store import Run, Store, default
from simbook import chapters
from simbook.measures.survival import Signs, Staleness, Transfer
from simbook.settings import EvaluationSettings
from simbook.tables import sim_adv
from simbook.tables.common import NAMES, NOT_RUN, Found, title

BARS = (85.0, 90.0)  # percent under the monitor's BIM
POLICIES = ("cycle", "staggered", "random", "never")
COLUMNS = ["dataset", "run", "title", "method", "n1", "reset", "lr", "epoch", "F", "clean", "robust"]


def table_rows(settings, *, store: Store | None = None) -> Found:
    """Return the runs of chapter 6's tables, to look at their labels."""
    store, of = store or default(), EvaluationSettings(profile=settings.profile, dataset=settings.dataset)
    return [(spec, store.find(spec)) for spec in chapters.evaluation_runs(of)]


def inflation(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return accuracy under BIM with true and with predicted labels, and what that makes of the paper's own rows.

    ``gain`` is what the convention brings in points, ``share`` of the clean error. ``the paper, at least`` takes all
    of the paper's clean error off its number, and ``at our share`` as much of it as our net's gain is of ours.
    """
    bim = next(name for name in frame.attack.unique() if name.startswith("BIM"))
    rows = frame[(frame.dataset == dataset) & frame.true.notna()].drop_duplicates(["run", "attack"])
    clean = rows[rows.attack == "Original"].set_index("run").true
    rows = rows[rows.attack == bim]
    table = rows[["title", "lr", "method"]].assign(
        error=100 - rows.run.map(clean), true=rows.true, predicted=rows.predicted
    )
    table["gain"] = table.predicted - table.true
    table["share"] = table.gain / table.error
    printed = paper.TABLE3.get(dataset, {})
    told = [printed.get(bim, {}).get(method, np.nan) for method in table.method]
    error = [100 - printed.get("Original", {}).get(method, np.nan) for method in table.method]
    table["paper"] = np.where(table.title.str.contains("staggered"), np.nan, told)
    return table.assign(
        least=(table.paper - error).clip(lower=0), likely=(table.paper - table.share * error).clip(lower=0)
    )


def inflation_shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`inflation` as text to read."""
    heads = {"error": "clean error", "true": "true labels", "predicted": "predicted labels", "gain": "gain"}
    heads |= {"share": "gain / clean error", "paper": "the paper", "least": "the paper, at least"}
    heads |= {"likely": "the paper, at our share"}
    text = table[list(heads)].map(lambda value: "-" if pd.isna(value) else f"{value:.2f}").rename(columns=heads)
    return text.assign(method=table.title, rate=table.lr.map("{:g}".format)).set_index(["method", "rate"])


def curves(found: Found) -> pd.DataFrame:
    """Return what the monitor saw of each run after every epoch, and the passes (``F`` an image) so far."""
    frames = [pd.DataFrame(columns=COLUMNS)]
    for spec, run in found:
        if run is not None and spec.monitor is not None:
            seen = pd.DataFrame(run.history)[["epoch", "clean", "robust"]]
            about = {"dataset": spec.dataset, "run": spec.id, "title": title(spec), "method": spec.method}
            about |= {"n1": spec.n1, "reset": spec.reset, "lr": spec.lr}
            seen = seen.assign(epoch=seen.epoch + 1, **about)
            frames.append(seen.assign(F=seen.epoch * sum(passes_per_image(spec)))[COLUMNS])
    return pd.concat([frame for frame in frames if len(frame)] or frames, ignore_index=True)


def bars(found: Found, *, store: Store | None = None) -> pd.DataFrame:
    """Return for each run the fewest passes (F an image) to each of :data:`BARS`, its last and its worst since then.

    ``stronger`` (%) is under Madry with ten restarts and ``margin`` under the CW loss, which chose nothing.
    """
    seen = curves(found).set_index("run")
    rows = []
    for spec, run in found:
        row = {
            "dataset": spec.dataset,
            "run": spec.id,
            "title": title(spec),
            "method": spec.method,
            "reset": spec.reset,
        }
        row |= {"F": sum(passes_per_image(spec)) * spec.passes_over_data, "k": spec.k, "projection": spec.projection}
        row |= {"n1": spec.n1, "made": run is not None}
        if spec.id in seen.index:
            line = seen.loc[[spec.id]]
            for bar in BARS:
                row[f"to {bar:g}"] = line.F[line.robust >= bar].min()
            late = line[line.epoch > (spec.n2 or 0)] if len(line) > (spec.n2 or 0) else line
            row |= {"last": line.robust.iloc[-1], "lowest": late.robust.min(), "watched": spec.monitor_images}
        for name, attack in (("stronger", "Madry(20,50)x10"), ("margin", "CW(20,50)"), ("bim", "BIM(10,40)")):
            row[name] = percent(run, EvalSpec(attack=attack, images=chapters.SLICE.get(spec.dataset, 1000)), store)
        rows.append(row)
    columns = [
        "dataset",
        "run",
        "title",
        "method",
        "reset",
        "n1",
        "k",
        "projection",
        "F",
        "last",
        "lowest",
        "made",
        "watched",
    ]
    columns += [*[f"to {bar:g}" for bar in BARS], "bim", "stronger", "margin"]
    return pd.DataFrame(rows).reindex(columns=columns)


def percent(run: Run | None, spec, store: Store | None) -> float:
    """Return a stored accuracy in percent, NaN where there is none."""
    record = None if run is None else (store or default()).evaluation(run, spec)
    return float("nan") if record is None else 100 * record["true"] / record["images"]


def bars_shown(table: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return :func:`bars` of a data set as text to read."""
    part = table[table.dataset == dataset]
    shown = pd.DataFrame({"run": part.title, "F in all": part.F.map("{:g}".format)})
    for bar in BARS:
        shown[f"F to {bar:g} %"] = [
            _when(*row) for row in part[[f"to {bar:g}", "watched", "made"]].itertuples(index=False)
        ]
    for name, head in (("last", "last epoch"), ("lowest", "lowest since epoch n2")):
        shown[head] = [_seen(*row) for row in part[[name, "made"]].itertuples(index=False)]
    for name, head in (("bim", "BIM(10,40)"), ("stronger", "Madry(20,50)x10"), ("margin", "CW(20,50)")):
        shown[head] = [NOT_RUN if pd.isna(value) else f"{value:.1f}" for value in part[name]]
    return shown.set_index("run")


def _seen(value: float, made: bool) -> str:
    """Return what the monitor saw as text; a run that was made may have had none."""
    return f"{value:.1f}" if pd.notna(value) else "not watched" if made else NOT_RUN


def _when(passes: float, watched: float, made: bool) -> str:
    """Return the passes to a bar as text, or why there are none."""
    return f"{passes:g}" if pd.notna(passes) else "never" if pd.notna(watched) else _seen(passes, made)


def strong(n1: float, n2: int, *, epochs: int, reset: str) -> pd.DataFrame:
    """Return by arithmetic the share (%) of the examples that have had the n1 steps to epsilon: ``epoch, full``.

    A random point of the ball counts as a start like the image itself; phases are taken as evenly spread.
    """
    if reset == "never":
        n2 = epochs
    return sim_adv.reach(n1, n2, epochs=epochs, reset="staggered" if reset == "staggered" else "cycle")[
        ["epoch", "full"]
    ]


def policies(found: Found, dataset: str) -> dict[str, pd.DataFrame]:
    """Return SIM-Adv's curves at one n1 by reset policy, each with the share of ``full`` examples by arithmetic."""
    settings = {spec: run for spec, run in found if spec.dataset == dataset and spec.method == "sim"}
    plain = next(spec for spec in settings if spec.reset == "cycle" and spec.projection == "ball")
    lines = {}
    for reset in POLICIES:
        own = [s for s in settings if s.reset == reset and (s.n1, s.projection) == (plain.n1, "ball")]
        seen = curves([(spec, settings[spec]) for spec in own])
        share = strong(plain.n1, plain.n2, epochs=plain.epochs, reset=reset)
        lines[reset] = share.merge(seen[["epoch", "clean", "robust"]], on="epoch", how="left").astype(float)
    return lines


def policies_shown(lines: dict[str, pd.DataFrame], n2: int) -> pd.DataFrame:
    """Return a row a policy: the last epoch, the worst since the first cycle, and epochs at less than half the last."""
    rows = {}
    for reset, line in lines.items():
        late, last = line[line.epoch > n2], line.robust.iloc[-1]
        rows[reset] = {"mean share at full strength": f"{late.full.mean():.0f} %"}
        if pd.isna(last):
            rows[reset] |= dict.fromkeys(("last epoch", "lowest since cycle 1", "epochs at less than half"), NOT_RUN)
            continue
        worst = late.loc[late.robust.idxmin()]
        rows[reset]["last epoch"] = f"{last:.1f}"
        rows[reset]["lowest since cycle 1"] = f"{worst.robust:.1f} after epoch {worst.epoch:.0f}"
        rows[reset]["epochs at less than half"] = f"{(late.robust < last / 2).sum()} of {len(late)}"
    return pd.DataFrame(rows).T.rename_axis("reset")


def staleness(found: Found, *, store: Store | None = None) -> pd.DataFrame:
    """Return how often carried gradients were still right: ``title, epoch, pixels, weighted`` (%), where stored."""
    frames = [pd.DataFrame(columns=["dataset", "title", "epoch", "pixels", "weighted"])]
    for spec, run in found:
        if spec.method == "free-sim" and run is not None:
            images = chapters.SLICE.get(spec.dataset, 1000)
            record = (store or default()).evaluation(run, Staleness(epochs=20, images=images))
            if record is not None:
                line = pd.DataFrame({name: record[name] for name in ("epoch", "pixels", "weighted")})
                line[["pixels", "weighted"]] *= 100
                frames.append(line.assign(dataset=spec.dataset, title=title(spec)))
    return pd.concat([frame for frame in frames if len(frame)] or frames, ignore_index=True)


def survivors(found: Found, *, store: Store | None = None) -> pd.DataFrame:
    """Return what each net classifies correctly (%) under each test of a slice, and its signs of masked gradients."""
    store = store or default()
    last = {(spec.dataset, spec.method): spec for spec, _ in found}
    rows = []
    for spec, run in found:
        images = chapters.SLICE.get(spec.dataset, 1000)
        row = {"dataset": spec.dataset, "title": title(spec), "method": spec.method, "images": images}
        for attack in ("BIM(10,40)", "Madry(20,50)x10", "CW(20,50)"):
            row[attack] = percent(run, EvalSpec(attack=attack, images=images), store)
        for measure in chapters.standard(spec.dataset):
            row[measure.attack] = percent(run, measure, store)
        for name, source in (
            ("from Vanilla", last[spec.dataset, "vanilla"]),
            ("from BIM-Adv", last[spec.dataset, "bim"]),
        ):
            row[name] = percent(run, Transfer(source=source.id, attack="BIM(10,40)", images=images), store)
        signs = None if run is None else store.evaluation(run, Signs(attack="BIM(10,40)", images=images))
        for name in ("clean", "fgsm", "iterated", "random", "chance", "flat", "unbounded"):
            row[name] = np.nan if signs is None else 100 * signs[name] / signs["images"]
        row["at"] = None if signs is None else [100 * count / signs["images"] for count in signs["at"]]
        rows.append(row)
    return pd.DataFrame(rows)


def survivors_shown(table: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return :func:`survivors` of a data set as text to read, with the interval of the test set at the worst."""
    part = table[table.dataset == dataset]
    shown = pd.DataFrame({"net": part.title})
    names = tests(part)
    for name in names:
        shown[name] = [NOT_RUN if pd.isna(value) else f"{value:.1f}" for value in part[name]]
    worst = part[names].min(axis=1)
    shown["worst, 95 %"] = [
        NOT_RUN if pd.isna(value) else "{:.1f} to {:.1f}".format(*interval(value, n))
        for value, n in zip(worst, part.images, strict=True)
    ]
    return shown.set_index("net")


def tests(nets: pd.DataFrame) -> list[str]:
    """Return the columns of :func:`survivors` that are accuracies under a test that is asked for on these data."""
    asked = {measure.attack for dataset in nets.dataset.unique() for measure in chapters.standard(dataset)}
    return ["BIM(10,40)", "Madry(20,50)x10", "CW(20,50)", *sorted(asked), "from Vanilla", "from BIM-Adv"]


def interval(percents: float, images: int) -> tuple[float, float]:
    """Return the Wilson interval (95 %) of an accuracy, all in percent."""
    found = binomtest(round(percents * images / 100), images).proportion_ci(method="wilson")
    return 100 * found.low, 100 * found.high


def ticks(table: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return Athalye's five signs of masked gradients, net by net: ``no`` is good, ``yes`` with what was seen."""
    part = table[(table.dataset == dataset) & table.iterated.notna()]
    rows = {}
    for row in part.rename(columns={"from Vanilla": "vanilla", "from BIM-Adv": "bim"}).itertuples():
        black = np.nanmin([row.vanilla, row.bim, 101.0])
        falls = all(a >= b for a, b in zip(row.at, row.at[1:], strict=False))
        rows[row.title] = {
            "one step beats many": tick(row.fgsm < row.iterated, f"{row.fgsm:.1f} < {row.iterated:.1f}"),
            "another net beats its own": tick(black < row.iterated, f"{black:.1f} < {row.iterated:.1f}"),
            "unbounded is not 0": tick(row.unbounded > 0, f"{row.unbounded:.1f} %"),
            "chance finds more": tick(row.chance > 0, f"{row.chance:.1f} %"),
            "more epsilon does not help": tick(not falls, "rises"),
            "no gradient": tick(row.flat > 0, f"{row.flat:.1f} %"),
        }
    return pd.DataFrame(rows).T.rename_axis("net")


def tick(seen: bool, what: str) -> str:
    """Return whether a sign was seen, and if so, its number."""
    return f"yes: {what}" if seen else "no"


def literal(found: Found) -> pd.DataFrame:
    """Return SIM-Adv with Eq. 15 as printed beside the one that is projected, and how far its examples may go."""
    rows = []
    for spec, run in found:
        if spec.method == "sim" and spec.reset == "cycle":
            reach = spec.n2 / spec.n1 if spec.projection == "literal" else 1.0
            row = {"data set": NAMES[spec.dataset], "run": title(spec), "reach (epsilon, at most)": f"{reach:.2f}"}
            last = None if run is None or spec.monitor is None else run.history[-1]
            row |= {name: NOT_RUN if last is None else f"{last[name]:.1f}" for name in ("clean", "robust")}
            rows.append(row)
    return pd.DataFrame(rows).set_index(["data set", "run"])


def costs(specs: list[RunSpec]) -> pd.DataFrame:
    """Return what an image costs in an epoch of each method, in F and in Vanilla's."""
    rows = {title(spec): sum(passes_per_image(spec)) * spec.passes_over_data / spec.epochs for spec in specs}
    table = pd.DataFrame({"F an image and epoch": rows})
    table["of Vanilla's"] = table["F an image and epoch"] / 3
    return table.map("{:.2f}".format).rename_axis("method")
