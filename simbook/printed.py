r"""The paper's own tables in long form, a row for each number, ready to stand beside rows of our own."""

from collections.abc import Iterator

import pandas as pd

from simadv.checks import InputError
from simbook import paper

# What the levels of each table are, and the one method that a table is about.
_TABLES = {
    1: (paper.TABLE1, ("dataset", "lr", "attack"), "atda"),
    2: (paper.TABLE2, ("setting", "dataset"), None),
    3: (paper.TABLE3, ("dataset", "attack", "method"), None),
    4: (paper.TABLE4, ("dataset", "lr", "attack"), "sim"),
    5: (paper.TABLE5, ("method", "dataset"), None),
}
_COLUMNS = ("setting", "dataset", "attack", "method", "lr", "value", "source")


def printed(n: int) -> pd.DataFrame:
    r"""Table ``n`` of the paper in long form, a row for each number, ready to stand beside rows of our own.

    Args:
        n: 1 to 5.

    Returns:
        Columns ``dataset``, ``value``, ``source`` ("paper"), and those of ``setting``, ``attack``, ``method``
        and ``lr`` that the table tells apart.

    Raises:
        InputError: there is no such table.
    """
    if n not in tuple(_TABLES):
        raise InputError(f"table = {n!r} is not one of the paper's with numbers; allowed: 1, 2, 3, 4, 5")
    tree, levels, method = _TABLES[n]
    frame = pd.DataFrame(_leaves(tree), columns=[*levels, "value"]).assign(source="paper")
    if method:
        frame["method"] = method
    return frame[[column for column in _COLUMNS if column in frame]]


def _leaves(tree: object) -> Iterator[tuple]:
    r"""Every path of nested dictionaries with the leaf at its end."""
    if not isinstance(tree, dict):
        yield (tree,)
        return
    for key, branch in tree.items():
        for leaf in _leaves(branch):
            yield (key, *leaf)
