r"""What make refresh writes into README and the first page: the list, the verdicts, and the tables of numbers."""

import textwrap

import pandas as pd

from simadv.store import PUBLISHED, Store
from simbook import chapters, verdicts
from simbook.claims import page as claims
from simbook.claims.evaluation import of_table3
from simbook.settings import EvaluationSettings, Settings
from simbook.tables import beyond, survival
from simbook.tables.common import NAMES, NOT_RUN, in_markdown, leading, rate, title
from simbook.tables.evaluation import accuracies
from simbook.tables.spread import GLUE, over_seeds, with_spread, worth
from simbook.told import beyond as beyond_told
from simbook.told.in_short import in_short

# What make refresh writes stands between two lines, by its name.
MARKS = {
    name: (f"<!-- {name}: written by make refresh -->", f"<!-- end of {name} -->") for name in ("in short", "headline")
}
SHOWN = ("Original", "BIM(10,40)")
FIRST = 12  # of chapter 7's nets, in the order of their worth; those that are named below the table follow
SURVEYED = ("rate 1e-3", "F an image", "clean", "BIM(10,40), last five epochs", "AutoAttack")
BEFORE = """\
*How many of the paper's claims have which verdict, a claim and a data set each; claims overlap, and a claim gets the
verdict of its worst part. Holds in direction: the sign is the paper's, the size is not. Undecided: chance is not
excluded. Not tested: a run that one of its parts needs is missing, and no other part fails. On the plane: Fig. 8's
problem. CIFAR10 was not trained at the paper's scale, which takes a GPU: there is a pair on a part of the images
(chapter 6), and what holds there is about cost. [The page of claims](book/claims.ipynb) has every claim with its
verdict and where it is judged.*"""
BETWEEN = """\
*Test accuracy on MNIST in percent, ε = 0.3, LeNet-5 after 60 epochs, at both learning rates. The paper's numbers are
of Table 3, which does not say its rates; where Table 4 (SIM-Adv) or Table 1 (ATDA) do, each stands at its own. Ours:
mean ± standard deviation where there are several seeds, else the 95 % interval of the test set; attacks push away
from the true label, which the paper's seem not to have done (chapter 6). AutoAttack, which came out days after the
paper's preprint, is of the net of seed 0 alone, on the first 1,000 images: it may stand beside a mean of several
seeds that is far from that net's own.*

What the paper leaves open, from chapter 7: its own training beside the same without a reset, without attack passes
(free-SIM), and beside neighbours (ATTA-1, FGSM-MEP). *Staggered* images start afresh in different epochs, and *random*
ones at random points of the ball. F counts the work in forward passes (a backward pass is one
to the image and one to the weights), all epochs together; k is steps an epoch. *Clean* is of the whole test set; in the
lists below the tables it is of the nets that AutoAttack met."""
HEADS = (
    "method",
    "rate",
    "clean: paper",
    "clean: ours",
    "BIM(10,40): paper",
    "BIM(10,40): ours",
    "AutoAttack: ours, seed 0",
)


def balance(table: pd.DataFrame) -> str:
    """Return how many of the paper's claims have each verdict, by data set, in Markdown, from the book's verdicts."""
    counts = claims.counts(table[~claims.ours(table)])
    lines = [[name, *map(str, row)] for name, row in zip(counts.index, counts.to_numpy(), strict=True)]
    return in_markdown(["verdict", *counts.columns], lines)


def headline(store: Store | None = None) -> str:
    """Return the table in Markdown: each method at each of its rates, none chosen by its result; from the store."""
    store, settings = store or Store(PUBLISHED), EvaluationSettings(dataset="mnist")
    found = of_table3([(spec, store.find(spec)) for spec in chapters.evaluation(settings)], settings)
    rows = over_seeds(accuracies(found, store=store))
    first = {(title(spec), spec.lr): (spec, run) for spec, run in leading(found)}
    lines = []
    for (name, lr), part in rows.groupby(["title", "lr"], sort=False):
        cells, line = {row.attack: row for row in part.itertuples()}, [name, rate(lr)]
        for attack in SHOWN:
            printed = cells[attack].paper
            ours = worth(cells[attack]).replace(GLUE, " ") + seeds_of(cells[attack])
            line += ["-" if printed != printed else f"{printed:.2f}", ours]
        left = survival.judged(*first[name, lr], store)["AutoAttack"]
        lines.append([*line, NOT_RUN if left != left else f"{left:.1f}"])
    return in_markdown(HEADS, lines)


def seeds_of(row) -> str:
    """Return how many seeds a number is of, to stand after it; nothing for one."""
    return f" ({row.seeds:.0f} seeds)" if row.seeds > 1 else ""


def survey(dataset: str, store: Store | None = None) -> str:
    """Return the first nets of chapter 7 in Markdown: what each cost, how it ends, and which are worth it."""
    store, settings = store or Store(PUBLISHED), Settings(dataset=dataset)
    found = [(spec, store.find(spec)) for spec in chapters.beyond(settings)]
    lines = []
    bars = beyond.bars(found, store=store)
    shown = bars[(bars.reset_index().index < FIRST) | bars.index.isin(beyond_told.cheap(bars).index)]
    for _, row in shown.iterrows():
        cells = [with_spread(row.end, row.sd, row.seeds) if row.end == row.end else NOT_RUN]
        cells += [f"{row.clean:.1f}" if row.clean == row.clean else NOT_RUN, beyond.met(row)]
        lines.append([row.title, f"{row.F:g}", cells[1], cells[0], cells[2]])
    table = in_markdown([f"{NAMES[dataset]}, {SURVEYED[0]}", *SURVEYED[1:]], lines)
    return "\n\n".join([table, *(textwrap.fill(told, 120) for told in beyond_told.cheap_told(bars))])


def written(table: pd.DataFrame | None = None) -> dict[str, str]:
    """Return what stands between each of :data:`MARKS`, from the published store.

    Args:
        table: :func:`simbook.verdicts.book` of it, where that is there already.
    """
    store = Store(PUBLISHED)
    table = verdicts.book(EvaluationSettings(), store=store) if table is None else table
    return {"in short": in_short(table, store), "headline": tables(table, store)}


def renewed(text: str, between: dict[str, str]) -> str:
    """Return README's or the first page's text with what stands between its marks made anew.

    Args:
        between: as :func:`written` returns it.

    Raises:
        ValueError: a mark is missing, or all are.
    """
    marks = {name: marks for name, marks in MARKS.items() if marks[0] in text}
    if not marks:
        raise ValueError(f"needs the lines of at least one of {MARKS}")
    for name, (start, end) in marks.items():
        before, _, rest = text.partition(start)
        _, there, after = rest.partition(end)
        if not there:
            raise ValueError(f"needs the line {end!r} after {start!r}")
        text = f"{before}{start}\n\n{between[name]}\n\n{end}{after}"
    return text


def tables(table: pd.DataFrame, store: Store) -> str:
    """Return README's tables in Markdown, with what they are."""
    surveys = "\n\n".join(survey(dataset, store) for dataset in ("mnist", "fmnist"))
    return "\n\n".join([balance(table), BEFORE, headline(store), BETWEEN, surveys])
