r"""What chapter 7 found, question by question, in sentences whose every number is computed."""

import pandas as pd

from simbook import chapters
from simbook.tables import beyond, beyond_claims, evaluation, judging, survival, survival_told
from simbook.tables.beyond_claims import NEAR, first, one, without_attacks
from simbook.tables.common import NAMES, rate
from simbook.tables.sim_adv_told import listed

COLLAPSED = 60.0  # percent of clean images
#: What a claim's verdict means: where it holds, and where it does not.
PLAIN = {
    "C7.1": (
        "Vanilla's robustness is the label convention's",
        "Vanilla's robustness is more than the label convention's",
    ),
    "C7.2": ("SIM-Adv needs its reset", "SIM-Adv does not need its reset"),
    "C7.3": ("Without a reset no epoch is weak", "Without a reset, too, some epochs are weak"),
    "C7.4": (
        "Some SIM-Adv is at the lower bar before BIM(10,30)-Adv has ended its first epoch",
        "No SIM-Adv is at the lower bar before BIM(10,30)-Adv has ended its first epoch",
    ),
    "C7.5": ("SIM-Adv needs no attack pass", "Without an attack pass SIM-Adv falls behind"),
    "C7.6": ("At one n1 more steps an epoch are worth their passes", "At one n1 more steps are not always worth it"),
    "C7.10": ("They beat one longer step, too", "But one longer step is there for fewer passes"),
    "C7.7": ("SIM-Adv is ahead of its neighbours", "SIM-Adv is not ahead of its neighbours"),
    "C7.8": (
        "Stronger attacks take hardly more from SIM-Adv than from BIM-Adv",
        "Stronger attacks take more from SIM-Adv than from BIM-Adv",
    ),
    "C7.9": ("Eq. 15 as printed is no worse", "Eq. 15 as printed is worse"),
}


def findings(judged: pd.DataFrame, bars: pd.DataFrame, nets: pd.DataFrame, labels: pd.DataFrame, dataset: str) -> str:
    """Return what the chapter found on a data set: a paragraph a question, with the verdicts that rest on it.

    Args:
        judged: :func:`simbook.tables.beyond_claims.verdicts`.
        bars: :func:`simbook.tables.beyond.bars`.
        nets: :func:`simbook.tables.survival.survivors`.
        labels: :func:`simbook.tables.beyond.inflation` of the data set.
    """
    asked, nets = bars[bars.dataset.eq(dataset)], nets[nets.dataset.eq(dataset)]
    rows = asked[asked.end.notna()]
    if rows.empty:
        return f"{NAMES[dataset]}: nothing was run yet."
    said = {
        "The label convention": (labels_told(labels, dataset), ["C7.1"]),
        "The reset": ([*resets_told(rows), *worth_told(rows)], ["C7.2", "C7.3"]),
        "How often to reset": (cycles_told(rows), []),
        "The map": (highest_told(rows), []),
        "How few passes are enough": (fewest_told(rows), ["C7.4"]),
        "SIM for free": (free_told(rows), ["C7.5"]),
        "More steps an epoch": (steps_told(rows), ["C7.6", "C7.10"]),
        "The neighbours": ([*neighbours_told(rows), *cheap_told(rows)], ["C7.7"]),
        "Would it survive": (survival_told.four_told(nets), ["C7.8"]),
        "Masked gradients": (survival_told.masked_told(nets, dataset), []),
        "Eq. 15 as printed": (literal_told(rows), ["C7.9"]),
        "No rivals, and not run": ([*collapsed_told(rows), *missing_told(asked)], []),
    }
    own = judged[judged.dataset.eq(dataset)]
    told = {question: (sentences, own[own.claim.isin(claims)]) for question, (sentences, claims) in said.items()}
    return listed(
        [
            f"**{'. '.join(leads(parts) or [question])}.** {' '.join([*sentences, *judged_told(parts)])}"
            for question, (sentences, parts) in told.items()
            if sentences or len(parts)
        ]
    )


def leads(parts: pd.DataFrame) -> list[str]:
    """Return what the verdict on each of some claims says in plain words; of one that is open, what is."""
    told = []
    for claim, of in parts.groupby("claim", sort=False):
        verdict = judging.together(of.verdict)
        holds, fails = PLAIN[claim]
        known = {judging.HOLDS: holds, judging.FAILS: fails}
        told.append(known.get(verdict, f"{verdict.capitalize()}: {holds}"))
    return told


def judged_told(parts: pd.DataFrame) -> list[str]:
    """Return the verdict on each of some claims with the margins that it rests on."""
    told = []
    for claim, of in parts.groupby("claim", sort=False):
        margins = "; ".join(f"{part.part.removesuffix(' > 0')}: {part.ours}" for part in of.itertuples())
        told.append(f"*{claim} {judging.together(of.verdict)}* ({margins}).")
    return told


def within(row) -> str:
    """Return the spread of a row of :func:`simbook.tables.beyond.bars`: over its seeds, or over its last epochs."""
    if pd.isna(row.sd):
        return "one look of the monitor"
    return f"± {row.sd:.1f} over {row.seeds:.0f} seeds" if row.seeds > 1 else f"± {row.sd:.1f} in one seed"


def ends(row: pd.Series) -> str:
    """Return how a setting ends, its passes and what AutoAttack leaves of it, to stand after its name."""
    left = f", {under(row)}" if pd.notna(row.AutoAttack) else ""
    return f"{row.end:.1f} % ({within(row)}; {row.F:g} F{left})"


def under(row: pd.Series) -> str:
    """Return what AutoAttack leaves of a setting: the mean of the seeds that it was run on, if not of all, of which."""
    met = row["AutoAttack seeds"]
    spread = f" ± {row['AutoAttack sd']:.1f}" if met > 1 else ""
    some = f" in {'one' if met == 1 else f'{met:.0f}'} of them" if met < row.seeds else ""
    return f"{row.AutoAttack:.1f}{spread} % under AutoAttack{some}"


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
    return told + [f"At rate {rate(row.lr)} it has {row.true:.2f} % and {row.predicted:.2f} %." for row in others]


def resets_told(rows: pd.DataFrame) -> list[str]:
    """Return how SIM-Adv at the paper's n1 ends under each reset, and its worst epoch since the first n2."""
    n1 = first(rows[rows.method.eq("sim")], "n1")
    names = {"cycle": "with its reset", "never": "without", "staggered": "staggered", "random": "at random points"}
    each = [
        f"{names[row.reset]} at {ends(row)}, {row.lowest:.1f} % in its worst epoch"
        for reset in beyond.POLICIES
        for _, row in one(rows, "sim", reset, n1=n1).iterrows()
    ]
    return [f"SIM-Adv with n1 = {n1:g} ends {'; '.join(each)}."] if each else []


def worth_told(rows: pd.DataFrame) -> list[str]:
    """Return what the reset is worth under AutoAttack at each n1 that has nets with it and without, in points."""
    gains = []
    for n1 in one(rows, "sim", "never").n1:
        pair = [beyond_claims.best(one(rows, "sim", reset, n1=n1)) for reset in ("cycle", "never")]
        gain, half, seeds = beyond_claims.withstood(*pair, rows)
        gains += [f"{gain:+.1f} ± {half:.1f} at n1 = {n1:g} ({seeds})"] if pd.notna(gain) else []
    of = beyond_claims.strongest(rows)
    return [f"Under {of} the reset is worth, in points, {', '.join(gains)}."] if gains else []


def cycles_told(rows: pd.DataFrame) -> list[str]:
    """Return how SIM-Adv at each n1 but the paper's ends by how often it is reset, n2, where several were run."""
    own, told = first(rows[rows.method.eq("sim")], "n1"), []
    for n1, cycles in one(rows, "sim", "cycle").groupby("n1", sort=False):
        each = pd.concat([cycles, one(rows, "sim", "never", n1=n1)])
        if len(each) > 1 and n1 != own:
            ended = [f"{row.title} at {ends(row)}, {row.lowest:.1f} % in its worst epoch" for _, row in each.iterrows()]
            told.append(f"With n1 = {n1:g} the ends are: {'; '.join(ended)}.")
    return told


def highest_told(rows: pd.DataFrame) -> list[str]:
    """Return the SIM-Adv that end highest."""
    sims = rows[rows.method.isin(["sim", "sim-k", "free-sim"]) & rows.projection.ne("literal")]
    each = [f"{row.title} at {ends(row)}" for _, row in sims.sort_values("end", ascending=False).head(3).iterrows()]
    return [f"Of {len(sims)} SIM-Adv, free-SIM among them, these end highest: {'; '.join(each)}."] if each else []


def fewest_told(rows: pd.DataFrame) -> list[str]:
    """Return who reached each bar with the fewest passes: of all, of the SIM-Adv, and of the BIM-Adv."""
    sims = rows[rows.method.isin(["sim", "sim-k"])]
    kinds = {"": rows, "; of SIM-Adv, ": sims, "; of BIM-Adv, ": rows[rows.method.eq("bim")]}
    told = []
    for name, level in zip(beyond.TO, beyond.BARS[rows.dataset.iloc[0]], strict=True):
        best = {how: part.sort_values(name).head(1) for how, part in kinds.items() if part[name].notna().any()}
        parts = [f"{how}{row.title.item()}, {row[name].item():.4g} F" for how, row in best.items()]
        told += [f"The fewest passes an image to {level:g} %: {''.join(parts)}."] if parts else []
    return told


def free_told(rows: pd.DataFrame) -> list[str]:
    """Return how the best free-SIM without an attack pass ends, and the best that takes a fresh gradient at times."""
    fresh = one(rows, "free-sim")
    best_of = {
        "Without an attack pass": without_attacks(rows),
        "With a fresh gradient now and then": fresh[fresh.fresh > 0],
    }
    told = []
    for how, some in best_of.items():
        for _, row in some.sort_values("end", ascending=False).head(1).iterrows():
            swing = f"its last {beyond.LATE} epochs are {row.swing:.0f} points apart"
            told.append(f"{how} {row.title} is best: it ends at {ends(row)}; {swing}.")
    return told


def steps_told(rows: pd.DataFrame) -> list[str]:
    """Return how SIM-Adv with several steps an epoch ends, beside the same with one."""
    several = one(rows, "sim-k")
    if several.empty:
        return []
    single = one(rows, "sim", several.reset.iloc[0], n1=several.n1.iloc[0])
    each = [f"{row.title} ends at {ends(row)}" for _, row in pd.concat([single, several]).iterrows()]
    return [f"{'; '.join(each)}."]


def neighbours_told(rows: pd.DataFrame) -> list[str]:
    """Return how the neighbours end."""
    others = rows[rows.method.isin(beyond_claims.NEIGHBOURS)].sort_values("end", ascending=False)
    each = [f"{row.title} ends at {ends(row)}" for _, row in others.iterrows()]
    return [f"{'; '.join(each)}."] if each else []


def cheap_told(rows: pd.DataFrame) -> list[str]:
    """Return what is within :data:`NEAR` points of the paper's BIM-Adv under AutoAttack, or above, for fewer passes."""
    bim = rows[rows.method.eq("bim")].head(1)
    if bim.AutoAttack.isna().all():
        return []
    of = bim.iloc[0]
    each = "; ".join(f"{row.title}, {_left(row)} for {row.F:g} F" for row in cheap(rows).itertuples())
    low, high = survival.interval(of.AutoAttack, chapters.SLICE.get(of.dataset, 1000))
    text = f"Within {NEAR:g} points of {of.title} under AutoAttack ({_left(of)} for {of.F:g} F an image; "
    return [f"{text}{low:.1f} to {high:.1f} by the images that were tested), or above: {each or 'none that was run'}."]


def cheap(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the nets that :func:`cheap_told` names, those of the fewest passes first."""
    bim = rows[rows.method.eq("bim")].head(1)
    least, most = bim.AutoAttack.max() - NEAR, bim.F.max()
    return rows[(least <= rows.AutoAttack) & (most > rows.F)].sort_values("F")


def _left(row) -> str:
    """Return what AutoAttack leaves of a net, and what it has on clean images."""
    return f"{row.AutoAttack:.1f} %, clean {row.clean:.1f} %,"


def literal_told(rows: pd.DataFrame) -> list[str]:
    """Return how SIM-Adv by Eq. 15 as printed ends, beside the same projected onto the ball."""
    printed = rows[rows.projection.eq("literal")]
    pair = pd.concat([one(rows, "sim", "cycle").head(1), printed]) if len(printed) else printed
    return ["; ".join(f"{row.title} ends at {ends(row)}" for _, row in pair.iterrows()) + "."] if len(pair) else []


def collapsed_told(rows: pd.DataFrame) -> list[str]:
    """Return which trainings broke down: nets that classify less than :data:`COLLAPSED` of clean images correctly."""
    broken = rows[rows.clean < COLLAPSED]
    named = ", ".join(f"{row.title} (clean {row.clean:.1f} %)" for row in broken.itertuples())
    return [f"Broke down in training at this rate: {named}."] if named else []


def missing_told(asked: pd.DataFrame) -> list[str]:
    """Return the runs that are still to be made."""
    missing = asked[asked.end.isna()]
    return [f"Not run, or not watched, yet: {'; '.join(missing.title)}."] if len(missing) else []
