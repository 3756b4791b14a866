r"""Where training examples lie, as numbers: tables of :mod:`simbook.measures.search_space`."""

import pandas as pd

from simbook.measures.search_space import EXAMPLE, OPTIMAL, Toy


def space(places: pd.DataFrame, withstood: pd.DataFrame, toy: Toy) -> pd.DataFrame:
    """Return one row a method and seed of what Fig. 8 shows, in percent; NaN where nothing was searched.

    ``cells``: of the mesh's places in the ball, how many examples that were trained on came to; ``passed``: the search
    on its way included. ``corner, surface, inside``: of the examples. The rest: see
    :func:`simbook.measures.search_space.judge`.
    """
    cells, rows = (2 * toy.n1 + 1) ** 2, []
    for outcome in withstood.to_dict("records"):
        part = places[(places.method == outcome["method"]) & (places.seed == outcome["seed"])]
        row = dict(outcome)
        if len(part):
            examples = part[part.kind == EXAMPLE]
            edges = (examples.u.abs() == toy.n1).astype(int) + (examples.v.abs() == toy.n1)
            of_kind = examples.groupby(edges)["count"].sum().reindex([2, 1, 0], fill_value=0)
            kinds = 100 * of_kind / of_kind.sum()
            row |= dict(zip(("corner", "surface", "inside"), kinds, strict=True))
            row["cells"] = 100 * len(examples.drop_duplicates(["u", "v"])) / cells
            row["passed"] = 100 * len(part.drop_duplicates(["u", "v"])) / cells
        rows.append(row)
    columns = ["method", "seed", "cells", "passed", "corner", "surface", "inside", "clean"]
    steps = f"BIM({toy.n1},{toy.n2})"
    return pd.DataFrame(rows).reindex(columns=[*columns, steps, OPTIMAL])


def space_shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return the means of :func:`space` over seeds as text, in percent; accuracies with their range."""
    heads = {"cells": "places trained on", "passed": "places passed", "corner": "on a corner", "surface": "on a side"}
    heads |= {"inside": "inside"}
    means = table.groupby("method", sort=False)[list(heads)].mean().rename(columns=heads)
    text = means.map(lambda value: "-" if pd.isna(value) else f"{value:.1f} %")
    for attack in table.columns[-2:]:
        of_seeds = table.groupby("method", sort=False)[attack]
        text[f"withstands {attack}"] = [
            f"{mean:.0f} % [{low:.0f}, {high:.0f}]"
            for mean, low, high in zip(of_seeds.mean(), of_seeds.min(), of_seeds.max(), strict=True)
        ]
    return text


def at_full(places: pd.DataFrame, toy: Toy) -> pd.DataFrame:
    """Return the share (%) of each epoch's examples that are on the surface of the ball: ``method, epoch, share``."""
    examples = places[places.kind == EXAMPLE]
    full = (examples.u.abs() == toy.n1) | (examples.v.abs() == toy.n1)
    counts = examples.assign(full=examples["count"] * full).groupby(["method", "epoch"], sort=False)
    sums = counts[["count", "full"]].sum().reset_index()
    return sums.assign(epoch=sums.epoch + 1, share=100 * sums.full / sums["count"])[["method", "epoch", "share"]]
