r"""Every number of the paper's Tables 1-5, as printed: accuracies in percent, times in seconds (``paper.toml``).

Liu, Khalil and Khreishah, "Using Single-Step Adversarial Training to Defend Iterative Adversarial Examples",
arXiv:2002.09632. Methods carry the code's names, attacks the paper's.
"""

import tomllib
from pathlib import Path

_PRINTED = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def _grid(columns, rows: dict) -> dict:
    r"""A table of rows of numbers as nested dictionaries: row, column, number."""
    return {row: dict(zip(columns, numbers, strict=True)) for row, numbers in rows.items()}


def _by_rate(table: dict) -> dict:
    r"""A table of data set, learning rate, column."""
    rates = {name: {float(rate): row for rate, row in rows.items()} for name, rows in table["rates"].items()}
    return {name: _grid(table["columns"], rows) for name, rows in rates.items()}


#: The code's name of each method and its head in Table 3.
METHODS = _PRINTED["methods"]
DATASETS = tuple(_PRINTED["datasets"])

#: Largest change of a pixel in [0, 1] (Table 2).
EPSILON = {"mnist": 0.3, "fmnist": 0.2, "cifar10": 8 / 255}

#: The abstract's figures, all on CIFAR10, namely accuracy over ATDA, time under ATDA, time under BIM-Adv, and the
#: bound on the accuracy lost to BIM-Adv and Madry-Adv.
ABSTRACT = _PRINTED["abstract"]

#: Accuracy of ATDA by data set, learning rate, attack.
TABLE1 = _by_rate(_PRINTED["table1"])

#: Settings of the evaluation by setting and data set.
TABLE2 = {"epsilon": EPSILON} | _grid(
    DATASETS, {name: values * (3 // len(values)) for name, values in _PRINTED["table2"].items()}
)

#: Accuracy by data set, attack and method.
TABLE3 = {name: _grid(METHODS, rows) for name, rows in _PRINTED["table3"].items()}

#: Accuracy of SIM-Adv by data set, learning rate and attack.
TABLE4 = _by_rate(_PRINTED["table4"])

#: Total training time in seconds on one RTX 2070 by method and data set.
TABLE5 = _grid(DATASETS, _PRINTED["table5"])
