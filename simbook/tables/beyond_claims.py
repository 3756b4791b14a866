r"""Our own questions of chapter 7, judged by its tables as the paper's claims are."""

import numpy as np
import pandas as pd

from simadv.runs import passes_per_image
from simadv.specs import run_spec
from simadv.store import Store
from simbook.settings import Settings
from simbook.tables import beyond, evaluation, judging, sim_adv, survival
from simbook.tables.common import NAMES, Found, leading, rate
from simbook.tables.sim_adv_told import listed

NEAR = 2.0  # points: free-SIM's goal, and what counts as equal under AutoAttack
SURVIVES = 4.0  # points: what a stronger attack may take, section 6.2's bound on what SIM-Adv loses
COLLAPSED = 60.0  # percent of clean images
KEEPS = 4.0  # points: how far below its end the worst epoch may be, the same bound
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


def at_passes(curves: pd.DataFrame, passes: float) -> float:
    """Return how the better of some SIM-Adv stands (%) after so many passes, each by the mean of its last epochs.

    One that resets all images is taken at the end of its last whole cycle: within one it has yet to climb.
    """
    stands = []
    for _, line in curves[passes >= curves.F].groupby("run"):
        whole = line.epoch.max() // line.n2.iloc[0] * line.n2.iloc[0] if line.reset.iloc[0] == "cycle" else np.inf
        stands.append(line[whole >= line.epoch].robust.tail(beyond.LATE).mean())
    return np.nanmax(stands) if np.isfinite(stands).any() else np.nan


def best(rows: pd.DataFrame) -> pd.Series:
    """Return the row that ends highest; one of nothing but NaN where none was run."""
    there = rows[rows.end.notna()]
    return there.loc[there.end.idxmax()] if len(there) else pd.Series(np.nan, index=rows.columns)


def fewest(rows: pd.DataFrame, column: str) -> float:
    """Return the fewest passes to a bar; infinitely many where all of the runs were made and none got there."""
    least = rows[column].min()
    return np.inf if pd.isna(least) and len(rows) and rows.end.notna().all() else least


def settled(margin: float, *, up: pd.DataFrame, down: pd.DataFrame) -> float:
    """Return a margin, NaN while a run that is missing may turn its sign: one of ``up`` can only raise it."""
    turns = down if margin > 0 else up
    return np.nan if turns.end.isna().any() else margin


def of(
    dataset: str, bars: pd.DataFrame, curves: pd.DataFrame, labels: pd.DataFrame, nets: pd.DataFrame
) -> pd.DataFrame:
    """Return the parts of C7.1 to C7.9 for a data set, as margins above 0; ends are of the last epochs."""
    rows, seen = bars[bars.dataset == dataset], curves[curves.dataset == dataset]
    return judging.parts(
        [
            *of_labels(labels, dataset),
            *of_resets(rows),
            *of_passes(rows, dataset),
            *of_neighbours(rows, seen, dataset),
            survives(nets[nets.dataset.eq(dataset)]),
        ]
    )


def part(claim: str, text: str, margin: float, spread: float = 0.0) -> judging.Part:
    """Return a judged part of a claim, with the half of its 95 % interval where it has one."""
    shown = f"{margin:.2f} ± {spread:.2f}" if pd.notna(margin) and spread > 0 else margin
    return claim, f"{text} > 0", shown, None, judging.by_sign(margin, spread)


def apart(claim: str, text: str, a: pd.Series, b: pd.Series, *, plus: float = 0.0) -> judging.Part:
    """Return the judged part that one setting ends above another, ``plus`` some points."""
    return part(claim, text, a.end - b.end + plus, float(np.hypot(a.half, b.half)))


def of_labels(labels: pd.DataFrame, dataset: str) -> list[judging.Part]:
    """Return C7.1's part, of Vanilla at the rate that Table 3 seems to have; at each where no rate is known."""
    weak = labels[labels.method.eq("vanilla")]
    own = weak[weak.lr.eq(evaluation.rate_of_table3(dataset))]
    what = "the share of its accuracy that the labels bring (%) - 50"
    rows = [(f"Vanilla, rate {rate(row.lr)}: {what}", share(row)) for row in (own if len(own) else weak).itertuples()]
    return [part("C7.1", *row) for row in rows or [(f"Vanilla: {what}", np.nan)]]


def of_resets(rows: pd.DataFrame) -> list[judging.Part]:
    """Return the parts of C7.2, C7.3 and C7.9: with the reset and without, and Eq. 15 as printed."""
    n1 = first(rows[rows.method.eq("sim")], "n1")  # of the data set's own SIM-Adv
    cycle, never = (best(one(rows, "sim", reset, n1=n1)) for reset in ("cycle", "never"))
    quick = best(one(rows, "sim", "never", n1=3))
    falls = [part("C7.3", f"n1 = {n1:g}: {KEEPS:g} - (its end - its lowest since epoch n2)", KEEPS - never["drop"])]
    if quick.name != never.name or pd.isna(quick.end):
        falls.append(part("C7.3", f"n1 = 3: {KEEPS:g} - (its end - its lowest)", KEEPS - quick["drop"]))
    return [
        apart("C7.2", "end: cycle - never", cycle, never),
        *falls,
        apart("C7.9", "end: literal - projected", best(rows[rows.projection.eq("literal")]), cycle),
    ]


def of_passes(rows: pd.DataFrame, dataset: str) -> list[judging.Part]:
    """Return the parts of C7.4, C7.5 and C7.6: how few passes are enough."""
    several, every, free = one(rows, "sim-k"), one(rows, "sim"), without_attacks(rows)
    single, lower, upper = one(rows, "sim", "never"), *beyond.TO
    none, sims = rows[:0], pd.concat([every, several])
    epoch = sum(passes_per_image(run_spec(dataset, "bim")))
    fewer = settled(epoch - fewest(sims, lower), up=sims, down=none)
    pair = best(free), best(every)
    lag = settled(pair[0].end - pair[1].end + NEAR, up=free, down=every)
    table = [
        part("C7.4", f"{epoch:g} - the fewest F to {beyond.BARS[dataset][0]:g} %", fewer),
        part(
            "C7.5", f"end: best free-SIM - best SIM-Adv, + {NEAR:g}", lag, float(np.hypot(pair[0].half, pair[1].half))
        ),
    ]
    for column, bar in zip((lower, upper), beyond.BARS[dataset], strict=True):
        gain = settled(fewest(single, column) - fewest(several, column), up=several, down=single)
        table.append(part("C7.6", f"the fewest F to {bar:g} %, no reset: k = 1 - more", gain))
    return table


def of_neighbours(rows: pd.DataFrame, seen: pd.DataFrame, dataset: str) -> list[judging.Part]:
    """Return C7.7's parts: each method at its own settings, both at n1 = 3, and the fewest passes of any to a bar."""
    others, every = rows[rows.method.isin(NEIGHBOURS)], one(rows, "sim")
    published = others[~others.method.eq("atta") | others.n1.eq(run_spec(dataset, "atta").n1)]
    n1, bar = first(every, "n1"), beyond.BARS[dataset][0]
    own = every[every.n1.eq(n1) & every.reset.isin(["cycle", "never"])]
    margin, half, who = ahead(seen, own, published)
    quick, other = one(rows, "sim", "never", n1=3), others[others.method.eq("atta") & others.n1.eq(3)]
    alike, spread, _ = ahead(seen, quick, other)
    sooner = settled(fewest(others, beyond.TO[0]) - fewest(every, beyond.TO[0]), up=every, down=others)
    return [
        part("C7.7", f"SIM-Adv at n1 = {n1:g}, with its reset or without, - {who} at its passes", margin, half),
        part("C7.7", "both without a reset at n1 = 3: SIM-Adv - ATTA-1 at its passes", alike, spread),
        part("C7.7", f"the fewest F to {bar:g} %: neighbours - any SIM-Adv", sooner),
    ]


def ahead(seen: pd.DataFrame, own: pd.DataFrame, others: pd.DataFrame) -> tuple[float, float, str]:
    """Return by how much the better of some SIM-Adv is ahead of each neighbour at its passes: the least of them.

    With half of its 95 % interval and the neighbour's name; NaN while a neighbour that is missing may be better still.
    """
    curves, margins = seen[seen.run.isin(own.run)], []
    for row in others[others.end.notna()].itertuples():
        half = float(np.hypot(row.half, best(own).half))
        margins.append((at_passes(curves, row.F) - row.end, half, row.title))
    least = min((m for m in margins if pd.notna(m[0])), default=(np.nan, np.nan, "the best of its neighbours"))
    return (settled(least[0], up=own, down=others), *least[1:])


def survives(nets: pd.DataFrame) -> judging.Part:
    """Return C7.8's part: what the worst test takes from any SIM-Adv; not tested while another may take more.

    Args:
        nets: as :func:`simbook.tables.survival.survivors` makes them, of one data set.
    """
    sims = nets[nets.method.eq("sim") & ~nets.title.str.contains("literal") & nets["BIM(10,40)"].notna()]
    taken = sims[survival.tests(nets)[1:]].rsub(sims["BIM(10,40)"], axis=0).set_axis(sims.title).stack().dropna()
    if taken.empty:
        return part("C7.8", f"{SURVIVES:g} - the most that another test takes", np.nan)
    net, test = taken.idxmax()
    margin = SURVIVES - taken.max()
    untested = margin > 0 and len(taken) < sims.shape[0] * (len(survival.tests(nets)) - 1)
    return part("C7.8", f"{SURVIVES:g} - what {test} takes from {net}, the most", np.nan if untested else margin)


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


def ends(row) -> str:
    """Return how a setting ends, as the middle of a sentence."""
    left = f"; AutoAttack {row.AutoAttack:.1f} %" if pd.notna(row.AutoAttack) else ""
    about = f"{within(row)}; clean {row.clean:.1f} %{left}"
    return f"{row.title} ends at {row.end:.1f} % ({about}) for {row.F:g} F an image"


def free_told(rows: pd.DataFrame) -> list[str]:
    """Return how the best free-SIM without an attack pass ends, and the best that takes a fresh gradient at times."""
    fresh = one(rows, "free-sim")
    best_of = {
        "Without an attack pass": without_attacks(rows),
        "With a fresh gradient now and then": fresh[fresh.fresh > 0],
    }
    told = []
    for how, some in best_of.items():
        for row in some.sort_values("end", ascending=False).head(1).itertuples():
            told.append(f"{how}: {ends(row)}; its last {beyond.LATE} epochs are {row.swing:.0f} points apart.")
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
    first = f"first {nets.images.iloc[0]:.0f} images, seed 0"
    return [f"Under AutoAttack, {first}: {'; '.join(parts)}.", *gap_told(nets)]


def gap_told(nets: pd.DataFrame) -> list[str]:
    """Return how far the paper's SIM-Adv is below its BIM-Adv under BIM and under AutoAttack, where both were run."""
    first_of = [nets[nets.method.eq(method)].head(1) for method in ("sim", "bim")]
    if any(row.empty or row["AutoAttack"].isna().all() for row in first_of):
        return []
    sim, bim = (row.iloc[0] for row in first_of)
    far = {name: sim[name] - bim[name] for name in ("BIM(10,40)", "AutoAttack")}
    told = " and ".join(f"{points:+.1f} points under {name}" for name, points in far.items())
    return [f"On the same images {sim.title} less {bim.title} is {told}."]


def cheap_told(rows: pd.DataFrame) -> list[str]:
    """Return what is within :data:`NEAR` points of the paper's BIM-Adv under AutoAttack, or above, for fewer passes."""
    bim = rows[rows.method.eq("bim")].head(1)
    if bim.AutoAttack.isna().all():
        return []
    of = bim.iloc[0]
    as_good = rows[(of.AutoAttack - NEAR <= rows.AutoAttack) & (of.F > rows.F)].sort_values("F")
    each = "; ".join(f"{row.title}, {row.AutoAttack:.1f} % for {row.F:g} F" for row in as_good.itertuples())
    text = f"Within {NEAR:g} points of {of.title} under AutoAttack ({of.AutoAttack:.1f} % for {of.F:g} F an image)"
    return [f"{text}, or above: {each or 'none that was run'}."]


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
    """Return the spread of a row of :func:`simbook.tables.beyond.bars`: over its seeds, or over its last epochs."""
    return f"± {row.sd:.1f} over {row.seeds:.0f} seeds" if row.seeds > 1 else f"± {row.sd:.1f} in one seed"


def findings(table: pd.DataFrame, bars: pd.DataFrame, nets: pd.DataFrame, dataset: str) -> str:
    """Return what the chapter found on a data set, a sentence a question, every number from the store."""
    rows, said = bars[bars.dataset.eq(dataset) & bars.end.notna()], []
    if rows.empty:
        return f"{NAMES[dataset]}: nothing was run yet."
    masked = masked_nets(nets, dataset)
    sims = rows[rows.method.isin(["sim", "sim-k", "free-sim"]) & rows.projection.ne("literal")]
    for row in sims.sort_values("end", ascending=False).head(3).itertuples():
        doubt = f", and shows signs of masked gradients ({masked[row.title]})" if row.title in masked else ""
        said.append(f"Of {len(sims)} SIM-Adv, {ends(row)}, had {row.lowest:.1f} % in its worst epoch since n2{doubt}.")
    said += free_told(rows)
    said += fewest_told(rows)
    said += judged_told(table[table.dataset.eq(dataset)])
    said += four_told(nets[nets.dataset.eq(dataset)])
    said += cheap_told(rows)
    said += collapsed_told(rows)
    if masked:
        each = "; ".join(f"{name} ({what})" for name, what in masked.items())
        said.append(f"Signs of masked gradients, whose accuracies may be too high: {each}.")
    missing = bars[bars.dataset.eq(dataset) & bars.end.isna()]
    if len(missing):
        said.append(f"Not run, or not watched, yet: {'; '.join(missing.title)}.")
    return listed(said)


def masked_nets(nets: pd.DataFrame, dataset: str) -> dict[str, str]:
    """Return the signs of masked gradients of each net that has one, with what was seen."""
    signs = survival.ticks(nets, dataset)
    found = {
        name: ", ".join(f"{sign}, {what.removeprefix('yes: ')}" for sign, what in row.items() if what.startswith("yes"))
        for name, row in signs.iterrows()
    }
    return {name: what for name, what in found.items() if what}


def collapsed_told(rows: pd.DataFrame) -> list[str]:
    """Return which trainings broke down: nets that classify less than :data:`COLLAPSED` of clean images correctly."""
    broken = rows[rows.clean < COLLAPSED]
    named = ", ".join(f"{row.title} (clean {row.clean:.1f} %)" for row in broken.itertuples())
    return [f"Broke down in training at this rate, so no rival here: {named}."] if named else []
