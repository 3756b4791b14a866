r"""Our own questions of chapter 7, judged by its tables as the paper's claims are."""

import numpy as np
import pandas as pd

from simadv.runs import passes_per_image
from simadv.specs import run_spec
from simadv.store import Store
from simbook.settings import Settings
from simbook.tables import beyond, judging, sim_adv, survival
from simbook.tables.common import NAMES, Found, leading, rate
from simbook.tables.sim_adv_told import listed

NEAR = 2.0  # points: free-SIM's goal
SURVIVES = 4.0  # points: what a stronger attack may take, section 6.2's bound on what SIM-Adv loses
NEIGHBOURS = ("rs-fgsm", "n-fgsm", "atta", "mep")


def first(rows: pd.DataFrame, column: str) -> float:
    """Return the first number of a column, NaN where there is none."""
    return next((float(value) for value in rows[column] if pd.notna(value)), np.nan)


def one(rows: pd.DataFrame, method: str, reset: str | None = None, **others) -> pd.DataFrame:
    """Return the rows of :func:`simbook.tables.beyond.bars` of a method, projected, with a reset and other settings."""
    chosen = rows[rows.method.eq(method) & rows.projection.ne("literal")]
    chosen = chosen if reset is None else chosen[chosen.reset.eq(reset)]
    for name, value in others.items():
        chosen = chosen[chosen[name].eq(value)]
    return chosen


def without_attacks(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the free-SIM of a data set that cost no more than twice Vanilla's passes: no fresh gradient ever."""
    free, most = one(rows, "free-sim"), 2.001 * first(rows[rows.method.eq("vanilla")], "F")
    return free[most >= free.F]


def ahead(curves: pd.DataFrame, others: tuple[str, ...], *, n1: float) -> float:
    """Return by how much SIM-Adv's last accuracy beats that of its neighbours, each at passes that both have had.

    The neighbour's last epoch is compared with SIM-Adv after as many passes, the paper's own (its ``n1`` and cycle) or
    the same without a reset, whichever is better; the least margin counts.
    """
    own = curves.method.eq("sim") & curves.n1.eq(n1) & curves.reset.isin(["cycle", "never"])
    sim, margins = curves[own & curves.projection.ne("literal")], []
    for _, line in curves[curves.method.isin(others)].groupby("run"):
        same = sim[line.F.max() >= sim.F].groupby("run").last()
        if len(same):
            margins.append(same.robust.max() - line.robust.iloc[-1])
    return min(margins, default=np.nan)


def fewest(rows: pd.DataFrame, column: str = beyond.TO[0]) -> float:
    """Return the fewest passes to a bar: infinitely many if all were run and none got there, NaN if one still may."""
    least = rows[column].min()
    return np.inf if pd.isna(least) and len(rows) and rows["last"].notna().all() else least


def of(
    dataset: str, bars: pd.DataFrame, curves: pd.DataFrame, labels: pd.DataFrame, nets: pd.DataFrame
) -> pd.DataFrame:
    """Return the parts of C7.1 to C7.9 for a data set, as margins above 0."""
    rows, seen = bars[bars.dataset == dataset], curves[curves.dataset == dataset]
    n1 = first(rows[rows.method.eq("sim")], "n1")  # of the data set's own SIM-Adv
    cycle, never = (one(rows, "sim", reset, n1=n1) for reset in ("cycle", "never"))
    weak = labels[labels.method.eq("vanilla")]
    what = "the gain in percent of its accuracy - 50"
    audit = [(f"Vanilla, rate {rate(row.lr)}: {what}", share(row)) for row in weak.itertuples()]
    sims = rows[rows.method.isin(["sim", "sim-k"]) & rows.projection.ne("literal")]
    free, every = without_attacks(rows), one(rows, "sim")
    soonest, epoch = fewest(sims), sum(passes_per_image(run_spec(dataset, "bim")))
    if sims["last"].isna().any() and not soonest < epoch:  # one that was not run may still do it
        soonest = np.nan
    printed = first(rows[rows.projection.eq("literal")], "last")
    sooner = fewest(rows[rows.method.isin(NEIGHBOURS)]) - fewest(every)
    bar = f"fewest F to {beyond.BARS[dataset][0]:g} %"
    several = rows[rows.method.eq("sim-k")]
    single = one(rows, "sim", "never", n1=first(several, "n1"))
    return judging.above_0(
        [
            *[("C7.1", *part) for part in audit or [(f"Vanilla: {what}", np.nan)]],
            ("C7.2", "cycle - never, last epoch", first(cycle, "last") - first(never, "last")),
            (
                "C7.3",
                "never: lowest since epoch n2, + 4, - last epoch",
                first(never, "lowest") + 4 - first(never, "last"),
            ),
            ("C7.4", f"{epoch:g} - {bar}", epoch - soonest),
            (
                "C7.5",
                f"best free-SIM - best SIM-Adv, last epoch, + {NEAR:g}",
                free["last"].max() - every["last"].max() + NEAR,
            ),
            ("C7.6", f"{bar}: k = 1 - more", fewest(single) - fewest(several)),
            (
                "C7.7",
                f"SIM-Adv, n1 = {n1:g}, cycle or never, - each neighbour at its passes, the least",
                ahead(seen, NEIGHBOURS, n1=n1),
            ),
            ("C7.7", f"{bar}: neighbours - any SIM-Adv", sooner),
            ("C7.8", f"{SURVIVES:g} - the most that another test takes", survives(nets[nets.dataset.eq(dataset)])),
            ("C7.9", "literal - projected, last epoch", printed - first(cycle, "last")),
        ]
    )


def survives(nets: pd.DataFrame) -> float:
    """Return by how much :data:`SURVIVES` exceeds the most that a test takes from a SIM-Adv; NaN while one may do it.

    Args:
        nets: as :func:`simbook.tables.survival.survivors` makes them, of one data set.
    """
    sims = nets[nets.method.eq("sim") & ~nets.title.str.contains("literal") & nets["BIM(10,40)"].notna()]
    others = sims[survival.tests(sims)[1:]]
    margin = SURVIVES - (sims["BIM(10,40)"] - others.min(axis=1)).max()
    return np.nan if margin > 0 and others.isna().any(axis=None) else margin


def share(row) -> float:
    """Return how far above half of a net's accuracy the gain of predicted labels is, in percent of it."""
    return 100 * row.gain / row.predicted - 50 if row.predicted else np.nan


def verdicts(found: Found, settings: Settings, *, store: Store | None = None) -> pd.DataFrame:
    """Return the parts of the chapter's claims, judged, by data set: :func:`simbook.tables.judging.gathered`."""
    bars, curves = beyond.bars(found, store=store), beyond.over_seeds(beyond.curves(found))
    frame = sim_adv.accuracies(leading(found) + beyond.table_rows(settings, store=store), store=store)
    nets = survival.survivors(found, store=store)
    names = dict.fromkeys(spec.dataset for spec, _ in found)
    return judging.gathered({d: [of(d, bars, curves, beyond.inflation(frame, d), nets)] for d in names})


def free_told(rows: pd.DataFrame) -> list[str]:
    """Return how the best free-SIM without an attack pass ends, and the best that takes a fresh gradient at times."""
    fresh = one(rows, "free-sim")
    best = {
        "Without an attack pass": without_attacks(rows),
        "With a fresh gradient now and then": fresh[fresh.fresh > 0],
    }
    told = []
    for how, part in best.items():
        for row in part.sort_values("last", ascending=False).head(1).itertuples():
            told.append(f"{how}: {row.title} ends at {row.last:.1f} % ({within(row)}) for {row.F:g} F an image.")
    return told


def fewest_told(rows: pd.DataFrame) -> list[str]:
    """Return who reached each bar with the fewest passes: of all, of the SIM-Adv, and of the BIM-Adv."""
    kinds = {"": rows, "; of SIM-Adv, ": rows[rows.method.eq("sim")], "; of BIM-Adv, ": rows[rows.method.eq("bim")]}
    told = []
    for name, level in zip(beyond.TO, beyond.BARS[rows.dataset.iloc[0]], strict=True):
        best = {how: part.sort_values(name).head(1) for how, part in kinds.items() if part[name].notna().any()}
        parts = [f"{how}{row.title.item()}, {row[name].item():.4g} F" for how, row in best.items()]
        told += [f"The fewest passes an image to {level:g} %: {''.join(parts)}."] if parts else []
    return told


def four_told(nets: pd.DataFrame) -> list[str]:
    """Return what withstands AutoAttack of the nets that it was run on, the most first."""
    if "AutoAttack" not in nets or nets["AutoAttack"].isna().all():
        return []
    parts = []
    for _, row in nets[nets["AutoAttack"].notna()].sort_values("AutoAttack", ascending=False).iterrows():
        low, high = survival.interval(row["AutoAttack"], row.images)
        parts.append(f"{row.title} {row['AutoAttack']:.1f} % ({low:.1f} to {high:.1f}; BIM {row['BIM(10,40)']:.1f})")
    return [f"Under AutoAttack, first {nets.images.iloc[0]:.0f} images, seed 0: {'; '.join(parts)}."]


def judged_told(table: pd.DataFrame) -> list[str]:
    """Return each claim of a data set with its verdict and the margins that it rests on; the untested ones last."""
    told, untested = [], []
    for claim, parts in table.groupby("claim", sort=False):
        verdict = judging.together(parts.verdict)
        if verdict == judging.UNTESTED:
            untested.append(claim)
            continue
        margins = "; ".join(f"{part.part.removesuffix(' > 0')}: {part.ours}" for part in parts.itertuples())
        told.append(f"{claim} {verdict}: *{judging.CLAIMS[claim][0]}* ({margins})")
    return [*told, f"Not tested yet: {', '.join(untested)}."] if untested else told


def within(row) -> str:
    """Return the spread of a row of :func:`simbook.tables.beyond.bars`: over its seeds, or that of the test slice."""
    if row.seeds > 1:
        return f"± {row.sd:.1f} over {row.seeds:.0f} seeds"
    low, high = survival.interval(row.last, int(row.watched))
    return f"{low:.1f} to {high:.1f}, 95 % of {row.watched:.0f} images, one seed"


def findings(table: pd.DataFrame, bars: pd.DataFrame, nets: pd.DataFrame, dataset: str) -> str:
    """Return what the chapter found on a data set, a sentence a question, every number from the store."""
    rows, said = bars[bars.dataset.eq(dataset) & bars["last"].notna()], []
    if rows.empty:
        return f"{NAMES[dataset]}: nothing was run yet."
    sims = rows[rows.method.isin(["sim", "sim-k", "free-sim"]) & rows.projection.ne("literal")]
    for row in sims.sort_values("last", ascending=False).head(3).itertuples():
        text = f"{row.title} ends at {row.last:.1f} % under the monitor's BIM ({within(row)}), had {row.lowest:.1f} % "
        said.append(f"{text}in its worst epoch after the first n2, and took {row.F:g} F an image.")
    said += free_told(rows)
    said += fewest_told(rows)
    said += judged_told(table[table.dataset.eq(dataset)])
    said += four_told(nets[nets.dataset.eq(dataset)])
    signs = survival.ticks(nets, dataset)
    masked = {name: ", ".join(row.index[row.str.startswith("yes")]) for name, row in signs.iterrows()}
    masked = {name: what for name, what in masked.items() if what}
    if masked:
        each = "; ".join(f"{name} ({what})" for name, what in masked.items())
        said.append(f"Signs of masked gradients, whose accuracies may be too high: {each}.")
    missing = bars[bars.dataset.eq(dataset) & bars["last"].isna()]
    if len(missing):
        said.append(f"Not run, or not watched, yet: {', '.join(missing.title)}.")
    return listed(said)
