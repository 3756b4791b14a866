"""The store: trained once and then read, nothing half or damaged ever taken for a result, nothing ever lost."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import torchvision.datasets
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from simadv import checks, data, evaluation, runs, store
from simadv.checks import InputError
from simadv.specs import EvalSpec, run_spec
from simadv.store import Store, StoreError, read_record, write_record, write_whole
from simbook.measures import base
from simbook.measures.base import take

ROOT = Path(__file__).resolve().parents[1]
SPEC = run_spec(
    "digits", "sim", epochs=2, n1=10, n2=2, images=48, batch_size=16, lr=1e-3, monitor="FGSM", monitor_images=100
)
OTHER = replace(SPEC, lr=2e-3)
CLEAN = EvalSpec(attack="none", images=100)
FGSM = EvalSpec(attack="FGSM", images=20)


def train(spec, *roots, **options):
    return runs.load_or_run(spec, store=Store(*roots), device="cpu", **options)


def measure(run, spec, *roots, **options):
    return take(run, spec, store=Store(*roots), **({"device": "cpu"} | options))


def tree(root: Path) -> dict[str, bytes | None]:
    """Return everything under ``root``: the bytes of each file, None for a folder."""
    return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """A store with one finished run and one evaluation of it. Read only."""
    root = tmp_path_factory.mktemp("trained")
    measure(train(SPEC, root), CLEAN, root)
    return root


@pytest.fixture
def root(trained, tmp_path) -> Path:
    """A copy of that store, to be changed."""
    return Path(shutil.copytree(trained, tmp_path / "runs"))


@pytest.fixture
def idle(monkeypatch):
    """Make every training and every measurement an error."""

    def work(*arguments, **options):
        pytest.fail("work was done again")

    monkeypatch.setattr(runs, "trainer_of", work)
    monkeypatch.setattr(evaluation, "accuracy", work)


def test_a_run_is_trained_once_and_then_read(root, idle):
    before = tree(root)
    run = train(SPEC, root)
    assert run == Store(root).get(SPEC.id) == Store(root).find(SPEC)
    assert measure(run, CLEAN, root) == Store(root).evaluation(run, CLEAN)
    assert tree(root) == before


def test_a_stored_run_is_read_without_its_device_and_without_its_data(root, idle, monkeypatch):
    monkeypatch.setattr(data, "load", None)
    assert runs.load_or_run(SPEC, store=Store(root), device="cuda:7").spec == SPEC


def test_a_finished_run_holds_what_a_reader_needs(trained):
    run = Store(trained).get(SPEC.id)
    assert [record["epoch"] for record in run.history] == [0, 1]
    assert all(record.keys() == {"epoch", "loss", "clean", "robust"} for record in run.history)
    assert (run.cost["forward"], run.cost["backward"]) == runs.passes(SPEC)
    assert run.cost["monitor_forward"] == 2 * 100 * 3
    assert run.cost["seconds"] > 0
    assert run.provenance.keys() == {"commit", "python", "torch", "device", "threads", "alone", "date"}
    assert run.provenance["alone"] is False
    assert run.weights == store.sha256((run.folder / "weights.safetensors").read_bytes())
    assert not [name for name in tree(trained) if name.endswith(".part") or "checkpoint" in name]


def test_a_loaded_model_is_the_one_that_was_measured(root, monkeypatch):
    monkeypatch.setenv("SIMADV_STORE", str(root))
    model = store.load(SPEC.id)
    assert not model.training
    digits = data.load("digits")
    again = evaluation.accuracy(model, digits.x_test[:100], digits.y_test[:100])
    run = store.default().get(SPEC.id)
    recorded = store.default().evaluation(run, CLEAN)
    assert (again.images, again.true, again.predicted) == tuple(
        recorded[name] for name in ("images", "true", "predicted")
    )
    assert again.percent() == run.history[-1]["clean"]
    assert 0 < again.true < 100  # else any model would do


def test_what_is_not_stored_is_said_with_the_nearest_guess(root, monkeypatch):
    monkeypatch.setenv("SIMADV_STORE", str(root))
    near = SPEC.id[:-1] + ("0" if SPEC.id[-1] != "0" else "1")
    for ask in (store.load, Store(root).get, Store(root).model):
        with pytest.raises(InputError, match=f"run = '{near}' is not known .did you mean '{SPEC.id}'.*allowed: "):
            ask(near)


def test_a_run_that_was_stopped_has_a_checkpoint_until_it_is_done(root):
    kept = Store(root)
    assert kept.ids() == [SPEC.id]
    assert not kept.checkpoint(OTHER).exists()
    with pytest.raises(runs.Unfinished, match=f"{OTHER.id}: time is up at epoch 0, step 1; it is saved"):
        train(OTHER, root, deadline=0)
    assert kept.checkpoint(OTHER).exists()
    assert kept.ids() == [SPEC.id]
    train(OTHER, root)
    assert not kept.checkpoint(OTHER).exists()
    assert kept.ids() == sorted([SPEC.id, OTHER.id])


# --- another spec under the name


def test_another_spec_under_the_same_id_is_an_error(root, idle):
    path = root / SPEC.id / "run.json"
    record = read_record(path)
    write_record(path, record | {"spec": record["spec"] | {"lr": 0.5, "n1": 7.0}})
    before = tree(root)
    for ask in (Store(root).find, lambda spec: train(spec, root)):
        with pytest.raises(StoreError, match=rf"^{SPEC.id} holds another spec \(lr: 0.5 != 0.001; n1: 7.0 != 10.0\)"):
            ask(SPEC)
    assert tree(root) == before


def test_a_run_that_lies_under_another_runs_id_is_not_given_out(root, idle):
    (root / SPEC.id).rename(root / OTHER.id)
    before = tree(root)
    with pytest.raises(StoreError, match="another spec"):
        Store(root).find(OTHER)
    for ask in (Store(root).get, Store(root).model):
        with pytest.raises(StoreError, match=OTHER.id):
            ask(OTHER.id)
    assert tree(root) == before


@pytest.mark.parametrize(
    "change", [{"spice": 3}, {"lr": -1.0}, {"method": "voodoo"}, {"reset": None}, {"epochs": "two"}], ids=str
)
def test_a_record_that_no_version_of_the_book_can_read_is_an_error(root, change):
    path = root / SPEC.id / "run.json"
    record = read_record(path)
    write_record(path, record | {"spec": record["spec"] | change})
    with pytest.raises(StoreError, match=f"^{SPEC.id}: its record does not fit this version of the book"):
        Store(root).get(SPEC.id)


# --- damage


def flipped(content: bytes, place: int, mask: int = 1) -> bytes:
    return content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :]


RECORDS = {
    "truncated": lambda content: content[:-40],
    "empty": lambda content: b"",
    "one digit": lambda content: content.replace(b'"n2": 2', b'"n2": 3'),
    "not JSON": lambda content: b"hello",
    "other JSON": lambda content: b"[1, 2]",
    "no record": lambda content: b'{"sha256": "00"}',
    "NaN": lambda content: content.replace(b'"threads": 1', b'"threads": NaN'),
    "not text": lambda content: b"\xff\xfe" + content,
}


@pytest.mark.parametrize("damage", RECORDS)
def test_a_damaged_record_is_an_error_and_stays_as_it_is(root, idle, damage):
    path = root / SPEC.id / "run.json"
    content = path.read_bytes()
    path.write_bytes(RECORDS[damage](content))
    before = tree(root)
    assert path.read_bytes() != content
    name = f"{SPEC.id}/run.json (is damaged|was changed).*; restore or delete it$"
    for ask in (Store(root).find, lambda spec: train(spec, root)):
        with pytest.raises(StoreError, match=name):
            ask(SPEC)
    for ask in (Store(root).get, Store(root).model):
        with pytest.raises(StoreError, match=name):
            ask(SPEC.id)
    assert tree(root) == before


def test_every_byte_of_a_record_is_watched(root):
    path = root / SPEC.id / "run.json"
    content, record = path.read_bytes(), read_record(path)
    said = []
    for place in range(len(content)):
        path.write_bytes(flipped(content, place))
        try:
            assert read_record(path) == record  # a flip that changes nothing: white space
        except StoreError as error:
            said.append(str(error))
    assert len(said) > 0.99 * len(content)
    assert not [message for message in said if "\n" in message]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=20)
@given(record=st.dictionaries(st.text(), json_values, max_size=5))
def test_a_record_comes_back_as_it_was_written(tmp_path_factory, record):
    path = tmp_path_factory.getbasetemp() / "record" / "run.json"
    write_record(path, record)
    assert read_record(path) == record


WEIGHTS = {
    "one bit": (lambda content: flipped(content, len(content) - 1000), "weights.safetensors is damaged: its checksum"),
    "truncated": (lambda content: content[: len(content) // 2], "weights.safetensors is damaged: its checksum differs"),
    "empty": (lambda content: b"", "weights.safetensors is damaged: its checksum differs"),
    "missing": (None, "was stored without its weights; its numbers are all there is"),
}


@pytest.mark.parametrize("damage", WEIGHTS)
def test_damaged_or_missing_weights_are_an_error_and_the_numbers_stay(root, monkeypatch, damage):
    change, message = WEIGHTS[damage]
    path = root / SPEC.id / "weights.safetensors"
    if change:
        path.write_bytes(change(path.read_bytes()))
    else:
        path.unlink()
    before = tree(root)
    monkeypatch.setenv("SIMADV_STORE", str(root))
    run = train(SPEC, root)
    assert measure(run, CLEAN, root)["images"] == 100
    for ask in (Store(root).model, store.load, lambda _: measure(run, FGSM, root)):
        with pytest.raises(StoreError, match=f"{SPEC.id}.*{message}"):
            ask(SPEC.id)
    assert tree(root) == before


@pytest.fixture(scope="session")
def stopped(tmp_path_factory) -> bytes:
    """The checkpoint of a run that was stopped after its first step."""
    root = tmp_path_factory.mktemp("stopped")
    with pytest.raises(runs.Unfinished):
        train(SPEC, root, deadline=0)
    return Store(root).checkpoint(SPEC).read_bytes()


def with_metadata(change):
    def damage(content: bytes, folder: Path) -> bytes:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        about = header.pop("__metadata__")
        header = {"__metadata__": change(about), **header} if change(about) is not None else header
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + content[8 + length :]

    return damage


def without(name: str):
    def damage(content: bytes, folder: Path) -> bytes:
        (folder / "made").write_bytes(content)
        about = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        tensors = load_file(folder / "made")
        assert tensors.pop(name) is not None
        save_file(tensors, folder / "made", metadata=about)
        return (folder / "made").read_bytes()

    return damage


CHECKPOINTS = {
    "truncated": lambda content, folder: content[: len(content) // 2],
    "empty": lambda content, folder: b"",
    "length": lambda content, folder: flipped(content, 0),
    "header": lambda content, folder: flipped(content, 9),
    "a weight": lambda content, folder: flipped(content, len(content) // 2, 0x40),
    "the last byte": lambda content, folder: flipped(content, len(content) - 1, 0x40),
    "no metadata": with_metadata(lambda about: None),
    "no progress": with_metadata(lambda about: {"spec": about["spec"]}),
    "spec's name": with_metadata(lambda about: about | {"spec": about["spec"].replace("epsilon", "eqsilon")}),
    "spec's value": with_metadata(lambda about: about | {"spec": about["spec"].replace("lenet", "lemet")}),
    "progress's name": with_metadata(lambda about: about | {"progress": about["progress"].replace("step", "stop")}),
    "progress's value": with_metadata(
        lambda about: about | {"progress": about["progress"].replace('"step": 1', '"step": 2')}
    ),
    "progress's JSON": with_metadata(lambda about: about | {"progress": about["progress"][:-1]}),
    "a tensor is gone": without("learner.carried"),
}


@pytest.mark.parametrize("damage", CHECKPOINTS)
def test_a_damaged_checkpoint_is_an_error_and_stays_as_it_is(root, stopped, tmp_path, monkeypatch, damage):
    path = Store(root).checkpoint(SPEC)
    (path.parent / "run.json").unlink()
    path.write_bytes(CHECKPOINTS[damage](stopped, tmp_path))
    before = tree(root)
    with pytest.raises(StoreError, match=f"^{SPEC.id}: its checkpoint .*(damaged|changed)"):
        train(SPEC, root)
    assert tree(root) == before


def test_a_checkpoint_of_another_version_is_an_error(tmp_path, monkeypatch):
    """Of one whose specs had a setting that is gone."""
    kept = Store(tmp_path)
    with monkeypatch.context() as older:
        older.setattr(store, "asdict", lambda spec: asdict(spec) | {"gone": 1})
        kept.save_checkpoint(SPEC, {"a": torch.zeros(1)}, {"epoch": 1})
    with pytest.raises(StoreError, match=f"^{SPEC.id}: its checkpoint is damaged .*gone.*delete it to start again$"):
        kept.load_checkpoint(SPEC)


def test_every_byte_of_a_checkpoint_is_watched(tmp_path):
    kept = Store(tmp_path)
    tensors, progress = {"model.w": torch.arange(6.0), "rng": torch.arange(9, dtype=torch.uint8)}, {"epoch": 1}
    kept.save_checkpoint(SPEC, tensors, progress)
    path = kept.checkpoint(SPEC)
    content = path.read_bytes()
    missed = []
    for place in range(len(content)):
        path.write_bytes(flipped(content, place))
        try:
            found, done = kept.load_checkpoint(SPEC)
        except StoreError:
            continue
        same = found.keys() == tensors.keys() and all(torch.equal(found[name], tensors[name]) for name in tensors)
        if not same or done != progress:
            missed.append(place)
    assert missed == []


def test_a_checkpoint_of_another_spec_is_an_error(root):
    kept = Store(root)
    kept.save_checkpoint(OTHER, {"model.w": torch.zeros(3)}, {})
    later = replace(SPEC, seed=3)
    kept.checkpoint(later).parent.mkdir(parents=True)
    kept.checkpoint(OTHER).rename(kept.checkpoint(later))
    before = {name: content for name, content in tree(root).items() if not name.endswith(".lock")}
    message = rf"^{later.id}: its checkpoint has another spec \(lr: 0.002 != 0.001; seed: 0 != 3\)"
    with pytest.raises(StoreError, match=message):
        train(later, root)
    assert {name: content for name, content in tree(root).items() if not name.endswith(".lock")} == before


# --- two layers


def test_a_published_run_is_read_and_only_the_first_layer_is_written(trained, tmp_path):
    published, local = Path(shutil.copytree(trained, tmp_path / "published")), tmp_path / "local"
    before = tree(published)
    run = train(SPEC, local, published)
    assert run.folder == published / SPEC.id
    assert measure(run, CLEAN, local, published)["images"] == 100
    assert not local.exists()

    result = measure(run, FGSM, local, published)
    assert set(tree(local)) == {"digits", SPEC.id, f"{SPEC.id}/evals", f"{SPEC.id}/evals/{FGSM.id}.json"}
    train(OTHER, local, published)
    assert (local / OTHER.id / "weights.safetensors").exists()
    assert tree(published) == before

    both = Store(local, published)
    assert both.ids() == sorted([SPEC.id, OTHER.id])
    assert both.evaluation(run, FGSM) == result
    assert both.get(SPEC.id).folder == published / SPEC.id  # its evaluation alone lies in the first layer
    assert both.model(SPEC.id) is not None


def test_the_first_layer_is_looked_up_first(root, trained):
    path = root / SPEC.id / "run.json"
    record = read_record(path)
    write_record(path, record | {"provenance": record["provenance"] | {"date": "1999-01-01"}})
    assert Store(root, trained).get(SPEC.id).provenance["date"] == "1999-01-01"
    assert Store(trained, root).get(SPEC.id).provenance["date"] != "1999-01-01"


def test_the_default_store_is_the_readers_own_over_the_published_one(own_store, tmp_path, monkeypatch):
    assert own_store.roots == [tmp_path / "runs", store.PUBLISHED]
    monkeypatch.setenv("SIMADV_STORE", "")
    assert store.default().roots == [ROOT / "local_runs", ROOT / "book" / "runs"]


def test_a_folder_that_cannot_be_written_to_is_told_before_a_measure_begins(root, tmp_path, monkeypatch):
    run = Store(root).get(SPEC.id)
    (tmp_path / "digits").write_text("a file where a folder must be")
    own = Store(tmp_path, root)
    monkeypatch.setattr(base, "accuracy", lambda *_, **__: pytest.fail("work"))
    with pytest.raises(StoreError, match=rf"{SPEC.id} cannot be written to \(.*\); SIMADV_STORE names another"):
        take(run, EvalSpec(attack="none", images=3), store=own)


def test_a_message_does_not_list_hundreds_of_names():
    with pytest.raises(InputError, match=r"allowed: .*n39, \.\.\. \(100 in all\)$"):
        checks.one_of("run", "m", [f"n{i}" for i in range(100)])


def test_ones_own_store_is_never_the_published_one(monkeypatch):
    for name in (store.PUBLISHED, store.PUBLISHED / "mine", store.PUBLISHED.parent / "runs" / ".." / "runs"):
        monkeypatch.setenv("SIMADV_STORE", str(name))
        with pytest.raises(InputError, match=r"SIMADV_STORE = .* is in the published store"):
            store.default()
    monkeypatch.chdir(store.PUBLISHED.parent)
    monkeypatch.setenv("SIMADV_STORE", "runs")
    with pytest.raises(InputError, match="SIMADV_STORE = runs is in the published store"):
        store.default()
    monkeypatch.setenv("SIMADV_STORE", str(store.PUBLISHED.parent / "intro.md"))
    with pytest.raises(InputError, match="is a file; own runs need a folder"):
        store.default()
    monkeypatch.setenv("SIMADV_STORE", "~/of-mine")
    assert store.default().roots[0] == Path.home() / "of-mine"


# --- two processes


def test_what_a_killed_process_left_half_written_is_cleared_by_the_next(tmp_path):
    kept = Store(tmp_path)
    folder = tmp_path / SPEC.id
    folder.mkdir(parents=True)
    (folder / "checkpoint.safetensors.123.part").write_bytes(b"half")
    (folder / "checkpoint.safetensors").write_bytes(b"whole")
    with kept.lock(SPEC):
        assert {path.name for path in folder.iterdir()} == {"checkpoint.safetensors", "run.lock"}


HOLD = """
import sys
from simadv.specs import RunSpec
from simadv.store import Store
import json
with Store(sys.argv[1]).lock(RunSpec(**json.loads(sys.argv[2]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_run_that_another_process_trains_is_refused_until_that_process_is_gone(tmp_path):
    spec = json.dumps(vars(SPEC))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path), spec], **pipes) as process:
        assert process.stdout.readline() == "held\n"
        before = tree(tmp_path)
        with pytest.raises(StoreError, match=f"^{SPEC.id} is being trained by another process$"):
            train(SPEC, tmp_path)
        assert tree(tmp_path) == before
        train(OTHER, tmp_path)  # any other run may be trained beside it
        process.send_signal(signal.SIGKILL)
    assert train(SPEC, tmp_path).spec == SPEC


def test_a_run_that_another_process_finished_meanwhile_is_not_trained_again(trained, tmp_path, idle):
    class Late(Store):
        @contextmanager
        def lock(self, spec):
            """Have the other process finish between the look-up and the lock."""
            shutil.copytree(trained, self.roots[0], dirs_exist_ok=True)
            with super().lock(spec):
                yield

    assert runs.load_or_run(SPEC, store=Late(tmp_path), device="cpu") == Store(tmp_path).get(SPEC.id)


# --- writing


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_a_write_that_fails_leaves_the_old_file_and_no_part(tmp_path, error):
    def half(part: Path) -> None:
        part.write_text("half of a f")
        raise error

    path = tmp_path / "deep" / "file"
    with pytest.raises(type(error), match=rf"{path} was not written.*disk full" if str(error) else None):
        write_whole(path, half)
    assert tree(tmp_path) == {"deep": None}
    write_whole(path, lambda part: part.write_text("old"))
    with pytest.raises(type(error)):
        write_whole(path, half)
    assert tree(tmp_path) == {"deep": None, "deep/file": b"old"}
    write_whole(path, lambda part: part.write_text("new"))
    assert tree(tmp_path) == {"deep": None, "deep/file": b"new"}


def test_a_file_appears_only_when_all_of_it_is_on_disk(tmp_path, monkeypatch):
    seen = []

    def write(part: Path) -> None:
        part.write_text("new")
        seen.append(("written", path.read_text()))

    path = tmp_path / "file"
    path.write_text("old")
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (seen.append(("synced", path.read_text())), sync(file)))
    with open(path) as reader:
        write_whole(path, write)
        assert reader.read() == "old"  # another file has its name now: nothing was written over it
    assert seen == [("written", "old"), ("synced", "old")]
    assert path.read_text() == "new"


def test_a_record_that_is_no_json_is_not_written(tmp_path):
    for value in (float("nan"), float("inf"), object()):
        with pytest.raises((ValueError, TypeError)):
            write_record(tmp_path / "run.json", {"loss": value})
    assert tree(tmp_path) == {}


def test_the_record_that_makes_a_run_count_is_written_last(root, monkeypatch):
    written = []
    whole = store.write_whole
    monkeypatch.setattr(store, "write_whole", lambda path, write: (written.append(path.name), whole(path, write)))
    kept = Store(root)
    kept.save_checkpoint(OTHER, {}, {})
    run = kept.get(SPEC.id)
    kept.finish(OTHER, kept.model(run), run.history, run.cost, run.provenance)
    assert written == ["checkpoint.safetensors", "weights.safetensors", "run.json"]
    assert not kept.checkpoint(OTHER).exists()


# --- evaluations


def test_an_evaluation_belongs_to_its_weights(root, idle):
    run = Store(root).get(SPEC.id)
    before = tree(root)
    with pytest.raises(StoreError, match=f"{SPEC.id}: evals/{CLEAN.id}.json belongs to another spec or other weights"):
        measure(replace(run, weights="0" * 64), CLEAN, root)
    assert tree(root) == before


def test_an_evaluation_of_other_settings_under_its_name_is_an_error(root, idle):
    run = Store(root).get(SPEC.id)
    folder = root / SPEC.id / "evals"
    (folder / f"{CLEAN.id}.json").rename(folder / f"{FGSM.id}.json")
    with pytest.raises(StoreError, match="belongs to another spec"):
        measure(run, FGSM, root)


def test_a_damaged_evaluation_is_an_error_and_stays_as_it_is(root, idle):
    run = Store(root).get(SPEC.id)
    path = root / SPEC.id / "evals" / f"{CLEAN.id}.json"
    content = path.read_bytes()
    for damaged in (content[:-9], content.replace(b'"images": 100', b'"images": 101'), b"", b"[]"):
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match=rf"evals/{CLEAN.id}.json (is damaged|was changed).*restore or delete it"):
            measure(run, CLEAN, root)
        assert path.read_bytes() == damaged


def test_an_evaluation_counts_images_and_says_where_it_ran(root):
    run = Store(root).get(SPEC.id)
    result = measure(run, FGSM, root)
    assert result["images"] == 20
    assert 0 <= result["true"] <= 20
    assert result["weights"] == run.weights
    assert result["provenance"]["device"] == run.provenance["device"]
    assert result["seconds"] > 0


# --- before any work


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """Let every download fail at once: nobody listens at the mirrors."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        for source in (torchvision.datasets.MNIST, torchvision.datasets.FashionMNIST):
            monkeypatch.setattr(source, "mirrors", [nobody])
        monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", nobody + "cifar.tar.gz")
        monkeypatch.setenv("SIMADV_DATA", str(tmp_path / "data"))
        yield


@pytest.mark.parametrize("dataset", ["mnist", "fmnist", "cifar10"])
def test_a_data_set_that_is_not_there_is_an_error_before_any_work(no_network, tmp_path, dataset):
    spec = run_spec(dataset, "vanilla", epochs=1)
    message = f"^dataset '{dataset}' could not be downloaded .*allow the network, or put {dataset}.npz.* SIMADV_DATA"
    with pytest.raises(InputError, match=message) as refusal:
        train(spec, tmp_path / "runs")
    assert "\n" not in str(refusal.value)
    assert not [name for name, content in tree(tmp_path).items() if content is not None]
    assert not (tmp_path / "runs").exists()


def test_corrupt_data_are_an_error_before_any_work_and_stay_as_they_are(tmp_path, monkeypatch):
    (tmp_path / "mnist.npz").write_bytes(b"PK\3\4 half a file")
    monkeypatch.setenv("SIMADV_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"^mnist.npz cannot be read"):
        train(run_spec("mnist", "vanilla", epochs=1), tmp_path / "runs")
    assert set(tree(tmp_path)) == {"mnist.npz"}


@pytest.mark.parametrize(("device", "gpus"), [("cuda", 0), ("cuda:0", 0), ("cuda:1", 1), ("cuda:9", 8)])
def test_a_gpu_that_was_demanded_and_is_not_there_is_an_error_before_any_work(root, monkeypatch, device, gpus):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    run, before = Store(root).get(SPEC.id), tree(root)
    message = f"^device = '{device}' asked for, but {gpus} GPUs are here; try cpu or auto$"
    with pytest.raises(InputError, match=message):
        runs.load_or_run(OTHER, store=Store(root), device=device)
    with pytest.raises(InputError, match=message):
        measure(run, FGSM, root, device=device)
    assert tree(root) == before


def test_devices_are_found_by_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert runs.pick_device("cuda:1") == torch.device("cuda:1")
    assert runs.pick_device("cpu") == torch.device("cpu")
    for there, name in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert runs.pick_device("auto") == torch.device(name)
    for unknown in ("gpu", "", "cuda:x", "meta", "mps"):
        with pytest.raises(InputError, match=r"^device = .*; allowed: auto, cpu, cuda, cuda:0, ...$"):
            runs.pick_device(unknown)
