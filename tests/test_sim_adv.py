"""Chapter 5: search spaces against naive loops, reach against SIM itself, and tables with runs missing and there."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy

from simadv.adversaries import SIM, Attacker
from simadv.attacks import Attack
from simadv.data import Identity
from simadv.learners import FreeReplay
from simadv.store import Run
from simadv.training import Trainer, fit
from simbook import chapters
from simbook.claims import judging
from simbook.claims import sim_adv as claims
from simbook.measures import search_space as measure
from simbook.measures.embedding import Embedding
from simbook.plots import diagrams
from simbook.plots import sim_adv as plots
from simbook.settings import Settings
from simbook.tables import search_space
from simbook.tables import sim_adv as tables
from simbook.tables.common import download
from simbook.tables.spread import GLUE, Margin
from simbook.told import sim_adv as told

TOY = measure.Toy(n1=4, n2=6, m=3, a_square=2, epochs=12, batch_size=7)
PROVENANCE = {"alone": True, "device": "cpu", "threads": 1, "torch": "2", "date": "2026-01-01", "commit": "0" * 10}


@pytest.fixture(autouse=True)
def no_figures_left():
    yield
    plt.close("all")


class Shelf:
    """A store of runs that were never trained: what is measured of them is what the test says."""

    def __init__(self, measured=None):
        self.measured = measured or {}
        self.runs = {}

    def add(self, spec, history=()):
        cost = {"seconds": 120.0}
        run = Run(spec=spec, history=list(history), cost=cost, provenance=PROVENANCE, weights="0", folder=None)
        self.runs[spec] = run
        return run

    def find(self, spec):
        return self.runs.get(spec)

    def evaluation(self, run, spec):
        return self.measured.get((run.spec, spec.attack if not isinstance(spec, Embedding) else spec.id))


def history(robust, clean=99.0):
    return [{"epoch": i, "loss": 1.0, "clean": clean, "robust": value} for i, value in enumerate(robust)]


def asked(dataset="mnist", **settings):
    return list(chapters.CHAPTERS["05_sim_adv"](Settings(dataset=dataset, **settings)))


# ---- the plane


def test_board_is_on_grey_levels_with_balls_that_do_not_meet():
    toy = measure.Toy()
    x, y = measure.board(toy)
    assert x.shape == (72, 1, 1, 2)
    assert x.dtype == torch.float64
    assert torch.equal(x, (x * 255).round() / 255)
    assert sorted([int((y == 0).sum()), int((y == 1).sum())]) == [32, 40]
    # whole balls are inside [0, 1], so that nothing is ever cut off
    assert toy.epsilon < x.min() < x.max() < 1 - toy.epsilon
    between = min(float((a - b).abs().max()) for a in x[y == 0] for b in x[y == 1])
    assert 2 * toy.epsilon < between < 3 * toy.epsilon


@torch.no_grad()
def test_exhaustive_search_finds_what_a_loop_over_the_mesh_finds():
    x, y = measure.board(TOY)
    model = measure.Plane(TOY, seed=3)
    found = measure.Exhaustive(TOY)(model, x, y)
    step = TOY.epsilon / TOY.n1
    for x_hat, label, x_tilde in zip(x, y, found, strict=True):
        losses = []
        for u in range(-TOY.n1, TOY.n1 + 1):
            for v in range(-TOY.n1, TOY.n1 + 1):
                moved = x_hat + step * torch.tensor([u, v], dtype=torch.float64)
                losses.append(float(cross_entropy(model(moved[None]), label[None])))
        assert float(cross_entropy(model(x_tilde[None]), label[None])) == pytest.approx(max(losses), rel=1e-12)
        offset = (x_tilde - x_hat) / step
        assert torch.allclose(offset, offset.round(), atol=1e-9)
        assert offset.abs().max() <= TOY.n1 + 1e-9


def test_exhaustive_search_of_a_linear_net_ends_in_the_corner_of_its_gradient():
    x, y = measure.board(TOY)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2).double())
    model[1].weight.data = torch.tensor([[1.0, -2.0], [0.0, 0.0]], dtype=torch.float64)
    offset = (measure.Exhaustive(TOY)(model, x, y) - x).flatten(1) / TOY.epsilon
    corner = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    assert torch.allclose(offset, torch.where(y[:, None] == 0, corner, -corner))


def test_log_counts_places_by_epoch_and_kind():
    log, x_hat = measure.Log(TOY), torch.full((3, 1, 1, 2), 0.5, dtype=torch.float64)
    step = TOY.epsilon / TOY.n1
    moved = x_hat + step * torch.tensor([[1, -2], [1, -2], [4, 0]], dtype=torch.float64)[:, None, None]
    log.note(moved, x_hat, epoch=5)
    log.note(x_hat, x_hat, epoch=5, kind=measure.WAY)
    rows = {tuple(row) for row in log.counts().to_numpy().tolist()}
    kind = measure.EXAMPLE
    assert rows == {(5, kind, 1, -2, 2), (5, kind, 4, 0, 1), (5, measure.WAY, 0, 0, 3)}


@pytest.fixture(scope="module")
def searched():
    return measure.search_spaces(TOY, seeds=(0, 1))


def test_every_method_is_there_with_every_example(searched):
    places, withstood = searched
    examples = places[places.kind == measure.EXAMPLE].groupby(["method", "seed"])["count"].sum()
    # 18 points, each trained on once an epoch
    assert examples.to_dict() == {(method, seed): 18 * 12 for method in TOY.methods for seed in (0, 1)}
    assert list(withstood.method.unique()) == [*TOY.methods, measure.VANILLA]
    assert withstood.drop(columns=["method", "seed"]).stack().between(0, 100).all()
    assert places[["u", "v"]].abs().to_numpy().max() == TOY.n1


def test_where_each_method_can_be(searched):
    places = searched[0]
    of = dict(list(places.groupby("method")))
    n1 = TOY.n1
    fgsm, free, sim = of["FGSM"], of["Free-Adv(3)"], of["SIM(4,6)"]
    assert set(fgsm.u.abs()) == set(fgsm.v.abs()) == {n1}
    # full steps from 0, cut at epsilon: each pixel is at -epsilon, 0 or epsilon
    assert set(free.u) <= {-n1, 0, n1}
    assert set(free.v) <= {-n1, 0, n1}
    # one step an epoch since the reset, both pixels at once
    assert (sim.u.abs() <= sim.epoch % 6 + 1).all()
    inner = sim[(sim.epoch % 6) < n1]
    assert ((inner.u - inner.v) % 2 == 0).all()
    assert set(places[places.kind == measure.WAY].method) == {"BIM(4,6)"}
    way = of["BIM(4,6)"][of["BIM(4,6)"].kind == measure.WAY]
    # between the image and the example, 5 points of each path of 6 steps
    assert way["count"].sum() == 5 * 2 * 18 * 12


def test_watching_changes_nothing():
    x, y = measure.board(TOY)
    watched, _ = measure.train("BIM(4,6)", TOY, seed=1)
    plain = measure.Plane(TOY, seed=1)
    attack = Attack(kind="BIM", epsilon=TOY.epsilon, n1=TOY.n1, n2=TOY.n2)
    optimizer = torch.optim.Adam(plain.parameters(), TOY.lr)
    fit(plain, x, y, adversary=Attacker(attack), optimizer=optimizer, epochs=12, batch_size=7, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(watched.parameters(), plain.parameters(), strict=True))


def test_watching_free_adv_changes_nothing():
    x, y = measure.board(TOY)
    watched, counts = measure.train("Free-Adv(3)", TOY, seed=1)
    plain = measure.Plane(TOY, seed=1)
    optimizer = torch.optim.Adam(plain.parameters(), TOY.lr)
    learner = FreeReplay(plain, optimizer, "float32", epsilon=TOY.epsilon, m=3, slots=x[:7])
    Trainer(learner, x, y, epochs=4, batch_size=7, seed=1).run()
    assert all(torch.equal(a, b) for a, b in zip(watched.parameters(), plain.parameters(), strict=True))
    # a replay counts as an epoch, and the very first is on the image itself
    assert sorted(counts.epoch.unique()) == list(range(12))
    first = counts[(counts.epoch == 0) & (counts.u == 0) & (counts.v == 0)]
    assert first["count"].sum() >= 7


def test_training_on_the_plane_repeats_itself_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    first, second = (measure.train("SIM(4,6) staggered", TOY, seed=2) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert first[1].equals(second[1])
    other = measure.train("SIM(4,6) staggered", TOY, seed=3)
    assert not first[1].equals(other[1])


def test_the_plane_takes_one_thread_and_gives_the_others_back(monkeypatch):
    seen, before = [], torch.get_num_threads()
    monkeypatch.setattr(measure, "train", lambda *a, **k: seen.append(torch.get_num_threads()) or 1 / 0)
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError):
            measure.search_spaces(TOY, seeds=(0,))
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


def test_a_net_that_answers_one_class_is_judged_by_its_share():
    model = measure.Plane(measure.Toy(), seed=0)
    with torch.no_grad():
        model.layers[-1].weight.zero_()
        model.layers[-1].bias.copy_(torch.tensor([1.0, 0.0]))
    seen = measure.judge(model, measure.Toy())
    assert list(seen) == ["clean", "BIM(10,20)", measure.OPTIMAL]
    assert set(seen.values()) == {100 * 40 / 72}


def places_by_hand():
    kinds = [(4, 4, 3), (-4, 2, 4), (0, 0, 1), (1, -1, 2)]
    rows = [("BIM(4,6)", 0, 0, measure.EXAMPLE, u, v, count) for u, v, count in kinds]
    rows += [("BIM(4,6)", 0, 0, measure.WAY, u, v, 9) for u, v in ((1, 1), (0, 0))]
    return pd.DataFrame(rows, columns=measure.COLUMNS)


def withstood_by_hand():
    rows = [{"method": name, "seed": 0, "clean": 100.0, "BIM(4,6)": 50.0} for name in ("BIM(4,6)", measure.VANILLA)]
    return pd.DataFrame(rows).assign(**{measure.OPTIMAL: [30.0, 10.0]})


def test_space_by_hand():
    table = search_space.space(places_by_hand(), withstood_by_hand(), TOY).set_index("method")
    found = table.loc["BIM(4,6)"]
    assert [found.corner, found.surface, found.inside] == pytest.approx([30, 40, 30])
    assert found.cells == pytest.approx(100 * 4 / 81)
    assert found.passed == pytest.approx(100 * 5 / 81)
    assert table.loc[measure.VANILLA, ["cells", "passed", "corner"]].isna().all()
    text = search_space.space_shown(table.reset_index())
    assert text.loc["BIM(4,6)", "on a corner"] == "30.0 %"
    assert text.loc[measure.VANILLA, "inside"] == "-"
    assert text.loc[measure.VANILLA, f"withstands {measure.OPTIMAL}"] == "10 % [10, 10]"


def test_at_full_by_hand():
    shares = search_space.at_full(places_by_hand(), TOY)
    assert shares.to_dict("records") == [{"method": "BIM(4,6)", "epoch": 1, "share": pytest.approx(70)}]


# ---- arithmetic of a cycle


class Uphill(torch.nn.Module):
    """A net whose loss rises with every pixel, always."""

    def forward(self, x):
        bright = x.flatten(1).sum(1)
        return torch.stack([-bright, bright], 1)


@pytest.mark.parametrize("reset", ["cycle", "staggered"])
@pytest.mark.parametrize(("n1", "n2"), [(3, 5), (2.5, 4), (4, 4), (6, 4)])
def test_reach_is_what_sim_does_where_no_step_is_undone(n1, n2, reset):
    x = torch.full((n2, 1, 1, 1), 0.3)
    y, index = torch.zeros(n2, dtype=torch.int64), torch.arange(n2)
    sim = SIM(x, epsilon=0.2, n1=n1, n2=n2, reset=reset)
    if reset == "staggered":
        sim.phase = torch.arange(n2)  # evenly spread, as the arithmetic takes them
    expected = tables.reach(n1, n2, epochs=3 * n2, reset=reset)
    for epoch in range(3 * n2):
        x_tilde = sim(Uphill(), x, y, index, epoch=epoch, view=Identity(), generator=None)
        away = (x_tilde - x).flatten() / 0.2
        row = expected.iloc[epoch]
        assert row.epoch == epoch + 1
        assert row.farthest == pytest.approx(100 * float(away.mean()), abs=0.05)
        assert row.full == pytest.approx(100 * float((away > 1 - 1e-3).double().mean()), abs=1e-6)


def test_cycles_as_the_paper_counts_them():
    table = tables.cycles([(10, 10), (10, 20)])
    assert list(table["at full epsilon"]) == [1, 11]
    assert list(table.share) == ["10 %", "55 %"]
    assert list(table.setting) == ["under-perturbation", "over-perturbation"]
    # (1 + ... + 10)/10/10 and that of 20 epochs, the last ten of them full
    assert list(table["mean reach"]) == ["55.0 % of epsilon", "77.5 % of epsilon"]


def test_one_epoch_by_hand():
    x_hat, y = torch.tensor([[[[100.0, 250.0]]]]) / 255, torch.tensor([0])
    kept = {name: SIM(x_hat, epsilon=51 / 255, n1=3, n2=5, projection=name) for name in ("ball", "literal")}
    rows = [tables.one_epoch(kept, torch.nn.Flatten(), x_hat, y, epoch=epoch) for epoch in range(6)]
    assert [row["carried"] for row in rows] == [[83, 255], [66, 255], [49, 255], [49, 255], [49, 255], [83, 255]]
    assert [row["as printed"][0] for row in rows] == [83, 66, 49, 32, 15, 83]
    assert [row["i"] for row in rows] == [0, 1, 2, 3, 4, 0]
    assert [row["starts from"] == "the image" for row in rows] == [True, False, False, False, False, True]
    assert rows[4]["start"] == [49, 255]
    assert rows[4]["sign"] == [-1, 1]
    assert (rows[4]["away"], rows[4]["away as printed"]) == ("1.00 epsilon", "1.67 epsilon")


# ---- stored runs


def test_watched_and_sawtooth_by_hand():
    specs = [s for s in asked() if s.method == "sim" and s.n2 == 20 and s.lr == 1e-3]
    cycle, staggered = (next(s for s in specs if s.reset == reset) for reset in ("cycle", "staggered"))
    shelf = Shelf()
    robust = [80.0] * 20 + [40.0, 0.0, 30.0, *[76.0] * 17] + [10.0, 20.0, 70.0, 71.0, *[90.0] * 16]
    found = [(cycle, shelf.add(cycle, history(robust, clean=98.0))), (staggered, None)]
    seen = tables.watched(found)
    assert len(seen) == 60
    assert list(seen.robust) == robust
    assert seen.set_index("epoch").farthest[[1, 10, 20, 21]].tolist() == pytest.approx([10, 100, 100, 10])
    (row,) = tables.sawtooth(seen).to_dict("records")
    assert (row["last"], row["lowest"], row["at"], row["later"]) == (90, 0, 22, 40)
    assert row["lost"] == 5  # of 40, those below 45
    # back within 5 points of 80 after 4 epochs, of 76 after 4 (71 is 5 below)
    assert row["back"] == 4
    assert row["fall"] == 80
    assert row["clean"] == 98
    text = tables.sawtooth_shown(tables.sawtooth(seen)).iloc[0]
    assert text["lowest since cycle 1 (%)"] == "0.0 at epoch 22"
    assert text["epochs at less than half of it"] == "5 of 40"
    assert text["back after"] == "4.0 epochs"
    facts = tables.sawtooth(seen)
    assert told.of_sawtooth(facts) == (
        "- MNIST, SIM(10,20)-Adv, one net: 90.0 % after the last epoch, 0.0 % at the lowest since the first cycle; "
        "5 of 40 epochs at less than half of the last; on average 4.0 epochs from a reset until it is back."
    )
    worse = facts.assign(last=80.0, lowest=5.0, lost=10.0, back=np.nan)
    said = told.of_sawtooth(pd.concat([facts, worse]))
    assert said.startswith(
        "- MNIST, SIM(10,20)-Adv, 2 nets: 80.0 to 90.0 % after the last epoch, 0.0 to 5.0 % at the lowest"
    )
    assert "15 of 80 epochs" in said
    short = tables.watched([(cycle, Shelf().add(cycle, history(robust[:2], clean=98.0)))])
    said = told.of_sawtooth(tables.sawtooth(short))
    assert said.endswith("training ended within the first cycle.")


def test_a_reset_without_a_way_back_has_no_mean():
    spec = next(s for s in asked() if s.method == "sim" and s.n2 == 20)
    found = [(spec, Shelf().add(spec, history([80.0] * 20 + [10.0] * 20 + [10.0] * 20)))]
    facts = tables.sawtooth(tables.watched(found))
    assert np.isnan(facts.back.iloc[0])
    assert tables.sawtooth_shown(facts)["back after"].iloc[0] == "-"


def test_one_number_of_the_monitor_changes_what_is_shown():
    spec = next(s for s in asked() if s.method == "sim" and s.n2 == 20)
    robust, shown = [50.0 + 0.1 * i for i in range(60)], []
    for changed in (robust, [*robust[:30], robust[30] + 0.1, *robust[31:]]):
        found = [(spec, Shelf().add(spec, history(changed)))]
        shown.append(
            download(tables.watched(found).query("n1 < n2"), "sawtooth").data
        )  # what a rerun compares of the figure
    assert shown[0] != shown[1]


def full_shelf(accuracy):
    """A shelf with every run of the chapter on MNIST, and the neighbours, with accuracies that ``accuracy`` gives."""
    settings, shelf = Settings(dataset="mnist"), Shelf()
    specs = asked()
    nothing = [(spec, None) for spec in specs]
    specs += [spec for spec, _ in tables.neighbours(settings, nothing, store=shelf)]
    for spec in specs:
        shelf.add(spec, history([90.0] * 60))
        for attack in ("none", "FGSM", "BIM(10,40)", "Madry(10,40)"):
            right = accuracy(spec, attack)
            shelf.measured[spec, attack] = {"images": 10_000, "true": right, "predicted": right}
    return shelf, [(spec, shelf.find(spec)) for spec in asked()]


def made_up(spec, attack):
    if spec.method == "sim":
        return 9_000 if spec.n2 == 10 else 9_255 if attack == "BIM(10,40)" else 9_400
    if spec.method == "madry":
        return 9_404 + 3 * (30 - int(spec.n1))
    return {"free": 156, "atda": 4_234, "bim": 9_383}[spec.method]


def test_all_claims_of_training_where_every_run_is_there():
    shelf, found = full_shelf(made_up)
    settings = Settings(dataset="mnist")
    frame = tables.accuracies(found + tables.neighbours(settings, found, store=shelf), store=shelf)
    table = claims.of_training(frame, "mnist")
    assert list(table.verdict) == ["holds"] * 3
    assert [text.split()[0] for text in table.ours] == ["90.99", "-1.28", "-2.09"]
    lower = claims.of_training(frame[~(frame.method.eq("madry") & frame.lr.eq(1e-3))], "mnist")
    assert lower.ours[2].startswith("-2.09 [")
    assert "seeds" not in lower.ours[2], "nets of Fig. 7 at other n1 are no other seeds"
    assert list(table.paper) == ["90.99", "-1.28", "-1.49"]
    pair = tables.over_perturbed(settings, found)
    pair_frame = tables.accuracies(pair, store=shelf)
    over = claims.of_over_perturbation(pair_frame, "mnist")
    assert [text.split()[0] for text in over.ours] == ["2.55", "4.00"]
    assert list(over.verdict) == ["holds", "holds"]
    # 0.6 points on 10,000 images may be chance
    fig7 = claims.of_fig7(frame.assign(dataset="fmnist"), "fmnist")
    assert [text.split()[0] for text in fig7.ours] == ["0.60", "0.60"]
    assert list(fig7.verdict) == ["undecided"] * 2
    assert claims.of_fig7(frame, "mnist").empty, "the paper says it of Fashion-MNIST"
    free = claims.of_free(frame, "mnist")
    assert [text.split()[0] for text in free.ours] == ["40.78"]
    assert list(free.paper) == ["40.78"], "Table 3's ATDA is that of 1e-3, and the comparison is Table 3's"
    assert list(free.verdict) == ["holds"]
    both = claims.of_free(frame.assign(paper=np.nan), "mnist")
    assert len(both) == 2, "where the paper has no row, at each rate"
    harder = frame[frame.attack.eq("BIM(10,40)")].assign(attack="AutoAttack", images=1000.0)
    harder = harder.assign(true=harder.method.map({"free": 1.0, "atda": 0.5}))
    both = claims.of_free(pd.concat([frame, harder]), "mnist")
    assert both.part.tolist() == [
        "ATDA - Free-Adv at rate 1e-3 under BIM(10,40) > 0",
        "ATDA - Free-Adv at rate 1e-3 under AutoAttack, which leaves Free-Adv least > 0",
    ]
    assert [text.split()[0] for text in both.ours] == ["40.78", "-0.50"]
    assert both.paper.tolist() == ["40.78", "-"], "the paper has none under AutoAttack"
    assert claims.of_free(frame.assign(dataset="fmnist"), "fmnist").empty, "and this of MNIST"
    sentence = told.of_pairs(pair_frame, "mnist", without="over-perturbation").splitlines()[2]
    assert "Under BIM(10,40), SIM(10,20)-Adv has 92.55 %" in sentence
    assert sentence.endswith("90.00 %; the 95 % intervals are apart.")
    assert "SIM(10,20)-Adv at rate 1e-4: 92.55 % under BIM(10,40)" in told.of_training(frame, "mnist")
    assert "not run" not in tables.shown(frame).to_string()


def test_two_methods_are_compared_at_one_rate_that_both_have():
    shelf, found = full_shelf(
        lambda spec, attack: 9_500 if spec.lr == 1e-3 else 9_000 if spec.method == "sim" else 9_100
    )
    others = tables.neighbours(Settings(dataset="mnist"), found, store=shelf)
    # BIM-Adv was run at 1e-4 alone: there SIM-Adv is 1 point behind, at 1e-3 it has no one to compare with
    others = [(spec, None if (spec.method, spec.lr) == ("bim", 1e-3) else run) for spec, run in others]
    table = claims.of_training(tables.accuracies(found + others, store=shelf), "mnist")
    assert [text.split()[0] for text in table.ours[:2]] == ["0.00", "-1.00"]


def test_the_paper_s_number_is_of_over_perturbation():
    _, found = full_shelf(made_up)
    frame = tables.accuracies(found, store=Shelf())
    sims = frame[(frame.method == "sim") & (frame.attack == "BIM(10,40)") & (frame.reset == "cycle")]
    assert sims.set_index(["n2", "lr"]).paper.to_dict() == pytest.approx(
        {(10, 1e-4): np.nan, (20, 1e-4): 92.55, (20, 1e-3): 89.93}, nan_ok=True
    )


def test_claims_that_fail():
    def reversed_(spec, attack):
        return 10_000 - made_up(spec, attack)

    shelf, found = full_shelf(reversed_)
    frame = tables.accuracies(found + tables.neighbours(Settings(dataset="mnist"), found, store=shelf), store=shelf)
    assert claims.of_training(frame, "mnist").verdict.iloc[0] == "does not hold"
    pair_frame = tables.accuracies(tables.over_perturbed(Settings(dataset="mnist"), found), store=shelf)
    assert set(claims.of_over_perturbation(pair_frame, "mnist").verdict) == {"does not hold"}
    swept = frame.assign(true=frame.true.mask(frame.method.eq("madry"), 90.0 + frame.n1.fillna(0) / 10))
    assert set(claims.of_fig7(swept.assign(dataset="fmnist"), "fmnist").verdict) == {"does not hold"}
    assert set(claims.of_free(frame, "mnist").verdict) == {"does not hold"}


def test_nothing_was_run():
    settings, shelf = Settings(dataset="mnist"), Shelf()
    found = [(spec, None) for spec in asked()]
    frame = tables.accuracies(found + tables.neighbours(settings, found, store=shelf), store=shelf)
    pair_frame = tables.accuracies(tables.over_perturbed(settings, found), store=shelf)
    panels = tables.fig9(settings, found, "mnist", store=shelf)
    fallen = tables.falls(found)
    parts = [claims.of_training(frame, "mnist"), claims.of_over_perturbation(pair_frame, "mnist")]
    parts += [claims.of_free(frame, "mnist"), claims.of_features(panels), claims.of_forgetting(fallen, "mnist")]
    assert {verdict for part in parts for verdict in part.verdict} == {"not tested"}
    assert {ours for part in parts for ours in part.ours} == {"not run"}
    assert set(claims.verdicts(found, settings, store=shelf).query("dataset == 'mnist'").verdict) == {"not tested"}
    assert set(tables.shown(frame).to_numpy().flatten()) == {"not run"}
    said = [told.of_training(frame, "mnist"), told.of_forgetting(fallen, "mnist"), told.of_features(panels)]
    assert set(said) == {told.NOTHING}
    assert told.of_sawtooth(tables.sawtooth(tables.watched(found))) == told.NOTHING
    assert texts(plots.by_n1(tables.fig7(frame), title="x")) == ["not run"]
    assert set(tables.costs(found)["seconds an epoch"]) == {"not run"}


def test_a_data_set_that_the_chapter_is_not_about():
    assert asked("cifar10") == []
    frame = tables.accuracies([], store=Shelf())
    assert tables.fig7(frame).empty
    assert tables.watched([]).query("n1 < n2").empty
    assert tables.over_perturbed(Settings(dataset="cifar10"), []) == []
    assert tables.fig9(Settings(dataset="cifar10"), [], "mnist", store=Shelf()) == {}
    assert tables.sawtooth_shown(tables.sawtooth(tables.watched([]))).empty
    assert tables.falls_shown(tables.falls([])).empty
    assert tables.costs([]).empty


def test_a_claim_is_judged_only_when_both_its_runs_are_there():
    shelf, found = full_shelf(made_up)
    half = [(spec, None if spec.n2 == 10 else run) for spec, run in found]
    pair = tables.over_perturbed(Settings(dataset="mnist"), half)
    frame = tables.accuracies(pair, store=shelf)
    assert set(claims.of_over_perturbation(frame, "mnist").verdict) == {"not tested"}
    assert told.of_pairs(frame, "mnist", without="it") == "There is no pair of runs to compare yet."


def test_free_adv_and_bim_adv_are_looked_for_and_not_listed_twice():
    settings = Settings(dataset="mnist")
    found = [(spec, None) for spec in asked()]
    shelf = Shelf()
    bim = chapters.spec_of(settings, "mnist", "bim")
    shelf.add(bim)
    others = dict(tables.neighbours(settings, found, store=shelf))
    assert others[bim] is not None
    assert not set(others) & {spec for spec, _ in found}
    # Free-Adv's other rate is nobody's figure here
    assert {spec.lr for spec in others if spec.method == "free"} == {1e-3}


def record(**changed):
    places = [float(i) for i in range(42)]
    known = {"counts": [12, 15, 15], "classes": [0, 1, 2] * 4, "x": places, "y": places, "missed": 0, "fooled": 6}
    return known | {"separable": 90.0, "mixed": 20.0, "at_home": 40.0, "targets_at_home": 99.0} | changed


def test_fig9_and_its_claims():
    settings, shelf = Settings(dataset="mnist"), Shelf()
    free, sim = (chapters.spec_of(settings, "mnist", method) for method in ("free", "sim"))
    for spec, at_home in ((free, 40.0), (sim, 95.0)):
        shelf.add(spec)
        for attack in ("FGSM", "BIM(30,30)"):
            shelf.measured[spec, Embedding(attack=attack).id] = record(at_home=at_home)
    found = [(spec, shelf.find(spec)) for spec in asked()]
    panels = tables.fig9(settings, found, "mnist", store=shelf)
    names = ["(a) Free-Adv(10), FGSM", "(b) Free-Adv(10), BIM(30,30)"]
    assert list(panels) == [*names, "(c) SIM(10,20)-Adv, FGSM", "(d) SIM(10,20)-Adv, BIM(30,30)"]
    table = claims.of_features(panels)
    # both separable at 90; 6 of 15 fooled
    half, line = 1.96 * (40 * 60 / 15) ** 0.5, 1.96 * (90 * 10 / 30) ** 0.5
    home = 1.96 * (95 * 5 / 15 + 40 * 60 / 15) ** 0.5
    expected = [(90, line), (0, 2**0.5 * line), (55, home), (40, half)]
    assert list(table.ours) == [Margin(*of, most=100).text for of in expected]
    assert list(table.verdict) == ["holds", "undecided", "holds", "undecided"]
    assert "40.0 % of the examples are misclassified" in told.of_features(panels)
    assert tables.fig9(settings, found, "fmnist", store=shelf) == {}


def test_falls_and_forgetting():
    settings, shelf = Settings(dataset="mnist"), Shelf()
    free, sim = (chapters.spec_of(settings, "mnist", method) for method in ("free", "sim"))
    found = [(free, shelf.add(free, history([10, 30, 26, 40]))), (sim, shelf.add(sim, history([5, 80, 1, 85])))]
    table = tables.falls(found)
    assert table.set_index("method").robust.to_dict() == {"free": 4, "sim": 79}
    assert set(table.clean) == {0}
    judged = claims.of_forgetting(table, "mnist")
    assert list(judged.ours) == ["4.00", "79.00"]
    assert list(judged.verdict) == ["undecided", "does not hold"], "what may happen was not seen; what may not was"
    seen = claims.of_forgetting(table.assign(robust=table.robust + 7), "mnist")
    assert list(seen.verdict) == ["holds", "does not hold"]
    assert "one seed, looked at 4 times" in told.of_forgetting(table, "mnist")
    assert "robust accuracy by 79.0" in told.of_forgetting(table, "mnist")
    assert len(tables.falls_shown(table)) == 2


def test_claims_on_the_plane():
    toy = measure.Toy()
    rows = {
        "exhaustive search": (20, 20, 0, 60),
        "BIM(10,20)": (10, 60, 0, 30),
        "FGSM": (1, 1, 0, 30),
        "SIM(10,20)": (58, 58, 55, 20),
        "SIM(10,20) staggered": (59, 59, 53, 20),
        "Free-Adv(10)": (2, 2, 5, 50),
        measure.VANILLA: (np.nan, np.nan, np.nan, 5),
    }
    columns = ["cells", "passed", "inside", measure.OPTIMAL]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("method").reset_index()
    table = table.assign(seed=0, clean=100.0, corner=60.0, surface=40 - table.inside)
    judged = claims.of_space(table, toy)
    said = judging.summary(judging.gathered({"plane": [judged]})).plane.to_dict()
    expected = {"C5.4": "holds", "C5.5": "holds", "C5.6": "does not hold", "C5.7": "does not hold"}
    assert said == expected
    apart = {"FGSM": (0, 1, 5), "SIM(10,20)": (0, -9, 9)}  # SIM is 10, 20 and 6 points behind
    seeds = [table.assign(seed=i) for i in range(3)]
    for i, frame in enumerate(seeds):
        frame[measure.OPTIMAL] += frame.method.map({name: shift[i] for name, shift in apart.items()}).fillna(0)
    several = claims.of_space(pd.concat(seeds), toy).set_index("claim").loc["C5.6"]
    assert (several.ours, several.verdict) == (f"-12.00 [-29.91,{GLUE}5.91]", "undecided")
    unlearned = claims.of_space(table.assign(clean=table.clean.mask(table.method.eq("Free-Adv(10)"), 52.0)), toy)
    part = unlearned[unlearned.claim.eq("C5.7")]
    assert (set(part.ours), set(part.verdict)) == ({"its nets have 52 % clean"}, {"not tested"})
    full = pd.DataFrame({"method": "SIM(10,20)", "epoch": [1, 2, 3], "share": [40.0, 51.0, 90.0]})
    text = told.of_space(table, full, toy)
    assert "at full epsilon in 2 of 60 epochs; arithmetic allows 33." in text
    assert "SIM's 58 %" in text
    assert "SIM(10,20) 20 %" in text


def test_costs_do_not_depend_on_n1():
    table = tables.costs([(spec, None) for spec in asked()])
    assert table["F an image and epoch"].droplevel(0).to_dict() == {
        "SIM-Adv": "8.0",
        "SIM-Adv staggered": "8.0",
        "Free-Adv": "3.0",
        "Madry-Adv": "66.0",
    }


# ---- figures


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_diagrams_say_what_flows():
    single = diagrams.training(diagrams.per_epoch("one step"))
    assert [t for t in texts(single) if t.startswith("epoch ")] == ["epoch 1", "epoch 2", "epoch 3"]
    assert "reset" not in texts(single)
    carried = diagrams.training(diagrams.across_epochs(20), left_out=(2, "epochs 3 to 19"))
    named = [t for t in texts(carried) if t.startswith("epoch ")]
    assert named == ["epoch 1", "epoch 2", "epoch 20", "epoch 21"]
    assert texts(carried).count("reset") == 1
    labels = [text.get_text() for text in carried.legends[0].get_texts()]
    assert labels[-1] == "adversarial examples, to the next epoch"
    assert len(single.legends[0].get_texts()) == 2


def test_sawtooth_leaves_out_a_row_with_no_run_and_says_so_in_a_panel():
    specs = [s for s in asked() if s.method == "sim" and s.n2 == 20]
    one = next(s for s in specs if s.reset == "cycle" and s.lr == 1e-3)
    seen = tables.watched([(one, Shelf().add(one, history([50.0] * 60)))])
    figure = plots.sawtooth(seen, labels={("mnist", lr): f"rate {lr}" for lr in (1e-4, 1e-3)})
    assert [axes.get_title() for axes in figure.axes] == ["rate 0.001, cycle", "rate 0.001, staggered"]
    assert texts(figure) == ["not run"]
    marks = [line for line in figure.axes[0].lines if line.get_linestyle() == ":"]
    assert [line.get_xdata()[0] for line in marks] == [20.5, 40.5]
    assert texts(plots.sawtooth(seen.iloc[:0], labels={})) == ["not run"]


def test_fig7_runs_from_short_steps_to_long_ones():
    shelf, found = full_shelf(made_up)
    points = tables.fig7(tables.accuracies(found, store=shelf))
    assert list(points[points.attack == "BIM(10,40)"].n1) == [30, 25, 20, 15, 10]
    (axes,) = plots.by_n1(points, title="").axes
    assert axes.xaxis_inverted()
    assert len(axes.lines) == 2
    assert texts(plots.by_n1(points.iloc[:0], title="x")) == ["not run"]
    some = points.assign(true=points.true.where(points.n1.ne(20)))
    assert axes.get_xticks().tolist() == plots.by_n1(some, title="").axes[0].get_xticks().tolist()
    assert texts(plots.by_n1(some, title="")) == ["not run"], "at n1 = 20"
    one = points.assign(true=points.true.where(points.n1.eq(10)))
    figure = plots.by_n1(pd.concat([one, points.assign(dataset="fmnist", true=np.nan)]), title="")
    assert texts(figure) == ["1 of 5 was run: $n_1$ = 10", "none of 5 was run"]
    assert [axes.get_ylim() for axes in figure.axes] == [(-3, 103)] * 2, "no closer look at a single point"


def test_over_perturbation_has_a_line_for_each_run():
    _, found = full_shelf(made_up)
    seen = tables.watched(tables.over_perturbed(Settings(dataset="mnist"), found))
    figure = plots.over_perturbation(seen, title="x")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["SIM(10,10)-Adv (without)", "SIM(10,20)-Adv (over-perturbation)"]
    assert texts(plots.over_perturbation(seen.iloc[:0], title="x")) == ["not run"]


def test_search_space_draws_each_place_where_it_is(searched):
    figure = plots.search_space(places_by_hand(), methods=["BIM(4,6)"], n1=4)
    drawn = figure.axes[0].collections[-1].get_array().reshape(9, 9)
    # row v, column u, both from -4; shares in percent
    assert drawn[4 + 2, 4 - 4] == pytest.approx(40)
    assert drawn[8, 8] == pytest.approx(30)
    assert drawn.count() == 4
    full = plots.search_space(searched[0], methods=TOY.methods, n1=4)
    assert [axes.get_title()[4:] for axes in full.axes[:6]] == TOY.methods


def test_surface_shows_bound_and_measure(searched):
    measured = search_space.at_full(searched[0], TOY)
    figure = plots.surface(measured, {"SIM(4,6)": tables.reach(4, 6, epochs=12)})
    (line,) = figure.axes[0].lines
    assert len(line.get_ydata()) == 12
    # nothing is at epsilon before the n1-th epoch of a cycle
    assert max(line.get_ydata()[:3]) == 0


def test_staggered_resets_are_no_forgetting_of_the_papers():
    rows = [("free", None, 20.0), ("sim", "cycle", 5.0), ("sim", "staggered", 50.0)]
    falls = pd.DataFrame(rows, columns=["method", "reset", "robust"]).assign(dataset="mnist", clean=0.0, ends=np.nan)
    falls = falls.assign(n1=10, n2=20)
    judged = claims.of_forgetting(falls, "mnist")
    assert judged.ours.tolist() == ["20.00", "5.00"]
    assert judged.verdict.tolist() == ["holds", "holds"]
    swings = pd.concat([falls, falls[:1].assign(method="bim", robust=20.5)])
    judged = claims.of_forgetting(swings, "mnist")
    assert judged.verdict.tolist() == ["undecided", "holds"], "BIM-Adv falls as far"
    assert judged.part[0] == "Free-Adv: largest fall (points), the bar is BIM-Adv's > 20.5"
    reset = falls.assign(robust=[20.0, 90.0, 50.0], ends=[np.nan, 3.0, np.nan])
    judged = claims.of_forgetting(reset, "mnist")
    assert judged.ours.tolist() == ["20.00", "3.00"], "what a reset takes is no forgetting of the paper's"
    short = pd.concat([reset, reset[1:2].assign(n2=10, ends=70.0)])
    assert claims.of_forgetting(short, "mnist").ours.tolist() == ["20.00", "3.00"], "it is over-perturbed in the paper"


def test_without_over_perturbation_sim_adv_is_a_defence_and_behind_bim_adv():
    rows = [("sim", "SIM(10,10)-Adv", 10, 10, 50.0), ("sim", "SIM(10,20)-Adv", 10, 20, 80.0)]
    rows += [("vanilla", "Vanilla", np.nan, np.nan, 1.0), ("bim", "BIM-Adv", 10, 30, 83.0)]
    frame = pd.DataFrame(rows, columns=["method", "title", "n1", "n2", "true"])
    frame = frame.assign(dataset="mnist", attack="BIM(10,40)", lr=1e-4, seed=0, images=10_000, reset="cycle")
    of = frame.method.eq("sim")
    judged = claims.without_over_perturbation(frame[of], frame[~of], "mnist")
    assert [text.split()[0] for text in judged.ours] == ["49.00", "33.00"]
    assert judged.verdict.tolist() == ["holds", "holds"]
    other = claims.without_over_perturbation(frame[of], frame[~of].assign(lr=1e-3), "mnist")
    assert other.verdict.tolist() == ["not tested", "not tested"], "nets of another rate"
    assert claims.without_over_perturbation(frame[of][1:], frame[~of], "mnist").empty


def test_error_bars_of_fig_7_end_at_the_interval():
    shelf, found = full_shelf(made_up)
    points = tables.fig7(tables.accuracies(found, store=shelf))
    points = points.assign(low=points.true - 1, high=points.true + 3)
    axes = plots.by_n1(points, title="").axes[0]
    assert axes.containers
    for container in axes.containers:
        part = points[points.attack.eq(container.get_label().removeprefix("under "))]
        line, _, (bars,) = container.lines
        assert line.get_ydata().tolist() == part.true.tolist()
        assert np.array([ends[:, 1] for ends in bars.get_segments()]) == pytest.approx(part[["low", "high"]].to_numpy())
