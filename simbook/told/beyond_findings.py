r"""What chapter 7 found: a question at a time, all data sets side by side, in Markdown with no number typed in."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
import pandas as pd

from simadv.runs import passes_per_image
from simadv.specs import METHODS, run_spec
from simbook.claims import judging
from simbook.claims.beyond import NEIGHBOURS, SURVIVES, first, one, quickest
from simbook.tables import beyond, survival
from simbook.tables.common import NAMES, in_markdown, listed
from simbook.tables.spread import GLUE, with_spread
from simbook.told import beyond as beyond_told
from simbook.told import survival as survival_told

BELOW = 'style="margin-bottom: 1.5em"'  # room before the next question
#: What a claim's verdict means: where it holds, where it does not, and what stays open else.
PLAIN = {
    "C7.1": (
        "most of what Vanilla has under BIM comes from attacking its own answers",
        "most of what Vanilla has under BIM does not come from attacking its own answers",
        "how much of what Vanilla has under BIM comes from attacking its own answers",
    ),
    "C7.2": ("SIM-Adv needs its reset", "SIM-Adv does not need its reset", "whether SIM-Adv needs its reset"),
    "C7.3": (
        "without a reset no epoch falls much further than BIM-Adv's do",
        "without a reset, too, some epochs fall much further than BIM-Adv's do",
        "whether an epoch falls much further than BIM-Adv's do without a reset",
    ),
    "C7.4": (
        "some SIM-Adv is at the lower bar before BIM(10,30)-Adv has ended its first epoch",
        "no SIM-Adv is at the lower bar before BIM(10,30)-Adv has ended its first epoch",
        "whether a SIM-Adv is at the lower bar before BIM(10,30)-Adv has ended its first epoch",
    ),
    "C7.5": (
        "SIM-Adv needs no attack pass",
        "without an attack pass SIM-Adv falls behind",
        "whether SIM-Adv needs an attack pass",
    ),
    "C7.6": (
        "at one n1 more steps an epoch are worth their passes",
        "at one n1 more steps an epoch are not always worth their passes",
        "whether more steps an epoch are worth their passes at one n1",
    ),
    "C7.10": (
        "they are at a bar for fewer passes than one longer step",
        "one longer step is at a bar for fewer passes",
        "whether one longer step is at a bar for fewer passes",
    ),
    "C7.7": (
        "SIM-Adv is ahead of its neighbours",
        "SIM-Adv is not ahead of its neighbours",
        "whether SIM-Adv is ahead of its neighbours",
    ),
    "C7.11": (
        "some SIM-Adv is at the lower bar before any of them",
        "one of them is at the lower bar before any SIM-Adv",
        "who is at the lower bar for the fewest passes",
    ),
    "C7.8": (
        f"stronger attacks take less than {SURVIVES:g} points more from SIM-Adv than from BIM-Adv",
        f"stronger attacks take at least {SURVIVES:g} points more from SIM-Adv than from BIM-Adv",
        f"whether stronger attacks take {SURVIVES:g} points more from SIM-Adv than from BIM-Adv",
    ),
    "C7.12": (
        "through its resets SIM-Adv keeps its robustness",
        "its resets open SIM-Adv to attack for a while",
        "whether its resets open SIM-Adv to attack",
    ),
    "C7.9": ("Eq. 15 as printed is no worse", "Eq. 15 as printed is worse", "whether Eq. 15 as printed is worse"),
}


@dataclass(frozen=True)
class Seen:
    """What the chapter has of one data set.

    Args:
        rows: :func:`simbook.tables.beyond.bars` of the settings that were run; ``asked``: of all.
        nets: :func:`simbook.tables.survival.survivors`.
        labels: :func:`simbook.tables.beyond.inflation`.
    """

    dataset: str
    asked: pd.DataFrame
    nets: pd.DataFrame
    labels: pd.DataFrame

    @property
    def rows(self) -> pd.DataFrame:
        return self.asked[self.asked.end.notna()]


@dataclass(frozen=True)
class Question:
    """A question, the claims that answer it, a table of all data sets' rows, and sentences on one of them."""

    text: str
    claims: tuple[str, ...] = ()
    beside: Callable[[dict[str, pd.DataFrame]], str] = lambda rows: ""
    told: Callable[[Seen], list[str]] = lambda seen: []


def resets(rows: pd.DataFrame) -> pd.DataFrame:
    """Return SIM-Adv at the paper's n1 under each reset, and at other n1 with one and without."""
    own = first(rows[rows.method.eq("sim")], "n1")
    parts = [one(rows, "sim", reset, n1=own) for reset in beyond.POLICIES]
    others = pd.concat([one(rows, "sim", "cycle"), one(rows, "sim", "never")])
    return pd.concat([*parts, others[others.n1.ne(own)].sort_values("n1", ascending=False, kind="stable")])


def frees(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the SIM-Adv that ends highest, and the free-SIM that do, with fresh gradients now and then and without."""
    return pd.concat([one(rows, "sim").sort_values("end").tail(1), beyond_told.best_frees(rows)])


def steps(rows: pd.DataFrame) -> pd.DataFrame:
    """Return SIM-Adv with several steps an epoch below the same with one, and with one longer step."""
    several = one(rows, "sim-k")
    single = one(rows, "sim", several.reset.iloc[0]) if len(several) else several
    return pd.concat([single.sort_values("n1", ascending=False, kind="stable"), several])


def neighbours(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the neighbours, those that end highest first, below the SIM-Adv that C7.7 is about and BIM-Adv."""
    sims = [one(rows, "sim", reset, n1=n1) for reset, n1 in (("cycle", 10), ("never", 10), ("never", 3))]
    others = rows[rows.method.isin(NEIGHBOURS)].sort_values("end", ascending=False)
    return pd.concat([*sims, rows[rows.method.eq("bim")].head(1), others])


def printed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return SIM-Adv by Eq. 15 as printed below the same projected onto the ball."""
    literal = rows[rows.projection.eq("literal")]
    return pd.concat([one(rows, "sim", "cycle").head(1), literal]) if len(literal) else literal


def plainly(parts: pd.DataFrame) -> str:
    """Return what the verdicts on some claims say, in a sentence."""
    told = []
    for claim, of in parts.groupby("claim", sort=False):
        holds, fails, asked = PLAIN[claim]
        verdict = judging.together(of.verdict)
        open_ = f"{asked} is {'open' if verdict == judging.UNDECIDED else verdict}"
        told.append({judging.HOLDS: holds, judging.FAILS: fails}.get(verdict, open_))
    text = "; ".join(told)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def lead(of: dict[str, pd.DataFrame]) -> str:
    """Return the answers by data set in plain words; data sets of one answer share it."""
    texts = pd.Series({NAMES[dataset]: plainly(parts) for dataset, parts in of.items()}, dtype=object)
    shared = texts[texts.ne("")].groupby(texts, sort=False)
    return " ".join(f"*{' and '.join(same.index)}.* {text}" for text, same in shared)


def decided(of: dict[str, pd.DataFrame]) -> str:
    """Return the verdicts on some claims, and folded below them the numbers that they rest on."""
    parts = pd.concat(list(of.values())) if of else pd.DataFrame()
    if parts.empty:
        return ""
    told = [f"{claim} {judging.by_dataset(each)}" for claim, each in parts.groupby("claim", sort=False)]
    numbers = [
        f"{claim}, {NAMES[row.dataset]}: {row.part}: {row.ours}, {row.verdict}"
        for claim, each in parts.groupby("claim", sort=False)
        for row in each.itertuples()
    ]
    return f"<details {BELOW}><summary>{'; '.join(told)}</summary>\n\n{listed(numbers)}\n\n</details>"


def side_by_side(
    of: dict[str, pd.DataFrame], choose: Callable[[pd.DataFrame], pd.DataFrame], *, also: str = "F"
) -> str:
    """Return settings as a table in Markdown: a row a setting, for each data set how it ends and what withstands.

    Args:
        of: the settings that were run, by data set.
        choose: returns those to show; what it chooses on one data set is shown of all.
        also: ``F`` (all passes), ``lowest`` (the worst epoch) or ``bar`` (the passes to the lower bar).
    """
    titles = dict.fromkeys(title for rows in of.values() for title in choose(rows).title)
    head, lines = ["", *(["F"] if also == "F" else [])], []
    for dataset, rows in of.items():
        more = {"F": [], "lowest": ["lowest"], "bar": [f"F to {beyond.BARS[dataset][0]:g} %"]}[also]
        head += [f"{NAMES[dataset]}: ends", *more, survival.strongest(rows)]
    for title in titles:
        own = {dataset: rows[rows.title.eq(title)] for dataset, rows in of.items()}
        passes = [f"{row.F.iloc[0]:g}" if len(row) else "-" for row in own.values()]
        passes = ["/".join(passes if len(set(passes)) > 1 else passes[:1])] if also == "F" else []
        each = [cells(row, also) if len(row) else ["-"] * (2 + (also != "F")) for row in own.values()]
        lines.append([title, *passes, *chain.from_iterable(each)])
    return in_markdown(head, lines) if lines else ""


def cells(rows: pd.DataFrame, also: str) -> list[str]:
    """Return how the setting of one row ends, what else is asked for and what the strongest attack leaves, as text."""
    row, attack = rows.iloc[0], survival.strongest(rows)
    more = {"F": [], "lowest": ["-" if pd.isna(row.lowest) else f"{row.lowest:.1f}"], "bar": [reached(rows)]}
    each = [with_spread(row.end, row.sd, row.seeds, unit=""), *more[also], beyond.met(row, attack, unit="")]
    return [text.replace(" ± ", f"{GLUE}±{GLUE}") for text in each]  # a narrow column breaks before the brackets


def reached(rows: pd.DataFrame, bar: int = 0, *, named: bool = False) -> str:
    """Return the fewest passes with which one of some settings was at a bar, in all its seeds; and which it was."""
    if rows.empty:
        return "-"
    best = quickest(rows, beyond.TO[bar])
    if pd.isna(best[beyond.TO[bar]]):
        return "not all seeds" if rows[beyond.SOME[bar]].eq(True).any() else "never"
    alike = rows.title[np.isclose(rows[beyond.TO[bar]].astype(float), best[beyond.TO[bar]])]
    return f"{best[beyond.TO[bar]]:.4g}" + (f": {', '.join(alike)}" if named else "")


def at_a_bar(of: dict[str, pd.DataFrame]) -> str:
    """Return who was at each bar for the fewest passes, of all and of each kind, as a table in Markdown."""
    kinds = {"SIM-Adv": ("sim", "sim-k"), "BIM-Adv": ("bim",), "any net": tuple(METHODS)}
    columns = [(dataset, bar, level) for dataset in of for bar, level in enumerate(beyond.BARS[dataset])]
    head = ["the fewest F", *(f"{NAMES[dataset]}: to {level:g} %" for dataset, _, level in columns)]
    epochs = {dataset: sum(passes_per_image(run_spec(dataset, "bim"))) for dataset in of}
    lines = [["one epoch of BIM-Adv", *(f"{epochs[dataset]:g}" for dataset, *_ in columns)]]
    for kind, methods in kinds.items():
        some = {name: rows[rows.method.isin(methods) & rows.projection.ne("literal")] for name, rows in of.items()}
        lines.append([kind, *(reached(some[dataset], bar, named=True) for dataset, bar, _ in columns)])
    return in_markdown(head, lines) if of else ""


QUESTIONS = (
    Question(
        "Whose label is attacked?", ("C7.1",), told=lambda seen: beyond_told.labels_told(seen.labels, seen.dataset)
    ),
    Question(
        "Is the reset needed?",
        ("C7.2", "C7.12", "C7.3"),
        partial(side_by_side, choose=resets, also="lowest"),
        lambda seen: [*beyond_told.worth_told(seen.rows), *beyond_told.nets_told(seen.rows)],
    ),
    Question(
        "How few passes are enough, and what ends highest?",
        ("C7.4",),
        at_a_bar,
        lambda seen: beyond_told.highest_told(seen.rows),
    ),
    Question(
        "Can the attack's pass be saved?",
        ("C7.5",),
        partial(side_by_side, choose=frees),
        lambda seen: beyond_told.swings_told(seen.rows),
    ),
    Question("Are more steps an epoch worth it?", ("C7.6", "C7.10"), partial(side_by_side, choose=steps, also="bar")),
    Question(
        "Is anyone as good, or cheaper?",
        ("C7.7", "C7.11"),
        partial(side_by_side, choose=neighbours),
        lambda seen: [*beyond_told.clean_half_told(seen.rows), *beyond_told.cheap_told(seen.rows)],
    ),
    Question("Would it survive?", ("C7.8",), told=lambda seen: survival_told.four_told(seen.nets)),
    Question("Is a gradient masked?", told=lambda seen: survival_told.masked_told(seen.nets, seen.dataset)),
    Question("Is Eq. 15 meant as it is printed?", ("C7.9",), partial(side_by_side, choose=printed)),
    Question(
        "What broke down, and what was not run?",
        told=lambda seen: [*beyond_told.collapsed_told(seen.rows), *beyond_told.missing_told(seen.asked)],
    ),
)


def findings(
    judged: pd.DataFrame, bars: pd.DataFrame, nets: pd.DataFrame, labels: dict[str, pd.DataFrame]
) -> list[str]:
    """Return what the chapter found, in Markdown, a question each: the answer, the settings, what decides it.

    Args:
        judged: :func:`simbook.verdicts.of_chapter`.
        bars: :func:`simbook.tables.beyond.bars`.
        nets: :func:`simbook.tables.survival.survivors`.
        labels: :func:`simbook.tables.beyond.inflation` by data set.
    """
    every = [Seen(name, bars[bars.dataset.eq(name)], nets[nets.dataset.eq(name)], labels[name]) for name in labels]
    run, none = [seen for seen in every if len(seen.rows)], [seen for seen in every if seen.rows.empty]
    texts = [answer(question, judged, run) for question in QUESTIONS]
    return [text for text in texts if text] + [f"{NAMES[seen.dataset]}: nothing was run yet." for seen in none]


def answer(question: Question, judged: pd.DataFrame, every: list[Seen]) -> str:
    """Return the Markdown on a question; nothing where there is nothing to say."""
    of = {seen.dataset: judged[judged.dataset.eq(seen.dataset) & judged.claim.isin(question.claims)] for seen in every}
    said = [(seen.dataset, question.told(seen)) for seen in every]
    table = question.beside({seen.dataset: seen.rows for seen in every})
    lines = "\n".join(f"- *{NAMES[dataset]}.* {' '.join(sentences)}" for dataset, sentences in said if sentences)
    body = [part for part in (table, lines, decided(of)) if part]
    return "\n\n".join([f"**{question.text}** {lead(of)}".rstrip(), *body]) if body else ""
