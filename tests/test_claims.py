"""The page of every claim, README's table: complete, linked to what is there, and fresh."""

import re
from dataclasses import replace

import nbformat
import pandas as pd
import pytest

from simadv import runs
from simadv.specs import run_spec
from simadv.store import HOME
from simbook import verdicts
from simbook.claims import first as first_claims
from simbook.claims import judging
from simbook.claims import page as claims
from simbook.settings import EvaluationSettings
from simbook.tables.spread import GLUE
from simbook.told import headline, in_short

BOOK = HOME / "book"
PLANE = {"C5.4", "C5.5", "C5.6", "C5.7"}
MEASURED = {"C6.6", "C6.7", "C6.8", "C6.14"}  # by make bench, on no run of the store


@pytest.fixture(scope="module")
def table():
    return verdicts.book(EvaluationSettings())


@pytest.fixture(scope="module")
def written(table):
    return headline.written(table)


def test_every_claim_says_by_which_runs_it_is_judged_or_needs_none():
    assert claims.METHODS.keys() | first_claims.RESTS_ON.keys() | PLANE | MEASURED == judging.CLAIMS.keys()


def test_every_claim_is_on_the_page_with_its_place_its_runs_and_its_parts(table):
    settings = EvaluationSettings()
    ids = claims.runs(table, verdicts.read(settings), settings)
    page = "".join(claims.page(table, ids, chapter).data for chapter in table.chapter.unique())
    linked = re.findall(r'<a href="(\w+)\.html#([\w-]+)">(C[\d.]+)</a>', page)
    assert [claim for *_, claim in linked] == list(judging.CLAIMS)
    known = {spec.id for runs in verdicts.read(settings).values() for spec, run in runs if run is not None}
    shown = set(re.findall(r"\w+/[\w.-]+-s\d+-[0-9a-f]{6}", page))
    assert shown <= known
    assert shown
    tested = table[table.verdict != judging.UNTESTED]
    assert page.count("<tr><td>") >= len(tested)
    for verdict in judging.VERDICTS:
        assert (f"<td>{verdict}</td>" in page) == (verdict in set(tested.verdict))


def test_links_lead_to_the_section_whose_cell_judges_the_claim(table):
    for claim, chapter in dict(zip(table.claim, table.chapter, strict=True)).items():
        page, anchor = claims.place(chapter, claim).split(".html#")
        cells = nbformat.read(BOOK / f"{page}.ipynb", as_version=4).cells
        heads = {
            claims.make_id(head): i
            for i, cell in enumerate(cells)
            for head in re.findall(r"^#+ (.+)$", cell.source, re.M)
        }
        after = min([i for i in heads.values() if i > heads[anchor]], default=len(cells))
        section = [cell.source for cell in cells[heads[anchor] : after] if cell.cell_type == "code"]
        shown = (f'"{claim}"', "judging.of_claims(judged)")
        assert any("judging.of_claims(" in source and any(text in source for text in shown) for source in section)


def test_a_claim_that_no_cell_shows_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "BOOK", tmp_path)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Empty")]), tmp_path / "05.ipynb")
    with pytest.raises(LookupError, match=r"no cell of 05 shows how C5.1 is judged"):
        claims.place("05", "C5.1")


def test_contributions_are_worth_what_they_rest_on(table):
    for claim, others in first_claims.RESTS_ON.items():
        own = table[(table.claim == claim) & (table.dataset == "mnist")]
        assert {re.match("C[0-9.]+[0-9]", part)[0] for part in own.part} == set(others)
        rest = table[table.claim.isin(others) & (table.dataset == "mnist")]
        names = {None: "", "atda": "ATDA: ", "sim": "SIM-Adv: "}
        rest = rest[[part.startswith(names[others[of]]) for of, part in zip(rest.claim, rest.part, strict=True)]]
        assert judging.together(own.verdict) == judging.together(rest.groupby("claim").verdict.agg(judging.together))


def test_verdicts_of_one_seed_are_counted():
    def part(claim, dataset, verdict, ours, where="section 6"):
        return {"claim": claim, "dataset": dataset, "verdict": verdict, "ours": ours, "where": where}

    one, three = f"1.00 (1{GLUE}seed)", f"1.00 (3{GLUE}and{GLUE}1{GLUE}seeds)"
    parts = [part("C6.1", "mnist", "holds", one), part("C6.1", "mnist", "holds", three)]
    parts += [part("C6.2", "mnist", "undecided", one), part("C6.3", "mnist", "does not hold", three)]
    parts += [part("C6.1", "plane", "holds", one), part("C7.1", "mnist", "holds", one, "ours")]
    text = claims.single_told(pd.DataFrame(parts))
    assert text.startswith(
        "Of 2 verdicts on the paper's claims about data sets that say more than *undecided*, 1 name two nets"
    )


def test_of_free_adv_and_atda_the_contribution_is_about_atda():
    def part(name, verdict, claim="C6.1"):
        return {"claim": claim, "dataset": "mnist", "part": f"{name}: x > 0", "text": "T", "verdict": verdict}

    parts = [part("Free-Adv", "does not hold"), part("ATDA", "holds"), part("", "holds", "C3.6")]
    judged = first_claims.of_contributions(pd.DataFrame(parts))
    rows = judged[judged.claim.eq("C1.5")].set_index("part")
    assert rows.verdict.to_dict() == {"C3.6: T": "holds", "C6.1 (what it says of ATDA alone): T": "holds"}


def test_what_was_not_tested_names_the_parts_that_the_paper_has_numbers_of():
    parts = pd.DataFrame(
        [
            {"dataset": "cifar10", "part": "a > 0", "paper": "1.00", "ours": "not run"},
            {"dataset": "cifar10", "part": "b < 4", "paper": "2.00", "ours": "not run"},
            {"dataset": "cifar10", "part": "c > 0", "paper": "-", "ours": "not run"},
        ]
    )
    (line,) = claims._untested(parts)
    cells = re.findall("<td>(.*?)</td>", line)
    assert cells == ["CIFAR10", "a &gt; 0<br>b &lt; 4", "1.00<br>2.00", "-", "not tested"]


def test_the_abstract_s_arithmetic_is_the_paper_s(table):
    of = table[table.claim.isin(["C1.1", "C1.2", "C1.3", "C1.4"])]
    assert set(of.dataset) == {"cifar10"}
    known = dict(zip(of.part, of.paper, strict=True))
    assert [known[part] for part in of.part if "under BIM" in part] == ["35.67", "-3.08", "-3.04"]
    assert of[of.claim.isin(["C1.2", "C1.3"])].paper.tolist() == ["19.14", "76.03"]
    assert known["SIM-Adv - Madry-Adv on clean images > -3.78"] == "-3.87", "the table breaks the abstract's bound"
    assert of[of.claim == "C1.3"].ours.item() == f"{100 * (1 - 8 / 66):.2f}"


def test_verdicts_are_counted_once_a_claim_and_data_set(table):
    counts = claims.counts(table)
    assert list(counts)[:3] == ["MNIST", "FMNIST", "CIFAR10"]
    for name in ("MNIST", "CIFAR10"):
        assert counts[name].sum() == table[table.dataset == name.lower()].claim.nunique()
    own = claims.ours(table)
    assert set(table[own].claim) == {"C2.3", *(f"C7.{i}" for i in range(1, 13))}
    split = claims.counts(table[own]).add(claims.counts(table[~own]), fill_value=0)
    assert split.MNIST.to_dict() == counts.MNIST.to_dict()


def test_a_claim_about_one_rate_names_the_runs_of_that_rate(table):
    """C7.1 is judged at Table 3's own rate, Fig. 1 has ATDA at its authors'."""
    settings = EvaluationSettings()
    ids = claims.runs(table, verdicts.read(settings), settings)
    assert ids["C7.1"]
    assert all("vanilla-lr1e-4-s0" in run for run in ids["C7.1"] if run.startswith("mnist/"))
    assert [run for run in ids["C3.4"] if "atda" in run] == [run for run in ids["C3.4"] if "lr1e-3" in run]
    assert {re.sub(r"-s\d-\w+$", "", run) for run in ids["C7.2"]} == {
        f"{dataset}/sim-10-20{reset}-lr1e-3" for dataset in ("mnist", "fmnist") for reset in ("", "-never")
    }
    assert {re.sub(r"-s\d-\w+$", "", run) for run in ids["C7.3"] if "/bim" in run} == {
        f"{dataset}/bim-10-30-lr1e-3" for dataset in ("mnist", "fmnist")
    }


def test_what_was_not_tested_stands_beside_the_paper_s_number(table):
    page = claims.page(table, {}, "claims").data
    assert "<tr><td>CIFAR10</td><td>SIM-Adv - ATDA under BIM(4,20) &gt; 10</td><td>35.67</td><td>-</td>" in page
    why = pd.DataFrame(
        {"dataset": ["on the plane"] * 2, "part": "a", "paper": "-", "ours": ["no net learned", "not run"]}
    )
    assert claims._untested(why) == [
        "<tr><td>on the plane</td><td>-</td><td>-</td><td>no net learned</td><td>not tested</td></tr>"
    ]


def test_readme_says_how_many_claims_hold(table):
    counts = claims.counts(table[~claims.ours(table)])
    lines = headline.balance(table).splitlines()
    assert lines[0] == "| verdict | MNIST | FMNIST | CIFAR10 | on the plane |"
    assert lines[2] == f"| holds | {' | '.join(map(str, counts.loc['holds']))} |"
    assert len(lines) == 2 + len(counts)


@pytest.mark.parametrize("page", ["README.md", "book/intro.md"])
def test_what_pages_say_is_fresh(page, written):
    text = (HOME / page).read_text(encoding="utf-8")
    assert headline.renewed(text, written) == text, "make refresh writes it"


def test_the_list_of_the_first_page_has_the_numbers_of_the_store(shelf):
    sim = run_spec("mnist", "sim", lr=1e-3)
    for seed, bim in enumerate((90.0, 89.0, 91.0)):
        shelf.put(replace(sim, seed=seed), clean=98.0, bim=bim, autoattack=81.5 if seed == 0 else None)
    shelf.put(run_spec("mnist", "vanilla", lr=1e-4), clean=98.0, bim=0.5)
    both = [
        (claim, dataset, "does not hold" if dataset == "mnist" else "holds")
        for dataset in in_short.TRAINED
        for claim in judging.CLAIMS
    ]
    judged = pd.DataFrame(both, columns=["claim", "dataset", "verdict"])
    judged["where"] = [judging.CLAIMS[claim][1] for claim in judged.claim]
    judged.loc[judged.claim.eq("C6.2"), "verdict"] = "not tested"
    judged.loc[judged.claim.eq("C7.5"), "verdict"] = "does not hold"
    text = in_short.in_short(judged, shelf.store)
    starts = {line.lstrip()[:2] for line in text.splitlines() if not line.startswith("- **")}
    assert not starts & {"% ", "- ", "> "}, "a comment in MyST, a list, a quotation"
    assert "nan" not in text
    assert f"{GLUE}%" in text
    lines = text.replace("\n  ", " ").replace(GLUE, " ").split("\n- ")[1:]
    told = {line.removeprefix("**").partition("?**")[0]: line for line in lines}
    assert len(told) == len(lines) == 10
    assert "No pixel changes by more than 0.3 and 0.2 of its range (ε)." in " ".join(text.split())
    assert "C6.3, “SIM-Adv loses less than 4 points" in told["What holds of the paper"]
    assert "where C1.1 and C1.4 are not tested" in told["What holds of the paper"], "no part is of CIFAR10 here"
    failed = told["What holds of the paper"].partition("do not hold: ")[2]
    assert failed.startswith(
        "C1.1, “On CIFAR10 SIM-Adv is far more accurate than ATDA under iterated examples” (MNIST);"
    )
    assert "C6.2" not in failed, "it is not tested"
    assert "C7.5" not in failed, "it is no claim of the paper"
    defends = told["Does it defend"]
    assert "BIM(10,40) leaves SIM(10,20)-Adv 90.0 ± 1.0 and not run %, BIM(10,30)-Adv not run and" in defends
    assert "On clean images the first has 98.0 ± 0.0 and not run %" in defends
    assert "leaves the first 81.5 and not run %" in defends
    assert defends.endswith("ahead of Free-Adv”: not tested on both.*")
    printed = told["Is it what the paper prints"]
    assert "The paper has 89.93 and 61.07 % at rate 1e-3; ours keep 90.0 ± 1.0 and not run % by predicted" in printed
    assert "At rate 1e-4 the paper has 92.55 and 65.93 %" in printed
    assert told["Is the reset needed"].endswith("it ends lower”: does not hold on MNIST, holds on FMNIST.*")
    assert "the reset is worth not run and not run points" in told["Is the reset needed"]
    assert told["Can the attack's pass be saved"].endswith("does not hold on either.*")
    assert "8 F an image, and BIM(10,30)-Adv 66 F: 8.25 times as much" in told["At what cost"]
    assert "the cheapest is none and none an image" in told["Is anything cheaper"]
    assert "Vanilla at rate 1e-4 has 0.5 and not run %" in told["Whose label is attacked"]
    left = told["What is missing"]
    assert re.search(r"Not tested are 1 of \d+ claims on MNIST, 1 of \d+ claims on FMNIST\.", left)
    missing = [re.findall(r"(\d+) of (\d+) on", left)[place] for place in (0, 1)]
    assert [int(count) < int(whole) for count, whole in missing] == [True, False]


def test_readme_s_table_has_each_method_at_each_rate(shelf):
    sim = run_spec("mnist", "sim", lr=1e-3)
    shelf.put(sim, clean=99.0, bim=90.0, autoattack=81.5)
    shelf.put(replace(sim, lr=1e-4), clean=98.0, bim=85.0)
    rows = re.findall(r"^\| ([^|]+? \| [^|]+?) \| (.*) \|$", headline.headline(shelf.store), re.M)
    lines = dict(rows)
    assert len(rows) == len(lines)
    assert lines["SIM(10,20)-Adv | 1e-3"].startswith("- | 99.00 [")
    assert "| 89.93 | 90.00 [" in lines["SIM(10,20)-Adv | 1e-3"], "the paper's own number at that rate, of its Table 4"
    assert lines["SIM(10,20)-Adv | 1e-3"].endswith("| 81.5")
    assert lines["SIM(10,20)-Adv | 1e-4"].startswith("99.00 | 98.00 [")
    assert "| 85.00 [" in lines["SIM(10,20)-Adv | 1e-4"]
    assert lines["ATDA | 1e-3"] == "97.55 | not run | 42.34 | not run | not run"
    assert lines["ATDA | 1e-4"] == "- | not run | - | not run | not run"
    assert "FGSM-Adv | 1e-4" in lines


def test_a_page_without_its_marks_is_an_error():
    start, _ = headline.MARKS["headline"]
    with pytest.raises(ValueError, match="needs the lines"):
        headline.renewed("text", {})
    with pytest.raises(ValueError, match="needs the line '<!-- end of headline -->' after"):
        headline.renewed(f"text {start} text", {"headline": "new"})


def test_the_page_reads_what_is_stored_and_trains_nothing(shelf, monkeypatch):
    """On the digits, with two runs there and all others missing: neither the loop nor an attack is called."""
    monkeypatch.setattr(runs, "trainer_of", None)
    monkeypatch.setattr(runs, "load_data", None)
    settings = EvaluationSettings(profile="digits")
    first, second, *_ = verdicts.chapters.evaluation_runs(settings)
    for spec in (first, second):
        shelf.put(spec)
    table = verdicts.book(settings)
    ids = claims.runs(table, verdicts.read(settings), settings)
    assert {run for some in ids.values() for run in some} == {first.id, second.id}
    for chapter in set(table.chapter) - {"cost"}:  # its claims are judged by the benchmark, which needs no run
        assert "not tested" in claims.page(table, ids, chapter).data
