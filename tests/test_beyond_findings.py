r"""Chapter 7's findings: what is said of the verdicts, and which settings stand side by side."""

import math

import numpy as np
import pandas as pd
import pytest
from rows import SIGNS, row_of, survivor, table_of

from simbook.claims import beyond as beyond_claims
from simbook.claims import judging
from simbook.tables import beyond
from simbook.told import beyond as beyond_told
from simbook.told import beyond_findings
from simbook.told import survival as survival_told

GLUE = "\N{NO-BREAK SPACE}"


@pytest.fixture
def settings():
    return table_of(
        row_of("S", "sim", 80.0, reset="cycle"),
        row_of("N", "sim", 82.0, reset="never", AutoAttack=70.0),
        row_of("Q", "sim", 90.0, reset="never", n1=3.0),
        row_of("K", "sim-k", 85.0, reset="never", F=10),
        row_of("L", "sim", 60.0, reset="cycle", projection="literal"),
        row_of("A", "atta", 81.0, n1=30.0),
        row_of("B", "bim", 90.0, F=66),
    )


def test_each_question_shows_the_settings_that_answer_it(settings):
    def chosen(choose):
        return choose(settings).title.tolist()

    assert chosen(beyond_findings.resets) == ["S", "N", "Q"], "at the paper's n1, then at others"
    assert chosen(beyond_findings.steps) == ["N", "Q", "K"], "with one step, and one longer step, first"
    assert chosen(beyond_findings.printed) == ["S", "L"]
    assert chosen(beyond_findings.neighbours) == ["S", "N", "Q", "B", "A"]
    assert chosen(beyond_findings.frees) == ["Q"], "no free-SIM was run"
    nothing = settings[settings.method.eq("atta")]
    for choose in (beyond_findings.resets, beyond_findings.steps, beyond_findings.printed, beyond_findings.frees):
        assert choose(nothing).empty


def test_another_n1_stands_there_with_its_reset_and_without(settings):
    cycle, never = row_of("F", "sim", 70.0, reset="cycle", n1=5.0), row_of("H", "sim", 60.0, reset="never", n1=5.0)
    several = table_of(*settings.to_dict("records"), cycle, never)
    assert beyond_findings.resets(several).title.tolist() == ["S", "N", "F", "H", "Q"], "by n1"


def test_data_sets_stand_side_by_side(settings):
    some = settings[settings.title.isin(["N", "K"])]
    other = some.assign(dataset="fmnist", F=[640, 10], seeds=3, AutoAttack=[55.0, np.nan], sd=0.5)
    of = {"mnist": settings, "fmnist": other.assign(**{"AutoAttack seeds": 3, "AutoAttack sd": 1.25, "to lower": 80.0})}
    head, aligned, *lines = beyond_findings.side_by_side(of, beyond_findings.neighbours).splitlines()
    assert head == "|  | F | MNIST: ends | AutoAttack | FMNIST: ends | AutoAttack |"
    assert aligned == "| --- | --: | --: | --: | --: | --: |"
    assert [line.replace(GLUE, " ") for line in lines[:2]] == [
        "| S | 8/- | 80.0 | not run | - | - |",
        "| N | 8/640 | 82.0 | 70.0 | 82.0 ± 0.5 (3) | 55.0 ± 1.2 (3) |",
    ]
    head, _, *lines = beyond_findings.side_by_side(of, beyond_findings.steps, also="bar").splitlines()
    assert head == "|  | MNIST: ends | F to 85 % | AutoAttack | FMNIST: ends | F to 60 % | AutoAttack |"
    last = "| K | 85.0 | never | not run | 85.0 ± 0.5 (3) | 80 | not run |"
    assert lines[-1].replace(GLUE, " ") == last
    head, _, *lines = beyond_findings.side_by_side(of, beyond_findings.resets, also="lowest").splitlines()
    assert head == "|  | MNIST: ends | lowest | AutoAttack | FMNIST: ends | lowest | AutoAttack |"
    assert lines[0].replace(GLUE, " ") == "| S | 80.0 | 79.0 | not run | - | - | - |", "mnist alone has it"
    assert beyond_findings.side_by_side({"mnist": settings[:0]}, beyond_findings.steps) == ""


def test_the_strongest_attack_is_the_one_that_the_data_set_has():
    digits = {"digits": table_of(row_of("S", "sim", 80.0, reset="cycle", dataset="digits", **{"CW(20,50)": 40.0}))}
    head, _, line = beyond_findings.side_by_side(digits, beyond_findings.resets).splitlines()
    assert head.endswith("| CW(20,50) |")
    assert line.endswith("| 40.0 |")


def test_the_fewest_passes_stand_by_kind():
    rows = [("A", "atta", 40.0, np.nan), ("S", "sim", 80.0, np.nan), ("T", "sim-k", 72.5, np.nan)]
    table = pd.DataFrame([*rows, ("B", "bim", 192.0, 924.0)], columns=["title", "method", *beyond.TO])
    table = table.reindex(columns=beyond.BAR_COLUMNS)
    assert beyond_findings.at_a_bar({"mnist": table}).splitlines() == [
        "| the fewest F | MNIST: to 85 % | MNIST: to 90 % |",
        "| --- | --: | --: |",
        "| one epoch of BIM-Adv | 66 | 66 |",
        "| SIM-Adv | 72.5: T | never |",
        "| BIM-Adv | 192: B | 924: B |",
        "| any net | 40: A | 924: B |",
    ]
    assert beyond_findings.at_a_bar({}) == ""
    some = table.assign(**{beyond.SOME[1]: table.method.eq("sim")})
    assert "| SIM-Adv | 72.5: T | not all seeds |" in beyond_findings.at_a_bar({"mnist": some})
    without = table[table.method.ne("bim")].assign(projection=["literal", "ball", "literal"])
    assert "| BIM-Adv | - | - |" in beyond_findings.at_a_bar({"mnist": without}), "not run is not never"
    assert "| SIM-Adv | 80: S | never |" in beyond_findings.at_a_bar({"mnist": without}), "not Eq. 15 as printed"


def judged(dataset, *rows):
    return pd.DataFrame(rows, columns=["claim", "part", "ours", "verdict"]).assign(dataset=dataset)


def test_verdicts_are_said_in_plain_words():
    parts = judged(
        "mnist",
        ("C7.3", "a > 0", "1.00", "holds"),
        ("C7.7", "b > 0", "2.00", "holds"),
        ("C7.7", "c > 0", "-3.00", "does not hold"),
        ("C7.9", "d > 0", "not run", "not tested"),
        ("C7.8", "e > 0", "1.00 ± 2.00", "undecided"),
    )
    assert beyond_findings.plainly(parts) == (
        "Without a reset no epoch falls much further than BIM-Adv's do; SIM-Adv is not ahead of its neighbours; "
        "whether Eq. 15 as printed is worse is not tested; whether stronger attacks take 4 points more from SIM-Adv "
        "than from BIM-Adv is open."
    )
    assert beyond_findings.plainly(parts[:0]) == ""
    assert beyond_findings.PLAIN.keys() == {claim for claim in judging.CLAIMS if claim.startswith("C7.")}
    assert {
        claim for question in beyond_findings.QUESTIONS for claim in question.claims
    } == beyond_findings.PLAIN.keys()


def test_data_sets_of_one_answer_share_it():
    holds, fails = (judged("mnist", ("C7.2", "a > 0", "1.00", verdict)) for verdict in ("holds", "does not hold"))
    assert beyond_findings.lead({"mnist": holds, "fmnist": holds}) == "*MNIST and FMNIST.* SIM-Adv needs its reset."
    assert beyond_findings.lead({"mnist": holds, "fmnist": fails}) == (
        "*MNIST.* SIM-Adv needs its reset. *FMNIST.* SIM-Adv does not need its reset."
    )
    assert beyond_findings.lead({"mnist": holds[:0]}) == ""


def test_the_margins_are_folded_below_the_verdicts():
    of = {name: judged(name, ("C7.2", "a > 0", "-1.00", "does not hold")) for name in ("mnist", "fmnist")}
    text = beyond_findings.decided(of)
    assert "<summary>C7.2 does not hold on either</summary>" in text
    assert "- C7.2, FMNIST: a > 0: -1.00, does not hold" in text
    assert text.endswith("</details>")
    assert beyond_findings.decided({"mnist": of["mnist"][:0]}) == ""


def test_a_question_without_an_answer_is_not_asked(settings):
    labels = {name: pd.DataFrame(columns=["method", "lr", "title", "paper"]) for name in ("mnist", "fmnist")}
    nets = pd.DataFrame([SIGNS])
    told = beyond_findings.findings(judged("mnist", ("C7.2", "a > 0", "1.00", "holds")), settings, nets, labels)
    assert told[-1] == "FMNIST: nothing was run yet."
    assert told[0].startswith("**Is the reset needed?** *MNIST.* SIM-Adv needs its reset.\n\n|")
    assert not [text for text in told if "Whose label" in text or "Would it survive" in text]


def test_what_the_reset_is_worth_has_the_interval_of_its_seeds(settings):
    assert beyond_told.worth_told(settings) == [], "only one of the two met AutoAttack"
    both = settings.assign(AutoAttack=settings.AutoAttack.mask(settings.title.eq("S"), 81.5))
    assert beyond_told.worth_told(both) == [
        "Under AutoAttack the reset is worth, in points, +11.5 [+7.8, +15.2] at n1 = 10 (1 seed)."
    ]
    wide = both.assign(**{"AutoAttack sd": both.title.map({"Q": 15.1, "B": 30.0})})
    said = "What is of one seed has the interval of the images alone: the seeds of Q deviate by 15.1 points."
    assert beyond_told.worth_told(wide)[1:] == [said], "B is no SIM-Adv"
    seeds = [2, 3] + [0] * (len(both) - 2)
    most = both.assign(seeds=3, **{"AutoAttack seeds": seeds, "AutoAttack sd": 1.25})
    # 12.71 and 4.30 deviations of a mean of two and of three
    half = 1.25 * math.hypot(12.706 / math.sqrt(2), 4.303 / math.sqrt(3))
    low, high = 11.5 - half, 11.5 + half
    assert beyond_told.worth_told(most) == [
        f"Under AutoAttack the reset is worth, in points, +11.5 [{low:+.1f}, {high:+.1f}] at n1 = 10 (2 and 3 seeds)."
    ]


def test_no_interval_of_a_difference_is_beyond_all_that_is_possible():
    assert beyond_claims.interval(17.3, 223.2) == "[-100.0, +100.0]"
    assert beyond_claims.interval(-1.6, 7.6) == "[-9.2, +6.0]"


def test_the_highest_ends_are_of_sim_adv_within_the_ball(settings):
    assert beyond_told.highest_told(settings) == [
        "Of 4 SIM-Adv, free-SIM among them, these end highest: Q at 90.0 %; K at 85.0 %; N at 82.0 %, AutoAttack 70.0."
    ]
    assert "Q at 90.0 ± 0.5 % (3 seeds); " in beyond_told.highest_told(settings.assign(seeds=3))[0]
    assert beyond_told.highest_told(settings[settings.method.eq("atta")]) == []


def test_findings_say_what_the_labels_bring_at_the_rate_of_table_3():
    row = {"method": "vanilla", "lr": 1e-4, "true": 0.5, "predicted": 1.5, "error": 2.0, "share": 0.5}
    none = {"title": "", "paper": np.nan, "least": 0.0, "likely": 0.0}
    free = row | {"method": "free", "title": "F", "paper": 7.4, "least": 0.5}
    rows = [row | none, row | none | {"lr": 1e-3}, row | none | {"method": "sim", "paper": 90.0}]
    labels = pd.DataFrame([*rows, free | {"likely": 3.0}, free | {"lr": 1e-3, "likely": 4.9}])
    assert beyond_told.labels_told(labels, "mnist") == [
        "Vanilla at rate 1e-4 has 0.50 % under BIM by true labels and 1.50 % by predicted ones: of 2.00 % that it gets "
        "wrong when clean, the attack puts 50 % right.",
        "At rate 1e-3 it has 0.50 % and 1.50 %.",
        "By true labels the 7.40 % of the paper's F would be 0.50 to 4.90 %, if it attacked predicted ones.",
    ]
    assert beyond_told.labels_told(labels[1:3], "mnist") == [], "no rate is known"


def test_findings_rank_what_withstands_autoattack():
    left = {"A": 80.0, "B": 85.0} | {f"N{i}": 10.0 + i for i in range(survival_told.NAMED)}
    nets = pd.DataFrame([survivor(name, 90.0, AutoAttack=value, images=1000) for name, value in left.items()])
    nets = pd.concat([nets, nets[:1].assign(title="C", AutoAttack=np.nan)])
    said, *gap = survival_told.four_told(nets)
    assert gap == []
    assert said.startswith(
        "AutoAttack leaves, of seed 0 and on the first 1000 images, B 85.0 % (82.7 to 87.1; BIM 90.0); A 80.0"
    )
    assert said.endswith("; 2 more have 11.0 % or less.")
    assert "C" not in said
    assert "more" not in survival_told.four_told(nets[:2])[0]
    assert survival_told.four_told(nets[-1:]) == survival_told.four_told(nets.drop(columns="AutoAttack")) == []


def test_what_autoattack_leaves_of_several_seeds_is_told_seed_by_seed():
    nets = pd.DataFrame([survivor("A", 90.0), survivor("B", 90.0), survivor("C", 90.0)])
    nets["seeds"] = [[50.0], [], [60.0, 57.0, 54.0]]
    assert survival_told.seeds_told(nets) == ["Seed by seed: C 60.0, 57.0, 54.0 % (57.0 ± 3.0)."]
    assert survival_told.seeds_told(nets[:2]) == []


def test_findings_name_the_nets_whose_gradients_may_be_masked():
    rows = {"dataset": "mnist", "title": "A", "method": "sim", "projection": "ball", "end": 9.0, "clean": 90.0}
    bars = pd.DataFrame([rows | {"seeds": 1}]).reindex(columns=beyond.BAR_COLUMNS)
    table, labels = (
        pd.DataFrame({"dataset": [], "claim": [], "verdict": []}),
        pd.DataFrame({"method": [], "lr": [], "title": [], "paper": []}),
    )
    masked = pd.DataFrame([SIGNS | {"title": f"N{i}", "chance": 1.5 + i} for i in range(survival_told.MOST + 2)])

    def said(bars, nets):
        return "\n".join(beyond_findings.findings(table, bars, nets, {"mnist": labels}))

    text = said(bars, pd.concat([masked, pd.DataFrame([SIGNS | {"unbounded": 3.0}])]))
    assert f"Of {survival_told.MOST + 3} nets {survival_told.MOST + 3} show some sign in more images" in text
    assert (
        "by the sign that says so: *unbounded is not 0* (more than 1.0 % of the images): A 3.0; *chance finds more* ("
        in text
    )
    assert "images): N4 5.5, N3 4.5, N2 3.5 and 2 more." in text
    assert "masked" not in said(bars, pd.DataFrame([SIGNS]))
    usual = pd.DataFrame([SIGNS | {"title": "B", "method": "bim", "chance": 3.0}])
    text = said(bars, pd.concat([masked, usual]))
    assert "(more than 4.0 % of the images): N4 5.5, N3 4.5." in text, "what BIM-Adv shows is usual, and chance"
    assert "Broke down in training at this rate: A (clean 44.0 %)." in said(
        bars.assign(clean=44.0), pd.DataFrame([SIGNS])
    )
    missing = pd.concat([bars, bars.assign(title="M", end=np.nan)])
    assert "**What broke down, and what was not run?**\n\n- *MNIST.* Not run, or not watched, yet: M." in said(
        missing, pd.DataFrame([SIGNS])
    )


def test_findings_say_how_far_the_papers_method_is_from_iterated_training():
    nets = pd.DataFrame(
        [
            survivor("S", 89.1, AutoAttack=81.7, images=1000),
            survivor("B", 91.2, AutoAttack=85.9, images=1000) | {"method": "bim"},
        ]
    )
    assert survival_told.gap_told(nets) == [
        "On the same images, seed 0, S less B is -2.1 points under BIM(10,40) and -4.2 points under AutoAttack."
    ]
    assert survival_told.gap_told(nets.assign(AutoAttack=[80.0, np.nan])) == []


def test_findings_name_what_is_as_good_as_iterated_training_for_less():
    rows = [("B", "bim", 86.0, 4000), ("A", "atta", 84.5, 300), ("C", "sim", 83.9, 480), ("K", "sim-k", 87.0, 600)]
    rows += [("M", "madry", 90.0, 4000), ("N", "sim", np.nan, 100)]
    table = pd.DataFrame(rows, columns=["title", "method", "AutoAttack", "F"])
    table = table.assign(clean=98.0, dataset="mnist")
    assert beyond_told.cheap_told(table) == [
        "Within 2 points of B under AutoAttack (86.0 %, clean 98.0 %, for 4000 F an image; 83.7 to 88.0 by the images "
        "that were tested), or above: A, 84.5 %, clean 98.0 %, for 300 F; K, 87.0 %, clean 98.0 %, for 600 F."
    ]
    assert beyond_told.cheap_told(table.assign(AutoAttack=[86.0] + [0.0] * 5))[0].endswith("none that was run.")
    assert beyond_told.cheap_told(table[1:]) == []


def test_the_corner_that_the_monitor_chose_is_judged_by_an_attack_that_did_not(settings):
    left = settings.assign(n2=20.0, AutoAttack=[81.0, 70.0, 75.0, 79.0, 99.0, 99.0, 85.0])
    _, *told = beyond_told.highest_told(left)
    assert told == [
        "AutoAttack, which did not choose it, leaves Q 75.0 %, where BIM-Adv has 85.0 %. Of the paper's design it "
        "keeps one step an epoch, but it has no reset and n1 = 3.",
        "AutoAttack itself would choose S, 81.0 %. Of the paper's design it keeps one step an epoch, the reset and "
        "n1 = 10.",
    ]
    (only,) = beyond_told.highest_told(left.assign(AutoAttack=left.AutoAttack.where(left.title.eq("Q"), 50.0)))[1:]
    assert only.startswith("AutoAttack, which did not choose it, leaves Q 75.0 %, where BIM-Adv has 50.0 %.")
    (several,) = beyond_told.highest_told(left[left.title.eq("K")].assign(k=2.0))[1:]
    assert several.endswith("Of the paper's design it keeps n1 = 10, but it has 2 steps an epoch and no reset.")


def test_the_clean_half_is_worth_what_atta_lacks_of_the_sim_adv_that_differs_in_it_alone(settings):
    other = row_of("T", "atta", 88.0, n1=3.0, F=5, clean=98.0, AutoAttack=76.0)
    rows = table_of(*settings.assign(AutoAttack=70.0).to_dict("records"), other)
    half = 1.96 * math.sqrt((70 * 30 + 76 * 24) / 1000)
    assert beyond_told.clean_half_told(rows) == [
        "T is Q, but for the clean half of its batches: 5 F instead of 8, -1.0 points on clean images and +6.0 "
        f"[{6 - half:+.1f}, {6 + half:+.1f}] under AutoAttack (1 seed)."
    ]
    assert beyond_told.clean_half_told(rows[rows.title.ne("Q")]) == []


def test_what_has_one_seed_alone_is_named_where_others_have_several(settings):
    assert beyond_told.missing_told(settings) == []
    some = settings[:3].assign(seeds=[3, 1, 2])
    assert beyond_told.missing_told(some) == ["Of 3 settings 1 have 3 seeds and 1 one alone: N."]


def test_settings_that_are_at_a_bar_for_as_few_passes_are_all_named(settings):
    quick = settings[:3].assign(**{"to lower": [40.0, 24.0, 24.0]})
    assert beyond_findings.reached(quick, named=True) == "24: N, Q"


def test_fresh_steps_are_told_with_what_lies_between_them():
    rows = [("mnist", "f", seed, 80.0 + seed, 50.0 + seed) for seed in (0, 1)] + [("fmnist", "f", 0, 40.0, 6.0)]
    table = pd.DataFrame(rows, columns=["dataset", "title", "seed", "fresh", "between"])
    assert beyond_told.refreshed_told(table).splitlines() == [
        "- *MNIST.* f: 80.0 to 81.0 % after an epoch with a fresh step, 50.0 to 51.0 % after the others (means of each "
        "of 2 seeds).",
        "- *FMNIST.* f: 40.0 % after an epoch with a fresh step, 6.0 % after the others (one seed).",
    ]


def test_what_a_corner_keeps_of_the_paper_s_design():
    def said(method, **settings):
        return beyond_told.kept(table_of(row_of("x", method, 80.0, **settings)).iloc[0])

    plain = {"reset": "cycle", "n2": 20.0}
    assert said("sim", **plain) == "Of the paper's design it keeps one step an epoch, the reset and n1 = 10."
    often = said("sim", reset="cycle", n2=10.0, n1=5.0)
    assert often == "Of the paper's design it keeps one step an epoch, but it has a reset every 10 epochs and n1 = 5."
    fresh = said("free-sim", reset="never", n1=3.0, fresh=5.0)
    assert fresh == (
        "It keeps nothing of the paper's design: it has an attack pass every 5 epochs, no reset and n1 = 3."
    )
    assert "no attack pass" in said("free-sim", fresh=0.0, **plain)


def test_the_clean_half_is_of_the_nets_that_met_the_attack():
    rows = table_of(
        row_of("Q", "sim", 90.0, reset="never", n1=3.0, AutoAttack=70.0, clean=99.0),
        row_of("T", "atta", 88.0, n1=3.0, F=5, AutoAttack=76.0, clean=98.0),
    )
    rows["clean by seed"] = [{0: 97.0, 1: 99.0, 2: 99.0}, {0: 96.0}]
    rows["AutoAttack by seed"] = [{0: 69.0, 1: 71.0}, {0: 76.0}]
    assert "-2.0 points on clean images" in beyond_told.clean_half_told(rows)[0]


def test_nets_far_below_bim_adv_are_counted_with_a_reset_and_without(settings):
    assert beyond_told.nets_told(settings) == []
    rows = settings.assign(AutoAttack=settings.AutoAttack.mask(settings.title.eq("B"), 60.0))
    left = {"S": {0: 55.0, 1: 50.0, 2: 51.0}, "N": {0: 49.0, 1: 70.0}, "Q": {0: 10.0}, "K": {0: 20.0}, "L": {0: 1.0}}
    rows["AutoAttack by seed"] = rows.title.map(left)
    assert beyond_told.nets_told(rows) == [
        "Net by net, whatever n1 and k: AutoAttack leaves 10 points less than of BIM-Adv, or worse, of 3 of 4 nets "
        "without a reset and of 0 of 3 with one (Fisher's exact test, two-sided: p = 0.14; a question asked after the "
        "numbers were seen)."
    ]
