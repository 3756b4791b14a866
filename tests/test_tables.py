"""What the tables of all chapters share: shares with their intervals, links that save what is shown."""

import io
import re
from types import SimpleNamespace
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from shelves import BY_HAND

from simadv.specs import run_spec
from simbook.plots.style import style
from simbook.tables import common


def saved(html):
    """The file behind a link: its name and its contents."""
    name, data = re.search(r'download="([^"]+)" href="data:text/csv;charset=utf-8,([^"]+)"', html).groups()
    assert not set(data) & set("<>#&' \n")  # what ends an attribute or an address
    return name, unquote(data)


def cells(html):
    """The cells of a table, a list a row, its heads first."""
    table = ElementTree.fromstring(html[: html.index("</table>") + len("</table>")])
    return [[cell.text or "" for cell in row] for row in table.iter("tr")]


def test_a_figure_s_data_come_back_from_their_link():
    frame = pd.DataFrame({"x": [0.125, np.nan, 1], "kind": ["a, b", "ε", '100 % of "<1+1>" & #2\nnext']})
    name, text = saved(common.download(frame, "figure").data)
    assert name == "figure.csv"
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(text)), frame)


def test_a_table_is_shown_whole_and_saved_with_all_its_labels():
    long = "a sentence of more than fifty letters, which pandas would cut off at the end"
    rows = [("a", "p"), ("a", "q"), ("b", "q"), ("b", "q")]
    table = pd.DataFrame({"said": [long, "x", "y", "z"]}, index=pd.MultiIndex.from_tuples(rows, names=["claim", "net"]))
    html = common.linked(table)
    # a label that is the row above's is left out, but for the last, which tells rows apart
    rows = [["a", "p", long], ["", "q", "x"], ["b", "q", "y"], ["", "q", "z"]]
    assert cells(html) == [["claim", "net", "said"], *rows]
    name, text = saved(html)
    assert re.fullmatch(r"table-[0-9a-f]{6}\.csv", name)
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(text), index_col=[0, 1]), table)
    assert saved(common.linked(table.replace("x", "w")))[0] != name


def test_tables_without_labels_and_without_rows():
    assert cells(common.linked(pd.DataFrame({"x": [1, 2]}))) == [["x"], ["1"], ["2"]]
    assert cells(common.linked(pd.DataFrame({"card": ["one"]}, index=["runs"]))) == [["", "card"], ["runs", "one"]]
    assert cells(common.linked(pd.DataFrame({"net": [], "x": []}).set_index("net"))) == [["net", "x"]]


def test_the_style_puts_the_link_under_every_table_of_a_notebook(monkeypatch):
    shell = InteractiveShell()
    monkeypatch.setattr(common, "get_ipython", lambda: shell)
    style()
    table = pd.DataFrame({"x": [1]})
    shown, _ = shell.display_formatter.format(table)
    assert shown["text/html"] == common.linked(table)
    assert shown["text/plain"] == repr(table)
    monkeypatch.setattr(common, "get_ipython", lambda: None)
    style()  # outside a notebook there is nothing to do


def test_share_of():
    share, low, high = common.share_of(50, 100)
    assert (share, low, high) == pytest.approx((50, 40.38, 59.62), abs=0.01)  # Wilson, by hand
    assert np.isnan(common.share_of(0, 0)).all()


def test_the_run_card_counts_commits_and_spans_dates():
    def run_of(seed, **more):
        spec = run_spec("mnist", "vanilla", seed=seed)
        told = BY_HAND | {"device": "A, 2 cores", "commit": str(seed) * 40} | more
        return spec, SimpleNamespace(spec=spec, provenance=told, cost={"seconds": 1800.0})

    missing = (run_spec("mnist", "vanilla", seed=9), None)
    few = [run_of(0, date="2026-01-02"), run_of(1, date="2026-01-01", device="B, 4 cores"), missing]
    card = common.run_card(few)["run card"]
    assert (card["runs stored"], card["seeds"], card["training, hours in all"]) == ("2 of 3", "0, 1", "1.00")
    assert (card["device"], card["date"]) == ("A, 2 cores; B, 4 cores", "2026-01-01 to 2026-01-02")
    assert card["commit"] == "0000000000, 1111111111"
    card = common.run_card([run_of(seed) for seed in range(4)])["run card"]
    assert (card["commit"], card["date"]) == ("4 of them, each in its run's run.json", "2026-01-01")
    assert set(common.run_card([missing])["run card"].iloc[1:]) == {"-", "0.00"}
