"""How features are measured: neighbours counted naively, clouds whose answers are known, t-SNE that repeats itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_info, threadpool_limits
from torch import nn

from simadv.attacks import Attack, predict
from simadv.checks import InputError
from simadv.specs import run_spec
from simbook.measures.embedding import NEIGHBOURS, Embedding, at_home, features, mixed, nearest, project, separability
from simbook.plots.embedding import tsne_panels
from simbook.tables import embedding as tables


def cloud(seed, count, width=5, centre=0.0, spread=1.0):
    return centre + spread * np.random.default_rng(seed).standard_normal((count, width))


def naive_nearest(rows, query, excluded):
    """Indices of the NEIGHBOURS nearest rows by sorted distances, one by one."""
    far = sorted((float(np.sqrt(((row - query) ** 2).sum())), i) for i, row in enumerate(rows) if i not in excluded)
    return [i for _, i in far[:NEIGHBOURS]]


@given(seed=st.integers(0, 10_000), count=st.integers(NEIGHBOURS, 25), shift=st.floats(0, 3))
def test_shares_are_naive_counts(seed, count, shift):
    references = cloud(seed, 30, centre=2.0)
    targets = cloud(seed + 1, count)
    examples = targets + shift * cloud(seed + 2, count)
    clean, both = np.concatenate([references, targets]), np.concatenate([targets, examples])
    home, shares = 0, []
    for i, example in enumerate(examples):
        near = naive_nearest(clean, example, {30 + i})
        home += sum(j >= 30 for j in near) > NEIGHBOURS / 2
        near = naive_nearest(both, example, {i, count + i})
        shares.append(sum(j < count for j in near) / NEIGHBOURS)
    assert at_home(references, targets, examples) == pytest.approx(100 * home / count, abs=0.006)
    assert mixed(targets, examples) == pytest.approx(100 * sum(shares) / count, abs=0.006)


def test_nearest_leaves_out_its_own_wherever_they_stand():
    """On a line the order is plain; own rows may be the nearest, the farthest, or not found at all."""
    rows = np.arange(20.0)[:, None]
    queries = np.array([[0.1], [0.1]])
    own = np.array([[0, 3], [18, 19]])
    assert nearest(rows, queries, own).tolist() == [[1, 2, 4, 5, 6, 7, 8, 9, 10, 11], list(range(10))]


def test_examples_like_their_images_are_a_perfect_blend():
    """Where an attack moves nothing: a guess, half of the neighbours, and all at home."""
    references, targets = cloud(0, 60, centre=30.0), cloud(1, 40)
    assert separability(targets, targets, seed=0) == 50
    assert mixed(targets, targets) == pytest.approx(50, abs=10 / NEIGHBOURS)
    assert at_home(references, targets, targets) == 100


def test_examples_among_the_references_are_apart():
    references, targets = cloud(0, 60, centre=30.0), cloud(1, 40)
    examples = cloud(2, 40, centre=30.0)
    assert separability(targets, examples, seed=0) == 100
    assert mixed(targets, examples) == 0
    assert at_home(references, targets, examples) == 0


def test_a_group_of_its_own_can_be_at_home():
    """ATDA's case: the examples form a group, nearer to the targets than to anything else, and still separable."""
    references, targets = cloud(0, 60, centre=100.0), cloud(1, 40)
    examples = targets + 12
    assert separability(targets, examples, seed=0) == 100
    assert mixed(targets, examples) == 0
    assert at_home(references, targets, examples) == 100


@pytest.mark.parametrize("seed", range(4))
def test_separability_of_noise_is_a_guess(seed):
    """Examples that are drawn as the targets are: nothing to learn, even with as many features as images."""
    found = separability(cloud(seed, 100, width=84), cloud(seed + 100, 100, width=84), seed=0)
    assert 35 < found < 65


def test_separability_is_not_fooled_by_pairs():
    """Tiny random moves: a fold that held an image but not its example would tell a classifier the wrong answer."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    targets = cloud(0, 80, width=84)
    examples = targets + 1e-6 * cloud(1, 80, width=84)
    leaky = cross_val_score(
        LogisticRegression(max_iter=1000),
        np.concatenate([targets, examples]) * 1.0,
        np.repeat([0, 1], 80),
        cv=StratifiedKFold(5, shuffle=True, random_state=0),
    )
    assert 100 * leaky.mean() < 30
    assert separability(targets, examples, seed=0) == pytest.approx(50, abs=3)


def test_separability_sees_one_direction_that_neighbours_do_not():
    targets = cloud(0, 100, width=30, spread=10.0)
    examples = targets.copy()
    targets[:, 0] = cloud(2, 100, width=1)[:, 0] * 0.01
    examples[:, 0] = targets[:, 0] + 0.1
    assert separability(targets, examples, seed=0) > 95
    assert mixed(targets, examples) > 40


def test_tsne_repeats_itself():
    values = cloud(0, 45, width=20).astype(np.float32)
    first = project(values, seed=0)
    assert first.shape == (45, 2)
    assert np.isfinite(first).all()
    assert (first == project(values, seed=0)).all()
    assert (first == first.round(2)).all()


def test_tsne_runs_in_one_thread_however_many_there_are(monkeypatch):
    """Sums in another order end in another picture; outside, the number of threads is what it was."""
    seen, original = [], TSNE.fit_transform

    def watched(self, values):
        seen.extend(pool["num_threads"] for pool in threadpool_info())
        return original(self, values)

    monkeypatch.setattr(TSNE, "fit_transform", watched)
    with threadpool_limits(2):
        project(cloud(0, 40).astype(np.float32), seed=0)
        assert {pool["num_threads"] for pool in threadpool_info()} == {2}
    assert set(seen) == {1}


class Templates(nn.Module):
    """A net that compares an image with the mean image of each class: right most of the time, and easily fooled."""

    def __init__(self, data):
        super().__init__()
        means = torch.stack([data.x_train[data.y_train == label].mean(0).flatten() for label in range(10)])
        self.weight = nn.Parameter(means - means.mean(0))

    def features(self, x):
        return x.flatten(1) @ self.weight.T

    def forward(self, x):
        return self.features(x) - self.weight.square().sum(1) / 2


@pytest.fixture(scope="module")
def measured(digits):
    """160 digits, a spec, a net, and what a measure with few images finds of them."""
    both = [torch.cat(pair) for pair in ((digits.x_train, digits.x_test), (digits.y_train, digits.y_test))]
    data = replace(digits, x_test=both[0], y_test=both[1])
    measure = Embedding(attack="BIM(3,5)", references=40, targets=10)
    spec, net = run_spec("digits", "vanilla"), Templates(digits)
    return data, spec, net, measure.work(spec, net, data)


def test_work_measures_what_it_says(measured):
    """Every part of the record is made again here from the images."""
    data, spec, net, found = measured
    target = data.y_test == 6
    targets, references = data.x_test[target][:10], data.x_test[~target][:40]
    labels = torch.full((10,), 6)
    examples = Attack(kind="BIM", epsilon=spec.epsilon, n1=3, n2=5)(net, targets, labels)
    parts = [features(net, images) for images in (references, targets, examples)]
    assert found["counts"] == [40, 10, 10]
    assert found["classes"] == data.y_test[~target][:40].tolist()
    assert 6 not in found["classes"]
    assert len(found["x"]) == len(found["y"]) == 60
    assert found["missed"] == int((predict(net, targets) != 6).sum())
    assert found["fooled"] == int((predict(net, examples) != 6).sum())
    assert found["separable"] == separability(parts[1], parts[2], seed=0)
    assert found["mixed"] == mixed(parts[1], parts[2])
    assert found["at_home"] == at_home(*parts)
    assert found["targets_at_home"] == at_home(parts[0], parts[1], parts[1])
    # else one could stand for the other
    assert found["missed"] < found["fooled"]
    assert found["at_home"] < found["targets_at_home"]
    assert (project(np.concatenate(parts), seed=0) == np.stack([found["x"], found["y"]], 1)).all()


def test_work_is_repeatable_with_a_random_start(measured):
    data, spec, net, _ = measured
    measure = Embedding(attack="Madry(3,5)", references=40, targets=10)
    first = measure.work(spec, net, data)
    assert first == measure.work(spec, net, data)
    assert first["x"] != replace(measure, seed=1).work(spec, net, data)["x"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"attack": "PGD(3,5)"}, "PGD"),
        ({"attack": "BIM"}, "BIM, Madry and CW take"),
        ({"target": 10}, "target = 10 is no class"),
        ({"target": -1}, "at least 0"),
        ({"references": 9}, "at least 10"),
        ({"targets": 9}, "at least 10"),
        ({"seed": -1}, "at least 0"),
    ],
)
def test_bad_measures_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        Embedding(**({"attack": "FGSM"} | wrong))


def test_one_spelling_has_one_id():
    assert Embedding(attack="BIM(30, 30)").id == Embedding(attack="BIM(30,30)").id
    assert Embedding(attack="BIM(30,30)").id != Embedding(attack="BIM(30,30)", target=7).id


# targets at 10 to 19 of a diagonal, examples at 20 to 29: the figure's neighbours can be counted by hand
RECORD = {
    "counts": [3, 10, 10],
    "classes": [0, 0, 1],
    "x": [0.0, 2.0, 5.0, *(float(i) for i in range(10, 30))],
    "y": [0.0, 2.0, 5.0, *(float(i) for i in range(10, 30))],
    "missed": 0,
    "fooled": 1,
    "separable": 80.0,
    "mixed": 25.0,
    "at_home": 50.0,
    "targets_at_home": 100.0,
}


def test_tables_show_a_missing_panel_as_not_run():
    panels = {"(a) one": RECORD, "(b) two": None}
    found = tables.numbers(panels)
    named = {name: RECORD[name] for name in ("separable", "mixed", "at_home", "targets_at_home")}
    halves = ["mixed_half", "home_half", "separable_half"]
    assert found.loc["(a) one"].drop(["mixed_seen", *halves]).to_dict() == named | {"missed": 0, "fooled": 10}
    assert found.loc["(a) one", "home_half"] == pytest.approx(1.96 * np.sqrt(50 * 50 / 10), abs=0.01)
    assert found.loc["(a) one", "separable_half"] == pytest.approx(1.96 * np.sqrt(80 * 20 / 20), abs=0.01)
    assert found.loc["(b) two"].isna().all()
    shown = tables.shown(panels)
    assert shown.loc["(a) one", "examples mistaken"] == "10.0"
    assert set(shown.loc["(b) two"]) == {"not run"}


def test_the_figure_s_own_mixture_is_counted_in_the_plane():
    """On the diagonal each example has 18 others, 9 of them targets; the ten nearest are plain to see."""
    line = [float(i) for i in range(20)]
    expected = []
    for i in range(10, 20):
        others = sorted((j for j in range(20) if j not in (i, i - 10)), key=lambda j: abs(line[j] - line[i]))
        expected.append(sum(j < 10 for j in others[:10]) / 10)
    found = tables.numbers({"(a)": RECORD}).mixed_seen["(a)"]
    assert found == pytest.approx(100 * sum(expected) / 10, abs=1.01)  # two at one distance may change places


def test_points_keep_order_kind_and_class():
    points = tables.points({"(a) one": RECORD, "(b) two": None})
    assert points.kind.tolist() == ["reference"] * 3 + ["target"] * 10 + ["adversarial example"] * 10
    assert points.true_class[:3].tolist() == [0, 0, 1]
    assert points.true_class[3:].isna().all()
    assert points.x.tolist() == RECORD["x"]
    assert set(points.panel) == {"(a) one"}


def test_panels_draw_each_kind_and_say_what_was_not_run():
    titles = [f"({letter}) net" for letter in "abcd"]
    points = tables.points({titles[0]: RECORD, titles[3]: RECORD | {"x": RECORD["y"][::-1]}})
    figure = tsne_panels(titles, points)
    drawn = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in drawn] == titles
    assert [[len(group.get_offsets()) for group in axes.collections] for axes in drawn] == [
        [3, 10, 10],
        [],
        [],
        [3, 10, 10],
    ]
    assert drawn[0].collections[2].get_offsets().tolist() == [[i, i] for i in range(20, 30)]
    assert [text.get_text() for text in drawn[1].texts] == ["not run"]
    # the class of each cluster, in its middle
    assert [(t.get_text(), t.xy) for t in drawn[0].texts] == [("0", (1.0, 1.0)), ("1", (5.0, 5.0))]
    plt.close(figure)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_legend_is_drawn_once(count):
    titles = [f"({i})" for i in range(count)]
    figure = tsne_panels(titles, tables.points({titles[0]: RECORD}))
    legends = [axes.get_legend() for axes in figure.axes if axes.get_legend()] + figure.legends
    assert [[text.get_text() for text in legend.get_texts()] for legend in legends] == [list(tables.KINDS)]
    plt.close(figure)


def test_nothing_stored_is_said():
    figure = tsne_panels(["(a)"], tables.points({"(a)": None}))
    assert [text.get_text() for text in figure.axes[0].texts] == ["not run"]
    plt.close(figure)
