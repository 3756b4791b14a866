r"""Our own questions of chapter 7, judged by its tables as the paper's claims are."""

import math

import numpy as np
import pandas as pd

from simadv.runs import passes_per_image
from simadv.specs import run_spec
from simadv.store import Store
from simbook import chapters
from simbook.claims import judging
from simbook.settings import Settings
from simbook.tables import beyond, evaluation, sim_adv, survival
from simbook.tables.common import Found, leading, rate
from simbook.tables.spread import GLUE, Margin, half_of_share, paired

NEAR = 2.0  # points: free-SIM's goal, and what counts as equal under AutoAttack
SURVIVES = 4.0  # points: what a stronger attack may take, section 6.2's bound on what SIM-Adv loses
KEEPS = 4.0  # points: how much further than BIM-Adv's own swing an epoch may fall, the same bound
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


def at_passes(curves: pd.DataFrame, passes: float) -> pd.Series:
    """Return how the better of some SIM-Adv stands (%) after so many passes, by seed: each by its last epochs' mean.

    One that resets all images is taken at the end of its last whole cycle: within one it has yet to climb. The better
    is so on average over its seeds; empty where none was watched so far.
    """
    stands = [pd.Series(dtype=float)]
    for _, lines in curves[passes >= curves.F].groupby("title"):
        each = {}
        for seed, line in lines.groupby("seed"):
            whole = line.epoch.max() // line.n2.iloc[0] * line.n2.iloc[0] if line.reset.iloc[0] == "cycle" else np.inf
            each[seed] = line[whole >= line.epoch].robust.tail(beyond.LATE).mean()
        stands.append(pd.Series(each).dropna())
    return max(stands, key=lambda each: each.mean() if len(each) else -np.inf)


def best(rows: pd.DataFrame) -> pd.Series:
    """Return the row that ends highest; one of nothing but NaN where none was run."""
    there = rows[rows.end.notna()]
    return there.loc[there.end.idxmax()] if len(there) else pd.Series(np.nan, index=rows.columns)


def fewest(rows: pd.DataFrame, column: str) -> float:
    """Return the fewest passes to a bar; infinitely many where all of the runs were made and none got there."""
    least = rows[column].min()
    return np.inf if pd.isna(least) and len(rows) and rows.end.notna().all() else least


def quickest(rows: pd.DataFrame, column: str) -> pd.Series:
    """Return the row that is at a bar first; one of nothing but NaN where none is."""
    there = rows[rows[column].notna()]
    return there.loc[there[column].idxmin()] if len(there) else pd.Series(np.nan, index=rows.columns)


def settled(margin: float, *, up: pd.DataFrame, down: pd.DataFrame) -> float:
    """Return a margin, NaN while a run that is missing may turn its sign: one of ``up`` can only raise it."""
    turns = down if margin > 0 else up
    return np.nan if turns.end.isna().any() else margin


def of(
    dataset: str, bars: pd.DataFrame, curves: pd.DataFrame, labels: pd.DataFrame, nets: pd.DataFrame
) -> pd.DataFrame:
    """Return the parts of C7.1 to C7.12 for a data set, each against a bar; ends are of the last epochs."""
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


def part(
    claim: str,
    text: str,
    ours: float,
    spread: float = 0.0,
    seeds: str = "",
    *,
    least: float = -np.inf,
    most: float = np.inf,
    endless: str = "",
    **bar: float,
) -> judging.Part:
    """Return a part of a claim, with half of the 95 % interval of ours, see :func:`simbook.claims.judging.against`.

    Where a bar is never reached, ours is infinite: ``endless`` says so. Ours can be no less than ``least``.
    """
    own = Margin(ours, spread, f" ({seeds.replace(' ', GLUE)})" if seeds else "", most, least)
    claim, text, shown, *judged = judging.against(claim, text, own, **bar)
    return claim, text, endless if np.isinf(ours) else shown, *judged


def apart(claim: str, text: str, a: pd.Series, b: pd.Series) -> judging.Part:
    """Return the judged part that one setting ends above another."""
    return part(claim, text, *end_gap(a, b), most=100.0)


def end_gap(a: pd.Series, b: pd.Series) -> tuple[float, float, str]:
    """Return by how much one setting ends above another, half of its 95 % interval, and of what seeds: by pairs."""
    apart = a.end - b.end, float(np.hypot(a.half, b.half)), seeds_of(a.seeds, b.seeds)
    return beyond.by_pairs(a, b, "end") or apart


def seeds_of(*counts: float) -> str:
    """Return on how many seeds two settings rest, as text."""
    known = [max(1, int(np.nan_to_num(count, nan=1))) for count in counts]
    return "1 seed" if set(known) == {1} else " and ".join(map(str, dict.fromkeys(known))) + " seeds"


def of_labels(labels: pd.DataFrame, dataset: str) -> list[judging.Part]:
    """Return C7.1's part, of Vanilla at the rate that Table 3 seems to have; at each where no rate is known."""
    weak = labels[labels.method.eq("vanilla")]
    own = weak[weak.lr.eq(evaluation.rate_of_table3(dataset))]
    what = "the share of its accuracy that the labels bring (%)"
    rows = [(f"Vanilla, rate {rate(row.lr)}: {what}", share(row)) for row in (own if len(own) else weak).itertuples()]
    return [part("C7.1", *row, above=50) for row in rows or [(f"Vanilla: {what}", np.nan)]]


def of_resets(rows: pd.DataFrame) -> list[judging.Part]:
    """Return the parts of C7.2, C7.3, C7.9 and C7.12: with the reset and without, and Eq. 15 as printed."""
    n1 = first(rows[rows.method.eq("sim")], "n1")  # of the data set's own SIM-Adv
    cycle, never = (best(one(rows, "sim", reset, n1=n1)) for reset in ("cycle", "never"))
    quick = best(one(rows, "sim", "never", n1=3))
    falls = [keeps("C7.12", f"n1 = {n1:g}, with the reset", cycle, rows), keeps("C7.3", f"n1 = {n1:g}", never, rows)]
    if quick.name != never.name or pd.isna(quick.end):
        falls.append(keeps("C7.3", "n1 = 3", quick, rows))
    return [
        apart("C7.2", "end (%): cycle - never", cycle, never),
        withstanding("C7.2", "cycle - never", cycle, never, beyond.FINAL),
        withstanding("C7.2", "cycle - never", cycle, never, survival.strongest(rows)),
        *falls,
        apart("C7.9", "end (%): literal - projected", best(rows[rows.projection.eq("literal")]), cycle),
    ]


def keeps(claim: str, text: str, net: pd.Series, rows: pd.DataFrame) -> judging.Part:
    """Return a part of C7.3 or C7.12: a net never falls :data:`KEEPS` points further than the paper's BIM-Adv.

    Training swings, so that is what falls are measured by; where BIM-Adv was made and not watched, by nothing.
    """
    bim = rows[rows.method.eq("bim")].head(1)
    swing = first(bim, "fall")
    unwatched = len(bim) > 0 and bim.made.eq(True).all() and pd.isna(swing)
    text = f"{text}: its largest fall since epoch n2" + ("" if unwatched else " - BIM-Adv's")
    control = bim.iloc[0] if len(bim) else net
    spread = beyond.unsure(net, control, "fall") or net.half
    return part(claim, text, net.fall - (0.0 if unwatched else swing), spread, below=KEEPS)


def withstanding(claim: str, text: str, a: pd.Series, b: pd.Series, attack: str) -> judging.Part:
    """Return the judged part that the final nets of one setting withstand an attack better than another's."""
    where = "the whole test set" if attack == beyond.FINAL else f"the first {images_of(a, attack)} images"
    return part(claim, f"{attack} (%), {where}: {text}", *withstood(a, b, attack), most=100.0)


def images_of(row: pd.Series, attack: str) -> float:
    """Return on how many images the final nets of a setting met an attack."""
    return row["final images"] if attack == beyond.FINAL else chapters.SLICE.get(row.dataset, 1000)


def withstood(a: pd.Series, b: pd.Series, attack: str) -> tuple[float, float, str]:
    """Return by how much (points) an attack leaves more of the final nets of one setting than of another's.

    With half of its 95 % interval, of the seeds where one of them has several, else of the images; and of what seeds.
    """
    what = "final" if attack == beyond.FINAL else attack
    left = [float(row[what]) for row in (a, b)]
    seeds = seeds_of(*(row.get(f"{what} seeds", 1) for row in (a, b)))
    if seeds == "1 seed":
        half = float(np.hypot(*(half_of_share(value, images_of(a, attack)) for value in left)))
    else:
        half = beyond.unsure(a, b, what)
    return beyond.by_pairs(a, b, what) or (left[0] - left[1], half, seeds)


def interval(gain: float, half: float) -> str:
    """Return the 95 % interval of a difference of two accuracies as text: none is beyond 100 points."""
    return f"[{max(-100.0, gain - half):+.1f}, {min(100.0, gain + half):+.1f}]"


def of_passes(rows: pd.DataFrame, dataset: str) -> list[judging.Part]:
    """Return the parts of C7.4, C7.5, C7.6 and C7.10: how few passes are enough."""
    several, every, free = one(rows, "sim-k"), one(rows, "sim"), without_attacks(rows)
    single, lower, upper = one(rows, "sim", "never"), *beyond.TO
    alike = single[single.n1.isin(several.n1)]  # of the same step
    none, sims = rows[:0], pd.concat([every, several])
    epoch = sum(passes_per_image(run_spec(dataset, "bim")))
    least = epoch - settled(epoch - fewest(sims, lower), up=sims, down=none)
    pair, quick = (best(free), best(every)), quickest(sims, lower)
    gap, *unsure = end_gap(*pair)
    lag = settled(gap + NEAR, up=free, down=every) - NEAR
    text, spread = f"the fewest F to {beyond.BARS[dataset][0]:g} %", beyond.half_of_row(quick, lower)
    table = [
        part("C7.4", text, least, spread, seeds_of(quick.seeds), below=epoch, least=0.0, endless="none gets there"),
        part("C7.5", "end (%): best free-SIM - best SIM-Adv", lag, *unsure, above=-NEAR),
    ]
    more = " or ".join(f"{k:g}" for k in sorted(several.k.unique()))
    for column, bar in zip((lower, upper), beyond.BARS[dataset], strict=True):
        for claim, others, which in (("C7.6", alike, "k = 1 at the same n1"), ("C7.10", single, "k = 1 at any n1")):
            text = f"the fewest F to {bar:g} %, no reset: {which} - k = {more}"
            table.append(sooner(claim, text, others, several, column))
    return table


def sooner(claim: str, text: str, others: pd.DataFrame, own: pd.DataFrame, column: str) -> judging.Part:
    """Return the judged part that some runs are at a bar before others; undecided where that is up to the seed.

    Each side is the one that is there first; where both have a single seed, the sign decides. Seeds that are there
    after the same epoch show no spread, which is not to have none.
    """
    least = fewest(others, column), fewest(own, column)
    if np.isinf(least).all():
        return claim, f"{text} > 0", "none of them gets there", math.nan, judging.UNDECIDED
    gain = settled(least[0] - least[1], up=own, down=others)
    some = beyond.SOME[beyond.TO.index(column)]
    if np.isinf(gain) and pd.concat([others, own])[some].eq(True).any():
        return claim, f"{text} > 0", "not all of the seeds get there", math.nan, judging.UNDECIDED
    pair = quickest(others, column), quickest(own, column)
    seeds = seeds_of(*(of.seeds for of in pair))
    spread = beyond.unsure(*pair, column)
    *told, said = part(claim, text, gain, spread, seeds, endless="only one of the two gets there")
    unknown = np.isfinite(gain) and spread == 0 and seeds != "1 seed"
    return (*told, judging.UNDECIDED if unknown else said)


def of_neighbours(rows: pd.DataFrame, seen: pd.DataFrame, dataset: str) -> list[judging.Part]:
    """Return C7.7's parts, each method at its own settings and both at n1 = 3, and C7.11's, who is at a bar first."""
    others, every = rows[rows.method.isin(NEIGHBOURS)], one(rows, "sim")
    published = others[~others.method.eq("atta") | others.n1.eq(run_spec(dataset, "atta").n1)]
    n1, bar = first(every, "n1"), beyond.BARS[dataset][0]
    own = every[every.n1.eq(n1) & every.reset.isin(["cycle", "never"])]
    *margin, who = ahead(seen, own, published)
    quick, other = one(rows, "sim", "never", n1=3), others[others.method.eq("atta") & others.n1.eq(3)]
    *alike, _ = ahead(seen, quick, other)
    attack = survival.strongest(rows)
    sims = pd.concat([every, one(rows, "sim-k")])
    return [
        part("C7.7", f"SIM-Adv at n1 = {n1:g}, with its reset or without, - {who} at its passes", *margin),
        part("C7.7", "both without a reset at n1 = 3: SIM-Adv - ATTA-1 at its passes", *alike),
        outlasts(own, published, attack, among="the best of its neighbours"),
        outlasts(quick, other, attack, among="ATTA-1 at n1 = 3"),
        sooner("C7.11", f"the fewest F to {bar:g} %: neighbours - any SIM-Adv", others, sims, beyond.TO[0]),
    ]


def most_left(rows: pd.DataFrame, attack: str) -> pd.Series:
    """Return the row of which an attack leaves most; one of nothing but NaN where none has met it."""
    met = rows[attack].dropna()
    return rows.loc[met.astype(float).idxmax()] if len(met) else pd.Series(np.nan, index=rows.columns)


def outlasts(own: pd.DataFrame, others: pd.DataFrame, attack: str, *, among: str) -> judging.Part:
    """Return C7.7's part that an attack leaves more of SIM-Adv's final nets than of a neighbour's, each at its F.

    Not tested while a net that has not met the attack may turn the sign.

    Args:
        among: what to call the neighbour where none has met it.
    """
    pair = [most_left(rows, attack) for rows in (own, others)]
    turns = others if pair[0][attack] > pair[1][attack] else own
    if turns[attack].isna().any():
        pair[0] = pd.Series(np.nan, index=own.columns)
    names = [
        f"{row.title} ({row.F:g} F)" if pd.notna(row.F) else what
        for row, what in zip(pair, ("SIM-Adv", among), strict=True)
    ]
    return withstanding("C7.7", " - ".join(names), *pair, attack)


def ahead(seen: pd.DataFrame, own: pd.DataFrame, others: pd.DataFrame) -> tuple[float, float, str, str]:
    """Return by how much the better of some SIM-Adv is ahead of each neighbour at its passes: the least of them.

    With half of its 95 % interval, of what seeds, and the neighbour's name; NaN while a neighbour that is missing may
    be better still. Seeds that both have are paired; else a net stands at its passes no surer than at its end.
    """
    curves, margins = seen[seen.title.isin(own.title)], []
    for _, row in others[others.end.notna()].iterrows():
        stands, ends = at_passes(curves, row.F), pd.Series(row.get("end by seed"), dtype=float)
        gap = paired(stands, ends) or (stands.mean() - row.end, float(np.hypot(row.half, best(own).half)))
        shared = len(stands.index.intersection(ends.index))
        seeds = f"{shared} seeds" if shared > 1 else seeds_of(len(stands), row.get("seeds"))
        margins.append((*gap, seeds, row.title))
    none = (np.nan, np.nan, "", "the best of its neighbours")
    least = min((m for m in margins if pd.notna(m[0])), default=none)
    return (settled(least[0], up=own, down=others), *least[1:])


def survives(nets: pd.DataFrame) -> judging.Part:
    """Return C7.8's part: the worst test takes little more from SIM-Adv than from BIM-Adv, both as the paper has them.

    Even a net that is trained on BIM examples loses something, so that is what SIM-Adv's loss is measured by.

    Args:
        nets: as :func:`simbook.tables.survival.survivors` makes them, of one data set.
    """
    known = nets[nets["BIM(10,40)"].notna()]
    pair = [known[known.method.eq(method)].head(1) for method in ("sim", "bim")]
    if any(row.empty for row in pair):
        return part("C7.8", "what the worst test takes from SIM-Adv - from BIM-Adv", np.nan, below=SURVIVES)
    (of_sim, sims), (of_bim, bims) = (taken(row.iloc[0], survival.tests(nets)[1:]) for row in pair)
    names = [f"{test} takes from {row.title.item()}" for test, row in zip((of_sim, of_bim), pair, strict=True)]
    half = float(
        np.hypot(*(half_of_share(loss, row.images.item()) for loss, row in zip((sims, bims), pair, strict=True)))
    )
    return part("C7.8", f"seed 0: what {names[0]} - what {names[1]}", sims - bims, half, below=SURVIVES)


def taken(row: pd.Series, tests: list[str]) -> tuple[str, float]:
    """Return the test that takes most from a net that BIM leaves, and how much (points); NaN while one is missing."""
    lost = (row["BIM(10,40)"] - row[tests]).astype(float)
    return ("the worst test" if lost.isna().any() else lost.idxmax()), lost.max(skipna=False)


def share(row) -> float:
    """Return what the gain of predicted labels is of a net's accuracy under them, in percent."""
    return 100 * row.gain / row.predicted if row.predicted else np.nan


def verdicts(found: Found, settings: Settings, *, store: Store | None = None) -> pd.DataFrame:
    """Return the parts of the chapter's claims, judged, by data set: :func:`simbook.claims.judging.gathered`."""
    bars, curves = beyond.bars(found, store=store), beyond.curves(found)
    frame = sim_adv.accuracies(leading(found) + beyond.table_rows(settings, store=store), store=store)
    nets = survival.survivors(found, settings, store=store)
    names = dict.fromkeys(spec.dataset for spec, _ in found)
    return judging.gathered({d: [of(d, bars, curves, beyond.inflation(frame, d), nets)] for d in names})
