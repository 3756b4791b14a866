"""Chapters 4.1 and 4.2: what is measured, against naive attacks; shapes of known curves; tables, verdicts, figures."""

import json
from dataclasses import asdict, replace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import images, naive_attack, tiny_net
from scipy.optimize import curve_fit
from scipy.stats import binom

from simadv.checks import InputError
from simadv.data import Dataset
from simadv.specs import EvalSpec, run_spec
from simadv.store import Run, Store
from simbook import chapters
from simbook.claims import iterated as claims
from simbook.claims import judging
from simbook.measures import curves as measures
from simbook.plots import iterated as plots
from simbook.settings import Settings
from simbook.tables import curves, iterated, shapes
from simbook.told import iterated as findings

matplotlib.use("agg")
SAT, MID = "04_1_saturation", "04_2_intermediate"
SPECS = list(chapters.per_step(Settings()))
VANILLA, ROBUST = SPECS[:2]  # MNIST's


# what is measured


def small_set(net, count):
    """Random images that ``net`` gets right but for every fourth."""
    x, _ = images(3, count)
    with torch.no_grad():
        y = (net(x).argmax(1) + (torch.arange(count) % 4 == 3)) % 4
    return Dataset("digits", x, y, x, y)


def naive_wrong(net, x, y):
    with torch.no_grad():
        return [int(net(x[j : j + 1]).argmax()) != int(y[j]) for j in range(len(y))]


def naive_history(net, x, y, steps, epsilon):
    """For each (n1, n2) in turn, who is wrong: clean images where n2 is 0."""
    found = []
    for n1, n2 in steps:
        x_tilde = naive_attack(net, x, y, epsilon=epsilon, n1=n1, n2=n2) if n2 else x
        found.append((naive_wrong(net, x_tilde, y), float((x_tilde - x).abs().mean()) / epsilon))
    return found


def told(rows):
    """Patterns as a naive count of columns."""
    texts = ["".join(str(int(row[j])) for row in rows) for j in range(len(rows[0]))]
    return {text: texts.count(text) for text in sorted(set(texts))}


@pytest.fixture
def batches_of_five(monkeypatch):
    monkeypatch.setattr(measures, "BATCH", 5)


def test_patterns_count_columns():
    wrong = torch.tensor([[0, 0, 1, 0], [1, 0, 1, 1]]).bool()
    assert measures.patterns(wrong) == {"00": 1, "01": 2, "11": 1}


def test_saturation_is_a_naive_attack_at_each_n(batches_of_five):
    net, spec = tiny_net(8), run_spec("digits", "vanilla", epsilon=0.2)
    data = small_set(net, 16)
    found = measures.Saturation(greatest=4).work(spec, net, data)
    expected = [
        w for w, _ in naive_history(net, data.x_test, data.y_test, [(1, 0), *((n, n) for n in (1, 2, 3, 4))], 0.2)
    ]
    assert found["wrong"] == [sum(row) for row in expected]
    assert len(set(found["wrong"])) > 2
    assert found["patterns"] == told(expected)
    assert (found["images"], found["n"]) == (16, [0, 1, 2, 3, 4])


def test_intermediate_is_a_naive_attack_after_each_step(batches_of_five):
    net, spec = tiny_net(8), run_spec("digits", "vanilla", epsilon=0.2)
    data = small_set(net, 13)
    found = measures.Intermediate(attack="BIM(3,5)", images=12).work(spec, net, data)
    x, y = data.x_test[:12], data.y_test[:12]
    assert [curve["n1"] for curve in found["curves"]] == [3, 1.5, 6]
    assert (found["images"], found["i"]) == (12, [0, 1, 2, 3, 4, 5])
    for curve in found["curves"]:
        expected = naive_history(net, x, y, [(curve["n1"], i) for i in range(6)], 0.2)
        assert curve["wrong"] == [sum(wrong) for wrong, _ in expected]
        assert curve["patterns"] == told([wrong for wrong, _ in expected])
        assert curve["moved"] == pytest.approx([moved for _, moved in expected], abs=2e-6)
        # arithmetic: after i steps at most i / n1 of epsilon; no more once all of it is used
        assert all(moved <= min(1, i / curve["n1"]) + 1e-6 for i, moved in enumerate(curve["moved"]))
    assert len({tuple(curve["wrong"]) for curve in found["curves"]}) > 1


def test_the_example_on_the_way_at_n1_is_that_of_fig_3():
    net, spec = tiny_net(8), run_spec("digits", "vanilla", epsilon=0.2)
    data = small_set(net, 16)
    along = measures.Saturation(greatest=4).work(spec, net, data)["wrong"]
    inside = measures.Intermediate(attack="BIM(4,6)").work(spec, net, data)["curves"]
    assert [curve["wrong"][n] for curve, n in zip(inside, (4, 2), strict=False)] == [along[4], along[2]]
    assert len(set(along)) > 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: measures.Saturation(greatest=0), "greatest = 0"),
        (lambda: measures.Saturation(images=0), "images = 0"),
        (lambda: measures.Intermediate(attack="BIM"), "BIM, Madry and CW take"),
        (lambda: measures.Intermediate(attack="BIM(10,30)", images=1.5), "images = 1.5"),
    ],
)
def test_bad_measures(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_each_setting_of_a_measure_has_an_id_of_its_own():
    made = [measures.Saturation(), measures.Saturation(greatest=10), measures.Saturation(images=500)]
    made += [measures.Intermediate(attack=f"BIM({n},30)") for n in (7, 10)]
    assert len({measure.id for measure in made}) == 5
    for measure in made:  # what comes back from JSON must compare equal, else the store would not find it
        assert json.loads(json.dumps(asdict(measure))) == asdict(measure)


# curves as objects


def record(wrong, total, **more):
    """What a measure stores of ``total`` images that stay wrong once they are, ``wrong`` of them at each setting."""
    kinds = {k: now - before for k, (before, now) in enumerate(zip([0, *wrong], wrong, strict=False))}
    patterns = {"0" * k + "1" * (len(wrong) - k): count for k, count in kinds.items() if count}
    patterns |= {"0" * len(wrong): total - wrong[-1]} if total > wrong[-1] else {}
    return {"images": total, "wrong": list(wrong), "patterns": dict(sorted(patterns.items()))} | more


def curve(wrong, total=1000, spec=ROBUST, **more):
    return curves.Curve.read(spec, record(wrong, total, **more))


def shaped(n1, *, start=20, turn=400, end=500, pace=6, growth="exponential"):
    """Counts that grow up to n1 and then approach their end."""
    i = np.arange(31)
    share = np.minimum(i / n1, 1)
    before = start * (turn / start) ** share if growth == "exponential" else start + (turn - start) * share
    after = (end - turn) * (1 - np.exp(-np.maximum(i - n1, 0) / pace))
    wrong = np.round(before + after).astype(int)
    wrong[-1] = end
    return [int(w) for w in wrong]


def test_a_curve_by_hand():
    found = curves.Curve.read(
        VANILLA, {"wrong": [1, 4, 5], "patterns": {"000": 4, "001": 2, "010": 1, "011": 2, "111": 1}}
    )
    assert found.images == 10
    assert found.error.tolist() == [10, 40, 50]
    assert found.rho == pytest.approx([0.2, 0.8, 1.0])
    low, high = found.rho_interval
    # at the second setting 3 images differ from the last: two were not yet wrong, one no longer is
    spread = 1.959964 * np.sqrt(3 / (4 * 5))
    assert (low[1], high[1]) == pytest.approx((0.8 * np.exp(-spread), 0.8 * np.exp(spread)))
    assert (low[2], high[2]) == (1, 1)


def test_counts_that_patterns_contradict_are_an_error():
    with pytest.raises(ValueError, match="do not agree"):
        curves.Curve.read(VANILLA, {"wrong": [2, 3], "patterns": {"00": 1, "01": 2, "11": 1}})


def test_the_interval_of_rho_is_that_of_a_bootstrap():
    found = curve(shaped(10), total=10_000)
    for k in (2, 5, 10, 20):
        low, high = (ends[k] for ends in found.rho_interval)
        assert (low, high) == pytest.approx(tuple(np.quantile(found.resampled[:, k], [0.025, 0.975])), rel=0.1)


def test_resamples_repeat_themselves_and_end_at_one():
    one, two = (curve(shaped(10)) for _ in range(2))
    assert np.array_equal(one.resampled, two.resampled)
    assert one.resampled.shape == (curves.RESAMPLES, 31)
    assert (one.resampled[:, -1] == 1).all()
    assert one.resampled.mean(0) == pytest.approx(one.rho, abs=0.01)
    assert one.resampled[:, 5].std() > 0


def test_a_curve_without_errors_at_its_end_has_no_rho():
    found = curves.Curve.read(VANILLA, {"wrong": [0, 1, 0], "patterns": {"000": 4, "010": 1}})
    assert np.isnan(found.rho).all()
    lines = {VANILLA: [found]}
    (row,) = claims.rows("C4.3", lines, claims.never_falls, "vanilla")
    assert (row["ours"], row["verdict"]) == ("no errors at the last", "not tested")


def test_a_clean_error_of_zero_has_a_rho_and_no_interval():
    found = curve([0, 2, 4], total=8)
    assert found.rho[0] == 0
    assert np.isnan([ends[0] for ends in found.rho_interval]).all()
    assert not np.isnan([ends[1] for ends in found.rho_interval]).any()


class Shelf:
    """A store of runs and of what was measured, without a disk."""

    def __init__(self):
        self.runs, self.measured = {}, {}

    def put(self, spec, measure=None, result=None):
        self.runs[spec] = Run(spec, [], {}, {}, "w", None)
        self.measured[spec, measure] = result

    def find(self, spec):
        return self.runs.get(spec)

    def evaluation(self, run, measure):
        return self.measured.get((run.spec, measure))


def test_collect_reads_what_is_there_of_what_the_chapter_asks():
    shelf, settings = Shelf(), Settings()
    asked = chapters.intermediate(settings)
    parts = [record(shaped(n1), 1000, n1=float(n1), moved=[0.5] * 31) for n1 in (10, 5, 20)]
    shelf.put(VANILLA, asked[VANILLA][0], {"curves": parts})
    shelf.put(ROBUST)  # trained, not measured
    found = [(spec, shelf.find(spec)) for spec in asked]
    lines = curves.collect(MID, found, settings, store=shelf)
    assert list(lines) == SPECS
    assert [len(part) for part in lines.values()] == [3, 0, 0, 0, 0, 0]
    assert [part.n1 for part in lines[VANILLA]] == [10, 5, 20]
    assert lines[VANILLA][0].wrong.tolist() == shaped(10)
    assert curves.collect(SAT, found, settings, store=shelf)[VANILLA] == []
    shelf.put(VANILLA, chapters.saturation(settings)[VANILLA][0], record(shaped(3), 1000))
    (only,) = curves.collect(SAT, found, settings, store=shelf)[VANILLA]
    assert only.n1 is None


def test_other_measures_and_nets_of_the_chapter_are_no_curves(monkeypatch):
    other = replace(ROBUST, n1=5, n2=5)
    asked = {VANILLA: [measures.Saturation(), EvalSpec(attack="none")], other: [EvalSpec(attack="none")]}
    monkeypatch.setitem(chapters.CHAPTERS, SAT, lambda settings: asked)
    lines = curves.collect(SAT, [(spec, None) for spec in asked], Settings(), store=Shelf())
    assert lines == {VANILLA: []}


# shapes


@pytest.mark.parametrize(
    ("values", "first"),
    [
        ([0.1, 0.94, 0.95, 1.05, 1.0], 2),
        ([0.1, 0.99, 0.9, 0.99, 1.0], 3),  # it must stay
        ([0.1, 1.2, 1.06, 1.0, 1.0], 3),  # from above, too
        ([1.0, 1.0, 1.0], 0),
        ([0.1, 0.2, 0.3], 3),  # never
        ([np.nan, np.nan], 2),
    ],
)
def test_saturated_from(values, first):
    assert shapes.saturated_from(np.array(values), at=1.0, within=0.05) == first
    assert shapes.saturated_from(np.array([values, values]), at=1.0, within=0.05).tolist() == [first, first]


@given(kink=st.integers(3, 27), start=st.floats(0.02, 0.3), growth=st.sampled_from(["exponential", "line"]))
def test_the_turning_point_is_the_kink(kink, start, growth):
    """Growth that rises or is even up to the kink, and fades from there on."""
    i = np.arange(31)
    share = np.minimum(i / kink, 1)
    before = start * (0.85 / start) ** share if growth == "exponential" else start + (0.85 - start) * share
    values = before + 0.15 * (1 - np.exp(-np.maximum(i - kink, 0) / 20))
    assert shapes.turning_point(values) == kink


def test_a_broken_line_is_drawn_past_the_kink_of_a_bent_curve():
    """Why the verdict does not go by it."""
    values = np.array(shaped(10)) / 500
    assert shapes.turning_point(values) == 10
    assert shapes.broken_line(values) > 10.5


@given(knot=st.integers(20, 280).map(lambda tenths: tenths / 10), slope=st.floats(0.1, 3), after=st.floats(-3, 0.05))
def test_a_broken_line_finds_its_knot(knot, slope, after):
    i = np.arange(31)
    assert shapes.broken_line(slope * np.minimum(i, knot) + after * np.maximum(i - knot, 0)) == pytest.approx(knot)


def test_a_broken_line_is_the_best_of_all_by_plain_least_squares():
    values = np.random.default_rng(0).normal(size=31).cumsum()
    i, left = np.arange(31.0), {}
    for tenths in range(10, 291):
        columns = np.stack([np.ones(31), i, np.maximum(i - tenths / 10, 0)], axis=1)
        left[tenths / 10] = float(np.linalg.lstsq(columns, values, rcond=None)[1][0])
    assert shapes.broken_line(values) == pytest.approx(min(left, key=left.get))


def test_growth_tells_a_line_from_an_exponential():
    i = np.arange(11)
    exponential, line = shapes.growth(0.05 * 1.3**i), shapes.growth(0.05 + 0.08 * i)
    assert exponential.factor == pytest.approx(1.3, abs=2e-3)
    assert exponential.exponential < 1e-3 < exponential.linear
    assert line.linear < 1e-9 < 1e-2 < line.exponential


def test_growth_is_what_a_general_fit_finds():
    i = np.arange(11)
    values = 0.1 * 1.2**i + np.random.default_rng(1).normal(scale=0.02, size=11)
    (a, g), _ = curve_fit(lambda x, a, g: a * g**x, i, values, p0=(0.1, 1.2))
    b, c = np.polyfit(i, values, 1)
    found = shapes.growth(values)
    assert found.factor == pytest.approx(g, abs=2e-3)
    assert found.exponential == pytest.approx(np.sqrt(np.mean((values - a * g**i) ** 2)), rel=1e-3)
    assert found.linear == pytest.approx(np.sqrt(np.mean((values - b * i - c) ** 2)))


def test_shapes_of_many_curves_are_those_of_each():
    many = np.random.default_rng(2).normal(size=(5, 31)).cumsum(1)
    for shape in (shapes.turning_point, shapes.broken_line):
        assert shape(many).tolist() == [shape(row) for row in many]
    for name, values in shapes.growth(many)._asdict().items():
        assert values == pytest.approx([getattr(shapes.growth(row), name) for row in many])


# tables


def sat(*wrong):
    """A curve of Fig. 3 of 1,000 images: counts at n = 0, 1, ..., the last up to n = 30."""
    return [*wrong, *[wrong[-1]] * (31 - len(wrong))]


@pytest.fixture
def part():
    """Fig. 3 with Vanilla on MNIST alone."""
    return dict.fromkeys(SPECS, ()) | {VANILLA: [curve(sat(12, 880, 940, 990, 1000), spec=VANILLA)]}


@pytest.fixture
def pair():
    """Fig. 4 with both nets of MNIST, which turn at each n1."""
    lines = dict.fromkeys(SPECS, ())
    for spec, at, end, pace in ((VANILLA, 0.4, 1000, 1), (ROBUST, 1, 60, 6)):
        lines[spec] = [
            curve(
                shaped(at * n1, start=8, turn=round(0.85 * end), end=end, pace=pace),
                spec=spec,
                total=1000,
                n1=n1,
                moved=[0.4] * 31,
            )
            for n1 in (10.0, 5.0, 20.0)
        ]
    return lines


def test_saturation_table(part):
    table = iterated.saturation(part)
    assert table.index.tolist()[:2] == [("MNIST", "Vanilla"), ("MNIST", "BIM(10,30)-Adv")]
    ours = table.loc[("MNIST", "Vanilla")]
    assert ours["error at n = 30 (%)"] == "100.00"
    assert ours["rho at n = 5"] == "1.000 [1.000, 1.000]"
    assert ours["rho within 5 % of 1 from n ="].startswith("3 [")
    assert ours["error within 1 point from n ="] == "3"
    assert set(table.iloc[1:].drop(columns="the paper").to_numpy().ravel()) == {"not run"}
    assert set(table["the paper"]) == {"around 5"}


def test_error_table(part):
    table = iterated.errors(part, axis="n")
    assert table.loc[("MNIST", "Vanilla"), "n = 1"] == "88.00 (0.880)"
    assert (table.loc[("CIFAR10", "BIM(10,30)-Adv")] == "not run").all()


def trained_shelf(**accuracy):
    """Nets of MNIST trained with n = 1, 5, 30 that have these accuracies (%) under FGSM and BIM(10,40)."""
    shelf = Shelf()
    for name, pair in accuracy.items():
        spec = chapters.trained_with(int(name[1:]), Settings(), "mnist")
        for measure, right in zip(chapters.evaluations("mnist")[1:3], pair, strict=True):
            shelf.put(spec, measure, {"images": 1000, "true": round(10 * right), "predicted": 0})
    return shelf


def test_nets_trained_with_each_n():
    made = [chapters.trained_with(n, Settings(), "mnist") for n in (1, 5, 30)]
    assert [(spec.method, spec.n1, spec.n2) for spec in made] == [("fgsm", None, None), ("bim", 5, 5), ("bim", 30, 30)]
    assert {(spec.lr, spec.epochs) for spec in made} == {(ROBUST.lr, ROBUST.epochs)}


def test_training_table(part):
    shelf = trained_shelf(n1=(92.5, 0.3), n5=(95, 90))
    table = iterated.training(part, Settings(), store=shelf)
    mnist = table[table.dataset == "mnist"].set_index("n")
    beside, mnist = mnist[mnist.index.isna()], mnist[mnist.index.notna()]
    assert beside.net.tolist() == ["BIM(10,30)-Adv"], "in no verdict, at the same passes as n = 30"
    assert beside.passes.tolist() == [66]
    assert mnist.fgsm.tolist()[:2] == [92.5, 95]
    assert mnist.iterated.isna().tolist() == [False, False, True]
    assert mnist.vanilla.tolist() == [0.88, 1, 1]
    assert mnist.bim.isna().all()
    assert mnist.passes.tolist() == [8, 16, 66]
    shown = iterated.training_shown(table)
    assert shown.loc[("MNIST", "1"), "under an iterated attack (%)"] == "0.30 (BIM(10,40))"
    assert shown.loc[("MNIST", "30"), "under an iterated attack (%)"] == "not run"
    assert (shown.drop(index="-", level=1)["rho, BIM-Adv"] == "not run").all()
    assert shown.loc[("MNIST", "-"), "rho, Vanilla"] == "-"
    said = findings.training(table)
    assert "FGSM-Adv is trained with n = 1, where rho on Vanilla is 0.880" in said
    assert "92.50 % correctly under FGSM and 0.30 % under BIM(10,40)" in said
    assert "CIFAR10" not in said
    assert "BIM(5,5)" not in said, "nothing to set beside it"
    spec, (_, _, bim, _) = chapters.of_section_4(Settings(), "mnist", "bim"), chapters.evaluations("mnist")
    shelf.put(spec, bim, {"images": 1000, "true": 950, "predicted": 0})
    said = findings.training(iterated.training(part, Settings(), store=shelf))
    few = "BIM(5,5)-Adv keeps 90.00 % under BIM(10,40) for 16 F an image and epoch, where rho is 1.000 on Vanilla"
    assert said.endswith(f"- **MNIST**: {few}; BIM(10,30)-Adv keeps 95.00 % for 66 F.")
    assert findings.training(table[:0]).endswith("in the store yet.")


def test_falls_are_judged_by_the_images_that_changed():
    patterns = {"0000": 50, "0001": 1, "0011": 9, "1011": 10, "1111": 30}
    found = iterated.falls(curves.Curve.read(VANILLA, {"wrong": [40, 30, 49, 50], "patterns": patterns}))
    assert (found.count, found.healed) == (1, 10)
    assert found.largest == pytest.approx(10 / 50)
    assert found.beyond == 1
    assert binom.cdf(0, 10, 0.5) < 0.05 / 3 < binom.cdf(0, 5, 0.5)
    patterns = {"0000": 50, "0001": 1, "0011": 9, "1011": 5, "1111": 35}
    found = iterated.falls(curves.Curve.read(VANILLA, {"wrong": [40, 35, 49, 50], "patterns": patterns}))
    assert (found.count, found.beyond) == (1, 0)


def test_monotone_table(pair):
    table = iterated.monotone(pair)
    ours = table.loc[("MNIST", "BIM(10,30)-Adv")]
    assert ours.tolist()[:4] == ["0 of 30", "0", "0.0000", "0 of 1000"]
    assert (table.loc[("FMNIST", "Vanilla")] == "not run").all()


def test_turning_table(pair):
    table = iterated.turning(pair)
    robust = table[table.method == "bim"]
    assert robust.n1.tolist() == robust.turn.tolist() == [10, 5, 20]
    assert robust.own.tolist() == [True, False, False]
    assert ((robust.low <= robust.turn) & (robust.turn <= robust.high)).all()
    assert robust.rho.tolist() == pytest.approx([51 / 60] * 3)
    assert robust.paper_turn.tolist()[0] == 10
    assert table[table.method == "vanilla"].paper_turn.isna().all()
    shown = iterated.turning_shown(table, pair)
    assert shown.loc[("MNIST", "BIM(10,30)-Adv", "BIM(10,30)"), "the paper"] == "at n1, rho around 0.8"
    assert shown.loc[("MNIST", "BIM(10,30)-Adv", "BIM(20,30)"), "the paper"] == "-"
    assert shown.loc[("CIFAR10", "BIM(10,30)-Adv", "-")].tolist() == ["not run"] * 3 + ["at n1, rho around 0.9"]
    assert len(shown) == 3 + 3 + 4


def test_growth_table(pair):
    table = iterated.growths(pair)
    robust = table[table.method == "bim"].iloc[0]
    assert robust.upto == 10
    assert robust.exponential < robust.linear
    assert robust.share == pytest.approx(1, abs=0.05)
    shown = iterated.growths_shown(table, pair)
    assert shown.loc[("MNIST", "BIM(10,30)-Adv"), "fitted"] == "i = 0 to 10"
    assert (shown.loc[("FMNIST", "BIM(10,30)-Adv")] == "not run").all()


def test_maxima_are_taken_from_both_figures(pair):
    along = {ROBUST: [curve(sat(8, 30, 48), total=1000)]}
    ours = iterated.maxima(pair, along).loc[("MNIST", "BIM(10,30)-Adv")]
    assert ours.to_dict() == {
        "n1": "10",
        "BIM(n1,n1)": "5.10",
        "BIM(30,30)": "4.80",
        "BIM(2 n1,30)": "6.00",
        "BIM(n1,30)": "6.00",
        "BIM(n1/2,30)": "6.00",
    }
    vanilla = iterated.maxima(pair, along).loc[("MNIST", "Vanilla")]
    assert vanilla["BIM(30,30)"] == "not run"
    assert vanilla["BIM(n1,30)"] == "100.00"


def test_tables_where_nothing_was_run():
    none = dict.fromkeys(SPECS, ())
    turning, growths = iterated.turning(none), iterated.growths(none)
    shown = [iterated.saturation(none), iterated.errors(none, axis="n"), iterated.monotone(none)]
    shown += [iterated.turning_shown(turning, none), iterated.growths_shown(growths, none)]
    for table in [*shown, iterated.maxima(none, none)]:
        assert len(table) == 6
        assert set(table.drop(columns="the paper", errors="ignore").to_numpy().ravel()) == {"not run"}
    judged = claims.judge_saturation(none, iterated.training(none, Settings(), store=Shelf()))
    for table in (judged, claims.judge_intermediate(none)):
        assert set(table.verdict) == {"not tested"}
    assert findings.saturated(none).count("BIM(10,30)-Adv") == 3


# verdicts


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (6, "holds"),
        (7, "holds in direction"),
        (10, "holds in direction"),
        (11, "does not hold"),
        (np.nan, "not tested"),
    ],
)
def test_graded(value, verdict):
    assert claims.graded(value, holds=6, direction=10) == verdict


@pytest.mark.parametrize(
    ("first", "verdict"), [(3, "holds"), (6, "holds"), (8, "holds in direction"), (12, "does not hold")]
)
def test_saturation_is_judged_by_where_it_stays(first, verdict):
    ours, judged = claims.saturates_around_five(curve(sat(*[100] * first, 500)))
    assert (ours, judged) == (f"from {first} on [{first}, {first}]", verdict)


@pytest.mark.parametrize(("at", "verdict"), [(9, "undecided"), (11, "undecided"), (5, "holds")])
def test_where_chance_decides_whether_it_saturates_in_time_nothing_is_decided(at, verdict):
    """A rho of just below or above 0.95 before a bound is one of either by the images that were drawn."""
    early, late = (9, 11) if at > 5 else (3, 6)
    wrong = 476 if at < 10 else 474
    ours, judged = claims.saturates_around_five(curve(sat(*[100] * early, *[wrong] * (late - early), 500)))
    assert judged == verdict
    assert ours == f"from {early if at < 10 else late} on [{early}, {late}]"


def test_a_fall_within_chance_holds_in_direction():
    def judged(healed):
        patterns = {"0000": 50, "0001": 1, "0011": 9, "1011": healed, "1111": 40 - healed}
        return claims.never_falls(
            curves.Curve.read(VANILLA, {"wrong": [40, 40 - healed, 49, 50], "patterns": patterns})
        )

    assert judged(5)[1] == "holds in direction"
    assert judged(10) == ("1 falls, 1 beyond chance", "does not hold")
    assert claims.never_falls(curve(sat(1, 2, 3)))[1] == "holds"


@pytest.mark.parametrize(
    ("kinks", "verdict"),
    [
        ((10, 5, 20), "holds"),
        ((9, 9, 9), "holds"),
        ((15, 8, 25), "holds in direction"),
        ((15, 15, 15), "does not hold"),
        ((6, 6, 6), "does not hold"),
    ],
)
def test_turns_at_n1(kinks, verdict):
    made = [curve(shaped(kink), n1=n1) for kink, n1 in zip(kinks, (10.0, 5.0, 20.0), strict=True)]
    assert claims.turns_at_n1(made) == (f"at {kinks[0]}, n1 = 10", verdict)


@pytest.mark.parametrize(("turn", "verdict"), [(410, "holds"), (445, "holds in direction"), (300, "does not hold")])
def test_rho_at_the_turn(turn, verdict):
    assert claims.rho_at_the_turn(curve(shaped(10, turn=turn, pace=20))) == (f"{turn / 500:.3f}", verdict)
    assert (claims.printed("C4.9", "mnist"), claims.printed("C4.9", "cifar10")) == ("around 0.8", "around 0.9")


def test_rho_at_the_turn_has_no_paper_for_digits():
    spec = run_spec("digits", "bim")
    assert claims.rho_at_the_turn(curve(shaped(10), spec=spec))[1] == "not tested"
    assert claims.printed("C4.9", "digits") == "-"


@pytest.mark.parametrize(("growth", "verdict"), [("exponential", "holds"), ("line", "does not hold")])
def test_growth_verdict(growth, verdict):
    assert claims.grows_exponentially(curve(shaped(10, growth=growth), total=10_000))[1] == verdict


def test_growth_that_few_images_cannot_tell_holds_in_direction():
    counts = [4, 4, 5, 5, 6, 7, 8, 9, 10, 12, 13, *[14] * 5, *[15] * 15]
    found = curve(counts, total=30)
    assert claims.grows_exponentially(found)[1] == "holds in direction"


def test_most_are_good():
    assert claims.most_are_good(curve([10] * 15 + [100] * 16)) == ("15 of 29", "holds")
    assert claims.most_are_good(curve([10] * 16 + [100] * 15))[1] == "does not hold"


def test_training_verdict(part):
    def judged(**accuracy):
        table = iterated.training(part, Settings(dataset="mnist"), store=trained_shelf(**accuracy))
        ((_, row),) = pd.DataFrame(claims.trained_small(table)).iterrows()
        return row.ours, row.verdict

    assert judged(n5=(95, 90), n30=(95, 91)) == ("-1.00 points under BIM(10,40)", "holds")
    assert judged(n5=(95, 93), n30=(95, 91)) == ("+2.00 points under BIM(10,40)", "holds")
    assert judged(n5=(95, 88), n30=(95, 91))[1] == "holds in direction"
    assert judged(n5=(95, 70), n30=(95, 91))[1] == "does not hold"
    assert judged(n5=(95, 70)) == ("not run", "not tested")


def test_claims_of_4_1(part):
    judged = claims.judge_saturation(part, iterated.training(part, Settings(), store=Shelf()))
    assert list(dict.fromkeys(judged.claim)) == ["C4.1", "C4.2", "C4.3", "C4.4"]
    table = judging.summary(judged)
    assert table.loc["C4.1", "MNIST"] == "not tested"
    assert table.loc["C4.2", "MNIST"] == "not tested"
    assert set(table.FMNIST) == {"not tested"}
    both = part | {ROBUST: [curve(sat(12, 30, 40, 44, 46, 48, 49, 50), total=1000)]}
    judged = claims.judge_saturation(both, iterated.training(both, Settings(), store=Shelf()))
    ours = judging.of_claims(judged, "C4.2").loc[("C4.2", "MNIST", "BIM-Adv against Vanilla")]
    assert ours.tolist() == ["from 5 on against 3", "alike", "holds"]
    assert judging.summary(judged).loc["C4.1", "MNIST"] == "holds"


def test_claims_of_4_2(pair):
    table = judging.summary(claims.judge_intermediate(pair))
    assert table.index.tolist() == [f"C4.{k}" for k in range(5, 12)]
    assert set(table.CIFAR10) == {"not tested"}
    assert table.MNIST.drop("C4.10").tolist() == ["holds"] * 6


def test_a_robust_net_that_saturates_no_later_does_not_hold(pair):
    def verdict(lines):
        judged = claims.judge_intermediate(lines)
        return judged[(judged.claim == "C4.7") & (judged.dataset == "mnist")].verdict.item()

    assert verdict(pair) == "holds"
    assert verdict(pair | {VANILLA: pair[ROBUST], ROBUST: pair[VANILLA]}) == "does not hold"
    assert verdict(pair | {VANILLA: pair[ROBUST]}) == "does not hold"


def test_sentences_have_the_numbers(part, pair):
    said = findings.saturated(part)
    assert "misleads Vanilla on 88.00 % of the images and BIM(30,30) on 100.00 %" in said
    assert "from n = 3 on." in said
    assert "Not run yet: MNIST: BIM(10,30)-Adv at 1e-4; FMNIST" in said
    assert "**MNIST, BIM(10,30)-Adv**: with n1 = 5, 10, 20 rho turns at i = 5, 10, 20" in findings.turning(pair)
    assert "error rates differ by at most" in findings.turning(pair)
    assert "moves by 40.0 % of epsilon in the first 10 steps" in findings.moved(pair)
    counts = [sum(value >= 0.8 for value in curve.rho[1:-1]) for curve in sorted(pair[ROBUST], key=lambda c: c.n1)]
    assert findings.good(pair) == (
        f"- **MNIST, BIM(10,30)-Adv**: with n1 = 5, 10, 20 rho is at least 0.8 in {', '.join(map(str, counts))} of 29 "
        "examples; 24, 19, 9 of them come after the turning point."
    )
    assert findings.good({VANILLA: pair[VANILLA]}) == "Nothing was run yet."


def test_chapter_4_1_answers_in_words(part):
    shelf = trained_shelf(n5=(95, 90))
    table = iterated.training(part, Settings(), store=shelf)
    said = findings.steps_needed(part, table)
    assert said.endswith("BIM(n,n) comes within 5 % of the errors of BIM(30,30) on Vanilla (MNIST) from n = 3.")
    spec, (_, _, bim, _) = chapters.of_section_4(Settings(), "mnist", "bim"), chapters.evaluations("mnist")
    shelf.put(spec, bim, {"images": 1000, "true": 950, "predicted": 0})
    said = findings.steps_needed(part, iterated.training(part, Settings(), store=shelf))
    assert said.endswith("BIM(5,5)-Adv keeps 90.0 % on MNIST under BIM(10,40), and BIM(10,30)-Adv 95.0 %.")
    assert findings.steps_needed({VANILLA: []}, table) == "Nothing was run yet."


def test_chapter_4_2_answers_in_words(pair):
    said = findings.first_steps(pair)
    assert "turns on BIM(10,30)-Adv (MNIST) at i = 5, 10, 20 with n1 = 5, 10, 20 (rho is " in said
    assert said.endswith("Each turn is within a step of n1, where a pixel can first have used all of epsilon.")
    late = [replace(curve, n1=curve.n1 / 2) for curve in pair[ROBUST]]
    assert findings.first_steps({ROBUST: late}).endswith("3 of 3 turns are more than a step from n1.")
    assert findings.first_steps({VANILLA: pair[VANILLA]}) == "No robust net was run yet."


def test_section_4_has_one_rate_a_data_set():
    nets = chapters.per_step(Settings()) + [
        chapters.trained_with(n, Settings(), dataset) for n in (1, 5, 30) for dataset in Settings().datasets
    ]
    rates = {name: {spec.lr for spec in nets if spec.dataset == name} for name in Settings().datasets}
    assert rates == {"mnist": {1e-4}, "fmnist": {1e-3}, "cifar10": {0.1}}


def test_error_rates_at_equal_shares_of_epsilon():
    """Steps 1 and 2 of the first are steps 2 and 4 of the second; later steps do not count."""
    one, two = curve([10, 40, 90, 500], total=1000, n1=2.0), curve([10, 20, 43, 60, 84, 90], total=1000, n1=4.0)
    assert findings.apart([one, two]) == pytest.approx(0.6)
    half = curve([10, 40, 60, 80, 500], total=1000, n1=3.5)
    double = curve([10, 20, 45, 50, 63, 70, 87, 900], total=1000, n1=7.0)
    assert findings.apart([half, double]) == pytest.approx(0.7)


# figures


def labels(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_figures(part, pair):
    along, inside, turning = curves.frame(part, "n"), curves.frame(pair, "i"), iterated.turning(pair)
    figure = plots.saturation(along, title="t")
    assert labels(figure) == ["MNIST, Vanilla"]
    assert figure.axes[1].lines[0].get_ydata()[1] == pytest.approx(88)
    figure = plots.intermediate(inside[inside.own], turning[turning.own], title="t")
    assert labels(figure) == ["MNIST, Vanilla", "MNIST, BIM(10,30)-Adv", "$i = n_1$", "turning point, 95 %"]
    diamonds = [line for line in figure.axes[1].lines if line.get_marker() == "D" and len(line.get_xdata())]
    assert [float(line.get_xdata()[0]) for line in diamonds] == [turning.turn[0], 10]
    figure = plots.by_step_size(inside, turning, title="t")
    _, right = figure.axes
    diamonds = [line for line in right.lines if line.get_marker() == "D"]
    turned = turning.set_index(["method", "n1"]).turn
    expected = [turned[method, n1] / n1 for n1 in (5, 10, 20) for method in ("vanilla", "bim")]
    assert [float(line.get_xdata()[0]) for line in diamonds] == pytest.approx(expected)
    assert expected[1::2] == [1, 1, 1]
    plt.close("all")


def test_figures_where_nothing_was_run():
    none = dict.fromkeys(SPECS, ())
    frame, turning = curves.frame(none, "i"), iterated.turning(none)
    made = [plots.saturation(curves.frame(none, "n"), title="t"), plots.by_step_size(frame, turning, title="t")]
    made.append(plots.intermediate(frame[frame.own], turning[turning.own], title="t"))
    for figure in made:
        assert [text.get_text() for text in figure.axes[0].texts] == ["not run"]
    plt.close("all")


def test_measures_are_stored_and_found(tmp_path):
    net, spec = tiny_net(1), run_spec("digits", "vanilla")
    data, measure = small_set(net, 6), measures.Intermediate(attack="BIM(2,8)")
    store, run = Store(tmp_path), Run(spec, [], {}, {}, "w", tmp_path)
    store.add_evaluation(run, measure, measure.work(spec, net, data))
    parts = store.evaluation(run, measure)["curves"]
    assert [curves.Curve.read(spec, part).n1 for part in parts] == [2, 1, 4]
