r"""README's tables: verdicts, MNIST's rows of Table 3 beside the paper's, and what chapter 7 trained beside SIM-Adv."""

import textwrap

from simadv.store import PUBLISHED, Store
from simbook import chapters, verdicts
from simbook.settings import EvaluationSettings, Settings
from simbook.tables import beyond, beyond_told, claims, survival
from simbook.tables.common import NAMES, NOT_RUN, leading, rate, title
from simbook.tables.evaluation import accuracies
from simbook.tables.evaluation_claims import of_table3
from simbook.tables.spread import GLUE, over_seeds, worth

START, END = "<!-- headline: written by make refresh -->", "<!-- end of headline -->"
SHOWN = ("Original", "BIM(10,40)")
FIRST = 12  # of chapter 7's nets, in the order of their worth; those that are named below the table follow
SURVEYED = ("rate 1e-3", "F an image", "clean", "BIM(10,40), last five epochs", "AutoAttack")
BEFORE = """\
*How many of the paper's claims have which verdict, a claim and a data set each; claims overlap, and one is worth the
worst of its parts. CIFAR10 was not trained at the paper's scale, which takes a GPU: there is a pair on a part of the
images (chapter 6), so the accuracies of the paper's abstract, which are of CIFAR10, are not tested, and what holds
there is about cost. `book/claims.ipynb` has every claim with its verdict and where it is judged.*"""
BETWEEN = """\
*Test accuracy on MNIST in percent, LeNet-5 after 60 epochs, at both learning rates. The paper's numbers are of Table 3,
which does not say its rates; where Table 4 (SIM-Adv) or Table 1 (ATDA) do, each stands at its own. Ours: mean
± standard deviation where there are several seeds, else the 95 % interval of the test set; attacks push away from the
true label, which the paper's seem not to have done (chapter 6). AutoAttack, which is younger than the paper: the net of
seed 0 on the first 1,000 images.*

What the paper leaves open, from chapter 7: its own training beside the same without a reset, without attack passes
(free-SIM), and beside neighbours (ATTA-1, FGSM-MEP). *Staggered* images start afresh in different epochs, and *random*
ones at random points of the ball. F counts gradient passes, all epochs together; k is steps an epoch."""
HEADS = ("method", "rate", "clean: paper", "clean: ours", "BIM(10,40): paper", "BIM(10,40): ours", "AutoAttack: ours")


def balance(store: Store | None = None) -> str:
    """Return how many of the paper's claims have each verdict, by data set, in Markdown."""
    table = verdicts.book(EvaluationSettings(), store=store or Store(PUBLISHED))
    counts = claims.counts(table[~claims.ours(table)])
    lines = [("verdict", *counts.columns), ["---"] * (1 + counts.shape[1])]
    lines += [(name, *map(str, row)) for name, row in zip(counts.index, counts.to_numpy(), strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def headline(store: Store | None = None) -> str:
    """Return the table in Markdown: each method at each of its rates, none chosen by its result; from the store."""
    store, settings = store or Store(PUBLISHED), EvaluationSettings(dataset="mnist")
    found = of_table3([(spec, store.find(spec)) for spec in chapters.evaluation(settings)], settings)
    rows = over_seeds(accuracies(found, store=store))
    first = {(title(spec), spec.lr): (spec, run) for spec, run in leading(found)}
    lines = [HEADS, ["---"] * len(HEADS)]
    for (name, lr), part in rows.groupby(["title", "lr"], sort=False):
        cells, line = {row.attack: row for row in part.itertuples()}, [name, rate(lr)]
        for attack in SHOWN:
            printed = cells[attack].paper
            ours = worth(cells[attack]).replace(GLUE, " ") + seeds_of(cells[attack])
            line += ["-" if printed != printed else f"{printed:.2f}", ours]
        left = survival.judged(*first[name, lr], store)["AutoAttack"]
        lines.append([*line, NOT_RUN if left != left else f"{left:.1f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def seeds_of(row) -> str:
    """Return how many seeds a number is of, to stand after it; nothing for one."""
    return f" ({row.seeds:.0f} seeds)" if row.seeds > 1 else ""


def survey(dataset: str, store: Store | None = None) -> str:
    """Return the first nets of chapter 7 in Markdown: what each cost, how it ends, and which are worth it."""
    store, settings = store or Store(PUBLISHED), Settings(dataset=dataset)
    found = [(spec, store.find(spec)) for spec in chapters.beyond(settings)]
    lines = [(f"{NAMES[dataset]}, {SURVEYED[0]}", *SURVEYED[1:]), ["---"] * len(SURVEYED)]
    bars = beyond.bars(found, store=store)
    shown = bars[(bars.reset_index().index < FIRST) | bars.index.isin(beyond_told.cheap(bars).index)]
    for _, row in shown.iterrows():
        spread = f" ± {row.sd:.1f}{seeds_of(row)}" if row.sd == row.sd else ""
        cells = [f"{row.end:.1f}{spread}" if row.end == row.end else NOT_RUN]
        cells += [f"{row.clean:.1f}" if row.clean == row.clean else NOT_RUN, beyond.met(row)]
        lines.append([row.title, f"{row.F:g}", cells[1], cells[0], cells[2]])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n\n".join([table, *(textwrap.fill(told, 120) for told in beyond_told.cheap_told(bars))])


def renewed(text: str, store: Store | None = None) -> str:
    """Return README's text with the tables between its two marks made anew.

    Raises:
        ValueError: a mark is missing.
    """
    before, _, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"README.md needs the lines {START!r} and {END!r}")
    surveys = "\n\n".join(survey(dataset, store) for dataset in ("mnist", "fmnist"))
    tables = "\n\n".join([balance(store), BEFORE, headline(store), BETWEEN, surveys])
    return f"{before}{START}\n\n{tables}\n\n{END}{after}"
