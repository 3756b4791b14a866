r"""The tables of chapter 7: labels, resets, the fewest passes to a bar, and how stale a gradient is."""

import numpy as np
import pandas as pd

from simadv.runs import passes_per_image
from simadv.specs import METHODS, EvalSpec, RunSpec, run_spec
from simadv.store import Run, Store, default
from simbook import chapters, paper
from simbook.measures.survival import RADII
from simbook.measures.watched import Staleness, Strength
from simbook.settings import EvaluationSettings
from simbook.tables import sim_adv, survival
from simbook.tables.common import NAMES, NOT_RUN, Found, by_setting, history, named, rate, title
from simbook.tables.spread import half_of, of_mean, paired, with_spread

# Two bars by data set, percent under the monitor's BIM; on Fashion-MNIST as far below the paper's SIM-Adv as on MNIST,
# to the nearest 5; on the digits low enough to be crossed.
BARS = {"mnist": (85.0, 90.0), "fmnist": (60.0, 65.0), "digits": (50.0, 60.0)}
TO = ("to lower", "to upper")  # the columns of the passes to them
SOME = tuple(f"{name} in some seeds" for name in TO)  # whether some of several seeds were there, and not all
SPREAD = tuple(f"{name} sd" for name in TO)  # over the seeds
FINAL = "BIM(10,40)"  # what a final net is measured under, on the whole test set
LATE = 5  # a run ends where the mean of its last so many epochs is: single epochs swing
BAR_COLUMNS = [
    "dataset",
    "run",
    "title",
    "method",
    "reset",
    "n1",
    "n2",
    "k",
    "fresh",
    "projection",
    "F",
    "made",
    "watched",
]
BAR_COLUMNS += [
    "end",
    "sd",
    "half",
    "seeds",
    "swing",
    "clean",
    "lowest",
    "fall",
    "fall sd",
    *TO,
    *SOME,
    *SPREAD,
    *survival.JUDGES,
    "AutoAttack sd",
    "AutoAttack seeds",
    "final",
    "final sd",
    "final seeds",
    "final images",
    "clean by seed",
    "end by seed",
    "final by seed",
    "AutoAttack by seed",
]
OUTSIDE = [i for i, times in enumerate(RADII) if 1 < times < 2]  # of the ball, not so far that no net has anything left
POLICIES = ("cycle", "staggered", "random", "never")
SETTING = ["title", "method", "n1", "reset", "projection", "n2", "lr"]
COLUMNS = ["dataset", "run", *SETTING, "seed", "late", "epoch", "F", "clean", "robust"]


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
    clean = rows[rows.attack == "Original"].set_index("run")
    rows = rows[rows.attack == bim]
    table = rows[["title", "lr", "method"]].assign(
        error=100 - rows.run.map(clean.true), true=rows.true, predicted=rows.predicted, paper=rows.paper
    )
    table["gain"] = table.predicted - table.true
    table["share"] = table.gain / table.error
    error = 100 - rows.run.map(clean.paper).astype(float)  # at the rate of this row, where the paper has it
    return table.assign(
        least=(table.paper - error).clip(lower=0), likely=(table.paper - table.share * error).clip(lower=0)
    )


def inflation_shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`inflation` as text to read."""
    heads = {"error": "clean error", "true": "true labels", "predicted": "predicted labels", "gain": "gain"}
    heads |= {"share": "gain / clean error", "paper": "the paper", "least": "the paper, at least"}
    heads |= {"likely": "the paper, at our share"}
    text = table[list(heads)].map(lambda value: "-" if pd.isna(value) else f"{value:.2f}").rename(columns=heads)
    return text.assign(method=table.title, rate=table.lr.map(rate)).set_index(["method", "rate"])


def audited() -> pd.DataFrame:
    """Return the paper's own Table 3 beside its clean errors, as text: a row a data set and method, no run of ours.

    ``/ error`` is an accuracy as a multiple of the clean error. Up to 1 the labels alone can account for it, and far
    above it they cannot; ``at least`` is what would remain if every image that is wrong when clean had turned right.
    """
    rows = {}
    for dataset, by_attack in paper.TABLE3.items():
        many = [name for name in by_attack if name not in ("Original", "FGSM")]
        for method, clean in by_attack["Original"].items():
            row = rows[named(dataset), title(run_spec(dataset, method))] = {"clean error": f"{100 - clean:.2f}"}
            for attack in many:
                printed, kind = by_attack[attack][method], attack.split("(")[0]
                row |= {kind: f"{printed:.2f}", f"{kind} / error": f"{printed / (100 - clean):.2f}"}
                row[f"{kind}, at least"] = f"{max(0.0, printed - (100 - clean)):.2f}"
    return pd.DataFrame(rows).T.rename_axis(["data set", "method"])


def curves(found: Found) -> pd.DataFrame:
    """Return what the monitor saw of each run after every epoch, and the passes (``F`` an image) so far.

    ``late`` looks of the monitor, at least one, are the last :data:`LATE` epochs: one of Free-Adv's is m epochs.
    """
    frames = [pd.DataFrame(columns=COLUMNS)]
    for spec, run in found:
        if run is not None and spec.monitor is not None:
            seen = history(run)[["epoch", "clean", "robust"]]
            about = {"dataset": spec.dataset, "run": spec.id, "title": title(spec), "method": spec.method}
            about |= {name: getattr(spec, name) for name in ("n1", "reset", "projection", "n2", "lr", "seed")}
            about["late"] = max(1, LATE * spec.passes_over_data // spec.epochs)
            seen = seen.assign(**about)
            frames.append(seen.assign(F=seen.epoch * sum(passes_per_image(spec)))[COLUMNS])
    return pd.concat([frame for frame in frames if len(frame)] or frames, ignore_index=True)


def over_seeds(curves: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`curves` with one line a setting, the mean of its seeds, under the name of the first of them."""
    keys = ["dataset", *SETTING, "late", "epoch", "F"]
    means = {"run": ("run", "first"), "clean": ("clean", "mean"), "robust": ("robust", "mean")}
    return curves.groupby(keys, sort=False, dropna=False).agg(**means).reset_index()


def bars(found: Found, *, store: Store | None = None) -> pd.DataFrame:
    """Return for each setting how it ends, its worst epoch, and the fewest passes (F an image) to its :data:`BARS`.

    ``end`` is a mean of the last :data:`LATE` epochs and of the seeds; ``swing`` is how far apart these
    epochs are. ``sd`` is the standard deviation over the seeds, of one seed over these epochs (NaN where the monitor
    looked once, after many epochs of Free-Adv), and ``half`` half of the
    95 % interval: Student's for the mean of several seeds, else 1.96 ``sd``. ``lowest`` is the worst epoch after the
    first n2 of any seed, ``fall`` the largest fall after it from any earlier epoch, a mean of the seeds. The passes to
    a bar are means too, none where a seed never got there. :data:`simbook.tables.survival.JUDGES` (%) are of the first
    seed, but for AutoAttack, which is a mean of the seeds that it was run on;
    ``end`` and ``AutoAttack`` stand seed by seed as well. ``final`` and ``clean`` are of the final nets on the whole
    test set, under :data:`FINAL` and without an attack; where that was not measured, ``clean`` is the monitor's.
    """
    return pd.DataFrame([bar(group, store) for group in by_setting(found)]).reindex(columns=BAR_COLUMNS)


def bar(group: Found, store: Store | None) -> dict:
    """Return a row of :func:`bars`."""
    spec, run = group[0]
    row = {name: getattr(spec, name) for name in ("dataset", "method", "reset", "n1", "n2", "k", "fresh", "projection")}
    row |= {"run": spec.id, "title": title(spec), "made": any(made for _, made in group)}
    row["F"] = sum(passes_per_image(spec)) * spec.passes_over_data
    lines = [line for _, line in curves(group).groupby("run", sort=False)]
    if lines:
        for name, some, spread, level in zip(TO, SOME, SPREAD, BARS[spec.dataset], strict=True):
            passes = pd.Series([line.F[line.robust >= level].min() for line in lines])
            row |= {name: passes.mean(skipna=False), some: passes.isna().any() and passes.notna().any()}
            row[spread] = passes.std()
        row |= ending(lines) | {"watched": spec.monitor_images}
        # where nothing starts afresh n2 counts no epochs to a reset
        cycle = spec.n2 if spec.reset not in (None, "never") else METHODS["sim"]["n2"]
        cycle *= spec.passes_over_data / spec.epochs  # one look at Free-Adv is m epochs
        first = 0 if lines[0].epoch.max() <= cycle else cycle
        lowest = [line.robust[line.epoch > first].min() for line in lines]
        falls = pd.Series([(line.robust.cummax() - line.robust)[line.epoch > first].max() for line in lines])
        row |= {"lowest": min(lowest), "fall": falls.mean(), "fall sd": falls.std()}
    left = pd.Series(survival.left_of(group, store), dtype=float)
    several = {"AutoAttack": left.mean(), "AutoAttack sd": left.std(), "AutoAttack seeds": len(left)}
    several["AutoAttack by seed"] = left.to_dict()
    return row | final(group, store) | survival.judged(spec, run, store) | (several if len(left) else {})


def final(group: Found, store: Store | None) -> dict:
    """Return what the final nets of a setting have on the whole test set, clean and under BIM: see :func:`bars`."""
    row, store = {}, store or default()
    for name, attack in (("clean", "none"), ("final", FINAL)):
        records = {spec.seed: store.evaluation(run, EvalSpec(attack=attack)) for spec, run in group if run is not None}
        left = pd.Series({seed: 100 * of["true"] / of["images"] for seed, of in records.items() if of}, dtype=float)
        if len(left):  # else clean is what the monitor saw
            row |= {name: left.mean(), f"{name} sd": left.std(), f"{name} seeds": len(left)}
            row[f"{name} by seed"] = left.to_dict()
            row[f"{name} images"] = max(of["images"] for of in records.values() if of)
    return row


def half_of_row(row: pd.Series, what: str) -> float:
    """Return half of Student's 95 % interval of a row's column ``what`` over its seeds; 0 for one seed."""
    return float(half_of(row[f"{what} sd"], row.seeds, of=row.seeds)) if row.seeds > 1 else 0.0


def unsure(a: pd.Series, b: pd.Series, what: str) -> float:
    """Return half of the 95 % interval of the difference of what two settings have in the column ``what``.

    Student's over their seeds. A setting of one seed is taken to vary as the other does; 0 where both have one.
    """
    sides = [(row[f"{what} sd"], row.get(f"{what} seeds", row.seeds)) for row in (a, b)]
    most = max(sides, key=lambda side: side[1])
    if not most[1] > 1:
        return 0.0
    return float(np.hypot(*(half_of(*(side if side[1] > 1 else most), of=side[1]) for side in sides)))


def by_pairs(a: pd.Series, b: pd.Series, what: str) -> tuple[float, float, str] | None:
    """Return by how much one setting's ``what`` is above another's, and of how many seeds that both have.

    See :func:`simbook.tables.spread.paired`; None where they share fewer than two.
    """
    each = [row.get(f"{what} by seed") for row in (a, b)]
    if not all(isinstance(of, dict) for of in each) or (gap := paired(*map(pd.Series, each))) is None:
        return None
    return *gap, f"{len(each[0].keys() & each[1].keys())} seeds"


def late_of(lines: list[pd.DataFrame]) -> list[pd.Series]:
    """Return what each seed has in its last epochs, which say how it ends."""
    return [line.robust.tail(line.late.iloc[0]) for line in lines]


def ending(lines: list[pd.DataFrame]) -> dict[str, float]:
    """Return how a setting ends, over the :func:`curves` of its seeds: see :func:`bars`."""
    late = late_of(lines)
    ends = pd.Series([each.mean() for each in late], index=[line.seed.iloc[0] for line in lines])
    several = len(ends) > 1
    sd = ends.std() if several else late[0].std()
    return {
        "end": ends.mean(),
        "end by seed": ends.to_dict(),
        "sd": sd,
        "half": of_mean(ends) if several else 1.96 * sd,
        "seeds": len(ends),
        "swing": np.mean([line.max() - line.min() for line in late]),
        "clean": np.mean([line.clean.tail(line.late.iloc[0]).mean() for line in lines]),
    }


def bars_shown(table: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return :func:`bars` of a data set as text to read."""
    part = table[table.dataset == dataset]
    shown = pd.DataFrame({"run": part.title, "F in all": part.F.map("{:g}".format)})
    for name, level in zip(TO, BARS[dataset], strict=True):
        shown[f"F to {level:g} %"] = [_when(*row) for row in part[[name, "watched", "made"]].itertuples(index=False)]
    shown["clean"] = [_seen(*row) for row in part[["clean", "made"]].itertuples(index=False)]
    shown[f"last {LATE} epochs"] = [_seen(*row) for row in part[["end", "made", "sd", "seeds"]].itertuples(index=False)]
    shown["lowest since epoch n2"] = [_seen(*row) for row in part[["lowest", "made"]].itertuples(index=False)]
    columns = ["final", "final sd", "final seeds"]
    shown[survival.head(FINAL)] = [_seen(row[0], False, *row[1:]) for row in part[columns].itertuples(index=False)]
    strongest = survival.strongest(part)  # section "survive" has all
    shown[survival.head(strongest)] = [met(row, strongest) for _, row in part.iterrows()]
    return shown.set_index("run")


def grid(table: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Return :func:`bars` of SIM-Adv on a data set by n1 and steps an epoch against the reset, as text to read.

    Each cell has where training ends, and behind a slash what the strongest attack leaves of the final nets.
    """
    part = table[(table.dataset == dataset) & table.method.isin(["sim", "sim-k"]) & table.projection.ne("literal")]
    strongest, cells = survival.strongest(part), {}
    for _, row in part.sort_values("n1", ascending=False, kind="stable").iterrows():
        name = f"n1 = {row.n1:g}" + (f", k = {row.k:g}" if row.method == "sim-k" else "")
        cell = f"{_seen(row.end, row.made, row.sd, row.seeds)} / {met(row, strongest)}"
        cells.setdefault(name, {})[row.reset] = cell
    shown = pd.DataFrame(cells).T.reindex(columns=[reset for reset in POLICIES if reset in set(part.reset)])
    return shown.fillna("-").rename_axis(f"ends / {strongest}")


def met(row: pd.Series, attack: str = "AutoAttack", **how: str) -> str:
    """Return what an attack leaves of a row of :func:`bars` as text, with its spread where it met several seeds.

    Args:
        how: as :func:`simbook.tables.spread.with_spread` takes it.
    """
    spread = row.get(f"{attack} sd"), row.get(f"{attack} seeds", 1)
    return NOT_RUN if pd.isna(row[attack]) else with_spread(row[attack], *spread, **how)


def _seen(value: float, made: bool, sd: float = np.nan, seeds: float = 1) -> str:
    """Return what the monitor saw as text, with its spread; a run that was made may have had no monitor."""
    return with_spread(value, sd, seeds) if pd.notna(value) else "not watched" if made else NOT_RUN


def _when(passes: float, watched: float, made: bool) -> str:
    """Return the passes to a bar as text, or why there are none."""
    return f"{passes:.4g}" if pd.notna(passes) else "not reached" if pd.notna(watched) else _seen(passes, made)


def strong(n1: float, n2: int, *, epochs: int, reset: str) -> pd.DataFrame:
    """Return by arithmetic the share (%) of the examples that have had the n1 steps to epsilon: ``epoch, full``.

    A random point of the ball counts as a start like the image itself; phases are taken as evenly spread.
    """
    if reset == "never":
        n2 = epochs
    return sim_adv.reach(n1, n2, epochs=epochs, reset="staggered" if reset == "staggered" else "cycle")[
        ["epoch", "full"]
    ]


def policies(found: Found, dataset: str, *, store: Store | None = None) -> dict[str, pd.DataFrame]:
    """Return SIM-Adv's curves at one n1 by reset policy, each with the share of ``full`` examples by arithmetic.

    ``clean, robust`` are means over the ``seeds`` that were run, ``low, high`` the ends of what ``robust`` was in them.
    ``wrong`` and ``reach`` (%) are what :class:`simbook.measures.watched.Strength` has of the first seed's examples.
    """
    settings = {spec: run for spec, run in found if spec.dataset == dataset and spec.method == "sim"}
    plain = next(spec for spec in settings if spec.reset == "cycle" and spec.projection == "ball")
    lines = {}
    for reset in POLICIES:
        own = [s for s in settings if s.reset == reset and (s.n1, s.projection) == (plain.n1, "ball")]
        seen = curves([(spec, settings[spec]) for spec in own]).groupby("epoch")
        seen = seen.agg(
            clean=("clean", "mean"),
            robust=("robust", "mean"),
            low=("robust", "min"),
            high=("robust", "max"),
            seeds=("seed", "nunique"),
        )
        share = strong(plain.n1, plain.n2, epochs=plain.epochs, reset=reset)
        first = next(iter(own), None)
        lines[reset] = share.merge(seen, on="epoch", how="left").astype(float)
        lines[reset] = lines[reset].merge(strength(first, settings.get(first), store), on="epoch", how="left")
    return lines


def strength(spec: RunSpec | None, run: Run | None, store: Store | None) -> pd.DataFrame:
    """Return how strong a run's examples were in training, ``epoch, wrong, reach`` (%), as far as it was watched."""
    record = None
    if run is not None:
        measure = Strength(epochs=2 * spec.n2, images=chapters.SLICE.get(spec.dataset, 1000))
        record = (store or default()).evaluation(run, measure)
    table = pd.DataFrame(record or {}, columns=["epoch", "wrong", "reach"]).astype(float)
    table[["wrong", "reach"]] *= 100
    return table


def policies_shown(lines: dict[str, pd.DataFrame], n2: int) -> pd.DataFrame:
    """Return a row a policy: its last epochs, the worst since the first cycle, and epochs at less than half the last.

    Means over seeds; in brackets the lowest and the highest of the last :data:`LATE` epochs in any seed.
    """
    rows = {}
    for reset, line in lines.items():
        late, ending = line[line.epoch > n2], line.tail(LATE)
        end = ending.robust.mean()
        share = f"{late.full.mean():.0f} %" if len(late) else "-"  # a reader's own training may end within cycle 1
        rows[reset] = {"mean share at full strength": share} | in_training(late)
        if pd.isna(end):
            names = ("seeds", f"last {LATE} epochs", "lowest since cycle 1", "epochs at less than half")
            rows[reset] |= dict.fromkeys(names, NOT_RUN)
            continue
        rows[reset]["seeds"] = f"{ending.seeds.max():.0f}"
        rows[reset][f"last {LATE} epochs"] = f"{end:.1f} ({ending.low.min():.1f} to {ending.high.max():.1f})"
        rows[reset] |= dict.fromkeys(("lowest since cycle 1", "epochs at less than half"), "-")
        for worst in late.nsmallest(1, "low").itertuples():
            rows[reset]["lowest since cycle 1"] = f"{worst.low:.1f} after epoch {worst.epoch:.0f}"
            rows[reset]["epochs at less than half"] = f"{(late.robust < end / 2).sum()} of {len(late)}"
    return pd.DataFrame(rows).T.rename_axis("reset")


def in_training(late: pd.DataFrame) -> dict[str, str]:
    """Return how strong examples were in the second cycle of :func:`policies`: means, with the least and the most."""
    names = {"wrong": "cycle 2: examples that fool the net (%)", "reach": "cycle 2: their reach (% of epsilon)"}
    seen, none = late.dropna(subset=["wrong"]), NOT_RUN if len(late) else "-"
    return {
        name: f"{seen[of].mean():.0f} ({seen[of].min():.0f} to {seen[of].max():.0f})" if len(seen) else none
        for of, name in names.items()
    }


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


def stale_shown(lines: pd.DataFrame, bars: pd.DataFrame) -> pd.DataFrame:
    """Return how often carried gradients were right on average (%), beside how the run ends, as text to read.

    Args:
        lines: :func:`staleness`. bars: :func:`bars`.
    """
    names = {"pixels": "each pixel once", "weighted": "by the size of the fresh gradient"}
    means = lines.groupby(["dataset", "title"], sort=False)[list(names)].mean().astype(float)
    text = means.map("{:.1f}".format).rename(columns=names)
    known = bars.set_index(["dataset", "title"])
    text["ends"] = [_seen(row.end, row.made, row.sd, row.seeds) for _, row in known.reindex(means.index).iterrows()]
    text.index = pd.MultiIndex.from_tuples([(named(name), run) for name, run in means.index], names=["data set", "run"])
    return text


def refreshed(found: Found) -> pd.DataFrame:
    """Return what free-SIM with fresh steps has in the epochs of these and in those between, of the last 2 K of each.

    Columns: ``dataset, title, seed, fresh`` (the mean of the epochs with a fresh step, %), ``between``.
    """
    rows = []
    for spec, run in found:
        if spec.fresh and run is not None and spec.monitor is not None:
            late = history(run).tail(2 * spec.fresh)
            mean = late.robust.groupby(late.epoch % spec.fresh == 0).mean()
            about = {"dataset": spec.dataset, "title": title(spec), "seed": spec.seed}
            if len(mean) == 2:  # a reader's own training may end before its first fresh step
                rows.append(about | {"fresh": mean[True], "between": mean[False]})
    return pd.DataFrame(rows, columns=["dataset", "title", "seed", "fresh", "between"])


def literal(found: Found, nets: pd.DataFrame) -> pd.DataFrame:
    """Return SIM-Adv with Eq. 15 as printed beside the one that is projected, and how far its examples may go.

    The last columns are of the first seed's final net, on the slice, where BIM may go further than in training.

    Args:
        nets: as :func:`simbook.tables.survival.survivors` makes them.
    """
    rows, printed = [], {(spec.dataset, spec.n1, spec.n2) for spec, _ in found if spec.projection == "literal"}
    for group in by_setting(found):
        spec = group[0][0]
        if spec.method == "sim" and spec.reset == "cycle" and (spec.dataset, spec.n1, spec.n2) in printed:
            reach = spec.n2 / spec.n1 if spec.projection == "literal" else 1.0
            row = {"data set": NAMES[spec.dataset], "run": title(spec), "reach (epsilon, at most)": f"{reach:.2f}"}
            seen = over_seeds(curves(group)).tail(LATE)
            row |= {name: NOT_RUN if seen.empty else f"{seen[name].mean():.1f}" for name in ("clean", "robust")}
            net = nets[nets.dataset.eq(spec.dataset) & nets.title.eq(title(spec))]
            at = next((each for each in net["at"] if each is not None), None)
            row |= {f"BIM at {RADII[i]:g} epsilon": NOT_RUN if at is None else f"{at[i]:.1f}" for i in OUTSIDE}
            rows.append(row)
    columns = ["data set", "run", "reach (epsilon, at most)", "clean", "robust"]
    columns += [f"BIM at {RADII[i]:g} epsilon" for i in OUTSIDE]
    return pd.DataFrame(rows, columns=columns).set_index(["data set", "run"])


def costs(specs: list[RunSpec]) -> pd.DataFrame:
    """Return what an image costs in an epoch of each method, in F and in Vanilla's."""
    rows = {title(spec): sum(passes_per_image(spec)) * spec.passes_over_data / spec.epochs for spec in specs}
    table = pd.DataFrame({"F an image and epoch": rows})
    table["of Vanilla's"] = table["F an image and epoch"] / 3
    return table.map("{:.2f}".format).rename_axis("method")
