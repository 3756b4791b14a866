r"""Rows of chapter 7's tables, made by hand."""

import numpy as np
import pandas as pd

from simbook import chapters
from simbook.tables import beyond

SIGNS = {
    "fgsm": 90.0,
    "iterated": 80.0,
    "random": 95.0,
    "chance": 0.0,
    "flat": 0.0,
    "unbounded": 0.0,
    "search": 1.0,
    "apgd": 80.0,
    "fab": 1.0,
}
SIGNS |= {"from Vanilla": 95.0, "from BIM-Adv": np.nan, "at": [90.0, 80.0, 10.0], "BIM(10,40)": 80.0}
SIGNS |= {"dataset": "mnist", "title": "A", "method": "sim", chapters.STRONGER: 81.0}


def row_of(title, method, end, **more):
    about = {"title": title, "method": method, "end": end, "dataset": "mnist", "projection": "ball", "seeds": 1, "F": 8}
    return about | {"sd": 0.5, "lowest": end - 1, "n1": 10.0, "clean": 99.0} | more


def table_of(*rows):
    return pd.DataFrame(rows).reindex(columns=beyond.BAR_COLUMNS)


def survivor(title, bim, **tests):
    return {"dataset": "mnist", "method": "sim", "title": title, "BIM(10,40)": bim, "seeds": []} | tests
