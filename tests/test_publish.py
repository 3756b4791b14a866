"""Publishing: what is shipped of which run, what is refused before anything is written, and runs without weights."""

import shutil
from dataclasses import replace

import pytest

from simadv import runs, store
from simadv.specs import EvalSpec, run_spec
from simadv.store import Store, StoreError, read_record, write_record
from simbook import chapters, publish
from simbook import commands as command
from simbook.measures.base import take

TINY = {"epochs": 1, "images": 64, "monitor": None, "batch_size": 32, "precision": "float32"}
CLEAN, FGSM, BIM = (EvalSpec(attack=attack, images=20) for attack in ("none", "FGSM", "BIM(2,3)"))
FIRST = run_spec("digits", "vanilla", **TINY)
SECOND, WIDE, OWN = replace(FIRST, seed=1), replace(FIRST, model="lenet_wide"), replace(FIRST, seed=7)
ASKED = {FIRST: [CLEAN, FGSM], SECOND: [CLEAN, FGSM], WIDE: [CLEAN]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Store:
    """Four small runs with three measures each, one more than chapters ask for. Read only."""
    kept = Store(tmp_path_factory.mktemp("trained"))
    for spec in (FIRST, SECOND, WIDE, OWN):
        run = runs.load_or_run(spec, store=kept, device="cpu")
        for measure in (CLEAN, FGSM, BIM):
            take(run, measure, store=kept, device="cpu")
    return kept


@pytest.fixture
def kept(trained, tmp_path, monkeypatch) -> Store:
    """A reader's store with those runs over an empty published one; chapters ask for three of them."""
    monkeypatch.setattr(chapters, "asked", lambda: {"06_evaluation": ASKED})
    monkeypatch.setattr(store, "PUBLISHED", tmp_path / "published")
    monkeypatch.setenv("SIMADV_STORE", str(tmp_path / "own"))
    shutil.copytree(trained.roots[0], tmp_path / "own")
    return store.default()


def published(kept) -> set[str]:
    root = kept.roots[1]
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def shown(*words, capsys) -> tuple[int, str, str]:
    capsys.readouterr()
    return command.main(list(words)), *capsys.readouterr()


def expected(spec, *measures, weights=False) -> set[str]:
    names = {"run.json", *(f"evals/{measure.id}.json" for measure in measures)}
    return {f"{spec.id}/{name}" for name in names | ({"weights.safetensors"} if weights else set())}


def test_everything_that_is_asked_for_is_copied_with_weights_for_seed_0_of_small_nets(kept, capsys):
    code, out, err = shown("publish", "--all", capsys=capsys)
    assert (code, err) == (0, "")
    assert [line.split(":")[0] for line in out.splitlines()] == [FIRST.id, SECOND.id, WIDE.id]
    by_hand = expected(FIRST, CLEAN, FGSM, weights=True) | expected(SECOND, CLEAN, FGSM) | expected(WIDE, CLEAN)
    assert published(kept) == by_hand
    own, there = kept.roots
    assert all((own / name).read_bytes() == (there / name).read_bytes() for name in by_hand)
    assert [Store(there).get(spec.id).measurable for spec in (FIRST, SECOND, WIDE)] == [True, False, False]


def test_a_run_that_is_to_have_no_weights_is_published_without(kept, capsys, monkeypatch):
    monkeypatch.setattr(chapters, "without_weights", lambda: [FIRST])
    shown("publish", FIRST.id, capsys=capsys)
    assert published(kept) == expected(FIRST, CLEAN, FGSM)


def test_publishing_again_copies_what_is_new_alone(kept, capsys):
    (kept.roots[0] / SECOND.id / "evals" / f"{FGSM.id}.json").unlink()
    out = shown("publish", SECOND.id, capsys=capsys)[1]
    assert out.endswith(f"run.json  not measured: {FGSM.id}\n")
    assert published(kept) == expected(SECOND, CLEAN)
    take(kept.find(SECOND), FGSM, store=kept, device="cpu")
    assert shown("publish", SECOND.id, capsys=capsys)[1] == f"{SECOND.id}: evals/{FGSM.id}.json\n"
    assert shown("publish", SECOND.id, capsys=capsys)[1] == f"{SECOND.id}: nothing new\n"
    assert published(kept) == expected(SECOND, CLEAN, FGSM)


def test_a_measure_that_a_reader_took_of_a_published_run_is_published(kept, capsys):
    path = kept.roots[0] / FIRST.id / "evals" / f"{FGSM.id}.json"
    away = path.read_bytes()
    path.unlink()
    shown("publish", FIRST.id, capsys=capsys)
    shutil.rmtree(kept.roots[0] / FIRST.id)
    path.parent.mkdir(parents=True)
    path.write_bytes(away)
    assert shown("publish", FIRST.id, capsys=capsys)[1] == f"{FIRST.id}: evals/{FGSM.id}.json\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((OWN.id,), f"id '{OWN.id}' fits no planned run"),
        ((), "nothing to publish: give beginnings of ids"),
        (("digits/vanilla-e1", OWN.id), "fits no planned run"),
    ],
)
def test_what_no_chapter_asks_for_is_refused(kept, capsys, words, said):
    code, out, err = shown("publish", *words, capsys=capsys)
    assert (code, out) == (2, "")
    assert said in err
    assert published(kept) == set()


def test_a_run_that_is_not_done_is_refused(kept, capsys):
    shutil.rmtree(kept.roots[0] / WIDE.id)
    code, _, err = shown("publish", WIDE.id, capsys=capsys)
    assert (code, err) == (2, "error: nothing to publish: none of these runs is done\n")


def altered(root, spec, name, **values):
    path = root / spec.id / name
    write_record(path, read_record(path) | values)


@pytest.mark.parametrize("name", ["run.json", f"evals/{CLEAN.id}.json", "weights.safetensors"])
def test_another_result_is_never_written_over_a_published_one(kept, capsys, name):
    shown("publish", "--all", capsys=capsys)
    path = kept.roots[1] / FIRST.id / name
    if name.endswith(".json"):
        altered(kept.roots[1], FIRST, name, **({"true": 1} if "evals" in name else {"history": []}))
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    shutil.rmtree(kept.roots[1] / SECOND.id)
    before = {name: (kept.roots[1] / name).read_bytes() for name in published(kept)}
    code, _, err = shown("publish", "--all", capsys=capsys)
    assert code == 2
    assert err == f"error: {FIRST.id} is published with another {name}; delete it there first\n"
    assert {name: (kept.roots[1] / name).read_bytes() for name in published(kept)} == before


def test_the_same_result_of_another_machine_is_left_as_it_is(kept, capsys):
    shown("publish", "--all", capsys=capsys)
    altered(kept.roots[1], FIRST, f"evals/{CLEAN.id}.json", seconds=1e9)
    assert shown("publish", FIRST.id, capsys=capsys)[1] == f"{FIRST.id}: nothing new\n"


def test_weights_that_are_to_be_shipped_must_be_there(kept, capsys):
    (kept.roots[0] / FIRST.id / "weights.safetensors").unlink()
    code, _, err = shown("publish", "--all", capsys=capsys)
    assert (code, published(kept)) == (2, set())
    assert "was stored without its weights" in err


def test_a_store_that_would_grow_too_large_is_refused(kept, monkeypatch):
    shipped = {FIRST.id: publish.files(kept.find(FIRST), [CLEAN], kept)}
    size = sum(path.stat().st_size for path in shipped[FIRST.id].values())
    monkeypatch.setattr(publish, "LIMIT", size - 1)
    with pytest.raises(StoreError, match=r"would grow to .* MB"):
        publish.publish(shipped, kept.roots[1])
    assert published(kept) == set()
    monkeypatch.setattr(publish, "LIMIT", size)
    publish.publish(shipped, kept.roots[1])
    assert published(kept) == expected(FIRST, CLEAN, weights=True)


# --- a run without weights


@pytest.fixture
def weightless(kept, capsys) -> Store:
    """The published store alone: the second seed has one of its two measures, and no weights."""
    (kept.roots[0] / SECOND.id / "evals" / f"{FGSM.id}.json").unlink()
    shown("publish", "--all", capsys=capsys)
    shutil.rmtree(kept.roots[0])
    return kept


def test_what_was_measured_of_a_run_without_weights_is_read_and_what_is_missing_is_told(weightless, capsys):
    code, out, err = shown("status", capsys=capsys)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "06_evaluation: 3 of 3 runs done"
    assert lines[2].endswith(f"{SECOND.id}  stored without weights, so never to be measured: {FGSM.id}")
    assert "not measured" not in lines[1] + lines[3]
    words = ["evaluate", SECOND.id, "--images", "20", "--device", "cpu"]
    assert shown(*words, "--attack", "none", capsys=capsys)[0] == 0
    code, out, err = shown(*words, "--attack", "FGSM", capsys=capsys)
    assert (code, out) == (2, "")
    assert "was stored without its weights; its numbers are all there is" in err


def test_a_plan_goes_on_past_a_measure_that_cannot_be_made(weightless, capsys):
    with pytest.warns(UserWarning, match=f"without its weights: {FGSM.id} cannot be measured"):
        run = chapters.complete(SECOND, ASKED[SECOND], store=weightless, device="cpu")
    assert run.spec == SECOND


def test_verify_measures_the_nets_that_are_there(weightless, capsys):
    code, out, _ = shown("verify", "--device", "cpu", capsys=capsys)
    assert code == 0
    *lines, last = out.splitlines()
    assert [line.split()[1] for line in lines] == [FIRST.id]
    assert last == "1 stored accuracies were measured again"


# --- a reader's own training of a published run


def test_a_published_run_is_trained_again_and_compared(weightless, capsys):
    assert shown("compare", FIRST.id, capsys=capsys)[0] == 2
    code, out, _ = shown("run", FIRST.id, "--again", "--device", "cpu", capsys=capsys)
    assert (code, out.split(":")[0]) == (0, FIRST.id)
    own, there = (Store(root) for root in weightless.roots)
    assert own.get(FIRST.id).weights == there.get(FIRST.id).weights
    code, out, _ = shown("compare", FIRST.id, capsys=capsys)
    assert code == 0
    assert f"A: {FIRST.id}, your own" in out
    assert "settings that differ (A != B): none" in out
    line = next(line for line in out.splitlines() if line.startswith("FGSM, images 20, true labels"))
    assert "+0.00" in line


def test_each_training_of_a_spec_has_its_own_measures(weightless):
    """On another machine the weights differ: neither record passes for the other's."""
    own, there = weightless.roots
    other = runs.load_or_run(OWN, store=Store(own), device="cpu")
    mine = Store(own).finish(FIRST, Store(own).model(other), other.history, other.cost, other.provenance)
    Store(own).add_evaluation(mine, FGSM, {"images": 20, "true": 3, "predicted": 3})
    theirs = Store(there).get(FIRST.id)
    assert mine.weights != theirs.weights
    assert weightless.evaluation(mine, FGSM)["true"] == 3
    assert weightless.evaluation(mine, CLEAN) is None
    assert weightless.evaluation(theirs, FGSM) == Store(there).evaluation(theirs, FGSM)
    assert [record["true"] for record in weightless.evaluations(mine)] == [3]
    assert len(weightless.evaluations(theirs)) == 2
