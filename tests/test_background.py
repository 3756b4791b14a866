"""Chapter 2: its measures against slow loops, its tables on hand-made stores, its figures on hand-made frames."""

import base64
import json
from dataclasses import replace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from simadv.attacks import Attack, cross_entropy
from simadv.checks import InputError
from simadv.data import Dataset
from simadv.specs import EvalSpec, run_spec
from simadv.store import Store, build_model
from simbook.chapters import spec_of
from simbook.claims import background as claims
from simbook.measures import gallery
from simbook.measures.base import Measure, take
from simbook.measures.gallery import ATTACKS, LITERAL, SHARES, Climb, Gallery
from simbook.plots import background as plots
from simbook.settings import Settings
from simbook.tables import background as tables
from simbook.told import background as told

matplotlib.use("agg")
ABOUT = {"commit": "0" * 40, "torch": "2", "device": "cpu", "threads": 1, "alone": True, "date": "2026-01-01"}
CHAPTER = Settings(profile="published")


class Pixels(torch.nn.Module):
    """A "model" that returns the pixels as logits, padded to ten classes, and can only be used in eval mode."""

    def forward(self, x):
        """Return the pixels as logits."""
        assert not self.training
        logits = 10 * x.flatten(1)
        return torch.cat([logits, torch.full((len(x), 10 - logits.shape[1]), -100.0)], 1)


@pytest.fixture
def three() -> Dataset:
    """Seven images of three pixels; class 2 is never recognised."""
    # no margin is a whole number of steps of these tests: two equal pixels would leave the prediction to rounding
    first = [[0.5, 0.63, 0.1], [0.91, 0.14, 0.03], [0.83, 0.21, 0.1], [0.2, 0.92, 0.03]]
    last = [[0.9, 0.2, 0.1], [0.31, 0.44, 0.2], [0.52, 0.49, 0.1]]
    x = torch.tensor([*first, *last])[:, None, None]
    y = torch.tensor([0, 0, 0, 1, 2, 1, 0])
    return Dataset("digits", x, y, x, y)


@pytest.fixture
def spec():
    return replace(run_spec("digits", "vanilla", monitor=None), epsilon=0.2)


def decode(result):
    return np.frombuffer(base64.b64decode(result["pixels"]), np.uint8).reshape(result["shape"])


# --- base -------------------------------------------------------------------------------------------------------


def test_ids_tell_every_setting_apart_and_equal_ones_together():
    specs = [Climb(), Climb(images=7), Climb(seed=1), Climb(attack="BIM(5,40)"), Climb(semantics=2), Gallery()]
    specs += [Gallery(images=2), Gallery(seed=1), EvalSpec(attack="BIM(10,40)")]
    assert len({spec.id for spec in specs}) == len(specs)
    assert Climb(attack="BIM(10, 40)").id == Climb().id
    assert Climb().id.startswith("climb-")


def test_a_measure_without_its_work_is_none():
    with pytest.raises(TypeError, match="abstract class Measure"):
        Measure()


def test_take_measures_once_and_finds_it_again(own_store, monkeypatch):
    calls = []

    class Count(Measure):
        def work(self, spec, model, dataset):
            calls.append((spec.id, model.training, dataset.name))
            return {"n": 3}

    spec = run_spec("digits", "vanilla", epochs=1, monitor=None)
    run = own_store.finish(spec, build_model(spec), [], {"seconds": 1.0}, ABOUT)
    first = take(run, Count(), store=own_store, device="cpu")
    again = take(run, Count(), store=own_store, device="cpu")
    assert first == again == own_store.evaluation(run, Count())
    assert first["n"] == 3
    assert first["weights"] == run.weights
    assert calls == [(spec.id, False, "digits")]


def test_take_evaluates_an_evaluation(own_store):
    spec = run_spec("digits", "vanilla", epochs=1, monitor=None)
    run = own_store.finish(spec, build_model(spec), [], {"seconds": 1.0}, ABOUT)
    result = take(run, EvalSpec(attack="none", images=20), store=own_store, device="cpu")
    assert result["images"] == 20
    assert result["true"] == result["predicted"]


# --- gallery ----------------------------------------------------------------------------------------------------


def test_gallery_takes_the_first_right_image_of_each_class_and_passes_over_the_others(three, spec):
    result = Gallery(images=3).work(spec, Pixels().eval(), three)
    # image 0 is of class 0 and taken for 1; class 2 is never right
    assert result["index"] == [1, 3]
    assert result["label"] == result["predicted"][0] == [0, 1]
    assert Gallery(images=1).work(spec, Pixels().eval(), three)["index"] == [1]
    json.dumps(result, allow_nan=False)


def test_gallery_holds_the_examples_that_it_judges(three, spec):
    model = Pixels().eval()
    result = Gallery(images=2).work(spec, model, three)
    pixels = decode(result) / 255
    chosen = three.x_test[result["index"]]
    assert result["rows"] == ["Original", *ATTACKS, LITERAL]
    # FGSM on the pixels themselves: down with the true one, up with the others, cut at 0 and 1
    by_hand = {1: [0.71, 0.34, 0.23], 3: [0.4, 0.72, 0.23]}
    for i, image in enumerate(result["index"]):
        assert np.abs(pixels[0, i].ravel() - three.x_test[image].numpy().ravel()).max() <= 0.5 / 255 + 1e-6
        assert np.abs(pixels[1, i].ravel() - by_hand[image]).max() <= 0.5 / 255 + 1e-6
    for row, picture in enumerate(pixels):
        moved = np.abs(picture - chosen.numpy()).max((1, 2, 3)) / spec.epsilon
        assert np.abs(moved - result["distance"][row]).max() <= 0.5 / 255 / spec.epsilon + 1e-3
        limit = 1 + 1e-4 if result["rows"][row] != LITERAL else 1 / spec.epsilon
        assert max(result["distance"][row]) <= limit
    # forty steps of 0.02
    assert result["distance"][-1] == pytest.approx([4.0, 4.0], abs=1e-3)
    shares = torch.softmax(10 * torch.tensor(by_hand[1]), 0)
    assert result["predicted"][1][0] == int(shares.argmax())
    assert result["confidence"][1][0] == pytest.approx(100 * float(shares.max()), abs=0.1)


def test_gallery_s_random_starts_follow_its_seed(three, spec):
    model = Pixels().eval()
    one, same, other = (decode(Gallery(images=2, seed=seed).work(spec, model, three)) for seed in (0, 0, 1))
    assert (one == same).all()
    random = [1 + ATTACKS.index("R+FGSM")]
    assert (one[random] != other[random]).any()
    fixed = [0, 1 + ATTACKS.index("FGSM"), 1 + ATTACKS.index("BIM(10,40)")]
    assert (one[fixed] == other[fixed]).all()


@pytest.mark.parametrize("bad", [{"images": 0}, {"images": 11}, {"images": 2.0}, {"seed": -1}])
def test_gallery_refuses(bad):
    with pytest.raises(InputError):
        Gallery(**bad)


# --- climb ------------------------------------------------------------------------------------------------------


def slow_climb(x_hat, y, epsilon, n1, n2, literal):
    """BIM on pixels as logits with the gradient written out, in float64: every step of every image."""
    steps = [x_hat.copy()]
    for _ in range(n2):
        x = steps[-1].copy()
        for i, image in enumerate(steps[-1]):
            share = np.exp(10 * image) / np.exp(10 * image).sum()
            for j, pixel in enumerate(image):
                moved = pixel + epsilon / n1 * np.sign(share[j] - (j == y[i]))
                if not literal:
                    moved = min(max(moved, x_hat[i, j] - epsilon), x_hat[i, j] + epsilon)
                x[i, j] = min(max(moved, 0), 1)
        steps.append(x)
    return np.stack(steps)


@pytest.mark.parametrize("literal", [False, True])
def test_climb_follows_both_readings_of_eq_3(three, spec, literal, monkeypatch):
    monkeypatch.setattr(gallery, "BATCH", 3)  # batches, and a last one that is short
    rule = "literal" if literal else "ball"
    found = Climb(attack="BIM(4,10)").work(spec, Pixels().eval(), three)[rule]
    x_hat, y = three.x_test.flatten(1).double().numpy(), three.y_test.numpy()
    steps = slow_climb(x_hat, y, spec.epsilon, 4, 10, literal)
    loss = np.log(np.exp(10 * steps).sum(2)) - 10 * steps[:, np.arange(7), y]
    distance = np.abs(steps - x_hat).max(2) / spec.epsilon
    assert found["loss"] == pytest.approx(loss.mean(1), abs=1e-4)
    assert found["loss_low"] == pytest.approx(np.quantile(loss, 0.25, axis=1), abs=1e-4)
    assert found["loss_high"] == pytest.approx(np.quantile(loss, 0.75, axis=1), abs=1e-4)
    assert found["wrong"] == (steps.argmax(2) != y).sum(1).tolist()
    assert found["distance"] == pytest.approx(distance.mean(1), abs=1e-4)
    assert found["farthest"] == pytest.approx(distance.max(1), abs=1e-4)
    assert found["outside"] == (distance > 1 + 1e-4).sum(1).tolist()


def test_the_readings_part_after_n1_steps(three, spec):
    found = Climb(attack="BIM(4,10)").work(spec, Pixels().eval(), three)
    ball, literal = found["ball"], found["literal"]
    for name in ball:
        assert ball[name][:5] == pytest.approx(literal[name][:5], abs=1e-5)
    assert ball["outside"] == [0] * 11
    assert literal["outside"][:5] == [0] * 5
    assert min(literal["outside"][5:]) == len(three.y_test)
    assert max(ball["farthest"]) <= 1.0001 < literal["farthest"][5]


def test_climb_s_sweep_is_each_attack_at_each_share(three, spec):
    model, y = Pixels().eval(), three.y_test
    found = Climb().work(spec, model, three)
    assert found["images"] == 7
    assert found["attacks"] == ["Original", *ATTACKS]
    assert found["shares"] == list(SHARES)
    for share, patterns, losses in zip(SHARES, found["patterns"], found["losses"], strict=True):
        assert sum(patterns.values()) == 7
        for k, name in ((0, None), (1, "FGSM"), (3, "BIM(10,40)")):
            attack = name and Attack.parse(name, epsilon=share * spec.epsilon)
            logits = model(attack(model, three.x_test, y) if attack else three.x_test)
            wrong = sum(count for key, count in patterns.items() if key[k] == "1")
            assert wrong == int((logits.argmax(1) != y).sum())
            assert losses[k] == pytest.approx(float(cross_entropy(logits, y)), abs=1e-5)
    # the joint history: images 0 and 4 are wrong when clean, 6 and 5 are right by less than 2 * 0.2
    assert found["patterns"][-1] == {"00000": 3, "01111": 2, "11111": 2}
    json.dumps(found, allow_nan=False)


def test_climb_takes_the_first_images_and_follows_its_seed(three, spec):
    model = Pixels().eval()
    part = Climb(images=2).work(spec, model, three)
    assert part["images"] == 2
    assert part["ball"]["wrong"][0] == 1
    one, same, other = (Climb(seed=seed).work(spec, model, three) for seed in (0, 0, 1))
    assert one == same
    madry = 1 + ATTACKS.index("R+FGSM")
    assert [losses[madry] for losses in one["losses"]] != [losses[madry] for losses in other["losses"]]
    assert one["ball"] == other["ball"]


def test_measures_leave_the_model_as_it_was(three, spec):
    model = Pixels().train()  # Pixels stops any forward in train mode
    Gallery(images=1).work(spec, model, three)
    Climb(images=2).work(spec, model, three)
    assert model.training


@pytest.mark.parametrize(
    "bad", [{"attack": "FGSM"}, {"attack": "BIM(10,10)"}, {"attack": "Madry(10,40)"}, {"images": 0}, {"seed": 0.5}]
)
def test_climb_refuses(bad):
    with pytest.raises(InputError):
        Climb(**bad)


# --- tables -----------------------------------------------------------------------------------------------------

PATTERNS = [{"00000": 60, "00011": 30, "01111": 5, "01000": 2, "11111": 3}] * 3
PATTERNS += [{"00000": 10, "00010": 5, "00011": 60, "01111": 22, "11111": 3}]


def climbed(turn=0):
    """Return what Climb would store of 100 images; ``turn`` moves as many images to those that only BIM fools."""
    ball = {"loss": [0.1, 2.0, 3.0, 4.0], "loss_low": [0.0] * 4, "loss_high": [9.0] * 4, "wrong": [3, 50, 80, 90]}
    ball |= {"distance": [0.0, 0.5, 1.0, 1.0], "farthest": [0.0, 0.5, 1.0, 1.0], "outside": [0, 0, 0, 0]}
    literal = ball | {"distance": [0.0, 0.5, 1.0, 1.5], "farthest": [0.0, 0.5, 1.0, 1.5], "outside": [0, 0, 0, 97]}
    last = PATTERNS[3] | {"00000": 10 - turn, "00011": 60 + turn}
    losses = [[0.1, 1.0, 0.8, 1.5, 1.6]] * 3 + [[0.1, 2.5, 2.0, 5.0, 5.5]]
    found = {"images": 100, "ball": ball, "literal": literal, "attacks": ["Original", *ATTACKS]}
    return found | {"shares": list(SHARES), "patterns": [*PATTERNS[:3], last], "losses": losses}


def drawn(channels=1):
    """Return what Gallery would store of two images of 2 x 2 pixels: FGSM moves the first pixel by 51 levels."""
    pixels = np.full((6, 2, channels, 2, 2), 100, np.uint8)
    pixels[1:, :, :, 0, 0] = 151
    said = {"predicted": [[0, 1], [5, 1], [0, 1], [5, 5], [5, 5], [5, 5]], "confidence": [[99.9, 80.0]] * 6}
    text = base64.b64encode(pixels.tobytes()).decode()
    distance = [[0.0, 0.0]] + [[0.6667, 0.6667]] * 4 + [[3.3333, 3.0]]
    rows = {"rows": ["Original", *ATTACKS, LITERAL], "shape": list(pixels.shape), "pixels": text}
    return rows | {"index": [3, 2], "label": [0, 1], "distance": distance} | said


@pytest.fixture
def stored(tmp_path):
    """Return a function that makes a store in which only some data sets' nets were run, and the chapter's runs."""

    def make(*datasets):
        store, found = Store(tmp_path / "runs"), []
        for name in CHAPTER.datasets:
            spec, run = spec_of(CHAPTER, name, "vanilla"), None
            if name in datasets:
                run = store.finish(spec, torch.nn.Linear(1, 1), [], {"seconds": 1.0}, ABOUT)
                store.add_evaluation(run, Climb(), climbed())
                store.add_evaluation(run, Gallery(), drawn(3 if name == "cifar10" else 1))
            found.append((spec, run))
        return store, found

    return make


def test_strength_counts_what_the_histories_say(stored):
    store, found = stored("mnist")
    power = tables.strength(found, store=store)
    assert set(power.net) == {"MNIST: Vanilla"}
    assert len(power) == len(SHARES) * 5
    full = power[power.share == 1].set_index("attack")
    assert full.correct.to_dict() == {"Original": 97, "FGSM": 75, "R+FGSM": 75, "BIM(10,40)": 10, "Madry(10,40)": 15}
    assert full.turned["BIM(10,40)"] == 87
    assert (full.only_attack["BIM(10,40)"], full.only_fgsm["BIM(10,40)"]) == (65, 0)
    low = power[power.share == SHARES[0]].set_index("attack")
    assert (low.only_attack["BIM(10,40)"], low.only_fgsm["BIM(10,40)"]) == (30, 2)
    assert (full.low < full.accuracy).all()
    assert (full.accuracy < full.high).all()
    assert full.accuracy["FGSM"] == pytest.approx(75)


def test_paired_difference_agrees_with_a_bootstrap_and_stays_in_range():
    # the interval is Bonett and Price's; images redrawn give nearly the same where both counts are large
    generator = np.random.default_rng(0)
    more, less, images = 140, 60, 1000
    drawn_again = generator.multinomial(images, [more / images, less / images, 1 - (more + less) / images], 20_000)
    spread = 100 * np.quantile((drawn_again[:, 0] - drawn_again[:, 1]) / images, [0.025, 0.975])
    points, low, high = tables.difference(more, less, images)
    assert points == pytest.approx(8.0)
    assert [low, high] == pytest.approx(spread, abs=0.15)
    assert tables.difference(less, more, images) == pytest.approx((-points, -high, -low))
    # five images against none are not enough at 5 %, as in an exact sign test; six are
    assert tables.difference(5, 0, 1000)[1] < 0 < tables.difference(6, 0, 1000)[1]
    assert tables.difference(1, 0, 1)[2] == 100


def test_difference_interval_by_hand():
    # n = 8, b = 3, c = 1: p = 0.4, q = 0.2, and 1.96 * sqrt((0.6 - 0.04) / 10) = 0.4638
    points, low, high = tables.difference(3, 1, 8)
    assert (points, low, high) == pytest.approx((25.0, 100 * (0.2 - 0.4638), 100 * (0.2 + 0.4638)), abs=0.01)


def test_verdicts():
    assert claims.judge(3, 1, 5) == "holds"
    assert claims.judge(3, -1, 7) == "undecided"
    assert claims.judge(-3, -7, -1) == "does not hold"
    assert claims.judge(-3, -7, 1) == "undecided"
    assert claims.judge(0, 0, 4) == "does not hold", "none of so many images"
    assert claims.judge(*[float("nan")] * 3) == "not tested"
    assert claims.judge(60, 49, 71, above=50) == "undecided"
    assert claims.judge(45, 40, 49, above=50) == "does not hold"


def accuracies(right, images=10_000):
    """Vanilla's rows on MNIST, as of Table 3's attacks on the whole test set."""
    rows = [{"attack": attack, "true": value} for attack, value in right.items()]
    return pd.DataFrame(rows).assign(dataset="mnist", method="vanilla", seed=0, images=images)


def test_claims_where_the_run_is_there_and_where_it_is_not(stored):
    store, found = stored("mnist")
    power, path = tables.strength(found, store=store), tables.steps(found, store=store)
    frame = accuracies({"FGSM": 75.0, "BIM(10,40)": 10.0, "Madry(10,40)": 15.0})
    mnist = claims.claims(power, path, frame, "mnist")
    # the weaker of the two iterated attacks is Madry
    assert [text.split(" [")[0] for text in mnist.ours] == ["60.00", f"{100 * 87 / 97:.2f}", "97.00"]
    assert list(mnist.verdict) == ["holds", "does not hold", "holds"], "87 of 97 are not almost every image"
    almost = power.assign(turned=power.turned.replace(87, 97))
    assert list(claims.claims(almost, path, frame, "mnist").verdict) == ["holds"] * 3
    assert list(mnist.claim) == ["C2.1", "C2.2", "C2.3"]
    assert list(mnist.paper) == [f"{4.46 - 0.94:.2f}", "-", "-"]
    for name in ("fmnist", "cifar10"):
        missing = claims.claims(power, path, frame, name)
        assert list(missing.verdict) == ["not tested"] * 3
        assert list(missing.ours) == ["not run"] * 3
    # the paper attacks CIFAR10 with BIM(4,20): there is nothing to compare with
    assert claims.claims(power, path, frame, "cifar10").paper.iloc[0] == "-"


def test_claims_can_fail(stored):
    store, found = stored("mnist")
    power, path = tables.strength(found, store=store), tables.steps(found, store=store)
    none = path.assign(outside=0)
    few = power.assign(turned=10)
    frame = accuracies({"FGSM": 75.0, "BIM(10,40)": 10.0, "Madry(10,40)": 80.0})
    assert claims.claims(power, none, frame, "mnist").verdict.iloc[2] == "does not hold"
    assert claims.claims(few, path, frame, "mnist").verdict.iloc[1] == "does not hold"
    assert claims.claims(power, path, frame, "mnist").verdict.iloc[0] == "does not hold"
    close = accuracies({"FGSM": 75.0, "BIM(10,40)": 10.0, "Madry(10,40)": 74.5})
    assert claims.claims(power, path, close, "mnist").verdict.iloc[0] == "undecided"


def test_strength_table_shows_ours_beside_the_paper_s_and_what_was_not_run(stored):
    store, found = stored("mnist")
    table = tables.strength_table(tables.strength(found, store=store), found)
    ours = table.loc[("MNIST: Vanilla", "1", "ours")]
    assert ours["FGSM"] == "75.0"
    assert ours["R+FGSM"] == "75.0"
    printed = table.loc[("MNIST: Vanilla", "1", "paper, Table 3")]
    assert list(printed) == ["98.84", "4.46", "-", "0.94", "0.87"]
    assert table.loc[("FMNIST: Vanilla", "1", "ours"), "Original"] == "not run"
    assert list(table.loc[("CIFAR10: Vanilla", "1", "paper, Table 3")]) == ["91.74", "17.89", "-", "-", "-"]


def test_pairs_table(stored):
    store, found = stored("mnist")
    table = tables.pairs_table(tables.strength(found, store=store))
    row = table.loc[("MNIST: Vanilla", "1", "BIM(10,40)")]
    assert (row["only this fools"], row["only FGSM fools"]) == (65, 0)
    assert row["FGSM's accuracy less this one's"].startswith("65.0 [")
    assert row["mean loss / FGSM's"] == "2.00"
    assert len(table) == 2 * len(SHARES)


def test_pictures_and_what_is_seen_of_them(stored):
    store, found = stored("fmnist", "cifar10")
    frame = tables.pictures(found, store=store)
    assert len(frame) == 2 * 6 * 2
    first = frame[(frame.dataset == "fmnist") & (frame.attack == "FGSM")].iloc[0]
    assert (first.image, first.label, first.predicted, first.fooled) == (3, "T-shirt", "sandal", True)
    assert first.pixels.shape == (1, 2, 2)
    assert first.pixels[0, 0, 0] == pytest.approx(151 / 255)
    assert frame[frame.dataset == "cifar10"].pixels.iloc[0].shape == (3, 2, 2)
    assert not frame[frame.attack == "Original"].fooled.any()
    table = tables.seen(frame)
    assert table.loc[("FMNIST: Vanilla", "no. 3: T-shirt"), "FGSM"] == "sandal (99.9 %)"
    # the printed rule goes beyond epsilon and is no part of the four attacks
    assert LITERAL not in table.columns
    assert set(table["farthest (epsilon)"]) == {"0.667"}


def test_class_names_are_ten_a_data_set():
    assert {name: len(set(names)) for name, names in tables.CLASS_NAMES.items()} == {"fmnist": 10, "cifar10": 10}


def test_steps(stored):
    store, found = stored("mnist")
    path = tables.steps(found, store=store)
    literal = path[path.rule == tables.AS["literal"]]
    assert list(literal.step) == [0, 1, 2, 3]
    assert list(literal.accuracy) == [97, 50, 20, 10]
    assert list(literal.distance) == [0, 0.5, 1, 1.5]


def test_words_say_what_the_numbers_say(stored):
    store, found = stored("mnist")
    power, path = tables.strength(found, store=store), tables.steps(found, store=store)
    fooled = told.fooled(power)
    assert fooled.startswith("- **MNIST: Vanilla.** Of 100 test images 97.0 % are classified correctly.")
    assert "FGSM 75.0 %, R+FGSM 75.0 %, BIM(10,40) 10.0 %, Madry(10,40) 15.0 %" in fooled
    assert "fewer than half right is ε." in fooled
    assert "more than half right at every size" in told.fooled(power.assign(accuracy=80.0))
    stronger = told.stronger(power, path)
    assert "65 of 100 images fall to BIM(10,40) and not to FGSM, 0 the other way round" in stronger
    assert "widest at ε: 65.0 points" in stronger
    assert "2.0 times FGSM's" in stronger
    assert "passes FGSM's loss at step 2 of 3" in stronger
    assert "never passes" in told.stronger(power, path.assign(loss=0.0))
    ball = told.ball(path)
    assert "97 of 100 examples are outside the ball after step 3, and none before" in ball
    assert "they are 1.50 ε" in ball
    assert "accuracy alone does not show" in ball
    assert "no example leaves the ball" in told.ball(path.assign(outside=0))
    apart = path.assign(accuracy=path.accuracy.where(path.rule == tables.AS["ball"], path.accuracy / 2))
    assert "accuracy alone" not in told.ball(apart)


def test_not_run_names_what_is_missing(stored):
    store, found = stored("mnist")
    line = tables.not_run(found, tables.strength(found, store=store))
    assert line == "Not run or not measured yet: FMNIST: Vanilla, CIFAR10: Vanilla."
    store, found = stored("mnist", "fmnist", "cifar10")
    assert tables.not_run(found, tables.strength(found, store=store)).startswith("Every net")


def test_threat_points_and_costs(stored):
    table = tables.threat(stored()[1])
    assert table.loc["MNIST"].tolist() == ["0.3", "76.5"]
    assert table.loc["CIFAR10"].tolist() == ["0.03137", "8"]
    points = tables.points(torch.tensor([[0.25, 0.5], [0.75, 1.0]])[:, None, None], torch.tensor([0, 1]))
    assert points.to_dict("list") == {"first": [0.25, 0.75], "second": [0.5, 1.0], "label": [0, 1]}
    assert tables.costs()["F an image"].to_dict() == {"FGSM": 2, "R+FGSM": 2, "BIM(10,40)": 80, "Madry(10,40)": 80}


# --- figures ----------------------------------------------------------------------------------------------------


@pytest.fixture
def close():
    yield
    plt.close("all")


def figures(store, found):
    frame, power = tables.pictures(found, store=store), tables.strength(found, store=store)
    path = tables.steps(found, store=store)
    return {
        "gallery": plots.gallery(frame, attacks=ATTACKS, rows=2, title="a"),
        "strength": plots.strength(power, title="b"),
        "climb": plots.climb(path, power, rule=tables.AS["ball"], n1=2, title="c"),
        "ball": plots.ball(path, frame, examples={"projected": "BIM(10,40)", "printed": LITERAL}, title="d"),
    }


@pytest.mark.parametrize("datasets", [(), ("mnist", "cifar10")])
def test_figures_draw_whatever_was_run(stored, datasets, close):
    drawn_figures = figures(*stored(*datasets))
    for figure in drawn_figures.values():
        figure.draw_without_rendering()  # a layout that does not fit is a warning, and so an error
        if not datasets:
            assert [text.get_text() for text in figure.axes[0].texts] == ["not run"]
    if datasets:
        # two images of nine pictures for each net, and the scale
        assert len(drawn_figures["gallery"].axes) == len(datasets) * 2 * 9 + 1
        assert len(drawn_figures["strength"].axes) == len(datasets)
        assert len(drawn_figures["ball"].axes) == 4 * len(datasets)


def test_a_net_without_pictures_is_drawn_without_them(stored, close):
    """A defended net may be followed step by step and not be in the gallery: the chapter shows what there is."""
    store, found = stored("mnist")
    spec = spec_of(CHAPTER, "mnist", "sim")
    run = store.finish(spec, torch.nn.Linear(1, 1), [], {"seconds": 1.0}, ABOUT)
    store.add_evaluation(run, Climb(), climbed())
    found.append((spec, run))
    drawn_figures = figures(store, found)
    axes = drawn_figures["ball"].axes
    assert [panel.axison for panel in axes] == [True] * 6 + [False] * 2
    assert len(drawn_figures["gallery"].axes) == 2 * 9 + 1
    power, path = tables.strength(found, store=store), tables.steps(found, store=store)
    assert "**MNIST: SIM(10,20)-Adv.**" in told.ball(path)
    assert ("MNIST: SIM(10,20)-Adv", "1", "ours") in tables.strength_table(power, found).index
    # the undefended net alone decides
    better = path.assign(outside=path.outside.where(path.method == "vanilla", 0))
    frame = accuracies({"FGSM": 75.0, "BIM(10,40)": 10.0})
    assert claims.claims(power, better, frame, "mnist").verdict.iloc[2] == "holds"


def test_figures_show_the_numbers(stored, close):
    drawn_figures = figures(*stored("mnist"))
    lines = {line.get_label(): line for line in drawn_figures["climb"].axes[0].lines}
    assert list(lines["BIM(10,40), mean"].get_ydata()) == [0.1, 2.0, 3.0, 4.0]
    assert set(lines["FGSM, mean"].get_ydata()) == {2.5}
    distance, accuracy = drawn_figures["ball"].axes[:2]
    assert list(distance.lines[1].get_ydata()) == [0, 0.5, 1, 1.5]
    assert list(accuracy.lines[0].get_ydata()) == [97, 50, 20, 10]
    bars = {bar.get_label(): bar for bar in drawn_figures["strength"].axes[0].containers}
    assert list(bars["FGSM"].lines[0].get_ydata()) == [97, 90, 90, 90, 75]
    assert list(bars["FGSM"].lines[0].get_xdata()) == [0, *SHARES]
    change = drawn_figures["gallery"].axes[1].images[0].get_array()
    assert change.data == pytest.approx(np.array([[51 / 255 / 0.3, 0], [0, 0]]))
    words = [text.get_text() for text in drawn_figures["gallery"].texts]
    assert "0\n99.9 %" in words
    assert "5\n99.9 %" in words


def test_boundaries_lie_where_the_nets_are_undecided(close):
    points = pd.DataFrame({"first": [0.2, 0.8], "second": [0.4, 0.6], "label": [0, 1]})
    nets = {"Vanilla": (1.0, 4.0, -2.0), "FGSM-Adv": (5.0, 1.0, -3.0)}
    axes = plots.boundaries(points, nets, epsilon=0.1).axes[0]
    assert len(axes.lines) == 2
    for line, (a, b, c) in zip(axes.lines, nets.values(), strict=True):
        first, second = line.get_data()
        assert np.abs(a * first + b * second + c).max() < 1e-9
    corners = [(patch.get_x(), patch.get_y(), patch.get_width()) for patch in axes.patches]
    assert corners == [pytest.approx((0.1, 0.3, 0.2)), pytest.approx((0.7, 0.5, 0.2))]
