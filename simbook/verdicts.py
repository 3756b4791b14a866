r"""The verdicts of every chapter, asked for in one way."""

import warnings
from collections.abc import Callable
from dataclasses import asdict

import pandas as pd

from simadv.specs import DATASETS
from simadv.store import Store, default
from simbook import chapters
from simbook.claims import atda, background, beyond, cost, evaluation, first, iterated, sim_adv
from simbook.claims.judging import UNTESTED
from simbook.settings import EvaluationSettings, Settings
from simbook.tables.common import Found

# in the order of the claims
JUDGES: dict[str, Callable[..., pd.DataFrame]] = {
    "02_background": background.verdicts,
    "03_atda": atda.verdicts,
    "04_1_saturation": iterated.verdicts_of_saturation,
    "04_2_intermediate": iterated.verdicts_of_intermediate,
    "05_sim_adv": sim_adv.verdicts,
    "06_evaluation": evaluation.verdicts,
    "cost": cost.verdicts,
    "07_beyond": beyond.verdicts,
}


def of_chapter(chapter: str, found: Found, settings: Settings, *, store: Store | None = None) -> pd.DataFrame:
    """Return the parts of a chapter's claims, judged, by data set, from what :func:`simbook.chapters.collect` found.

    Columns: ``claim`` (its number), ``text``, ``where`` in the paper, ``dataset``, ``part`` (what is measured),
    ``paper``, ``ours`` and ``verdict``, all text. :func:`simbook.claims.judging.summary` has one verdict a claim.
    A reader's training of fewer epochs than the book's shows its numbers, and judges nothing.
    """
    table = JUDGES[chapter](found, settings, store=store)
    return table if chapter == "cost" else unjudged(table, settings)  # whose times are of no training


def unjudged(table: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Return the parts of claims with no verdict where a reader trained fewer epochs than the book."""
    known = [name for name in table.dataset.unique() if name in DATASETS]
    short = [name for name in known if 0 < settings.epochs < DATASETS[name]["epochs"]]
    if short:
        told = f"{settings.epochs} epochs are fewer than the book's on {', '.join(short)}: no claim is judged there"
        warnings.warn(told, stacklevel=3)
    return table.assign(verdict=table.verdict.mask(table.dataset.isin(short), UNTESTED))


def read(settings: EvaluationSettings, *, store: Store | None = None) -> dict[str, Found]:
    """Return the runs of every chapter, as far as they are stored; nothing is trained or measured."""
    store = store or default()
    return {name: [(spec, store.find(spec)) for spec in chapters.CHAPTERS[name](settings)] for name in JUDGES}


def book(settings: Settings, *, store: Store | None = None) -> pd.DataFrame:
    """Return :func:`of_chapter` of all chapters below each other, with the ``chapter`` of each part, from the store.

    The first are the claims of the abstract and of section 1, which rest on the others; their page is ``claims``.
    """
    settings = EvaluationSettings(**asdict(settings))  # chapter 6 has two parameters more than the others
    found = read(settings, store=store)
    later = pd.concat(
        [of_chapter(name, runs, settings, store=store).assign(chapter=name) for name, runs in found.items()],
        ignore_index=True,
    )
    of_first = unjudged(first.verdicts(later, found["06_evaluation"], settings, store=store), settings)
    return pd.concat([of_first.assign(chapter="claims"), later], ignore_index=True)
