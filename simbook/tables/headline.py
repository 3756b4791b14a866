r"""README's table: MNIST's rows of Table 3 on clean images and under BIM, the paper's beside ours."""

from simadv.store import PUBLISHED, Store
from simbook import chapters
from simbook.settings import EvaluationSettings
from simbook.tables.common import rate
from simbook.tables.evaluation import accuracies
from simbook.tables.evaluation_claims import of_table3
from simbook.tables.spread import GLUE, over_seeds, worth

START, END = "<!-- headline: written by make refresh -->", "<!-- end of headline -->"
SHOWN = ("Original", "BIM(10,40)")
HEADS = ("method", "rate", "clean: paper", "clean: ours", "BIM(10,40): paper", "BIM(10,40): ours")


def headline(store: Store | None = None) -> str:
    """Return the table in Markdown: each method at each of its rates, none chosen by its result; from the store."""
    store, settings = store or Store(PUBLISHED), EvaluationSettings(dataset="mnist")
    found = of_table3([(spec, store.find(spec)) for spec in chapters.evaluation(settings)], settings)
    rows = over_seeds(accuracies(found, store=store))
    lines = [HEADS, ["---"] * len(HEADS)]
    for (name, lr), part in rows.groupby(["title", "lr"], sort=False):
        cells, line = {row.attack: row for row in part.itertuples()}, [name, rate(lr)]
        for attack in SHOWN:
            printed = cells[attack].paper
            line += ["-" if printed != printed else f"{printed:.2f}", worth(cells[attack]).replace(GLUE, " ")]
        lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def renewed(text: str, store: Store | None = None) -> str:
    """Return README's text with the table between its two marks made anew.

    Raises:
        ValueError: a mark is missing.
    """
    before, _, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"README.md needs the lines {START!r} and {END!r}")
    return f"{before}{START}\n\n{headline(store)}\n\n{END}{after}"
