"""What numbers are worth: over seeds and over the test set; chapter 6's tables of them on stores made by hand."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from shelves import SETTINGS

from simadv.specs import run_spec
from simbook import chapters
from simbook.plots import evaluation as plots
from simbook.plots.style import apart
from simbook.settings import EvaluationSettings
from simbook.tables import beside, evaluation, spread
from simbook.tables.common import among, title
from simbook.told import evaluation as told
from simbook.told import questions

SIM = run_spec("mnist", "sim", lr=1e-3)


def plain(text):
    """A number with its spread, without the spaces at which no line breaks."""
    return text.replace(spread.GLUE, " ")


@given(st.lists(st.floats(0, 100), min_size=1, max_size=4))
def test_over_seeds_are_the_mean_and_the_sample_s_deviation(values):
    frame = pd.DataFrame({"true": values, "predicted": values, "seed": range(len(values)), "low": 1.0, "high": 2.0})
    frame = frame.assign(dataset="mnist", method="sim", title="SIM", lr=1e-3, attack="FGSM", images=10, paper=3.0)
    (row,) = spread.over_seeds(frame).itertuples()
    assert row.true == pytest.approx(sum(values) / len(values))
    assert row.seeds == len(values)
    if len(values) > 1:
        variance = sum((value - row.true) ** 2 for value in values) / (len(values) - 1)
        assert row.sd == pytest.approx(math.sqrt(variance), abs=1e-6)
        assert pd.isna(row.low)
        assert plain(spread.worth(row)) == f"{row.true:.2f} ± {row.sd:.2f}"
    else:
        assert plain(spread.worth(row)) == f"{values[0]:.2f} [1.00, 2.00]"


def test_the_seeds_that_are_furthest_apart_are_named():
    rows = [("A", 1e-3, 0, "FGSM", 90.0), ("A", 1e-3, 1, "FGSM", 80.0), ("B", 1e-4, 0, "BIM(10,40)", 66.0)]
    rows += [("B", 1e-4, 1, "BIM(10,40)", 7.5), ("B", 1e-4, 2, "BIM(10,40)", 70.0), ("C", 1e-4, 0, "FGSM", 1.0)]
    rows += [("C", 1e-3, 0, "FGSM", 99.0)]  # one seed at each rate
    frame = pd.DataFrame(rows, columns=["title", "lr", "seed", "attack", "true"]).assign(dataset="mnist")
    assert told.widest(frame, "mnist") == (
        "The seeds of B at 1e-4 are furthest apart: from 7.50 to 70.00 % under BIM(10,40), of 3 seeds."
    )


def test_settings_without_a_run_are_marked_and_none_is_lost(shelf):
    frame = spread.over_seeds(shelf.frame)
    assert set(frame.seeds) == {0}
    assert {spread.worth(row) for row in frame.itertuples()} == {"not run"}
    assert len(frame) == 4 * 16
    assert spread.counted(frame) == ""


def test_table_3_has_means_where_there_are_seeds_and_the_test_set_s_interval_where_not(shelf):
    for seed, bim in enumerate((90.0, 92.0, 91.0)):
        shelf.put(replace(SIM, seed=seed), clean=99.0, bim=bim)
    shelf.put(run_spec("mnist", "vanilla", lr=1e-4), clean=98.0, bim=1.0)
    table = evaluation.table3(shelf.frame, "mnist")
    ours = table.loc[("SIM(10,20)-Adv", "ours, rate 1e-3, 3 seeds")]
    assert plain(ours["BIM(10,40)"]) == f"91.00 ± {np.std([90, 92, 91], ddof=1):.2f}"
    assert ours["FGSM"] == "not run"
    interval = binomtest(9800, 10_000).proportion_ci(method="wilson")
    one = table.loc[("Vanilla", "ours, rate 1e-4")]
    assert plain(one["Original"]) == f"98.00 [{100 * interval.low:.2f}, {100 * interval.high:.2f}]"
    assert table.loc[("Vanilla", "paper"), "BIM(10,40)"] == "0.94"
    assert set(table.loc[("ATDA", "ours, rate 1e-3")]) == {"not run"}
    assert set(table.loc[("Madry(10,30)-Adv", "ours")]) == {"not run"}
    assert set(table.loc[("Vanilla", "ours, rate 1e-3")]) == {"not run"}


def test_the_paper_s_rows_are_of_the_rates_that_it_tells_apart(shelf):
    shelf.put(SIM, clean=99.0, bim=90.0)
    table = evaluation.table3(shelf.frame, "mnist")
    assert [source for name, source in table.index if name == "SIM(10,20)-Adv"] == [
        "paper, rate 1e-4",
        "ours, rate 1e-4",
        "paper, rate 1e-3",
        "ours, rate 1e-3",
    ]
    assert table.loc[("SIM(10,20)-Adv", "paper, rate 1e-3")].tolist() == ["-", "93.87", "89.93", "90.11"]
    assert table.loc[("SIM(10,20)-Adv", "paper, rate 1e-4")].tolist() == ["99.00", "96.57", "92.55", "92.89"]
    assert table.loc[("ATDA", "paper, rate 1e-4")].tolist() == ["-", "98.03", "-", "-"]
    assert [evaluation.rate_of_table3(name) for name in ("mnist", "fmnist", "cifar10", "digits")] == [
        1e-4,
        1e-4,
        None,
        None,
    ]


def test_fewer_seeds_under_one_attack_are_told(shelf):
    shelf.put(SIM, clean=99.0, bim=90.0)
    shelf.put(replace(SIM, seed=2), clean=98.0)
    cells = evaluation.table3(shelf.frame, "mnist").loc[("SIM(10,20)-Adv", "ours, rate 1e-3, 2 seeds")]
    assert cells["BIM(10,40)"].endswith("(1 of 2)")
    assert plain(cells["Original"]) == f"98.50 ± {0.5**0.5:.2f}"


def test_table_4_sets_both_rates_beside_the_paper_s(shelf):
    shelf.put(SIM, fgsm=95.0, bim=90.0, madry=91.0)
    table = evaluation.table4(shelf.frame, "mnist")
    assert list(table.index) == [("1e-3", "paper"), ("1e-3", "ours"), ("1e-4", "paper"), ("1e-4", "ours")]
    assert list(table.loc[("1e-3", "paper")]) == ["93.87", "89.93", "90.11"]
    assert [text.split()[0] for text in table.loc[("1e-3", "ours")]] == ["95.00", "90.00", "91.00"]
    assert set(table.loc[("1e-4", "ours")]) == {"not run"}


def test_every_seed_is_shown_where_there_are_several(shelf):
    assert len(spread.by_seed(shelf.frame, "mnist")) == 0
    for seed, bim in enumerate((90.0, 92.0)):
        shelf.put(replace(SIM, seed=seed), clean=99.0, bim=bim)
        shelf.put(replace(SIM, seed=seed, lr=1e-4), clean=99.0, bim=bim - 10)
    shelf.put(run_spec("mnist", "vanilla", lr=1e-4), clean=98.0, bim=1.0)
    table = spread.by_seed(shelf.frame, "mnist")
    pairs = [("SIM(10,20)-Adv", rate, seed) for rate in ("1e-4", "1e-3") for seed in (0, 1)]
    assert list(table.index) == pairs, "the seeds of a setting below each other"
    assert table["BIM(10,40)"].tolist() == ["80.00", "82.00", "90.00", "92.00"]
    assert list(table) == ["Original", "BIM(10,40)"]


def rows(**by_seed):
    frame = pd.DataFrame({"seed": [int(name[1:]) for name in by_seed], "true": by_seed.values()})
    return frame.assign(images=400)


STUDENT = {2: 12.7062, 3: 4.30265}  # what a mean of so many is off by, in standard errors, 95 % of the time


def test_a_difference_is_of_the_seeds_that_both_have():
    margin = spread.difference(rows(s0=90, s1=92, s2=50), rows(s0=80, s1=84))
    half = STUDENT[2] * np.std([10, 8], ddof=1) / math.sqrt(2)
    assert (margin.value, margin.half) == (9.0, pytest.approx(half, abs=1e-3))
    assert plain(margin.text) == f"9.00 [{9 - half:.2f}, {9 + half:.2f}] (2 seeds)"
    assert (-margin).value == -9.0
    assert (-margin).half == margin.half


def test_rows_of_several_settings_have_no_difference():
    twice = pd.concat([rows(s0=90), rows(s0=80)])
    with pytest.raises(ValueError, match="more than one setting"):
        spread.difference(twice, rows(s0=80))


def test_without_common_seeds_a_difference_is_of_the_means():
    share = 1.959964 * math.sqrt(80 * 20 / 400)
    margin = spread.difference(rows(s0=90, s1=92, s2=94), rows(s0=80))
    half = STUDENT[3] * 2 * math.sqrt(1 / 3 + 1)
    assert (margin.value, margin.half) == (12.0, pytest.approx(half, abs=1e-3)), "one seed varies as the others do"
    part = spread.difference(rows(s0=80), rows(s0=90, s1=92, s2=94), parts=(0.5, 1))
    assert part.half == pytest.approx(STUDENT[3] * 2 * math.sqrt(1 / 3 + 1 / 4), abs=1e-3)
    assert plain(margin.text).endswith("(3 and 1 seeds)")
    margin = spread.difference(rows(s0=90), rows(s1=80))
    half = math.hypot(1.959964 * math.sqrt(90 * 10 / 400), share)
    assert (margin.value, margin.half) == (10.0, pytest.approx(half, abs=1e-5))
    assert plain(margin.text) == f"10.00 [{10 - half:.2f}, {10 + half:.2f}] (1 seed)"
    assert plain(margin._replace(half=95.0).text) == "10.00 [-85.00, 100.00] (1 seed)", "no difference is larger"
    halved = spread.difference(rows(s0=90), rows(s0=80), parts=(0.5, 1))
    assert halved.value == -35.0
    assert halved.half == pytest.approx(math.hypot(0.5 * 1.959964 * 1.5, share), abs=1e-5), "half of its deviation"
    missing = spread.difference(rows(s0=90), rows(s0=math.nan))
    assert math.isnan(missing.value)
    assert missing.text == "not run"


def test_the_stronger_attack_stands_beside_the_weaker_on_the_same_images(shelf):
    assert len(beside.stronger(shelf.found)) == 0
    assert told.stronger(shelf.found) == "Nothing was measured under a stronger attack yet."
    shelf.put(SIM, madry=90.0, strong=86.5)
    shelf.put(run_spec("mnist", "vanilla"))
    table = beside.stronger(among(shelf.found, chapters.evaluation_runs(SETTINGS)))
    vanilla, sim = (row for _, row in table.iterrows())
    assert set(table.index.get_level_values("data set")) == {"MNIST, first 1000 images"}
    assert (sim["lost to Madry(20,50)x10"], sim["lost to AutoAttack"]) == ("3.50", "-")
    assert sim["Madry(20,50)x10"].startswith("86.50 [")
    shown = beside.stronger_shown(among(shelf.found, chapters.evaluation_runs(SETTINGS)))
    assert list(shown) == ["Madry(10,40)", "Madry(20,50)x10", "AutoAttack"]
    assert sim["Madry(10,40)"].startswith("90.00 [")
    assert vanilla.tolist() == [*["not run"] * 3, "-", "-"]
    shelf.put(run_spec("mnist", "atda"), madry=0.0, strong=0.0)
    said = told.stronger(among(shelf.found, chapters.evaluation_runs(SETTINGS)))
    assert said.endswith("Madry(20,50)x10 takes: 3.5 from SIM(10,20)-Adv at 1e-3; nothing from 1 others.")


def test_the_stronger_attack_is_run_on_a_slice_alone():
    for dataset in ("mnist", "cifar10", "digits"):
        weak, strong, *standard = chapters.stronger(dataset)
        assert weak.images == strong.images < 1001
        assert weak.attack == chapters.ATTACKS[dataset][-1]
        attack = strong.attack_on(run_spec(dataset, "vanilla"))
        assert (attack.n2, attack.restarts, attack.n2 / attack.n1) == (50, 10, 2.5)
        assert [(m.attack, m.images, m.steps, m.queries) for m in standard] == (
            [] if dataset == "digits" else [("AutoAttack", 1000, 100, 5000)]
        )


def test_rows_at_other_settings_say_so_and_have_no_number_of_the_paper(shelf):
    everything = EvaluationSettings()
    others = chapters.other_runs(everything)
    names = {title(spec) for spec in others}
    assert names == {
        "Vanilla, 20,000 images, 20 epochs",
        "SIM(4,10)-Adv, 20,000 images, 20 epochs",
        "SIM(4,20)-Adv",
        "SIM(10,20)-Adv, lenet_wide",
        "BIM(10,30)-Adv, lenet_wide",
    }
    assert not set(others) & set(chapters.evaluation_runs(everything))
    assert [evaluation.paper_value(spec, "BIM(4,20)") for spec in others if spec.dataset == "cifar10"] == [None] * 3
    assert [evaluation.paper_value(spec, "BIM(10,40)") for spec in others if spec.dataset == "mnist"] == [None] * 2
    usual = ({"method": "sim"}, {"method": "bim"}, {"method": "free"}, {"method": "atda", "lr": 1e-3})
    assert all(evaluation.paper_value(run_spec("mnist", **choice), "BIM(10,40)") for choice in usual)
    ours = [{"reset": reset} for reset in ("never", "random", "staggered")] + [{"projection": "literal"}, {"n1": 3}]
    unlike = [run_spec("mnist", "sim", **choice) for choice in ours] + [run_spec("mnist", "bim", n1=3, n2=5)]
    assert [evaluation.paper_value(spec, "BIM(10,40)") for spec in unlike] == [None] * 6
    pair = [spec for spec in others if spec.images]
    shelf.put(pair[0], clean=70.0, bim=0.5)
    table = beside.others([(spec, shelf.store.find(spec)) for spec in others], "cifar10")
    assert table["Original"].iloc[0].startswith("70.00 [")
    assert list(table["BIM(4,20)"])[1:] == ["not run", "not run"]
    assert list(table.index.get_level_values("test images")) == ["2000", "2000", "-"]


def test_seeds_come_after_the_first_one_s_rows_single_steps_first():
    asked = list(chapters.asked()["06_evaluation"])
    seeded = [spec for spec in asked if spec.seed]
    first = chapters.evaluation_runs(EvaluationSettings())
    assert asked[: len(first)] == first
    assert [(s.method, s.reset, s.lr, s.seed) for s in seeded[:4]] == [
        ("sim", "cycle", 1e-4, 1),
        ("sim", "cycle", 1e-3, 1),
        ("sim", "staggered", 1e-4, 1),
        ("sim", "staggered", 1e-3, 1),
    ]
    iterated = [spec.method in ("bim", "madry") for spec in seeded]
    assert iterated == sorted(iterated)
    assert {replace(spec, seed=0) for spec in seeded} == {spec for spec in first if spec.method != "fgsm"}
    assert asked[-1].model == "lenet_wide"


@pytest.mark.parametrize("own", [{"epochs": 2}, {"lr": 1e-2}, {"seed": 3}, {"dataset": "digits"}])
def test_a_reader_s_own_rows_bring_no_others(own):
    settings = EvaluationSettings(**own)
    assert list(chapters.evaluation(settings)) == chapters.evaluation_runs(settings)


def test_cycles_end_higher_where_training_is_not_done(shelf):
    assert told.cycle_ends(beside.cycle_ends(shelf.found)) == "No run was watched through two cycles yet."
    for seed, rise in enumerate((10.0, 20.0)):
        for lr, ends in ((1e-4, (40.0, 60.0, 60.0 + rise)), (1e-3, (80.0, 90.0, 90.0))):
            # what lies between two resets does not count
            shelf.put(replace(SIM, seed=seed, lr=lr), robust=[x for end in ends for x in [0.0] * 19 + [end]])
        shelf.put(replace(SIM, seed=seed, reset="staggered"), robust=[99.0] * 60)
    table = beside.cycle_ends(shelf.found)
    assert beside.cycle_ends_shown(table).loc[("MNIST", "1e-4", 1)].to_dict() == {
        "epoch 20": "40.0",
        "epoch 40": "60.0",
        "epoch 60": "80.0",
    }
    assert told.cycle_ends(table).splitlines() == [
        "- MNIST, rate 1e-4: the last cycle ended +15.0 points from the one before (mean of 2 seeds).",
        "- MNIST, rate 1e-3: the last cycle ended +0.0 points from the one before (mean of 2 seeds).",
    ]


def test_nets_that_do_better_under_fgsm_than_on_clean_images_are_named():
    rows = [("A", "Original", 90.0, 90.0), ("A", "FGSM", 94.0, 87.0), ("B", "Original", 90.0, 90.0)]
    frame = pd.DataFrame([*rows, ("B", "FGSM", 90.0, 90.0)], columns=["title", "attack", "true", "predicted"])
    frame = frame.assign(dataset="fmnist", method="fgsm", lr=1e-3, seed=0, images=9, low=0.0, high=1.0, paper=np.nan)
    assert told.leaks(frame).endswith(
        "is no robustness: A on FMNIST at rate 1e-3 (94.00 % under FGSM, 90.00 % clean; 87.00 % by predicted labels)."
    )
    none = "No net is more accurate under FGSM than on clean images."
    assert told.leaks(frame[frame.title.eq("B")]) == none
    assert told.leaks(frame[frame.attack.eq("FGSM")]) == none, "no clean accuracy was measured"


def test_the_gap_of_the_worst_epochs_is_seed_by_seed(shelf):
    assert told.resets(beside.resets(shelf.found)) == "No pair of these runs was made yet."
    for seed, (cycle, staggered) in enumerate(((1.0, 20.0), (2.0, 40.0))):
        for reset, low in (("cycle", cycle), ("staggered", staggered)):
            # a lower epoch before the 25th does not count
            robust = [0.0] * 24 + [low] + [80.0] * 35
            shelf.put(replace(SIM, seed=seed, reset=reset), robust=robust)
    shelf.put(run_spec("mnist", "sim", lr=1e-4))
    table = beside.resets(shelf.found)
    assert table.gap.tolist() == [19.0, 38.0]
    assert beside.resets_shown(table).gap.tolist() == ["19.0", "38.0", "28.5"]
    assert beside.resets_shown(table)["after epoch"].tolist() == ["25", "25", "-"]
    said = told.resets(table)
    assert "28.5 points above `cycle`'s on average over 2 seeds (19.0 to 38.0); that is at least 25" in said
    assert "19.0 points above `cycle`'s, one seed; that is not at least 25" in told.resets(table[:1])


def test_accuracies_are_drawn_a_panel_a_data_set_with_seeds_and_their_mean():
    rows = [("mnist", "B", 1e-3, 0, 66.0, 1.0), ("mnist", "A", 1e-3, 0, 90.0, 91.0), ("fmnist", "B", 1e-4, 0, 5.0, 7.0)]
    rows += [("mnist", "B", 1e-3, 1, 8.0, 1.0)]
    frame = pd.DataFrame(rows, columns=["dataset", "title", "lr", "seed", "true", "paper"]).assign(attack="FGSM")
    first, second = plots.accuracy_dots(frame, title="t").axes
    assert [label.get_text() for label in first.get_yticklabels()] == ["B, 1e-4", "B, 1e-3", "A, 1e-3"]
    means, papers, seeds = (line.get_xdata().tolist() for line in first.lines[:3])
    assert (means, papers, seeds) == ([37.0, 90.0], [1.0, 91.0], [66.0, 8.0])
    assert first.lines[0].get_ydata().tolist() == [1.0, 2.0]
    assert second.lines[0].get_ydata().tolist() == [0.0], "a row is the same in all panels"
    assert second.lines[2].get_xdata().tolist() == [], "one seed is its own mean"
    none = plots.accuracy_dots(frame.iloc[:0], title="t")
    assert [text.get_text() for text in none.axes[0].texts] == ["not run"]


def test_robustness_by_epoch_has_a_panel_for_each_data_set_and_resets_as_far_as_it_goes():
    runs = {"MNIST: S": 60, "MNIST: S staggered": 60, "FMNIST: S": 80}
    lines = {name: pd.DataFrame({"epoch": range(1, n + 1), "robust": 50.0}) for name, n in runs.items()}
    figure = plots.robustness_by_epoch(lines, resets=range(20, 80, 20), attack="BIM", title="t")
    first, second = figure.axes
    assert (first.get_title(), second.get_title()) == ("MNIST", "FMNIST")
    marks = [[line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"] for axes in (first, second)]
    assert marks == [[20.5, 40.5], [20.5, 40.5, 60.5]]
    assert first.lines[0].get_color() == second.lines[0].get_color() != first.lines[1].get_color()
    none = plots.robustness_by_epoch({}, resets=[], attack="BIM", title="t")
    assert [text.get_text() for text in none.axes[0].texts] == ["not run"]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_names_keep_their_order_and_their_distance(places):
    moved = apart(places, 0.1)
    order = np.argsort(places, kind="stable")
    assert (np.diff(moved[order]) >= 0.1 - 1e-9).all()
    assert moved.min() >= 0
    assert moved.max() <= 1 + 1e-9
    if (np.diff(np.sort(places)) >= 0.1).all():
        assert moved == pytest.approx(places, abs=1e-9), "far enough already"


def test_findings_tell_the_spread(shelf):
    for seed, bim in enumerate((90.0, 92.0)):
        shelf.put(replace(SIM, seed=seed), clean=99.0, bim=bim)
    first = among(shelf.found, chapters.evaluation_runs(SETTINGS))
    said = told.findings(spread.over_seeds(shelf.frame), first, "mnist")
    assert "91.00 % correctly under BIM(10,40) with true labels (standard deviation over 2 seeds 1.41 points)" in said
    assert "points) and 91.00 % with predicted ones, as the paper's seem to be; it reports 89.93 %." in said


def test_the_questions_are_answered_by_arithmetic(shelf):
    shelf.put(run_spec("mnist", "vanilla", lr=1e-4), clean=98.0, bim=1.0)
    said = questions.answers(spread.over_seeds(shelf.frame), shelf.found)
    assert f"0.94 % on MNIST, {0.94 / (100 - 98.84):.2f} of its clean error" in said
    assert "Ours on MNIST at rate 1e-4 keeps 1.00 %" in said
    assert f"{866.76 / 293.22:.2f} on MNIST" in said
    assert f"{(2 * 30 + 6) / 8:.2f} with 30 steps" in said
    assert questions.whole_thousandths("mnist", 60) == ["atda", "sim", "bim"]
    assert questions.whole_thousandths("mnist", 30) == ["free", "atda", "sim", "bim"]
    assert questions.whole_thousandths("mnist", 40) == ["atda", "bim"]
    assert "30 on MNIST would end within a cycle" in said
