r"""What chapter 7 found on a data set, in sentences whose every number is computed."""

import pandas as pd
from scipy.stats import fisher_exact

from simadv.specs import run_spec
from simbook import chapters
from simbook.claims import beyond as beyond_claims
from simbook.claims.beyond import NEAR, one, without_attacks
from simbook.tables import beyond, evaluation, survival
from simbook.tables.common import NAMES, joined, listed, rate
from simbook.tables.spread import with_spread

COLLAPSED = 60.0  # percent of clean images
FAR = 10.0  # points below BIM-Adv under AutoAttack


def ends(row: pd.Series) -> str:
    """Return how a setting ends and what AutoAttack leaves of it, to stand after its name."""
    left = f", AutoAttack {beyond.met(row)}" if pd.notna(row.AutoAttack) else ""
    return f"{with_spread(row.end, row.sd, row.seeds, sign=' %')}{left}"


def labels_told(labels: pd.DataFrame, dataset: str) -> list[str]:
    """Return what the label convention brings to Vanilla at the rate that Table 3 seems to have, where one is known."""
    weak = labels[labels.method.eq("vanilla")]
    own = weak.lr.eq(evaluation.rate_of_table3(dataset))
    told = [
        f"Vanilla at rate {rate(row.lr)} has {row.true:.2f} % under BIM by true labels and {row.predicted:.2f} % by "
        f"predicted ones: of {row.error:.2f} % that it gets wrong when clean, the attack puts {100 * row.share:.0f} % "
        "right."
        for row in weak[own].itertuples()
    ]
    others = weak[~own].itertuples() if told else ()
    told += [f"At rate {rate(row.lr)} it has {row.true:.2f} % and {row.predicted:.2f} %." for row in others]
    return told + corrected_told(labels)


def corrected_told(labels: pd.DataFrame) -> list[str]:
    """Return what would be left of the paper's Free-Adv and ATDA if its attacks had pushed away from predicted labels.

    From the least, where all of its clean errors turned right, to the most, where as many did as with a net of ours.
    """
    weak = labels[labels.method.isin(["free", "atda"]) & labels.paper.notna()]
    each = [
        f"the {printed:.2f} % of the paper's {name} would be {of[['least', 'likely']].min(axis=None):.2f} to "
        f"{of[['least', 'likely']].max(axis=None):.2f} %"
        for (name, printed), of in weak.groupby(["title", "paper"], sort=False)
    ]
    return [f"By true labels {' and '.join(each)}, if it attacked predicted ones."] if each else []


def worth_told(rows: pd.DataFrame) -> list[str]:
    """Return what the reset is worth under AutoAttack at each n1 that has nets with it and without, in points."""
    gains, alone = [], False
    for n1 in one(rows, "sim", "never").n1:
        pair = [beyond_claims.best(one(rows, "sim", reset, n1=n1)) for reset in ("cycle", "never")]
        gain, half, seeds = beyond_claims.withstood(*pair, survival.strongest(rows))
        if pd.notna(gain):
            gains.append(f"{gain:+.1f} {beyond_claims.interval(gain, half)} at n1 = {n1:g} ({seeds})")
            alone |= seeds == "1 seed"
    if not gains:
        return []
    told = [f"Under {survival.strongest(rows)} the reset is worth, in points, {', '.join(gains)}."]
    several = one(rows, "sim").dropna(subset="AutoAttack sd").sort_values("AutoAttack sd").tail(1)
    if alone:
        told += [
            f"What is of one seed has the interval of the images alone: the seeds of {row.title} deviate by "
            f"{row['AutoAttack sd']:.1f} points."
            for _, row in several.iterrows()
        ]
    return told


def nets_told(rows: pd.DataFrame) -> list[str]:
    """Return of how many nets AutoAttack leaves much less than of BIM-Adv, without a reset and with one, net by net.

    Whatever their n1 and steps an epoch; with Fisher's exact test, though the question came after the numbers.
    """
    bim, counts = rows[rows.method.eq("bim")].AutoAttack.max(), {}
    for reset in ("never", "cycle"):
        own = pd.concat([one(rows, "sim", reset), one(rows, "sim-k", reset)])["AutoAttack by seed"]
        nets = pd.Series([left for seeds in own if isinstance(seeds, dict) for left in seeds.values()], dtype=float)
        counts[reset] = int((nets < bim - FAR).sum()), len(nets)
    (lost, many), (lost_too, few) = counts.values()
    if pd.isna(bim) or not many or not few:
        return []
    p = fisher_exact([[lost, many - lost], [lost_too, few - lost_too]]).pvalue
    return [
        f"Net by net, whatever n1 and k: AutoAttack leaves {FAR:g} points less than of BIM-Adv, or worse, of {lost} of "
        f"{many} nets without a reset and of {lost_too} of {few} with one (Fisher's exact test, two-sided: p = {p:.2g};"
        " a question asked after the numbers were seen)."
    ]


def highest_told(rows: pd.DataFrame) -> list[str]:
    """Return the SIM-Adv that end highest."""
    sims = rows[rows.method.isin(["sim", "sim-k", "free-sim"]) & rows.projection.ne("literal")]
    each = [f"{row.title} at {ends(row)}" for _, row in sims.sort_values("end", ascending=False).head(3).iterrows()]
    if not each:
        return []
    return [
        f"Of {len(sims)} SIM-Adv, free-SIM among them, these end highest: {'; '.join(each)}.",
        *corner_told(rows, sims),
    ]


def corner_told(rows: pd.DataFrame, sims: pd.DataFrame) -> list[str]:
    """Return what an attack that did not choose it makes of the best SIM-Adv by the monitor, and what it would choose.

    Args:
        sims: those of ``rows`` to choose from.
    """
    attack, best = survival.strongest(rows), sims.loc[sims.end.idxmax()]
    if pd.isna(best[attack]):
        return []
    bim = rows[rows.method.eq("bim")].head(1)
    beside = "" if bim[attack].isna().all() else f", where BIM-Adv has {bim[attack].iloc[0]:.1f} %"
    left = beyond.met(best, attack, sign=" %")
    told = [f"{attack}, which did not choose it, leaves {best.title} {left}{beside}. {kept(best)}"]
    other = sims.loc[sims[attack].astype(float).idxmax()]
    if other.name != best.name:
        told.append(
            f"{attack} itself would choose {other.title}, {beyond.met(other, attack, sign=' %')}. {kept(other)}"
        )
    return told


def kept(row: pd.Series) -> str:
    """Return what a SIM-Adv keeps of the paper's design for its data set, and what it has instead."""
    design = run_spec(row.dataset, "sim")
    fresh = f"an attack pass every {row.fresh:g} epochs" if row.fresh > 0 else "no attack pass"
    steps = f"{row.k:g} steps an epoch" if row.method == "sim-k" else fresh
    resets = {"never": "no reset", "staggered": "a staggered reset", "random": "a reset to random points"}
    as_often = row.reset == "cycle" and row.n2 == design.n2
    parts = [
        (row.method == "sim", "one step an epoch", steps),
        (as_often, "the reset", resets.get(row.reset, f"a reset every {row.n2:g} epochs")),
        (row.n1 == design.n1, f"n1 = {row.n1:g}", f"n1 = {row.n1:g}"),
    ]
    has = [own for same, own, _ in parts if same]
    lacks = [other for same, _, other in parts if not same]
    instead = f"it has {joined(lacks)}" if lacks else ""
    if not has:
        return f"It keeps nothing of the paper's design: {instead}."
    return f"Of the paper's design it keeps {joined(has)}" + (f", but {instead}." if lacks else ".")


def best_frees(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the free-SIM that end highest, without a fresh gradient and with one now and then."""
    fresh = one(rows, "free-sim")
    return pd.concat([some.sort_values("end").tail(1) for some in (without_attacks(rows), fresh[fresh.fresh > 0])])


def swings_told(rows: pd.DataFrame) -> list[str]:
    """Return how far apart the last epochs of :func:`best_frees` are."""
    swings = [
        f"{row.swing:.0f} points in {row.title}" + (f" (mean of {row.seeds:.0f} seeds)" if row.seeds > 1 else "")
        for row in best_frees(rows).itertuples()
    ]
    return [f"The last {beyond.LATE} epochs are as far apart as {' and '.join(swings)}."] if swings else []


def refreshed_told(table: pd.DataFrame) -> str:
    """Return :func:`simbook.tables.beyond.refreshed` in words, a sentence a data set."""
    said = []
    for (dataset, name), of in table.groupby(["dataset", "title"], sort=False):
        means = [
            f"{of[when].min():.1f} to {of[when].max():.1f}" if len(of) > 1 else f"{of[when].iloc[0]:.1f}"
            for when in ("fresh", "between")
        ]
        seeds = f"means of each of {len(of)} seeds" if len(of) > 1 else "one seed"
        said.append(
            f"*{NAMES[dataset]}.* {name}: {means[0]} % after an epoch with a fresh step, {means[1]} % after the others "
            f"({seeds})."
        )
    return listed(said)


def clean_half_told(rows: pd.DataFrame) -> list[str]:
    """Return what the clean half of a batch costs and brings: ATTA-1 beside the SIM-Adv that differs in that alone."""
    said, attack = [], survival.strongest(rows)
    for _, other in one(rows, "atta").iterrows():
        for _, net in one(rows, "sim", "never", n1=other.n1).iterrows():
            gain, half, seeds = beyond_claims.withstood(other, net, attack)
            if pd.notna(gain):
                said.append(
                    f"{other.title} is {net.title}, but for the clean half of its batches: {other.F:g} F instead of "
                    f"{net.F:g}, {clean_of(other) - clean_of(net):+.1f} points on clean images and {gain:+.1f} "
                    f"{beyond_claims.interval(gain, half)} under {attack} ({seeds})."
                )
    return said


def cheap_told(rows: pd.DataFrame) -> list[str]:
    """Return what is within :data:`NEAR` points of the paper's BIM-Adv under AutoAttack, or above, for fewer passes."""
    bim = rows[rows.method.eq("bim")].head(1)
    if bim.AutoAttack.isna().all():
        return []
    of = bim.iloc[0]
    each = "; ".join(f"{row.title}, {left(row)}, for {row.F:g} F" for _, row in cheap(rows).iterrows())
    low, high = survival.interval(of.AutoAttack, chapters.SLICE.get(of.dataset, 1000))
    text = f"Within {NEAR:g} points of {of.title} under AutoAttack ({left(of)}, for {of.F:g} F an image; "
    return [f"{text}{low:.1f} to {high:.1f} by the images that were tested), or above: {each or 'none that was run'}."]


def cheap(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the nets that :func:`cheap_told` names, those of the fewest passes first."""
    bim = rows[rows.method.eq("bim")].head(1)
    least, most = bim.AutoAttack.max() - NEAR, bim.F.max()
    return rows[(least <= rows.AutoAttack) & (most > rows.F)].sort_values("F")


def left(row: pd.Series) -> str:
    """Return what AutoAttack leaves of a setting, and what the same nets have on clean images."""
    return f"{beyond.met(row, sign=' %')}, clean {clean_of(row):.1f} %"


def clean_of(row: pd.Series) -> float:
    """Return what those nets of a setting that met AutoAttack have on clean images, in percent."""
    clean, met = row.get("clean by seed"), row.get("AutoAttack by seed")
    both = all(isinstance(of, dict) for of in (clean, met))
    return pd.Series(clean).reindex(list(met)).mean() if both else row.clean


def collapsed_told(rows: pd.DataFrame) -> list[str]:
    """Return which trainings broke down, seed by seed: nets that have less than :data:`COLLAPSED` on clean images."""
    named = []
    for _, row in rows.iterrows():
        seeds = pd.Series(each if isinstance(each := row.get("clean by seed"), dict) else [row.clean])
        broken = seeds[seeds < COLLAPSED]
        if len(broken):
            of = f", {len(broken)} of {len(seeds)} seeds" if len(seeds) > 1 else ""
            named.append(f"{row.title} (clean {', '.join(f'{value:.1f}' for value in broken)} %{of})")
    return [f"Broke down in training at this rate: {'; '.join(named)}."] if named else []


def missing_told(asked: pd.DataFrame) -> list[str]:
    """Return the runs that are still to be made."""
    missing, run = asked[asked.end.isna()], asked[asked.end.notna()]
    told = [f"Not run, or not watched, yet: {'; '.join(missing.title)}."] if len(missing) else []
    alone, most = run[run.seeds.eq(1)], run.seeds.max()
    if len(alone) and most > 1:
        told.append(
            f"Of {len(run)} settings {run.seeds.eq(most).sum()} have {most:.0f} seeds and {len(alone)} one alone: "
            f"{'; '.join(alone.title)}."
        )
    return told
