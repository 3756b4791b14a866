"""Chapter 7's measures, tables and judgements against counts by hand, and what it asks for."""

import copy
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from reference import images, naive_attack, naive_gradient, tiny_net
from rows import SIGNS, row_of, survivor, table_of
from torch import nn

from simadv.adversaries import SIM
from simadv.checks import InputError
from simadv.data import Dataset
from simadv.runs import load_or_run, passes_per_image
from simadv.specs import EvalSpec, run_spec
from simadv.store import Store
from simbook import chapters, verdicts
from simbook.claims import beyond as beyond_claims
from simbook.measures import survival as measures
from simbook.measures import watched
from simbook.measures.base import take
from simbook.measures.survival import RADII, Signs, Transfer
from simbook.measures.watched import Staleness, Strength
from simbook.plots import beyond as plots
from simbook.settings import EvaluationSettings, Settings
from simbook.tables import beyond, sim_adv, survival
from simbook.tables.common import leading, title
from simbook.tables.spread import GLUE, Margin
from simbook.told import beyond as beyond_told
from simbook.told import beyond_findings
from simbook.told import survival as survival_told

SMALL = {"images": 24, "batch_size": 8, "epochs": 4, "monitor": "FGSM", "monitor_images": 8, "precision": "float32"}
SPEC = run_spec("digits", "free-sim", n1=2, n2=3, seed=3, **SMALL)


@pytest.fixture(scope="module")
def world():
    x, y = images(20, 12, dtype=torch.float64)
    return tiny_net(9, norm=False), Dataset("digits", x, y, x, y)


def right(net, x, y):
    return [int(net(row[None]).argmax()) == int(label) for row, label in zip(x, y, strict=True)]


def test_signs_are_counts_of_images(world):
    net, data = world
    x, y = data.x_test, data.y_test
    spec = SimpleNamespace(id="a net", epsilon=0.06)
    found = Signs(attack="BIM(2,3)", images=12).work(spec, net, data)
    stands = right(net, naive_attack(net, x, y, epsilon=0.06, n1=2, n2=3), y)
    assert found["clean"] == sum(right(net, x, y))
    assert found["fgsm"] == sum(right(net, naive_attack(net, x, y, epsilon=0.06, n1=1, n2=1), y))
    assert found["iterated"] == sum(stands)
    assert found["unbounded"] == sum(right(net, naive_attack(net, x, y, epsilon=1.0, n1=2, n2=3), y))
    assert found["flat"] == 0
    each = [sum(right(net, naive_attack(net, x, y, epsilon=0.06 * r, n1=2, n2=3), y)) for r in RADII]
    assert found["at"] == each
    assert each[RADII.index(1.0)] == found["iterated"]
    assert 0 < found["iterated"] < found["clean"], "nothing to tell apart"
    assert found["chance"] <= found["iterated"]
    assert found["random"] <= found["clean"]


def test_chance_looks_at_every_point_that_it_draws():
    """A net that is wrong only in a corner of the ball: few points miss it, many do not."""
    x, y = torch.full((3, 1, 1, 2), 0.5), torch.zeros(3, dtype=torch.int64)

    class Corner(nn.Module):
        def forward(self, z):
            wrong = (z.flatten(1) > 0.5 + 0.1 * 0.8).all(1).float()
            return torch.stack([1 - wrong, wrong], 1)

    few = measures.withstands_chance(Corner(), x, y, epsilon=0.1, draws=1)
    many = measures.withstands_chance(Corner(), x, y, epsilon=0.1, draws=2000)
    outside = measures.withstands_chance(Corner(), x, y, epsilon=0.07, draws=2000)
    assert few.all()
    assert not many.any()
    assert outside.all()


def test_chance_is_drawn_once_and_for_all():
    class Bright(nn.Module):
        def forward(self, z):
            return torch.stack([z.mean((1, 2, 3)), torch.full((len(z),), 0.5)], 1)

    x, y = torch.full((200, 1, 1, 1), 0.5), torch.zeros(200, dtype=torch.int64)
    first, second = (measures.withstands_chance(Bright(), x, y, epsilon=0.1, draws=1) for _ in range(2))
    assert torch.equal(first, second)
    assert 70 < first.sum() < 130, "half of all points are brighter"


def test_a_net_without_a_gradient_shows(world):
    _, data = world

    class Flat(nn.Module):
        def forward(self, z):
            return (z.flatten(1)[:, :4] > 0.5).to(z.dtype) + 0 * z.flatten(1)[:, :4]

    found = Signs(attack="BIM(2,3)", images=12).work(SimpleNamespace(id="flat", epsilon=0.1), Flat(), data)
    assert found["flat"] == 12
    assert found["unbounded"] == found["clean"] == found["fgsm"] == found["iterated"]


def test_transfer_is_judged_on_the_other_net(own_store, digits):
    target, source = (
        load_or_run(run_spec("digits", "vanilla", seed=seed, **SMALL), store=own_store) for seed in (0, 1)
    )
    measure = Transfer(source=source.spec.id, attack="BIM(2,3)", images=20)
    result = take(target, measure, store=own_store)
    nets = [own_store.model(run) for run in (target, source)]
    x, y = digits.x_test[:20], digits.y_test[:20]
    x_tilde = EvalSpec(attack="BIM(2,3)").attack_on(target.spec)(nets[1], x, y)
    assert result["true"] == sum(right(nets[0], x_tilde, y))
    assert result["own"] == sum(right(nets[1], x_tilde, y))


def test_a_transfer_waits_for_its_source(own_store):
    run = load_or_run(run_spec("digits", "vanilla", **SMALL), store=own_store)
    missing = run_spec("digits", "vanilla", seed=7, **SMALL)
    measure = Transfer(source=missing.id, attack="FGSM", images=8)
    assert chapters.unmeasured(run, [measure], own_store) == []
    source = load_or_run(missing, store=own_store)
    assert chapters.unmeasured(run, [measure], own_store) == [measure]
    (source.folder / "weights.safetensors").unlink()
    assert chapters.unmeasured(run, [measure], own_store) == [], "a source that was stored without its weights"


def test_staleness_is_that_of_the_run_itself(digits):
    """The same bits are trained; the shares are counted again by hand over a copy of every model on the way."""
    data = Dataset("digits", digits.x_train, digits.y_train, digits.x_test, digits.y_test)
    spec = SPEC
    found = Staleness(epochs=3, images=10).work(spec, None, data)
    assert found["epoch"] == [2, 3]
    assert all(0 < share < 1 for share in found["pixels"] + found["weighted"])
    trainer = watched.trainer_of(spec, torch.device("cpu"))
    learner, before = trainer.learner, {}
    agree, count = {1: 0, 2: 0}, {1: 0, 2: 0}
    own, observe = learner.adversary, learner.adversary.observe

    def make(model, x_hat, y, index, *, epoch, **rest):
        for j in [int(j) for j in index if j < 10 and epoch in agree]:
            point, stale = before[j]
            twin = copy.deepcopy(model)
            fresh = naive_gradient(twin, point, data.y_train[j])
            there = stale != 0
            agree[epoch] += int((fresh.sign() == stale.sign())[there].sum())
            count[epoch] += int(there.sum())
        return own(model, x_hat, y, index, epoch=epoch, **rest)

    def look(x_hat, x_tilde, index, **rest):
        for i, j in enumerate(index.tolist()):
            before[j] = x_tilde.detach()[i].clone(), x_tilde.grad[i].clone()
        observe(x_hat, x_tilde, index, **rest)

    make.observe, make.state, make.passes = look, own.state, (0, 0)
    learner.adversary = make
    trainer.epochs, trainer.monitor = 3, None
    trainer.run()
    for row, epoch in enumerate((1, 2)):
        assert found["pixels"][row] == pytest.approx(agree[epoch] / count[epoch], abs=0.01)


def test_strength_is_that_of_the_examples_that_the_net_is_trained_on(digits):
    """Counted again by hand, from the batches of the same training, on a copy of every model on the way."""
    spec = run_spec("digits", "sim", n1=2, n2=3, epochs=4, batch_size=16)
    found = Strength(epochs=4, images=10).work(spec, None, digits)
    trainer = watched.trainer_of(replace(spec, monitor=None), torch.device("cpu"))
    own = trainer.learner.adversary
    far, wrong = np.zeros(4), np.zeros(4)

    def make(model, x_hat, y, index, *, epoch, **rest):
        x_tilde = own(model, x_hat, y, index, epoch=epoch, **rest)
        for i in [i for i, j in enumerate(index.tolist()) if j < 10]:
            wrong[epoch] += int(copy.deepcopy(model).eval()(x_tilde[i : i + 1]).argmax()) != int(y[i])
            far[epoch] += float((x_tilde[i] - x_hat[i]).abs().mean())
        return x_tilde

    make.observe, make.state, make.passes = own.observe, own.state, (0, 0)
    trainer.learner.adversary = make
    trainer.run()
    assert found["epoch"] == [1, 2, 3, 4]
    assert found["wrong"] == pytest.approx(list(wrong / 10))
    assert found["reach"] == pytest.approx(list(far / 10 / spec.epsilon), rel=1e-5)
    assert found["reach"][1] > 1.3 * found["reach"][0], "the second step"
    assert found["reach"][3] < found["reach"][2], "a fresh start"


@pytest.mark.parametrize(("measure", "method"), [(Staleness, "sim"), (Strength, "free-sim")])
def test_what_is_watched_in_training_is_asked_of_its_own_method(digits, measure, method):
    with pytest.raises(InputError, match="without augmentation"):
        measure(epochs=2, images=4).work(run_spec("digits", method), None, digits)
    with pytest.raises(InputError, match="epochs = 1 must be at least 2"):
        measure(epochs=1, images=4)


@pytest.mark.parametrize("reset", beyond.POLICIES)
def test_the_share_at_full_strength_is_that_of_counted_steps(reset):
    """One image a phase, its steps since the last start counted by hand."""
    n1, n2, epochs = 3, 5, 17
    sim = SIM(torch.zeros(n2, 1, 1, 1), epsilon=0.2, n1=n1, n2=n2, reset=reset)
    sim.phase = torch.arange(n2) if reset == "staggered" else torch.zeros(n2, dtype=torch.int64)
    steps, shares = torch.zeros(n2), []
    for epoch in range(epochs):
        steps = torch.where(sim.restarts(torch.arange(n2), epoch), 0, steps) + 1
        shares.append(100 * float((steps >= n1).double().mean()))
    table = beyond.strong(n1, n2, epochs=epochs, reset=reset)
    assert table.full.tolist() == pytest.approx(shares)
    assert table.epoch.tolist() == list(range(1, epochs + 1))


def fake(spec, robust, **cost):
    history = [{"epoch": i, "loss": 1.0, "clean": 99.0, "robust": value} for i, value in enumerate(robust)]
    return spec, SimpleNamespace(spec=spec, history=history, cost=cost)


def nothing_measured():
    return SimpleNamespace(evaluation=lambda *_: None)


def test_the_fewest_passes_to_a_bar_are_the_first():
    spec = run_spec("mnist", "sim", n2=2, epochs=6)
    line = [10.0, 84.9, 85.0, 60.0, 95.0, 88.0]
    found = [fake(spec, line), (run_spec("mnist", "mep"), None)]
    (row, missing) = beyond.bars(found, store=nothing_measured()).itertuples()
    assert sum(passes_per_image(spec)) == 8
    table = beyond.bars(found, store=nothing_measured())
    assert table[list(beyond.TO)].iloc[0].tolist() == [24, 40]
    assert row.F == 48
    late = line[1:]
    assert (row.end, row.sd) == pytest.approx((np.mean(late), np.std(late, ddof=1))), "of the last five epochs"
    assert row.half == pytest.approx(1.96 * row.sd)
    assert (row.swing, row.lowest, row.fall) == pytest.approx((35.0, 60.0, 25.0)), "from 85 to 60"
    assert math.isnan(row[list(table).index("fall sd") + 1]), "one seed has no spread"
    assert row.clean == 99.0
    assert math.isnan(missing.end)
    text = beyond.bars_shown(table, "mnist")
    assert text.iloc[0].tolist()[:6] == ["48", "24", "40", "99.0", "82.6", "60.0"], "one seed has no deviation"
    assert set(text.iloc[1].tolist()[1:]) == {"not run"}
    curves = beyond.curves(found)
    assert curves.F.tolist() == [8, 16, 24, 32, 40, 48]


def test_a_bar_that_is_never_reached_is_said():
    found = [fake(run_spec("mnist", "sim", epochs=3), [1.0, 2.0, 3.0])]
    table = beyond.bars(found, store=nothing_measured())
    assert beyond.bars_shown(table, "mnist").iloc[0].tolist()[1:3] == ["not reached"] * 2


def test_seeds_are_one_line_each_setting():
    """Means of what ends and what it took, the worst epoch of all."""
    spec = run_spec("mnist", "sim", n2=1, epochs=3)
    lines = {0: [50.0, 86.0, 92.0], 1: [85.0, 20.0, 96.0], 2: [10.0, 40.0, 100.0]}
    found = [fake(replace(spec, seed=seed), line) for seed, line in lines.items()]
    found += [(run_spec("mnist", "mep"), None), (replace(spec, seed=5), None)]
    table = beyond.bars(found, store=nothing_measured())
    assert [spec.seed for spec, _ in leading(found)] == [0, 0]
    assert len(table) == 2
    row, ends = table.iloc[0], [76.0, 67.0, 50.0]
    assert (row.end, row.seeds, row.lowest) == pytest.approx((np.mean(ends), 3, 20.0))
    sd = np.std(ends, ddof=1)
    assert (row.sd, row.half) == pytest.approx((sd, 4.30265 * sd / math.sqrt(3)), abs=1e-3)
    falls = [0.0, 85.0 - 20.0, 0.0]
    assert row["fall"] == pytest.approx(np.mean(falls)), "from the first epoch, too, on to a later one"
    assert row["fall sd"] == pytest.approx(np.std(falls, ddof=1))
    assert row["to lower sd"] == pytest.approx(8.0), "of 16, 8 and 24"
    assert (row["to lower"], row.run) == (16, replace(spec, seed=0).id), "8 F an epoch: after 2, 1 and 3 of them"
    assert row["to upper"] == 24
    assert beyond.half_of_row(row, "to lower") == pytest.approx(4.30265 * 8 / math.sqrt(3), abs=1e-3)
    alone = row.copy()
    alone["to lower sd"], alone.seeds = math.nan, 1
    mixed = beyond.unsure(row, alone, "to lower"), beyond.unsure(alone, row, "to lower")
    assert mixed == pytest.approx([4.30265 * 8 * math.sqrt(1 / 3 + 1)] * 2, abs=1e-3), "varies as the other does"
    assert beyond.unsure(alone, alone, "to lower") == beyond.half_of_row(alone, "to lower") == 0.0
    slow = beyond.bars([*found, fake(replace(spec, seed=7), [1.0, 2.0, 3.0])], store=nothing_measured()).iloc[0]
    assert math.isnan(slow["to lower"]), "one of them never got there"
    assert (slow[beyond.SOME[0]], row[beyond.SOME[0]]) == (True, False)
    assert beyond.bars_shown(table, "mnist").iloc[0]["last 5 epochs"] == f"{row.end:.1f} ± {row.sd:.1f} (3 seeds)"
    seen = beyond.over_seeds(beyond.curves(found))
    assert seen.robust.tolist() == pytest.approx([145 / 3, 146 / 3, 96.0])
    assert set(seen.run) == {replace(spec, seed=0).id}
    line = beyond.policies(found, "mnist", store=nothing_measured())["cycle"]
    assert (line.low.tolist(), line.high.tolist()) == ([10.0, 20.0, 92.0], [85.0, 86.0, 100.0])
    shown = beyond.policies_shown({"cycle": line}, 1).loc["cycle"]
    assert (shown.seeds, shown["last 5 epochs"]) == ("3", f"{row.end:.1f} (10.0 to 100.0)")
    assert shown["lowest since cycle 1"] == "20.0 after epoch 2"
    within_the_first = beyond.policies_shown({"cycle": line}, 20).loc["cycle"]  # as a reader's 3 epochs are
    assert within_the_first["last 5 epochs"] == shown["last 5 epochs"]
    assert set(within_the_first.drop(["seeds", "last 5 epochs"])) == {"-"}
    watched_ = line.assign(wrong=[1.0, 20.0, 60.0], reach=[10.0, 50.0, np.nan])
    shown = beyond.policies_shown({"cycle": watched_}, 1).loc["cycle"]
    assert shown["cycle 2: examples that fool the net (%)"] == "40 (20 to 60)", "since the first cycle"
    assert shown["cycle 2: their reach (% of epsilon)"] == "50 (50 to 50)"
    nets = pd.DataFrame([SIGNS | {"title": title(spec), "at": list(range(90, 20, -10))}])
    assert beyond.literal(found, nets).empty, "nothing is printed to compare with"
    other = (replace(spec, n2=2, seed=0), None)
    pair = beyond.literal([*found, other, (replace(spec, projection="literal", seed=0), None)], nets)
    assert pair.robust.tolist() == [f"{row.end:.1f}", "not run"], "the same settings alone"
    assert pair["BIM at 1.25 epsilon"].tolist() == ["50.0", "not run"]
    assert pair["BIM at 1.5 epsilon"].tolist() == ["40.0", "not run"]


def test_what_each_of_the_four_leaves_is_shown_where_it_was_run():
    spec = run_spec("mnist", "sim")
    found = [fake(spec, [1.0]), fake(run_spec("mnist", "mep"), [1.0]), (run_spec("mnist", "atta"), None)]
    left = {"clean": 50, "apgd-ce": 40, "apgd-t": 40, "fab-t": 39, "square": 35}
    record = {"images": 50, "true": 35, "left": left, "outside": 0, "library": "torchattacks 7"}
    store = SimpleNamespace(evaluation=lambda run, measure: record if run.spec == spec else None)
    table = survival.four_shown(found, "mnist", store=store)
    assert table.loc["SIM(10,20)-Adv"].tolist() == ["100.0", "80.0", "80.0", "78.0", "70.0"]
    assert table.index.name == "net, 50 images, torchattacks 7"
    assert len(table) == 1
    assert survival.four_shown(found, "fmnist", store=store).loc["none yet"].tolist() == ["not run"] * 5


def test_a_run_of_free_adv_ends_with_its_last_look():
    """A pass over the data is m = 10 epochs, so the last five of these have one look of the monitor."""
    spec = run_spec("mnist", "free", epochs=60)
    found = [fake(spec, [39.9, 37.9, 33.2, 47.2, 48.4, 66.6])]
    row = beyond.bars(found, store=nothing_measured()).iloc[0]
    assert (row.end, row.swing) == (66.6, 0.0)
    assert math.isnan(row.sd)
    assert beyond.bars_shown(beyond.bars(found, store=nothing_measured()), "mnist").iloc[0]["last 5 epochs"] == "66.6"
    figure = plots.passes(beyond.curves(found), title="t")
    assert figure.axes[0].lines[0].get_ydata()[-1] == pytest.approx(0.666)


def test_free_sim_is_what_takes_no_attack_pass():
    """A fresh gradient every second epoch costs more than twice Vanilla's passes, so C7.5 does not count it."""
    found = [fake(run_spec("mnist", "vanilla", epochs=4), [1.0] * 4)]
    for choice, line in (({}, [60.0] * 4), ({"fresh": 2}, [10.0, 90.0] * 2)):
        spec = run_spec("mnist", "free-sim", n2=2, reset="never", epochs=4, **choice)
        found.append(fake(spec, line))
    rows = beyond.bars(found, store=nothing_measured())
    assert beyond_claims.without_attacks(rows)["end"].tolist() == [60.0]
    assert beyond_findings.frees(rows).title.tolist() == [
        "free-SIM(10), no reset",
        "free-SIM(10), no reset, fresh every 2",
    ]
    assert beyond_told.swings_told(rows) == [
        "The last 5 epochs are as far apart as 0 points in free-SIM(10), no reset "
        "and 80 points in free-SIM(10), no reset, fresh every 2."
    ], "it is not the last epoch that counts"


def test_survival_is_measured_by_what_bim_adv_loses():
    tests = {"Madry(20,50)x10": 89.0, "CW(20,50)": 89.0, "from Vanilla": 97.0, "from BIM-Adv": 96.0, "images": 1000}
    nets = [survivor("A", 91.0, AutoAttack=88.0, **tests), survivor("Z", 90.0, AutoAttack=1.0, **tests)]

    def said(nets):
        return beyond_claims.survives(pd.DataFrame(nets))

    assert said(nets)[-1] == "not tested", "there is no BIM-Adv"
    bim = survivor("B", 92.0, AutoAttack=80.0, **tests) | {"method": "bim"}
    claim, text, ours, _, verdict = said([*nets, bim])
    assert (claim, verdict) == ("C7.8", "holds")
    assert text == "seed 0: what AutoAttack takes from A - what AutoAttack takes from B < 4", "not what it takes from Z"
    half = 1.96 * math.sqrt((3 * 97 + 12 * 88) / 1000)
    assert ours == Margin(3 - 12, half).text
    assert said([survivor("A", 91.0, AutoAttack=76.0, **tests), bim])[-1] == "undecided", "1 point"
    assert said([survivor("A", 91.0, AutoAttack=70.0, **tests), bim])[-1] == "does not hold"
    assert said([survivor("A", 91.0, AutoAttack=np.nan, **tests), bim])[-1] == "not tested"


def test_a_net_has_what_autoattack_leaves_of_each_seed_and_all_else_of_the_first():
    first = run_spec("mnist", "sim", n1=5, n2=10)
    found = [fake(replace(first, seed=seed), [70.0, 80.0]) for seed in range(3)]
    left = {0: 800, 2: 700}

    def evaluation(run, measure):
        if measure.attack != "AutoAttack" or run.spec.seed not in left:
            return None
        right = left[run.spec.seed]
        return {"images": 1000, "true": right, "left": dict.fromkeys(("apgd-ce", "apgd-t", "fab-t", "square"), right)}

    store = SimpleNamespace(evaluation=evaluation)
    (row,) = survival.survivors(found, Settings(), store=store).itertuples()
    assert (row.AutoAttack, row.seeds) == (80.0, [80.0, 70.0])
    mean = beyond.bars(found, store=store).iloc[0]
    assert (mean["AutoAttack"], mean["AutoAttack seeds"]) == (75.0, 2)
    assert mean["AutoAttack sd"] == pytest.approx(50**0.5)
    assert beyond.met(mean) == "75.0 ± 7.1 (2 seeds)"
    only = beyond.bars(found[:2], store=store).iloc[0]
    assert beyond.met(only) == "80.0"
    assert beyond.met(beyond.bars(found[1:2], store=store).iloc[0]) == "not run"


@pytest.mark.parametrize("dataset", ["mnist", "cifar10"])
def test_a_net_is_not_tried_on_its_own_examples_as_anothers(dataset):
    """And where no BIM-Adv was asked for, no column says that it was not run."""
    source = chapters.sources(Settings(), dataset)["vanilla"]
    found = [fake(source, []), fake(replace(source, lr=1e-4), [])]
    shown = survival.survivors_shown(survival.survivors(found, Settings(), store=nothing_measured()), dataset)
    assert shown["from Vanilla"].tolist() == ["-", "not run"]
    assert ("from BIM-Adv" in shown) == (dataset == "mnist")


def test_inflation_takes_the_clean_error_off_the_papers_numbers():
    rows = [("Original", 98.0, 98.0, 98.84), ("BIM(10,40)", 0.5, 1.5, 0.94)]
    frame = pd.DataFrame(rows, columns=["attack", "true", "predicted", "paper"])
    frame = frame.assign(dataset="mnist", method="vanilla", title="Vanilla", lr=1e-4, run="a", reset=None)
    (row,) = beyond.inflation(pd.concat([frame, frame]), "mnist").itertuples()
    assert (row.error, row.gain, row.share) == (2.0, 1.0, 0.5)
    assert row.paper == 0.94
    assert row.least == 0.0, "nothing can be below 0"
    assert row.likely == pytest.approx(0.94 - 0.5 * 1.16, abs=0.005)


def line(run, values, *, reset="never", n2=2):
    about = {"run": run, "title": run, "seed": 0, "reset": reset, "n2": n2, "epoch": range(1, len(values) + 1)}
    return pd.DataFrame({"F": [8 * (e + 1) for e in range(len(values))], "robust": values}).assign(**about)


def test_a_sim_adv_stands_where_its_last_epochs_are_and_a_cycle_at_its_end():
    never = line("a", [10.0, 50.0, 90.0])
    assert beyond_claims.at_passes(never, 16).to_dict() == {0: 30.0}
    assert beyond_claims.at_passes(never, 24).to_dict() == {0: 50.0}
    cycle = line("b", [60.0, 80.0, 0.0], reset="cycle")
    assert beyond_claims.at_passes(cycle, 24).to_dict() == {0: 70.0}, "its third epoch is in the middle of a cycle"
    assert beyond_claims.at_passes(pd.concat([never, cycle]), 24).to_dict() == {0: 70.0}, "the better of the two"
    again = line("a", [90.0, 90.0, 90.0]).assign(seed=1)
    both = beyond_claims.at_passes(pd.concat([never, cycle, again]), 24)
    assert both.to_dict() == {0: 50.0, 1: 90.0}, "its mean, 70, is as high as that of b, and it comes first"
    assert beyond_claims.at_passes(never, 7).empty
    assert beyond_claims.at_passes(cycle, 8).empty, "no whole cycle yet"


def test_neighbours_are_compared_at_passes_that_both_have_had():
    seen = pd.concat([line("a", [40.0, 60.0]), line("other", [99.0, 99.0])])
    own = pd.DataFrame({"title": ["a"], "end": [60.0], "half": [3.0]})
    others = pd.DataFrame({"F": [16, 8], "end": [45.0, 30.0], "half": [4.0, 1.0], "title": ["B", "C"], "seeds": 1})
    assert beyond_claims.ahead(seen, own, others) == (5.0, 5.0, "1 seed", "B")
    missing = pd.concat([others, pd.DataFrame({"end": [np.nan], "title": ["D"]})])
    assert math.isnan(beyond_claims.ahead(seen, own, missing)[0]), "D may be better still"
    behind = missing.assign(end=missing.end + 20)
    assert beyond_claims.ahead(seen, own, behind)[0] == -15.0, "whatever D does"


def test_neighbours_are_compared_by_the_seeds_that_both_have():
    seen = pd.concat([line("a", [40.0, 60.0]), line("a", [80.0, 90.0]).assign(seed=1)])
    own = pd.DataFrame({"title": ["a"], "end": [67.5], "half": [3.0]})
    other = pd.DataFrame({"F": [16], "end": [56.0], "half": [400.0], "title": ["B"], "seeds": 2})
    other["end by seed"] = [{0: 45.0, 1: 78.0}]
    gap, half, seeds, _ = beyond_claims.ahead(seen, own, other)
    assert (gap, seeds) == (6.0, "2 seeds"), "50 - 45 and 85 - 78"
    assert half == pytest.approx(12.7062, abs=1e-3)


def test_a_race_that_nobody_finishes_is_undecided():
    rows = pd.DataFrame({"to lower": [np.nan], "some lower": [False], "end": [50.0], "seeds": [1]})
    said = beyond_claims.sooner("C7.11", "race", rows, rows, beyond.TO[0])
    assert (said[2], said[-1]) == ("none of them gets there", "undecided")


def test_nothing_is_settled_while_a_missing_run_may_turn_it():
    made, missing = pd.DataFrame({"end": [1.0]}), pd.DataFrame({"end": [1.0, np.nan]})
    assert beyond_claims.settled(2.0, up=missing, down=made) == 2.0
    assert math.isnan(beyond_claims.settled(-2.0, up=missing, down=made))
    assert beyond_claims.settled(-2.0, up=made, down=missing) == -2.0
    assert math.isnan(beyond_claims.settled(2.0, up=made, down=missing))


@pytest.mark.parametrize(
    ("passes", "end", "said"),
    [([80.0, 40.0], [90, 91], 40.0), ([np.nan] * 2, [50, 51], math.inf), ([np.nan] * 2, [50, np.nan], np.nan)],
)
def test_a_bar_that_none_of_the_runs_reached_is_infinitely_far(passes, end, said):
    rows = pd.DataFrame({"to lower": passes, "end": end})
    assert beyond_claims.fewest(rows, "to lower") == pytest.approx(said, nan_ok=True)
    assert math.isnan(beyond_claims.fewest(rows[:0], "to lower")), "nothing was asked for"


def test_more_steps_are_compared_with_a_single_step_at_their_n1_and_at_any():
    rows = [("sim", "never", 10.0, 150.0), ("sim", "never", 3.0, 90.0), ("sim-k", "never", 10.0, 110.0)]
    table = pd.DataFrame(rows, columns=["method", "reset", "n1", "to lower"]).reindex(columns=beyond.BAR_COLUMNS)
    table = table.assign(dataset="mnist", projection="ball", end=90.0, half=1.0, seeds=1, k=[np.nan, np.nan, 2.0])
    table["to upper"] = [np.nan, 200.0, 160.0]

    def parts(claim):
        return {part[1]: part[2] for part in beyond_claims.of_passes(table, "mnist") if part[0] == claim}

    assert parts("C7.6") == {
        "the fewest F to 85 %, no reset: k = 1 at the same n1 - k = 2 > 0": f"40.00 (1{GLUE}seed)",
        "the fewest F to 90 %, no reset: k = 1 at the same n1 - k = 2 > 0": "only one of the two gets there",
    }
    assert list(parts("C7.10").values()) == [f"-20.00 (1{GLUE}seed)", f"40.00 (1{GLUE}seed)"]
    assert [part[-1] for part in beyond_claims.of_passes(table, "mnist") if part[0] == "C7.6"] == ["holds"] * 2
    spread = table.assign(seeds=[3, 1, 1], **{"to lower sd": [8.0, np.nan, np.nan]})
    (sure,) = [part for part in beyond_claims.of_passes(spread, "mnist") if part[0] == "C7.6" and "85 %" in part[1]]
    assert (sure[2], sure[-1]) == (f"40.00 [0.25,{GLUE}79.75] (3{GLUE}and{GLUE}1{GLUE}seeds)", "holds")
    wide = spread.assign(**{"to lower sd": [9.0, np.nan, np.nan]})
    (open_,) = [part for part in beyond_claims.of_passes(wide, "mnist") if part[0] == "C7.6" and "85 %" in part[1]]
    assert (open_[2], open_[-1]) == (f"40.00 [-4.71,{GLUE}84.71] (3{GLUE}and{GLUE}1{GLUE}seeds)", "undecided")
    table[beyond.SOME[1]] = [True, False, False]  # one of its seeds was there
    part = next(part for part in beyond_claims.of_passes(table, "mnist") if part[0] == "C7.6" and "90 %" in part[1])
    assert (part[2], part[-1]) == ("not all of the seeds get there", "undecided")


def test_falls_are_measured_by_those_of_bim_adv():
    rows = pd.DataFrame(
        [row_of("N", "sim", 80.0, reset="never", fall=9.0, half=1.5), row_of("B", "bim", 85.0, fall=6.0, made=True)]
    ).reindex(columns=beyond.BAR_COLUMNS)
    net = rows.iloc[0]
    claim, text, shown, _, verdict = beyond_claims.keeps("C7.3", "n1 = 10", net, rows)
    assert (claim, shown, verdict) == ("C7.3", Margin(3, 1.5).text, "undecided"), "9 - 6, its last epochs' spread"
    assert text == "n1 = 10: its largest fall since epoch n2 - BIM-Adv's < 4"
    assert beyond_claims.keeps("C7.3", "", net, rows.assign(fall=[7.0, 6.0]))[-1] == "undecided"
    sure = rows.assign(seeds=[3, 1], **{"fall sd": [0.1, np.nan]})
    assert beyond_claims.keeps("C7.3", "", sure.iloc[0], sure)[-1] == "holds", "4.30 x 0.1 x 1.15 is less than 1"
    unwatched = rows.assign(fall=[9.0, np.nan], made=[np.True_, np.True_])
    _, text, shown, _, verdict = beyond_claims.keeps("C7.3", "n1 = 10", net, unwatched)
    assert (text, shown, verdict) == (
        "n1 = 10: its largest fall since epoch n2 < 4",
        Margin(9, 1.5).text,
        "does not hold",
    )
    assert beyond_claims.keeps("C7.3", "", net, unwatched.assign(made=False))[-1] == "not tested"
    assert beyond_claims.keeps("C7.3", "", net, rows[:1])[-1] == "not tested"


def test_the_reset_is_judged_under_the_strongest_attack_too():
    a, b = pd.Series({"AutoAttack": 54.2, "CW(20,50)": 60.0}), pd.Series({"AutoAttack": 16.8, "CW(20,50)": 30.0})
    about = pd.Series({"dataset": "fmnist", "final images": 10_000, "final": 61.0, "final seeds": 1.0})
    a, b = (pd.concat([about, row]) for row in (a, b))
    half = 1.96 * math.sqrt((54.2 * 45.8 + 16.8 * 83.2) / 1000)

    def said(a, b, attack="AutoAttack"):
        _, text, shown, _, verdict = beyond_claims.withstanding("C7.2", "cycle - never", a, b, attack)
        return text, shown.replace(GLUE, " "), verdict

    text, shown, verdict = said(a, b)
    assert text == "AutoAttack (%), the first 1000 images: cycle - never > 0"
    assert (shown, verdict) == (f"37.40 [{37.4 - half:.2f}, {37.4 + half:.2f}] (1 seed)", "holds")
    several = pd.Series({"AutoAttack": 50.2, "AutoAttack sd": 2.0, "AutoAttack seeds": 3.0, "seeds": 3.0})
    alone = b.to_dict() | {"AutoAttack sd": np.nan, "AutoAttack seeds": 1.0, "seeds": 3.0}
    half = 2 * 4.3027 * math.hypot(1, 1 / math.sqrt(3))  # the one is taken to vary as the three do
    _, shown, verdict = said(pd.concat([about, several]), pd.Series(alone))
    assert (shown, verdict) == (f"33.40 [{33.4 - half:.2f}, {33.4 + half:.2f}] (3 and 1 seeds)", "holds")
    assert said(pd.concat([about, several]), pd.concat([about, several]))[1].endswith("(3 seeds)")
    text, *_ = said(a, b, "CW(20,50)")
    assert text == "CW(20,50) (%), the first 1000 images: cycle - never > 0"
    text, shown, verdict = said(a, b.mask(b.index == "final", 60.0), "BIM(10,40)")
    half = 1.96 * math.sqrt((61 * 39 + 60 * 40) / 10_000)
    assert text == "BIM(10,40) (%), the whole test set: cycle - never > 0"
    assert (shown, verdict) == (f"1.00 [{1 - half:.2f}, {1 + half:.2f}] (1 seed)", "undecided")


def test_settings_are_compared_by_the_seeds_that_both_have():

    def gap(**by_seed):
        rows = zip((70.0, 60.0), (9.0, 12.0), ("a", "b"), strict=True)
        of = [
            {"end": end, "half": half, "seeds": 1, "end by seed": by_seed.get(name, np.nan)} for end, half, name in rows
        ]
        return beyond_claims.end_gap(*map(pd.Series, of))

    first = {0: 70.0, 1: 60.0, 2: 80.0}
    assert gap() == gap(a=first) == (10.0, 15.0, "1 seed"), "no seed by seed: of the two intervals"
    assert gap(a=first, b={2: 71.0}) == (10.0, 15.0, "1 seed"), "one pair has no spread"
    *paired, seeds = gap(a=first, b={2: 71.0, 0: 59.0, 5: 10.0})
    assert paired == pytest.approx([10.0, 12.7062], abs=1e-3), "11 and 9"
    assert seeds == "2 seeds"


def test_final_nets_are_measured_on_the_whole_test_set_seed_by_seed():
    spec = run_spec("mnist", "sim", n1=3, n2=2, epochs=3)
    found = [fake(replace(spec, seed=seed), [50.0, 60.0, 70.0]) for seed in (0, 1, 2)]
    right = {("none", 0): 9_900, ("none", 1): 9_700, ("BIM(10,40)", 0): 8_000, ("BIM(10,40)", 1): 9_000}

    def evaluation(run, of):
        count = right.get((of.attack, run.spec.seed)) if isinstance(of, EvalSpec) and of.images is None else None
        return None if count is None else {"true": count, "predicted": count, "images": 10_000}

    row = beyond.bars(found, store=SimpleNamespace(evaluation=evaluation)).iloc[0]
    assert (row.clean, row.final, row["final seeds"], row["final images"]) == (98.0, 85.0, 2, 10_000)
    assert row["final sd"] == pytest.approx(np.std([80, 90], ddof=1))
    assert row["final by seed"] == {0: 80.0, 1: 90.0}
    shown = beyond.bars_shown(pd.DataFrame([row]), "mnist").iloc[0]
    assert (shown["clean"], shown["BIM (10,40)"]) == ("98.0", "85.0 ± 7.1 (2 seeds)")


def test_each_data_set_has_two_bars_of_its_own():
    assert set(beyond.BARS) == set(chapters.GREY)
    spec = run_spec("fmnist", "sim", epochs=3)
    row = beyond.bars([fake(spec, [59.0, 61.0, 66.0])], store=SimpleNamespace(evaluation=lambda *_: None))
    shown = beyond.bars_shown(row, "fmnist").iloc[0]
    assert (shown["F to 60 %"], shown["F to 65 %"]) == ("16", "24")


def test_ticks_say_what_was_seen():
    good = survival.ticks(pd.DataFrame([SIGNS | {"AutoAttack": 79.5}]), "mnist")
    assert set(good.loc["A"]) == {"no"}
    bad = {"fgsm": 70.0, "chance": 1.1, "flat": 2.0, "unbounded": 3.0, "from Vanilla": 50.0, "at": [10.0, 20.0]}
    bad |= {"search": 1.2, chapters.STRONGER: 81.2, "apgd": 81.4, "fab": 1.6, "AutoAttack": 70.5}
    shown = survival.ticks(pd.DataFrame([SIGNS | bad]), "mnist").loc["A"]
    less = survival.ticks(pd.DataFrame([SIGNS | {chapters.STRONGER: 76.0}]), "mnist").loc["A"]
    assert (shown["ten starts find more"], less["ten starts find more"]) == ("no", "4.0")
    assert "no" not in set(shown.drop("ten starts find more"))
    assert (shown["FAB finds more"], shown["AutoAttack finds more"]) == ("1.6", "9.5")
    assert shown["one step beats many"] == "10.0"
    assert shown["ten starts find less"] == "1.2"
    assert shown["APGD finds less"] == "1.4"
    two = pd.DataFrame([SIGNS | {"AutoAttack": 79.5}, SIGNS | {"title": "C", "AutoAttack": 75.0, "flat": 3.0}])
    assert survival.shown_signs(two, "mnist").columns.tolist() == ["AutoAttack finds more", "no gradient"]
    assert survival.unseen(two, "mnist").startswith("shown by no net: one step beats many, another net beats its own, ")
    assert "no gradient" not in survival.unseen(two, "mnist")
    assert survival.unseen(two[:0].astype({"iterated": float}), "mnist") == "BIM leaves no net more than 5 %"
    both = survival.ticks(pd.DataFrame([SIGNS | {"from Vanilla": 50.0, "from BIM-Adv": 70.0}]), "mnist").loc["A"]
    assert both["another net beats its own"] == "30.0", "the stronger of the two counts"
    unknown = survival.ticks(pd.DataFrame([SIGNS | {"search": np.nan, "from Vanilla": np.nan}]), "mnist").loc["A"]
    assert unknown["Square finds more"] == unknown["another net beats its own"] == "not run"


def test_what_chance_or_a_broken_net_shows_is_no_sign():
    within = SIGNS | {
        "AutoAttack": 79.0,
        "fgsm": 79.0,
        "chance": 1.0,
        "flat": 0.9,
        "unbounded": 0.1,
        "at": [79.0, 80.0, 10.0],
    }
    assert set(survival.ticks(pd.DataFrame([within]), "mnist").loc["A"]) == {"no"}
    assert survival.ticks(pd.DataFrame([SIGNS | {"iterated": 4.0, "unbounded": 50.0}]), "mnist").empty


def test_what_was_not_run_is_not_tested():
    nothing = [(spec, None) for spec in chapters.beyond(Settings(dataset="mnist"))]
    store = Store("/nowhere")
    table = beyond_claims.verdicts(nothing, Settings(dataset="mnist"), store=store)
    assert set(table.verdict) == {"not tested"}
    assert set(table.claim) == {f"C7.{i}" for i in range(1, 13)}
    labels = beyond.inflation(sim_adv.accuracies(nothing, store=store), "mnist")
    bars, nets = beyond.bars(nothing, store=store), survival.survivors(nothing, Settings(), store=store)
    said = beyond_findings.findings(table, bars, nets, {"mnist": labels})
    assert said == ["MNIST: nothing was run yet."]


def test_every_run_of_the_chapter_has_a_name_of_its_own():
    for profile in ("published", "digits"):
        specs = list(chapters.beyond(Settings(profile=profile)))
        names = [(spec.dataset, title(spec), spec.seed) for spec in specs]
        assert len(set(names)) == len(names)
        assert {spec.lr for spec in specs} <= {1e-3, 5e-3}


def test_figures_draw_with_and_without_runs():
    found = [fake(run_spec("mnist", "sim", reset=reset, n2=4, epochs=9), range(9)) for reset in ("cycle", "never")]
    figure = plots.passes(beyond.curves(found), title="t")
    assert [len(axes.lines) for axes in figure.axes] == [1 + len(plots.FAMILIES), 2], "the front, where runs end; ways"
    lines = beyond.policies(found, "mnist", store=nothing_measured())
    figure = plots.policies({"mnist": lines, "fmnist": lines}, n2=4)
    texts = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert texts == 2 * [[], ["not run"], ["not run"], []]
    assert figure.axes[5].get_title() == "FMNIST, staggered"
    nets = [
        {"dataset": d, "title": t, "method": "sim-k", "reset": "never", "clean": 9.0, "iterated": 5.0, "at": [5.0] * 7}
        for d, t in zip("ab", "xy", strict=True)
    ]
    nets += [nets[0] | {"dataset": "b", "at": [4.0] * 7}]
    first, second = plots.radii(pd.DataFrame(nets), title="t").axes
    looks = {
        (line.get_label(), line.get_color(), line.get_marker()) for axes in (first, second) for line in axes.lines[:-1]
    }
    assert len(looks) == 2, "x looks the same in both panels"
    for draw in (plots.passes, plots.staleness):
        empty = draw(beyond.curves([]) if draw is plots.passes else beyond.staleness([]), title="t")
        assert [text.get_text() for text in empty.axes[0].texts] == ["not run"]


def test_accuracy_by_passes_names_the_front_and_follows_a_setting_of_each_family():
    runs = [("vanilla", {}, 20.0), ("sim", {"n2": 4}, 60.0), ("bim", {}, 60.0), ("rs-fgsm", {}, 30.0)]
    runs += [("sim", {"reset": "never", "n1": n1}, end) for n1, end in ((3, 70.0), (2, 50.0))]
    runs += [("free-sim", {"reset": "never", "n1": n1}, end) for n1, end in ((3, 10.0), (2, 15.0))]
    found = [fake(run_spec("mnist", method, epochs=9, **choice), [end] * 9) for method, choice, end in runs]
    curves = plots.late(beyond.curves(found))
    last = curves.groupby("title", sort=False).tail(1)
    assert plots.front(last).title.tolist() == ["Vanilla", "RS-FGSM", "SIM(3)-Adv, no reset"], "more for less"
    assert plots.front(last).share.tolist() == pytest.approx([0.2, 0.3, 0.7])
    ways = ["SIM(10,4)-Adv", "BIM(10,30)-Adv", "SIM(3)-Adv, no reset", "free-SIM(2), no reset"]
    assert plots.followed(last).title.tolist() == ways
    left, right = plots.passes(beyond.curves(found), title="t").axes
    names = {text.get_text() for text in left.texts}
    assert names == {"Vanilla", "RS-FGSM", "SIM(3)", "SIM(10,4)", "BIM(10,30)", "free-SIM(2)"}
    said = [text.get_text() for text in right.get_legend().get_texts()]
    assert said == ["SIM(3)", "SIM(10,4)", "BIM(10,30)", "free-SIM(2)"], "the highest first"


def test_stale_gradients_are_drawn_by_n1_and_what_is_left_out_is_told():
    titles = [f"free-SIM({n1}), no reset" for n1 in (10, 3)] + ["free-SIM(3), no reset, fresh every 5"]
    rows = [(name, epoch, 60.0, 70.0) for name in [*titles, "free-SIM(3,20) staggered"] for epoch in (2, 3)]
    lines = pd.DataFrame(rows, columns=["title", "epoch", "pixels", "weighted"]).assign(dataset="mnist")
    assert [label for label, _, _ in plots.ages(lines.title).values()] == ["n1 = 3", "n1 = 10", "n1 = 3, fresh every 5"]
    figure = plots.staleness(lines, title="t")
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == 2 * [["n1 = 10", "n1 = 3"]]
    assert [len(axes.lines) for axes in figure.axes] == [4, 4], "three and chance"
    assert figure.legends[0].get_title().get_text() == "left out: free-SIM(3,20) staggered"


def test_the_nets_along_epsilon_are_the_paper_s_and_those_with_the_most_signs():
    rows = [{"title": "S", "method": "sim"}, {"title": "S2", "method": "sim"}, {"title": "B", "method": "bim"}]
    rows += [{"title": "one", "chance": 5.0}, {"title": "two", "chance": 2.0, "unbounded": 2.0}]
    rows += [{"title": "larger", "chance": 9.0}, {"title": "none"}, {"title": "not run", "iterated": np.nan}]
    nets = pd.DataFrame([SIGNS | {"method": "atta", "reset": "cycle"} | row for row in rows])
    assert plots.flagged(nets, most=2).title.tolist() == ["S", "B", "two", "larger"]
    assert plots.flagged(nets.iloc[-1:]).empty
    looks = plots.lines_of(plots.flagged(nets))
    assert looks["S"]["color"] == plots.FAMILIES["SIM-Adv"][0], "as in every other figure of the chapter"
    assert len({(look["color"], look["ls"]) for look in looks.values()}) == len(looks)


def test_names_tell_what_a_run_does():
    def name(method, **choice):
        return title(run_spec("mnist", method, **choice))

    assert name("sim") == "SIM(10,20)-Adv"
    assert name("sim", reset="never", n1=3) == "SIM(3)-Adv, no reset"
    assert name("sim", reset="staggered") == "SIM(10,20)-Adv staggered"
    assert name("sim-k", reset="never", k=2) == "SIM(10)-Adv, k = 2, no reset"
    assert name("free-sim", reset="never", n1=3, momentum=0.3) == "free-SIM(3), no reset, momentum 0.3"
    assert name("free-sim", reset="never", n1=3, fresh=5) == "free-SIM(3), no reset, fresh every 5"
    assert name("atta") == "ATTA-1(30)"


def test_every_net_that_comes_with_the_book_is_tested_by_everything():
    every = dict(pair for found in verdicts.read(EvaluationSettings()).values() for pair in found)
    shipped = {spec for spec, run in every.items() if run and run.measurable}
    tested = {*chapters.checkpoints(Settings()), *chapters.beyond(Settings())}
    assert shipped <= tested
    assert not set(chapters.checkpoints(Settings())) & set(chapters.beyond(Settings()))
    asked = chapters.evaluation(EvaluationSettings(dataset="mnist"))
    for spec, several in asked.items():
        if spec in chapters.checkpoints(Settings()):
            assert set(chapters.survival(spec, Settings())) <= set(several)
            assert len(set(several)) == len(several)


@pytest.mark.parametrize("of", [{"profile": "digits"}, {"epochs": 3}, {"seed": 1}])
def test_a_reader_s_own_nets_and_the_digits_are_not(of):
    assert chapters.checkpoints(Settings(**of)) == []
    assert survival_told.others_told(survival.survivors(survival.others(Settings(**of)), Settings(**of))).startswith(
        "No "
    )


def test_other_nets_are_told_by_name_and_rate_with_what_is_left():
    rows = [("mnist", "sim", "A, rate 1e-4", 80.0, 90.0), ("mnist", "bim", "B, rate 1e-4", 78.5, 91.0)]
    rows += [("mnist", "fgsm", "E", 0.5, 1.0), ("fmnist", "sim", "C", 4.9, 5.0), ("fmnist", "bim", "D", np.nan, 5.0)]
    nets = pd.DataFrame(rows, columns=["dataset", "method", "title", "AutoAttack", "BIM(10,40)"])
    assert survival_told.others_told(nets).split("\n") == [
        "- **MNIST.** Above 5 % under AutoAttack: A, rate 1e-4 (80.0 %), B, rate 1e-4 (78.5 %); the other 1 below. "
        "On the same images, seed 0, A, rate 1e-4 less B, rate 1e-4 is -1.0 points under BIM(10,40) and +1.5 points "
        "under AutoAttack.",
        "- **FMNIST.** Above 5 % under AutoAttack: none; the other 1 below.",
    ]


def test_nets_of_several_rates_have_theirs_in_their_names():
    low, high = (run_spec("mnist", "vanilla", lr=lr) for lr in (1e-4, 1e-3))
    assert survival.titles([(high, None)]) == {high: "Vanilla"}
    assert survival.titles([(low, None), (high, None)])[low] == "Vanilla, rate 1e-4"


def test_each_number_of_chapter_7_has_its_sign_and_its_bar():
    rows = [
        row_of("S", "sim", 80.0, reset="cycle", half=1.0, fall=1.0, **{"to lower": 72.5}),
        row_of("N", "sim", 82.0, reset="never", half=1.0, fall=1.0),
        row_of("L", "sim", 60.0, reset="cycle", projection="literal", half=1.0),
        row_of("F", "free-sim", 81.0, half=1.0, F=6),
        row_of("V", "vanilla", 0.0, F=3),
        row_of("B", "bim", 90.0, F=66, fall=1.0),
    ]

    def judged(rows):
        table = table_of(*rows)
        parts = [*beyond_claims.of_resets(table), *beyond_claims.of_passes(table, "mnist")]
        return {part[:2]: (part[2].replace(GLUE, " "), part[-1]) for part in parts}

    parts = judged(rows)
    assert parts["C7.2", "end (%): cycle - never > 0"][0] == "-2.00 [-3.41, -0.59] (1 seed)"
    assert parts["C7.12", "n1 = 10, with the reset: its largest fall since epoch n2 - BIM-Adv's < 4"][1] == "holds"
    assert parts["C7.9", "end (%): literal - projected > 0"][0] == "-20.00 [-21.41, -18.59] (1 seed)"
    free = parts["C7.5", "end (%): best free-SIM - best SIM-Adv > -2"]
    assert free == ("-1.00 [-2.41, 0.41] (1 seed)", "undecided")
    fewest = "C7.4", "the fewest F to 85 % < 66"
    assert parts[fewest] == ("72.50 (1 seed)", "does not hold")
    missing = [*rows, row_of("M", "sim", np.nan, reset="never", n1=1.0)]
    assert judged(missing)[fewest][1] == "not tested", "it may be there in fewer"


@pytest.mark.parametrize(("published", "expected"), [(45.0, ["5.00", "5.00"]), (72.0, ["-22.00", "5.00"])])
def test_neighbours_are_compared_each_with_its_own(published, expected):
    rows = table_of(
        row_of("s", "sim", 60.0, reset="cycle", half=0.0),
        row_of("g", "sim", 90.0, reset="staggered", half=0.0),
        row_of("q", "sim", 80.0, reset="never", n1=3.0, half=0.0),
        row_of("A", "atta", published, n1=30.0, F=16, half=0.0),
        row_of("T", "atta", 70.0, n1=3.0, F=16, half=0.0),
    )
    seen = pd.concat([line("s", [40.0, 60.0]), line("g", [90.0] * 2), line("q", [70.0, 80.0])])
    parts = beyond_claims.of_neighbours(rows, seen, "mnist")
    assert [part[2] for part in parts[:2]] == [f"{gap} (1{GLUE}seed)" for gap in expected]
    assert "- A at its passes" in parts[0][1]
    assert [part[0] for part in parts] == ["C7.7"] * 4 + ["C7.11"]
    assert [part[-1] for part in parts[2:4]] == ["not tested"] * 2, "nobody met AutoAttack"
    met = rows.assign(AutoAttack=[60.0, 90.0, 81.0, 70.0, 71.0])
    _, _, own, alike, _ = beyond_claims.of_neighbours(met, seen, "mnist")
    assert own[1] == "AutoAttack (%), the first 1000 images: s (8 F) - A (16 F) > 0"
    assert (own[2].split()[0], own[-1]) == ("-10.00", "does not hold")
    known = rows.assign(AutoAttack=[60.0, np.nan, 81.0, 70.0, np.nan])
    other = rows.loc[[3, 4]].assign(F=16, title=["A", "N"], method=["atta", "mep"], AutoAttack=[70.0, np.nan])
    lost = beyond_claims.outlasts(known.loc[[0]], other, "AutoAttack", among="x")
    assert lost[-1] == "does not hold", "the one that is missing can only be better"
    open_ = beyond_claims.outlasts(known.loc[[2]], other, "AutoAttack", among="x")
    assert (open_[1].split(": ")[1], open_[-1]) == ("SIM-Adv - A (16 F) > 0", "not tested")
    assert (alike[1].split(": ")[1], alike[2].split()[0], alike[-1]) == ("q (8 F) - T (16 F) > 0", "10.00", "holds")


def test_a_run_shorter_than_a_cycle_has_its_lowest_epoch_and_its_fall():
    row = beyond.bars([fake(run_spec("mnist", "sim", epochs=3), [3.0, 1.0, 2.0])], store=nothing_measured()).iloc[0]
    assert (row.lowest, row.fall) == (1.0, 2.0)


def test_chance_counts_what_the_attack_missed(world, monkeypatch):
    net, data = world
    stands = torch.tensor(
        right(net, naive_attack(net, data.x_test, data.y_test, epsilon=0.06, n1=2, n2=3), data.y_test)
    )
    lucky = stands.clone()
    lucky[stands.nonzero()[0]] = False
    lucky[(~stands).nonzero()[:2]] = True
    monkeypatch.setattr(measures, "withstands_chance", lambda *given, **more: lucky)
    found = Signs(attack="BIM(2,3)", images=12).work(SimpleNamespace(id="a net", epsilon=0.06), net, data)
    assert (found["chance"], found["random"]) == (1, int(lucky.sum()))


def test_bands_of_a_reset_policy_end_at_the_seeds_range_and_radii_begin_at_clean_accuracy():
    line = pd.DataFrame({"epoch": [1.0, 2.0], "full": [0.0, 100.0], "clean": [99.0, 98.0], "robust": [50.0, 60.0]})
    lines = {
        "mnist": dict.fromkeys(beyond.POLICIES, line.assign(low=[40.0, 55.0], high=[70.0, 66.0], wrong=9.0, seeds=2.0))
    }
    axes = plots.policies(lines, n2=2).axes[0]
    assert axes.get_title() == "MNIST, cycle\n2 seeds"
    band = axes.collections[-1].get_paths()[0].vertices
    at_first = band[band[:, 0] == 1.0][:, 1]
    assert (at_first.min(), at_first.max()) == (40.0, 70.0)
    nets = pd.DataFrame([SIGNS | {"clean": 97.0, "at": [90.0] * len(RADII), "reset": "cycle"}])
    (drawn, *_) = plots.radii(nets, title="t").axes[0].lines
    assert drawn.get_ydata()[0] == 97.0


def test_a_look_at_free_adv_is_as_many_epochs_as_its_replays():
    """So the first n2 epochs, after which the lowest is looked for, are its first looks."""
    spec = run_spec("fmnist", "free")
    looks = [4.0, 0.8, 20.5, 7.2, 4.3, 8.0, 9.0, 18.0]
    row = beyond.bars([fake(spec, looks)], store=nothing_measured()).iloc[0]
    assert (spec.epochs, spec.m, row.lowest) == (80, 10, 4.3)
    assert row.fall == pytest.approx(20.5 - 4.3)


def test_the_paper_s_own_numbers_stand_beside_its_clean_errors():
    table = beyond.audited()
    assert len(table) == 18
    vanilla = table.loc[("MNIST", "Vanilla")]
    assert vanilla.tolist() == ["1.16", "0.94", "0.81", "0.00", "0.87", "0.75", "0.00"]
    atda = table.loc[("FMNIST", "ATDA")]
    assert (atda["BIM"], atda["BIM, at least"], atda["Madry / error"]) == ("25.81", "10.45", "1.55")


def test_epochs_of_a_fresh_step_and_those_between():
    spec = run_spec("mnist", "free-sim", n1=3, fresh=2, reset="never", epochs=6)
    found = [fake(spec, [0.0, 0.0, 10.0, 80.0, 30.0, 90.0]), fake(run_spec("mnist", "sim"), [5.0]), (spec, None)]
    (row,) = beyond.refreshed(found).itertuples()
    assert (row.seed, row.fresh, row.between) == (0, 85.0, 20.0)
    short = replace(spec, fresh=5, epochs=3)
    assert beyond.refreshed([fake(short, [0.0, 1.0, 2.0])]).empty, "a reader's own, that had none yet"


def test_the_age_of_gradients_stands_beside_the_end_of_the_run():
    rows = [("mnist", "F", epoch, 40.0 + epoch, 60.0) for epoch in (2, 4)]
    lines = pd.DataFrame(rows, columns=["dataset", "title", "epoch", "pixels", "weighted"])
    bars = table_of(row_of("F", "free-sim", 61.0, made=True) | {"seeds": 3, "sd": 2.0})
    row = beyond.stale_shown(lines, bars).loc[("MNIST", "F")]
    assert row.tolist() == ["43.0", "60.0", "61.0 ± 2.0 (3 seeds)"]


def test_final_nets_are_drawn_against_all_their_passes():
    rows = table_of(
        row_of("SIM(10,20)-Adv", "sim", 80.0, reset="cycle", F=480, AutoAttack=60.0),
        row_of("BIM(10,30)-Adv", "bim", 90.0, F=3960, AutoAttack=85.0),
        row_of("ATTA-1(3)", "atta", 85.0, F=300, AutoAttack=70.0),
        row_of("L", "sim", 85.0, reset="cycle", F=300, AutoAttack=99.0, projection="literal"),
        row_of("X", "sim", 85.0, reset="never", F=300),
    )
    rows["AutoAttack by seed"] = [{0: 50.0, 1: 70.0}, {0: 85.0}, np.nan, np.nan, np.nan]
    (axes,) = plots.withstanding(rows, "AutoAttack", title="t").axes
    assert {text.get_text() for text in axes.texts} == {"SIM(10,20)", "BIM(10,30)", "ATTA-1(3)"}
    step, *_ = axes.lines
    assert step.get_xdata()[:2].tolist() == [300, 3960], "SIM-Adv is not on the front"
    segments = [lines.get_segments()[0] for lines in axes.collections if hasattr(lines, "get_segments")]
    (spread,) = [ends for ends in segments if len(ends) and ends[0, 1] != ends[1, 1]]
    np.testing.assert_allclose(spread, [[480, 0.5], [480, 0.7]])
    assert plots.withstanding(rows[-1:], "AutoAttack", title="t").axes[0].texts


def test_what_took_as_many_passes_stands_beside_each_other():
    last = pd.DataFrame({"F": [480.0] * 9 + [450.0, 300.0], "share": [0.5 + 0.01 * i for i in range(11)]})
    moved = plots.beside(last)
    assert moved[8] < 480 < moved[0], "the best in front"
    assert moved[:9].nunique() == 9
    assert moved[9:].tolist() == [450.0, 300.0], "what is alone stays where it is"
    assert (abs(moved / last.F - 1) <= 0.03 + 1e-9).all()
    assert moved[9] < moved[:9].min(), "nothing changes places"


def test_where_runs_end_is_the_mean_of_the_seeds_with_their_range():
    spec = run_spec("mnist", "sim", epochs=9)
    found = [fake(replace(spec, seed=seed), [end] * 9) for seed, end in ((0, 60.0), (1, 90.0))]
    line = plots.late(beyond.curves(found))
    assert len(line) == 9
    assert line.tail(1)[["share", "low", "high"]].values.tolist() == [pytest.approx([0.75, 0.6, 0.9])]


def test_how_strong_examples_were_stands_beside_what_was_watched():
    spec = run_spec("mnist", "sim", epochs=3)
    found = [fake(spec, [1.0, 2.0, 3.0]), fake(replace(spec, reset="never"), [4.0, 5.0, 6.0])]
    record = {"epoch": [1, 2], "wrong": [0.25, 0.5], "reach": [0.1, 0.2]}
    asked = []

    def evaluation(run, measure):
        asked.append(measure)
        return record if run.spec.reset == "cycle" else None

    lines = beyond.policies(found, "mnist", store=SimpleNamespace(evaluation=evaluation))
    assert set(asked) == {Strength(epochs=40, images=1000)}
    assert lines["cycle"].wrong.tolist()[:2] == [25.0, 50.0]
    assert lines["cycle"].wrong.isna().tolist() == [False, False, True]
    assert lines["never"].reach.isna().all()
    assert lines["random"].wrong.isna().all()


def test_the_map_of_sim_adv_is_a_grid_of_steps_and_resets():
    rows = table_of(
        row_of("a", "sim", 80.0, reset="cycle", made=True, AutoAttack=60.0),
        row_of("b", "sim", 70.0, reset="never", n1=3.0, made=True),
        row_of("c", "sim-k", 75.0, reset="never", k=2.0, made=True, AutoAttack=50.0),
        row_of("d", "sim", 99.0, reset="cycle", projection="literal", made=True),
        row_of("e", "atta", 99.0, reset="never", made=True),
    ).assign(**{"AutoAttack sd": 1.0, "AutoAttack seeds": [3, 0, 1, 1, 1]})
    shown = beyond.grid(rows, "mnist")
    assert shown.columns.tolist() == ["cycle", "never"]
    assert shown.index.tolist() == ["n1 = 10", "n1 = 10, k = 2", "n1 = 3"]
    assert shown.loc["n1 = 10"].tolist() == ["80.0 / 60.0 ± 1.0 (3 seeds)", "-"]
    assert shown.loc["n1 = 10, k = 2"].tolist() == ["-", "75.0 / 50.0"]
    assert shown.loc["n1 = 3"].tolist() == ["-", "70.0 / not run"]
