r"""Every claim of the paper on one page: where it is made, the paper's number, ours, the verdict, cell and runs."""

import json
import re
from collections.abc import Callable
from html import escape

import pandas as pd
from docutils.nodes import make_id
from IPython.display import HTML

from simadv.specs import RunSpec, run_spec
from simadv.store import HOME
from simbook.chapters import RATES
from simbook.claims.evaluation import of_table3
from simbook.claims.first import RESTS_ON
from simbook.claims.judging import CLAIMS, UNDECIDED, UNTESTED, VERDICTS, together
from simbook.settings import EvaluationSettings
from simbook.tables import atda, beyond, sim_adv
from simbook.tables.common import NAMES, NOT_RUN, Found, link, named
from simbook.tables.evaluation import rate_of_table3
from simbook.tables.spread import GLUE

BOOK = HOME / "book"
#: The methods whose runs a claim is about; one about the plane has none.
METHODS: dict[str, tuple[str, ...]] = {
    "C1.1": ("sim", "atda"),
    "C1.2": ("sim", "atda"),
    "C1.3": ("sim", "bim"),
    "C1.4": ("sim", "bim", "madry"),
    **dict.fromkeys(("C2.1", "C2.2", "C2.3", "C3.1", "C4.6"), ("vanilla",)),
    "C3.2": ("vanilla", "atda"),
    "C3.3": ("atda", "bim", "sim"),
    **dict.fromkeys(("C3.4", "C3.5", "C3.6", "C3.7"), ("atda",)),
    **dict.fromkeys(("C3.8", "C3.9"), ("bim-atda",)),
    **dict.fromkeys(("C3.10", "C3.11"), ("atda", "fgsm")),
    **dict.fromkeys(("C4.1", "C4.2", "C4.3", "C4.5", "C4.7"), ("vanilla", "bim")),
    **dict.fromkeys(("C4.4", "C4.8", "C4.9", "C4.10", "C4.11"), ("bim",)),
    "C5.1": ("sim", "free", "bim", "madry"),
    "C5.2": ("sim",),
    "C5.3": ("madry",),
    "C5.8": ("free", "sim"),
    "C5.9": ("free",),
    "C5.10": ("sim",),
    "C5.11": ("free", "atda"),
    "C5.12": ("sim", "vanilla", "bim"),
    "C6.1": ("free", "atda"),
    "C6.2": ("sim", "vanilla", "free", "atda"),
    "C6.3": ("sim", "bim", "madry"),
    "C6.4": ("sim",),
    "C6.5": ("sim", "bim", "atda"),
    "C6.9": ("fgsm",),
    "C6.10": ("sim",),
    "C6.11": ("sim", "bim"),
    "C6.12": ("fgsm",),
    "C6.13": ("sim", "free", "atda"),
    "C6.15": ("bim", "fgsm", "free", "atda"),
    "C7.1": ("vanilla",),
    **dict.fromkeys(("C7.2", "C7.9"), ("sim",)),
    **dict.fromkeys(("C7.3", "C7.8", "C7.12"), ("sim", "bim")),
    **dict.fromkeys(("C7.4", "C7.6", "C7.10"), ("sim", "sim-k")),
    "C7.5": ("sim", "free-sim"),
    "C7.7": ("sim", "rs-fgsm", "n-fgsm", "atta", "mep"),
    "C7.11": ("sim", "sim-k", "rs-fgsm", "n-fgsm", "atta", "mep"),
}


def own_step(spec: RunSpec) -> bool:
    """Return whether a run has the step of its method in the paper, and is projected."""
    return spec.n1 == run_spec(spec.dataset, spec.method).n1 and spec.projection != "literal"


#: Of these, the runs that alone judge a claim.
OF_THESE: dict[str, Callable[[RunSpec], bool]] = {
    # Fig. 1 has every net at its own rate
    **dict.fromkeys(("C3.2", "C3.3", "C3.4"), lambda spec: spec.method != "atda" or spec.lr == RATES[spec.dataset][-1]),
    "C3.10": lambda spec: spec.lr < RATES[spec.dataset][-1],
    "C3.11": lambda spec: spec.lr == RATES[spec.dataset][-1],
    "C5.2": lambda spec: spec.lr == RATES[spec.dataset][0],
    "C5.10": lambda spec: spec.n1 < spec.n2,
    "C5.12": lambda spec: spec.lr == RATES[spec.dataset][0] and (spec.method != "sim" or spec.n1 >= spec.n2),
    "C7.1": lambda spec: spec.lr == (rate_of_table3(spec.dataset) or spec.lr),
    "C7.2": lambda spec: own_step(spec) and spec.reset in ("cycle", "never"),
    "C7.12": lambda spec: own_step(spec) and spec.reset in ("cycle", None),
    "C7.3": lambda spec: spec.reset == "never" if spec.method == "sim" else spec.n1 == run_spec(spec.dataset, "bim").n1,
}


def runs(table: pd.DataFrame, found: dict[str, Found], settings: EvaluationSettings) -> dict[str, list[str]]:
    """Return the ids of the stored runs that each claim is about; staggered resets are chapter 7's alone.

    Args:
        table: :func:`simbook.verdicts.book`. found: :func:`simbook.verdicts.read`.
    """
    chapter = dict(zip(table.claim, table.chapter, strict=True))
    of = found | {"06_evaluation": of_table3(found["06_evaluation"], settings)}
    of["05_sim_adv"] = of["05_sim_adv"] + sim_adv.neighbours(settings, of["05_sim_adv"])
    every_seed = of["05_sim_adv"] + sim_adv.repeated(of["05_sim_adv"])
    of |= dict.fromkeys(("C5.1", "C5.2", "C5.9", "C5.10", "C5.11"), every_seed)
    of["C5.12"] = of["05_sim_adv"] + sim_adv.neighbours(settings, of["05_sim_adv"], methods=("vanilla",))
    of["03_atda"] = atda.by_eq_1(of["03_atda"])
    of["C7.1"] = beyond.table_rows(settings)
    of["claims"] = of["06_evaluation"]
    datasets = table.groupby("claim").dataset.agg(set)
    ids = {}
    for claim, methods in METHODS.items():
        if claim not in chapter:  # one that this profile's data sets have nothing to say of
            continue
        asked, narrow = of.get(claim, of[chapter[claim]]), OF_THESE.get(claim, lambda spec: True)
        some = dict.fromkeys(spec for spec, run in asked if run is not None and spec.dataset in datasets[claim])
        own = [spec for spec in some if spec.method in methods and narrow(spec)]
        ids[claim] = [spec.id for spec in own if spec.reset != "staggered" or chapter[claim] == "07_beyond"]
    rest = {
        claim: [run for other, m in others.items() for run in ids.get(other, []) if m is None or f"/{m}-" in run]
        for claim, others in RESTS_ON.items()
    }
    return ids | {claim: list(dict.fromkeys(some)) for claim, some in rest.items()}


def place(chapter: str, claim: str) -> str:
    """Return the address of the section whose cell judges a claim; section 1's are judged where chapter 6's are.

    Raises:
        LookupError: the chapter has no such cell.
    """
    name = "06_evaluation" if chapter == "claims" else chapter
    heading, last = "", None
    for kind, source in _cells(name):
        if kind == "markdown":
            heading = [heading, *re.findall(r"^#+ (.+)$", source, re.M)][-1]
        elif f'"{claim}"' in source or "of_claims(judged)" in source:
            last = f"{name}.html#{make_id(heading)}"
            if f'"{claim}"' in source:
                break
    if last is None:
        raise LookupError(f"no cell of {name} shows how {claim} is judged")
    return last


def ours(table: pd.DataFrame) -> pd.Series:
    """Return which rows are of claims that the paper does not make: they are the book's own."""
    return table["where"].str.startswith("ours")


def counts(table: pd.DataFrame) -> pd.DataFrame:
    """Return how many claims have each verdict, by data set: what is left of the paper in one look."""
    said = table.groupby(["claim", "dataset"], sort=False).verdict.agg(together).reset_index()
    shown = pd.crosstab(said.verdict, said.dataset.replace(NAMES)).reindex([*VERDICTS[::-1], UNTESTED], fill_value=0)
    order = [*NAMES.values(), *(name for name in shown if name not in NAMES.values())]
    return shown[[name for name in order if name in shown]].rename_axis(columns=None)


def single_told(table: pd.DataFrame) -> str:
    """Return how many of the paper's decided claims rest on nets of one seed: another seed may decide otherwise."""
    decided = table[~ours(table) & table.dataset.isin(NAMES)]
    keys = ["claim", "dataset"]
    decided = decided[~decided.groupby(keys).verdict.transform(together).isin([UNTESTED, UNDECIDED])]
    single = decided[decided.ours.str.contains(f"(1{GLUE}seed)", regex=False)]
    return (
        f"Of {len(decided.drop_duplicates(keys))} verdicts on the paper's claims about data sets that say more than "
        f"*undecided*, {len(single.drop_duplicates(keys))} name two nets of one seed each in at least one part: the "
        "interval is that of the test set, and another seed may decide otherwise. The same goes for "
        "parts about a single net."
    )


def page(table: pd.DataFrame, ids: dict[str, list[str]], chapter: str) -> HTML:
    """Return the claims of one chapter as a table of HTML: each with its place, its runs, and its parts, judged.

    A data set on which nothing of a claim was tested is named in one line, with the paper's numbers.
    """
    own, lines = table[table.chapter == chapter], []
    for claim, parts in own.groupby("claim", sort=False):
        lines.append(_head(chapter, claim, ids.get(claim, [])))
        tested = parts.groupby("dataset").verdict.transform(lambda verdicts: (verdicts != UNTESTED).any())
        for dataset, some in parts[tested].groupby("dataset", sort=False):
            name = named(dataset)
            rows = [[name, row.part, row.paper, row.ours, row.verdict] for row in some.itertuples()]
            if len(rows) > 1:
                rows.append([name, "together", "", "", together(some.verdict)])
            lines += ["<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows]
        lines += _untested(parts[~tested])
    heads = "".join(
        f'<th style="text-align: left">{name}</th>' for name in ("data set", "part", "the paper", "ours", "verdict")
    )
    caption = f'<caption style="caption-side: top; text-align: left; font-weight: bold">{_title(chapter)}</caption>'
    head = f'<table class="dataframe">\n{caption}\n<thead><tr>{heads}</tr></thead>'
    saved = link(own.to_csv(index=False), f"claims-{chapter}", "these claims")
    return HTML("\n".join([head, *lines, "</table>", saved]))


def _untested(parts: pd.DataFrame) -> list[str]:
    """Return a row for the data sets on which nothing of a claim was tested: one for all that have the same numbers."""
    of: dict[tuple[str, ...], list[str]] = {}
    for dataset, some in parts.groupby("dataset", sort=False):
        printed = some[some.paper.ne("-")]
        # ours may say why nothing was
        told = [list(printed.part), list(printed.paper), dict.fromkeys(text for text in some.ours if text != NOT_RUN)]
        of.setdefault(tuple("<br>".join(map(escape, texts)) or "-" for texts in told), []).append(named(dataset))
    rows = [[escape(", ".join(names)), *cells, UNTESTED] for cells, names in of.items()]
    return ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]


def _title(chapter: str) -> str:
    """Return the heading of a chapter's page; of this one, what its own claims are."""
    if chapter == "claims":
        return "Abstract and contributions"
    return re.search(r"^# (.+)$", _cells(chapter)[0][1], re.M)[1]


def _cells(chapter: str) -> list[tuple[str, str]]:
    """Return the cells of a chapter, the type of each and its source."""
    notebook = json.loads((BOOK / f"{chapter}.ipynb").read_text(encoding="utf-8"))
    return [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]


def _head(chapter: str, claim: str, ids: list[str]) -> str:
    """Return the row that says what a claim is, where the paper makes it, where it is judged, and by which runs."""
    text, where = (escape(word) for word in CLAIMS[claim])
    address = f'<a href="{place(chapter, claim)}">{claim}</a>'
    told = "<br>".join(map(escape, ids))
    none = "none stored" if claim in METHODS or claim in RESTS_ON else "none needed"
    count = f"stored runs of the methods it is about: {len(ids)}"
    stored = f"<details><summary>{count}</summary>{told}</details>" if ids else f"<div>runs: {none}</div>"
    plain = f'<div style="font-weight: normal"><em>{where}</em>{stored}</div>'
    return f'<tr><th colspan="5" style="text-align: left">{address}: {text}{plain}</th></tr>'
