"""Specs of runs and evaluations: ids that hold, settings that belong, bad values refused with what is allowed."""

from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simadv import runs
from simadv.adversaries import RESETS
from simadv.checks import InputError
from simadv.specs import METHODS, EvalSpec, RunSpec, run_spec
from simadv.store import PUBLISHED, Store

ATTACKED = {"labels", "projection", "mode"}
STEPS = ATTACKED | {"n1", "n2"}
ADAPTED = {"lambda_", "beta", "coral"}
# what each method of the paper can be told, beyond the model and its optimiser
OWN = {
    "vanilla": set(),
    "fgsm": ATTACKED,
    "rfgsm": ATTACKED,
    "bim": STEPS,
    "madry": STEPS,
    "atda": ATTACKED | ADAPTED,
    "bim-atda": STEPS | ADAPTED,
    "free": {"m"},
    "sim": STEPS | {"reset"},
    "sim-k": STEPS | {"reset", "k"},
    "free-sim": {"n1", "n2", "reset", "momentum", "fresh"},
    "rs-fgsm": ATTACKED | {"n1"},
    "n-fgsm": {"labels", "mode"},
    "atta": STEPS | {"reset"},
    "mep": {"n1", "n2", "momentum", "lambda_"},
}
LIKELY = {
    "n1": 10,
    "n2": 30,
    "m": 10,
    "lambda_": 0.5,
    "beta": 0.1,
    "coral": "cov",
    "reset": "cycle",
    "labels": "true",
    "projection": "ball",
    "mode": "eval",
    "k": 3,
    "momentum": 0.9,
    "fresh": 5,
}


def test_ids_have_not_changed():
    # stored runs are found by them: another hash would hide every one of them
    assert run_spec("mnist", "sim").id == "mnist/sim-10-20-lr1e-4-s0-cf0462"
    assert run_spec("mnist", "atda", lr=1e-3).id == "mnist/atda-lr1e-3-s0-49a6be"
    assert run_spec("cifar10", "free").id == "cifar10/free-10-lr1e-1-s0-332fe7"
    assert EvalSpec(attack="BIM(10,40)").id == "bim-10-40-aa2cfe"
    published = Store(PUBLISHED)
    for run_id in published.ids():
        assert published.get(run_id).spec.id == run_id


def test_an_id_tells_what_the_run_is():
    spec = run_spec("fmnist", "sim", n1=4.5, n2=16, reset="staggered", model="lenet_wide", epochs=7, lr=3e-4, seed=5)
    assert spec.id.startswith("fmnist/sim-4.5-16-staggered-lenet_wide-e7-lr3e-4-s5-")
    assert run_spec("mnist", "free", m=8).id.startswith("mnist/free-8-lr1e-4-s0-")


# one setting changed at a time, each from a spec that has it
CHANGED = [
    *(
        (run_spec("mnist", "sim"), change)
        for change in (
            {"dataset": "fmnist"},
            {"model": "lenet_wide"},
            {"epochs": 61},
            {"lr": 1.0000001e-4},
            {"seed": 1},
            {"epsilon": 0.30000001},
            {"batch_size": 127},
            {"optimizer": "sgd"},
            {"schedule": "steps"},
            {"weight_decay": 1e-9},
            {"augment": "pad-crop-flip"},
            {"precision": "float32"},
            {"images": 60_000},
            {"monitor": None},
            {"monitor": "BIM(10,41)"},
            {"monitor_images": 999},
            {"n1": 10.5},
            {"n2": 21},
            {"reset": "never"},
            {"labels": "predicted"},
            {"projection": "literal"},
            {"mode": "train"},
            {"semantics": 3},
        )
    ),
    (run_spec("mnist", "bim"), {"method": "madry"}),
    (run_spec("mnist", "free"), {"m": 11}),
    (run_spec("mnist", "atda"), {"lambda_": 0.0}),
    (run_spec("mnist", "atda"), {"beta": 0.2}),
    (run_spec("mnist", "atda"), {"coral": "cov"}),
    (run_spec("mnist", "sim-k"), {"k": 3}),
    (run_spec("mnist", "free-sim"), {"momentum": 0.3}),
    (run_spec("mnist", "free-sim"), {"fresh": 5}),
]


@pytest.mark.parametrize(("spec", "change"), CHANGED, ids=lambda value: str(value) if isinstance(value, dict) else "")
def test_every_setting_changes_the_id(spec, change):
    other = replace(spec, **change)
    assert other != spec
    assert other.id.rsplit("-", 1)[1] != spec.id.rsplit("-", 1)[1]
    (name,) = change
    assert spec.differs(other) == [f"{name}: {getattr(spec, name)!r} != {change[name]!r}"]


def test_every_setting_was_changed():
    assert {name for _, change in CHANGED for name in change} == {field.name for field in fields(RunSpec)}


settings_of_sim = st.fixed_dictionaries(
    {"n1": st.sampled_from([1, 10, 10.0, 0.1]), "n2": st.sampled_from([1, 10])},
    optional={
        "lr": st.sampled_from([1, 1.0, 1e-4, 0.0001]),
        "epsilon": st.sampled_from([0.3, 1, 8 / 255]),
        "weight_decay": st.sampled_from([0, 0.0, 5e-4]),
        "epochs": st.sampled_from([10, 60]),
        "reset": st.sampled_from(RESETS),
        "seed": st.integers(0, 2),
    },
)


@given(settings_of_sim, settings_of_sim)
def test_two_specs_have_one_id_exactly_if_they_are_one_run(mine, yours):
    a, b = run_spec("mnist", "sim", **mine), run_spec("mnist", "sim", **yours)
    assert (a.id == b.id) == (a == b) == (asdict(a) == asdict(b))
    assert RunSpec(**asdict(a)).id == a.id


@pytest.mark.parametrize(
    ("method", "one", "same"),
    [
        ("sim", {"n1": 10}, {"n1": 10.0}),
        ("sim", {"lr": 1, "epsilon": 1, "weight_decay": 0}, {"lr": 1.0, "epsilon": 1.0, "weight_decay": 0.0}),
        ("atda", {"lambda_": 1, "beta": 1}, {"lambda_": 1.0, "beta": 1.0}),
        ("sim", {"monitor": "BIM(10, 40)"}, {"monitor": "BIM(10.0,40)"}),
        ("sim", {"monitor": " BIM(10,40) "}, {}),
    ],
)
def test_two_ways_to_write_a_value_are_one_run(method, one, same):
    a, b = run_spec("mnist", method, **one), run_spec("mnist", method, **same)
    assert a == b
    assert a.id == b.id


def test_the_table_of_methods_is_the_papers():
    assert set(METHODS) == set(OWN)
    for method, own in OWN.items():
        spec = run_spec("mnist", method)
        assert {name for name in LIKELY if getattr(spec, name) is not None} == own


@pytest.mark.parametrize("method", OWN)
def test_a_method_has_exactly_its_settings(method):
    for name, value in LIKELY.items():
        if name in OWN[method]:
            assert getattr(run_spec("mnist", method, **{name: value}), name) == value
            change, verb = {name: None}, "needs"
        else:
            change, verb = {name: value}, "has no"
        with pytest.raises(InputError, match=f"^method '{method}' {verb} {name}; it has: ") as refusal:
            run_spec("mnist", method, **change)
        listed = str(refusal.value).split("it has: ")[1].split(", ")
        assert set(listed) >= OWN[method]
        assert not set(listed) & (LIKELY.keys() - OWN[method])


NAMES = {
    "dataset": ["digits", "mnist", "fmnist", "cifar10"],
    "method": list(OWN),
    "model": ["lenet", "lenet_wide", "resnet20"],
    "optimizer": ["adam", "sgd"],
    "schedule": ["constant", "steps"],
    "augment": ["none", "pad-crop-flip"],
    "precision": ["float32", "bf16"],
    "reset": ["cycle", "staggered", "never", "random"],
    "labels": ["true", "predicted"],
    "projection": ["ball", "literal"],
    "mode": ["eval", "train"],
    "coral": ["scatter", "cov"],
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["nonsense", "", 5, True])
def test_an_unknown_name_is_refused_with_those_that_are_known(name, value):
    method = "bim-atda" if name == "coral" else "sim"
    words = {"dataset": "mnist", "method": method} | {name: value}
    with pytest.raises(InputError) as refusal:
        run_spec(words.pop("dataset"), words.pop("method"), **words)
    message = str(refusal.value)
    assert message.startswith(f"{name} = {value!r} is not known")
    assert message.endswith(f"; allowed: {', '.join(NAMES[name])}")


def test_a_misspelt_name_is_guessed():
    with pytest.raises(InputError, match=r"dataset = 'minst' is not known .did you mean 'mnist'"):
        run_spec("minst", "sim")
    with pytest.raises(InputError, match=r"setting = 'epoch' is not known .did you mean 'epochs'.*allowed: .*, n1, n2"):
        run_spec("mnist", "sim", epoch=5)
    for fixed in ("semantics", "id"):
        with pytest.raises(InputError, match=f"setting = '{fixed}' is not known"):
            run_spec("mnist", "sim", **{fixed: 2})


NAN, INF = float("nan"), float("inf")
WHOLE = {"epochs": 1, "batch_size": 1, "monitor_images": 1, "images": 1, "n2": 1, "m": 1, "seed": 0}
REAL = {"lr": "above", "epsilon": "above", "n1": "above", "beta": "above", "lambda_": "least", "weight_decay": "least"}


def method_with(name: str) -> str:
    return "free" if name == "m" else "bim-atda" if name in ADAPTED else "sim"


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("value", [-1, 1.0, 2.5, NAN, INF, True, False, "2", "1e-4", [2]])
def test_what_must_be_whole_is_whole(name, value):
    with pytest.raises(InputError, match=rf"^{name} = .* must be .*at least {WHOLE[name]}$"):
        run_spec("mnist", method_with(name), **{name: value})


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("value", [-1, -1e-9, NAN, INF, -INF, True, False, "0.1", "1e-4", 1j, [1.0]])
def test_what_must_be_a_number_is_a_number_in_range(name, value):
    with pytest.raises(InputError, match=rf"^{name} = .* must be (a finite number|above 0|at least 0)$"):
        run_spec("mnist", method_with(name), **{name: value})


@pytest.mark.parametrize("name", WHOLE | REAL)
def test_zero_is_allowed_only_where_it_means_something(name):
    if name in ("seed", "lambda_", "weight_decay"):
        assert getattr(run_spec("mnist", method_with(name), **{name: 0}), name) == 0
    else:
        with pytest.raises(InputError, match=rf"^{name} = 0 must be (above 0|at least 1)$"):
            run_spec("mnist", method_with(name), **{name: 0})


@pytest.mark.parametrize(
    "name", ["epochs", "lr", "seed", "epsilon", "batch_size", "weight_decay", "monitor_images", "model", "optimizer"]
)
def test_what_every_run_needs_cannot_be_none(name):
    with pytest.raises(InputError, match=f"{name} = None"):
        run_spec("mnist", "sim", **{name: None})


@pytest.mark.parametrize(
    ("monitor", "message"),
    [
        ("nonsense", "allowed: FGSM, R.FGSM, BIM, Madry"),
        ("BIM", r"BIM, Madry and CW take \(n1,n2\)"),
        ("FGSM(1,2)", "FGSM, R.FGSM none"),
        ("BIM(10;40)", "not understood; write FGSM"),
        ("BIM(0,40)", "n1 = 0 must be above 0"),
        ("BIM(1.2.3,40)", "not understood; write FGSM"),
        ("BIM(10,0)", "n2 = 0 must be at least 1"),
        ("Madry(10,20)x0", "restarts = 0 must be at least 1"),
        ("", "not understood"),
        (5, "attack = '?5"),
    ],
)
def test_an_attack_that_is_no_attack_is_refused_wherever_it_is_given(monitor, message):
    with pytest.raises(InputError, match=message):
        run_spec("mnist", "sim", monitor=monitor)
    with pytest.raises(InputError, match=message):
        EvalSpec(attack=monitor)


@pytest.mark.parametrize(
    ("dataset", "model"),
    [("mnist", "resnet20"), ("digits", "resnet20"), ("cifar10", "lenet"), ("cifar10", "lenet_wide")],
)
def test_a_model_must_fit_the_images(dataset, model):
    with pytest.raises(InputError, match=f"model = '{model}' does not fit {dataset}: resnet20 is for cifar10, lenet"):
        run_spec(dataset, "sim", model=model)


def test_a_spec_cannot_be_changed_after_it_was_checked():
    with pytest.raises(AttributeError):
        run_spec("mnist", "sim").n1 = 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 60}, None),
        ({"epochs": 20}, None),
        ({"epochs": 50}, ["50 epochs are no multiple of n2 = 20", "10 epochs after a reset", "100%"]),
        ({"epochs": 65}, ["65 epochs are no multiple of n2 = 20", "5 epochs after a reset", "50%"]),
        ({"epochs": 3}, ["3 epochs are no multiple of n2 = 20", "3 epochs after a reset", "30%"]),
        ({"epochs": 65, "reset": "random"}, ["no multiple"]),
        ({"epochs": 65, "reset": "staggered"}, None),
        ({"epochs": 65, "reset": "never"}, None),
    ],
)
def test_a_cycle_that_is_cut_short_is_a_caution(changes, words):
    caution = run_spec("mnist", "sim", **changes).caution
    assert (caution is None) == (words is None)
    assert all(word in caution for word in words or [])


def test_cautions_count_steps_an_epoch_and_name_a_last_epoch_that_is_no_typical_one():
    assert "at 60% of epsilon or less" in run_spec("mnist", "sim-k", k=2, epochs=63, reset="cycle").caution
    free = {"reset": "never", "fresh": 5}
    assert "the last of 60 epochs has a fresh gradient" in run_spec("mnist", "free-sim", **free).caution
    assert run_spec("mnist", "free-sim", **free, epochs=61).caution is None


@pytest.mark.parametrize("make", [lambda **e: run_spec("mnist", "fgsm", **e), lambda **e: EvalSpec(attack="FGSM", **e)])
def test_epsilon_is_in_pixels_of_0_to_1(make):
    assert make(epsilon=1).epsilon == 1.0
    with pytest.raises(InputError, match="epsilon = 8 must be at most 1"):
        make(epsilon=8)


def test_a_seed_fits_the_generators():
    with pytest.raises(InputError, match=f"seed = {2**70} must be at most"):
        run_spec("mnist", "fgsm", seed=2**70)


def test_a_random_reset_is_not_said_to_be_near_the_image():
    caution = run_spec("mnist", "sim", reset="random", epochs=65).caution
    assert "5 epochs after a reset;" in caution
    assert "of epsilon" not in caution


@pytest.mark.parametrize(
    ("dataset", "name", "most"),
    [
        ("digits", "images", 1437),
        ("mnist", "images", 60_000),
        ("cifar10", "images", 50_000),
        ("digits", "monitor_images", 360),
        ("fmnist", "monitor_images", 10_000),
    ],
)
def test_no_more_images_than_there_are(dataset, name, most):
    assert getattr(run_spec(dataset, "vanilla", **{name: most}), name) == most
    with pytest.raises(InputError, match=rf"{name} = {most + 1} must be at most {most}: {dataset} has no more"):
        run_spec(dataset, "vanilla", **{name: most + 1})


def test_no_other_method_is_cautioned():
    cycles = ("sim", "sim-k", "free-sim")
    assert [method for method in OWN if run_spec("mnist", method, epochs=65).caution] == ["free", *cycles]


@pytest.mark.parametrize(("epochs", "trained"), [(1, 10), (4, 10), (14, 10), (16, 20), (65, 60)])
def test_free_adv_says_where_it_trains_other_epochs_than_it_was_asked_for(epochs, trained):
    told = f"each batch is replayed m = 10 times, so that {epochs} epochs are trained as {trained}"
    assert run_spec("mnist", "free", epochs=epochs).caution == told
    assert run_spec("mnist", "free", epochs=60).caution is None
    assert run_spec("mnist", "free", epochs=epochs, m=1).caution is None


def test_whole_numbers_of_numpy_make_the_same_spec():
    assert run_spec("mnist", "sim", n2=np.int64(20), seed=np.int32(1)) == run_spec("mnist", "sim", n2=20, seed=1)
    assert type(run_spec("mnist", "sim", seed=np.int32(1)).seed) is int
    assert EvalSpec(attack="FGSM", images=np.int64(3)).id == EvalSpec(attack="FGSM", images=3).id


def test_a_caution_is_a_warning_when_the_run_starts_and_the_run_goes_on(tmp_path):
    spec = run_spec("digits", "sim", epochs=1, n2=2, images=8, monitor=None)
    with pytest.warns(UserWarning, match=f"{spec.id}: 1 epochs are no multiple of n2 = 2"):
        run = runs.load_or_run(spec, store=Store(tmp_path), device="cpu")
    assert len(run.history) == 1


@pytest.mark.parametrize(
    ("method", "changes", "forward", "backward"),
    [
        # by hand: images x epochs x (passes that make the example + clean half + adversarial half)
        ("vanilla", {}, 60_000 * 60 * 1, 60_000 * 60 * 1),
        ("fgsm", {}, 60_000 * 60 * 3, 60_000 * 60 * 3),
        ("rfgsm", {}, 60_000 * 60 * 3, 60_000 * 60 * 3),
        ("atda", {}, 60_000 * 60 * 3, 60_000 * 60 * 3),
        ("bim", {}, 60_000 * 60 * 32, 60_000 * 60 * 32),
        ("bim", {"n1": 20, "n2": 40}, 60_000 * 60 * 42, 60_000 * 60 * 42),
        ("madry", {}, 60_000 * 60 * 32, 60_000 * 60 * 32),
        ("bim-atda", {}, 60_000 * 60 * 32, 60_000 * 60 * 32),
        ("sim", {}, 60_000 * 60 * 3, 60_000 * 60 * 3),
        ("sim", {"n1": 20, "n2": 40, "reset": "staggered"}, 60_000 * 60 * 3, 60_000 * 60 * 3),
        # the prediction that is pushed away from costs one forward pass more
        ("sim", {"labels": "predicted"}, 60_000 * 60 * 4, 60_000 * 60 * 3),
        ("fgsm", {"labels": "predicted"}, 60_000 * 60 * 4, 60_000 * 60 * 3),
        ("bim", {"labels": "predicted"}, 60_000 * 60 * 33, 60_000 * 60 * 32),
        # 60 epochs of Free-Adv(10) are 6 passes over the data, each batch replayed 10 times
        ("free", {}, 60_000 * 6 * 10, 60_000 * 6 * 10),
        ("free", {"m": 8}, 60_000 * 8 * 8, 60_000 * 8 * 8),
        ("free", {"m": 100}, 60_000 * 1 * 100, 60_000 * 1 * 100),
        ("sim", {"images": 500, "epochs": 20}, 500 * 20 * 3, 500 * 20 * 3),
    ],
)
def test_gradient_passes_are_those_counted_by_hand(method, changes, forward, backward):
    assert runs.passes(run_spec("mnist", method, **changes)) == (forward, backward)


def test_passes_know_the_size_of_each_data_set():
    sizes = {"digits": 1_437, "mnist": 60_000, "fmnist": 60_000, "cifar10": 50_000}
    for dataset, size in sizes.items():
        assert runs.passes(run_spec(dataset, "vanilla", epochs=2)) == (2 * size, 2 * size)


@pytest.mark.parametrize("method", OWN)
def test_a_run_counts_the_passes_that_the_plan_promised(method, tmp_path):
    steps = {"n2": 3} if "n2" in OWN[method] else {"m": 3} if method == "free" else {}
    spec = run_spec("digits", method, epochs=3, images=20, batch_size=8, monitor=None, **steps)
    cost = runs.load_or_run(spec, store=Store(tmp_path), device="cpu").cost
    assert (cost["forward"], cost["backward"]) == runs.passes(spec)


def test_evaluations_have_one_spelling_and_one_id():
    specs = [EvalSpec(attack=text) for text in ("BIM(10,40)", "BIM(10, 40)", "BIM(10.0,40)", " BIM(10,  40) ")]
    assert len(set(specs)) == 1
    assert len({spec.id for spec in specs}) == 1
    assert specs[0].attack == "BIM(10,40)"
    assert EvalSpec(attack="FGSM", epsilon=1).id == EvalSpec(attack="FGSM", epsilon=1.0).id


def test_every_setting_of_an_evaluation_changes_its_id():
    base = EvalSpec(attack="Madry(10,40)")
    changes = {
        "attack": ["none", "FGSM", "Madry(10,41)", "Madry(11,40)", "Madry(10,40)x2"],
        "epsilon": [0.1, 0.3],
        "projection": ["literal"],
        "images": [1, 10_000],
        "seed": [1],
        "semantics": [2],
    }
    assert changes.keys() == {field.name for field in fields(EvalSpec)}
    specs = [base, *(replace(base, **{name: value}) for name, values in changes.items() for value in values)]
    assert len({spec.id.rsplit("-", 1)[1] for spec in specs}) == len(specs)


def test_an_evaluation_is_at_the_runs_epsilon_unless_it_has_its_own():
    run = run_spec("fmnist", "sim")
    assert EvalSpec(attack="none").attack_on(run) is None
    assert EvalSpec(attack="BIM(10,40)").attack_on(run).epsilon == 0.2
    mine = EvalSpec(attack="R+FGSM", epsilon=0.05, projection="literal").attack_on(run)
    assert (mine.kind, mine.epsilon, mine.projection) == ("R+FGSM", 0.05, "literal")


@pytest.mark.parametrize("settings", [{"epsilon": 0.2}, {"projection": "literal"}])
def test_clean_images_have_no_settings_of_an_attack(settings):
    with pytest.raises(InputError, match=r"attack = 'none' .*takes no epsilon and no projection"):
        EvalSpec(attack="none", **settings)


@pytest.mark.parametrize("attack", ["none", "BIM(10,40)"])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": 0}, "^epsilon = 0 must be above 0"),
        ({"epsilon": -0.1}, "^epsilon = -0.1 must be above 0"),
        ({"epsilon": NAN}, "^epsilon = nan must be a finite number"),
        ({"epsilon": True}, "^epsilon = True must be a finite number"),
        ({"epsilon": "0.3"}, "^epsilon = '0.3' must be a finite number"),
        ({"images": 0}, "^images = 0 must be at least 1"),
        ({"images": 1.0}, "^images = 1.0 must be a whole number of at least 1"),
        ({"seed": -1}, "^seed = -1 must be at least 0"),
        ({"seed": False}, "^seed = False must be a whole number"),
        ({"projection": "sphere"}, "^projection = 'sphere' is not known; allowed: ball, literal"),
    ],
)
def test_an_evaluation_out_of_range_is_refused(attack, settings, message):
    with pytest.raises(InputError, match=message):
        EvalSpec(attack=attack, **settings)
