"""The command line as a reader meets it: what it prints, when it stops, and how it refuses."""

import importlib.metadata
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import termios
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision.datasets
from safetensors import SafetensorError
from safetensors.torch import save_file

import simadv
from simadv import runs, store
from simadv.checks import InputError
from simadv.specs import EvalSpec, run_spec
from simadv.store import Store
from simbook import chapters, doubts
from simbook import commands as command
from simbook.measures.survival import Transfer
from simbook.workers import WorkerError

ROOT = Path(__file__).resolve().parents[1]
SPEC = run_spec("digits", "sim", epochs=2, n1=10, n2=2, images=64, monitor_images=20, lr=1e-3, batch_size=32)
OWN = ["run", "--dataset", "digits", "--method", "sim", "--epochs", "2", "--n2", "2", "--n1", "10"]
OWN += [
    "--images",
    "64",
    "--monitor_images",
    "20",
    "--lr",
    "1e-3",
    "--batch_size",
    "32",
    "--device",
    "cpu",
    "--threads",
    "1",
]
BAR = ("\r", "%|", "it/s", "step/s", "?step")


def tree(root: Path) -> dict[str, bytes | None]:
    """Return everything under ``root``: the bytes of each file, None for a folder."""
    return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


def environment(home: Path) -> dict[str, str]:
    return os.environ | {"SIMADV_STORE": str(home / "runs"), "SIMADV_DATA": str(home / "data"), "PYTHONPATH": str(ROOT)}


def process(home: Path, *words: str, program=("-m", "simadv"), **options) -> subprocess.Popen:
    """Start ``python -m simadv`` away from the project, with a store and data of its own."""
    home.mkdir(exist_ok=True)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen([sys.executable, *program, *words], cwd=home, env=environment(home), **pipes)


def finish(started: subprocess.Popen, word: str | None = None) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr."""
    out, err = started.communicate(word, timeout=120)
    return started.returncode, out, err


@pytest.fixture(scope="session")
def straight(tmp_path_factory) -> tuple[Path, tuple[int, str, str]]:
    """A run that nothing disturbed, and what it printed. Read only."""
    home = tmp_path_factory.mktemp("straight")
    return home, finish(process(home, *OWN))


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A folder whose ``runs`` is the only store, and where no data are."""
    monkeypatch.setenv("SIMADV_STORE", str(tmp_path / "runs"))
    monkeypatch.setenv("SIMADV_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(store, "PUBLISHED", tmp_path / "published")
    (tmp_path / "data").mkdir()
    return tmp_path


@pytest.fixture
def kept(home, straight) -> Store:
    """That store with one finished run in it."""
    shutil.copytree(straight[0] / "runs", home / "runs")
    return Store(home / "runs")


@pytest.fixture
def cli(capsys):
    """Call a command within this process."""

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = command.main(list(words))
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return call


def weights(root: Path) -> bytes:
    return (root / SPEC.id / "weights.safetensors").read_bytes()


# --- run


def test_a_run_says_in_one_line_what_came_out_and_is_quiet_when_captured(straight):
    home, (code, out, err) = straight
    assert (code, err) == (0, "")
    (line,) = out.splitlines()
    assert line.startswith(f"{SPEC.id}: done, ")
    last = Store(home / "runs").get(SPEC.id).history[-1]
    assert line.endswith(f"loss {last['loss']:.4g}, clean {last['clean']:.4g}, robust {last['robust']:.4g}")
    assert not [frame for frame in BAR if frame in out + err]


def test_a_run_writes_its_own_store_and_nothing_else(straight):
    home, _ = straight
    files = {name for name, content in tree(home).items() if content is not None}
    assert files - {f"runs/{SPEC.id}/run.lock"} == {f"runs/{SPEC.id}/run.json", f"runs/{SPEC.id}/weights.safetensors"}


def test_a_run_that_is_stored_is_not_trained_again(kept, cli, monkeypatch, straight):
    monkeypatch.setattr(runs, "trainer_of", None)
    before = tree(kept.roots[0])
    assert cli(*OWN) == (0, straight[1][1], "")
    assert tree(kept.roots[0]) == before


def test_a_budget_stops_at_a_checkpoint_and_the_run_goes_on_to_the_same_bits(straight, home, cli):
    screen, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 120))
    started = process(home, *OWN, "--budget", "1s", stderr=terminal)
    os.close(terminal)
    code, out, _ = finish(started)
    shown = os.read(screen, 65536).decode()
    os.close(screen)
    assert (code, out) == (3, "")
    assert f"{SPEC.id}: time is up at epoch 0, step 1; it is saved, run it again" in shown
    assert f"{SPEC.id}:  25%|" in shown  # on a terminal there is a bar, a quarter of it full
    assert Store(home / "runs").checkpoint(SPEC).exists()

    assert cli(*OWN)[0] == 0
    assert weights(home / "runs") == weights(straight[0] / "runs")
    ours, theirs = (Store(root / "runs").get(SPEC.id) for root in (home, straight[0]))
    assert ours.history == theirs.history
    assert not Store(home / "runs").checkpoint(SPEC).exists()


def test_a_budget_that_is_enough_changes_nothing(straight, home, cli):
    assert cli(*OWN, "--budget", "1h")[0] == 0
    assert weights(home / "runs") == weights(straight[0] / "runs")


# tells when the first step is done, and waits for a word before the next
TELLING = """
import sys
from simadv import training
from simbook import commands
step = training.Trainer._step
def telling(self):
    step(self)
    if self.progress.step == 1 and self.progress.epoch == 0:
        print("stepped", flush=True)
        sys.stdin.readline()
training.Trainer._step = telling
sys.exit(commands.main(sys.argv[1:]))
"""


ENDLESS = """
import sys, time
from simbook import commands
from simbook.workers import Worker
def measure(arguments, kept):
    with Worker("idle", ["sleep", "600"], gpu=False) as idle:
        print(idle.process.pid, flush=True)
        time.sleep(600)
commands.measure = measure
sys.exit(commands.main())
"""


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_measure_that_is_stopped_ends_its_worker_and_says_so(home, kind):
    started = process(home, "evaluate", "digits/some", program=("-c", ENDLESS))
    worker = int(started.stdout.readline())
    started.send_signal(kind)
    assert finish(started) == (130, "", "stopped\n")
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_a_run_stopped_by_ctrl_c_is_saved_and_goes_on_to_the_same_bits(straight, home, cli):
    started = process(home, *OWN, program=("-c", TELLING))
    assert started.stdout.readline() == "stepped\n"
    started.send_signal(signal.SIGINT)
    code, out, err = finish(started, "\n")
    assert (code, out) == (130, "")
    (line,) = err.splitlines()
    assert line.endswith("what was done is saved")
    assert Store(home / "runs").checkpoint(SPEC).exists()

    assert cli(*OWN)[0] == 0
    assert weights(home / "runs") == weights(straight[0] / "runs")


def test_a_caution_is_one_line_and_the_run_goes_on(home, cli):
    with warnings.catch_warnings():
        warnings.simplefilter("always")  # as outside of a test: shown, not raised
        code, out, err = cli(*OWN, "--n2", "5", "--images", "8")
    assert code == 0
    (line,) = err.splitlines()
    assert line.startswith("warning: digits/sim-10-5-e2-lr1e-3-s0-")
    assert "2 epochs are no multiple of n2 = 5" in line
    assert len(out.splitlines()) == 1


def test_an_option_may_be_written_with_a_dash(kept, cli, straight, monkeypatch):
    monkeypatch.setattr(runs, "trainer_of", None)  # the same run, and so nothing to train
    words = [word.replace("_", "-") if word.startswith("--") else word for word in OWN]
    assert "--batch-size" in words
    assert cli(*words)[:2] == straight[1][:2]


@pytest.mark.parametrize("words", [["status", "--all"], ["compare", "A", "--epochs", "2"], ["plan", "--jobs", "2"]])
def test_no_option_is_suggested_that_a_command_has_not(home, cli, words):
    code, out, err = cli(*words)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"error: unrecognized arguments: --\w+( 2)?\n", err)


def test_a_full_disk_is_one_line_and_code_1_and_what_was_saved_stays(home, cli, monkeypatch):
    assert cli(*OWN, "--budget", "0.01s")[0] == 3
    before = tree(home)

    def full(tensors, path, metadata=None):
        Path(path).write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(store, "save_file", full)
    code, out, err = cli(*OWN)
    assert (code, out) == (1, "")
    said = r"error: \S+/\w+.safetensors was not written, and is as it was: .*No space left on device.*\n"
    assert re.fullmatch(said, err)
    monkeypatch.undo()
    monkeypatch.setenv("SIMADV_STORE", str(home / "runs"))
    assert tree(home) == before
    assert cli(*OWN)[0] == 0


def test_settings_reach_the_run(home, cli):
    words = {"--lambda": "0.5", "--beta": "0.2", "--coral": "cov", "--labels": "predicted", "--projection": "literal"}
    words |= {"--mode": "train", "--epochs": "1", "--images": "8", "--batch_size": "8", "--seed": "3", "--lr": "1e-2"}
    words |= {"--epsilon": "0.1", "--monitor_images": "20", "--precision": "float32", "--model": "lenet"}
    words |= {"--optimizer": "sgd", "--weight_decay": "1e-4", "--schedule": "steps", "--augment": "pad-crop-flip"}
    given = [word for pair in words.items() for word in pair]
    assert cli("run", "--dataset", "digits", "--method", "atda", *given, "--alone", "--threads", "1")[0] == 0
    values = {name.strip("-"): value for name, value in words.items()}
    values["lambda_"] = values.pop("lambda")
    whole = {"epochs", "images", "batch_size", "seed", "monitor_images"}
    real = {"lambda_", "beta", "lr", "epsilon", "weight_decay"}
    values = {k: int(v) if k in whole else float(v) if k in real else v for k, v in values.items()}
    run = Store(home / "runs").find(run_spec("digits", "atda", **values))
    assert run.provenance["alone"] is True


def test_every_setting_of_a_spec_has_an_option(capsys):
    with pytest.raises(SystemExit):
        command.parser().parse_args(["run", "--help"])
    text = capsys.readouterr().out
    text = text.split("settings of a run of your own:")[1]
    for name in vars(SPEC).keys() - {"semantics", "dataset", "method"}:
        words = name.rstrip("_").replace("_", "-")
        # what it means stands behind it, or below it where there is no room
        assert re.search(rf"^  --{words} [A-Z]+(, --\w+ [A-Z]+)?\s+\w", text, re.MULTILINE), name


@pytest.mark.parametrize(("said", "watched"), [("BIM(3, 4)", "BIM(3,4)"), ("none", None)])
def test_what_a_run_of_ones_own_watches(home, said, watched):
    words = command.parser().parse_args(["run", "--dataset", "digits", "--method", "sim", "--monitor", said])
    (spec,) = command.wanted(words, Store(home / "runs"))
    assert spec == run_spec("digits", "sim", monitor=watched)


def test_a_run_that_diverges_says_so_in_a_line(home, cli):
    code, out, err = cli(*OWN, "--lr", "1e38", "--precision", "float32", "--epochs", "2")
    assert (code, out) == (1, "")
    said = r"the loss of epoch \d is (nan|inf), \d+ weights after it are not finite: the run diverged"
    assert re.fullmatch(rf"error: digits/\S+: {said}\n", err)


TINY = {"epochs": 1, "images": 64, "monitor": None, "batch_size": 32}
ASKED = """
import sys
from simadv.specs import EvalSpec, run_spec
from simbook import chapters
tiny = {tiny}
specs = [run_spec("digits", "vanilla", seed=seed, **tiny) for seed in range(3)]
if "{diverge}":
    specs.insert(0, run_spec("digits", "vanilla", **(tiny | {{"lr": 1e38, "precision": "float32"}})))
chapters.asked = lambda: {{"06_evaluation": {{spec: [EvalSpec(attack="none", images=20)] for spec in specs}}}}
"""


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("diverge", ["", "yes"])
def test_many_runs_go_on_past_one_that_fails_and_tell_what_was_not_done(diverge, jobs, home):
    """Each run in a process of its own, which a sitecustomize of the test gives a short plan."""
    (home / "site").mkdir()
    (home / "site" / "sitecustomize.py").write_text(ASKED.format(tiny=TINY, diverge=diverge))
    line = environment(home) | {"PYTHONPATH": f"{home / 'site'}{os.pathsep}{ROOT}"}
    words = [sys.executable, "-m", "simadv", "run", "--all", "--jobs", jobs, "--device", "cpu"]
    done = subprocess.run(words, cwd=home, env=line, capture_output=True, text=True, timeout=120)
    own = Store(home / "runs")
    assert len(own.ids()) == 3
    assert all(len(own.evaluations(own.get(run_id))) == 1 for run_id in own.ids())
    assert sorted(line.split(":")[0] for line in done.stdout.splitlines()) == own.ids()
    if diverge:
        assert done.returncode == 3
        first, last = done.stderr.splitlines()
        assert first.endswith("the run diverged")
        assert re.fullmatch(r"not done: digits/vanilla-e1-lr1e38-s0-\w{6}", last.replace("e+38", "e38"))
    else:
        assert (done.returncode, done.stderr) == (0, "")


def test_no_job_starts_when_time_is_up(home, monkeypatch):
    class Stuck:
        def __init__(self, words, env):
            started.append(words[4])
            self.polls, self.returncode = 0, 0

        def poll(self):
            clock[0] += 1.0
            return None if clock[0] < 3 else 0

        def terminate(self):
            raise AssertionError("nothing was stopped from outside")

        wait = terminate

    started, clock = [], [0.0]
    monkeypatch.setattr(command.subprocess, "Popen", Stuck)
    monkeypatch.setattr(command.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(command.time, "sleep", lambda _: None)
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    specs = [run_spec("digits", "vanilla", seed=seed) for seed in range(4)]
    arguments = command.parser().parse_args(["run", "--all", "--jobs", "2"])
    late = ", ".join(spec.id for spec in specs[2:])
    with pytest.raises(runs.Unfinished, match=f"^time was up before: {late}$"):
        command.side_by_side(specs, arguments, 2.0)
    assert started == [spec.id for spec in specs[:2]]


@pytest.fixture
def waiting(home, monkeypatch):
    """A store, and in it to be trained a run whose measure, examples made for another net, must wait for that one."""

    def stored(specs, arguments, limit):  # as by processes of their own, which have taken what they could
        command.one_by_one(specs[:1], own, deadline=limit, device="cpu")
        command.one_by_one(specs[1:], own, deadline=limit, device="cpu")

    monkeypatch.setattr(command, "side_by_side", stored)
    first, second = (run_spec("digits", "vanilla", seed=seed, **TINY) for seed in (1, 2))
    foreign = Transfer(source=second.id, attack="BIM(2,3)", images=20)
    monkeypatch.setattr(chapters, "asked", lambda: {"06_evaluation": {first: [foreign], second: []}})
    own = Store(home / "runs")
    return own, first, foreign


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_what_waited_for_another_run_is_measured_at_the_end(waiting, jobs):
    own, first, foreign = waiting
    assert command.main(["run", "--all", "--jobs", jobs, "--device", "cpu"]) == 0
    assert own.evaluation(own.get(first.id), foreign)["images"] == 20


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_what_waited_and_failed_is_told(waiting, jobs, monkeypatch, capsys):
    def died(*_):
        raise WorkerError("the library: ended with status -9")

    _, first, _ = waiting
    monkeypatch.setattr(Transfer, "work", died)
    assert command.main(["run", "--all", "--jobs", jobs, "--device", "cpu"]) == 3
    said = capsys.readouterr().err
    assert f"error: {first.id}: the library: ended with status -9" in said
    assert said.splitlines()[-1] == f"not done: {first.id}"


def test_what_waited_and_has_no_time_is_told(waiting, monkeypatch, capsys):
    _, first, foreign = waiting
    monkeypatch.setattr(chapters, "longest", lambda *_: 1e6)
    assert command.main(["run", "--all", "--budget", "60s", "--device", "cpu"]) == 3
    said = capsys.readouterr().err
    assert f"{first.id}: time is up before {foreign.id}" in said
    assert said.splitlines()[-1].startswith(f"not done: {first.id}")


def test_a_measure_is_not_begun_where_it_took_longer_than_is_left(home, kept, monkeypatch):
    run = kept.get(SPEC.id)
    clean = EvalSpec(attack="none", images=20)
    kept.add_evaluation(run, clean, {"images": 20, "true": 1, "predicted": 1, "seconds": 500.0})
    assert chapters.longest(clean, "digits", kept) == 500.0
    assert chapters.longest(clean, "mnist", kept) == chapters.A_MEASURE
    other = run_spec("digits", "vanilla", seed=5, **TINY)
    with pytest.raises(
        runs.Unfinished, match=r"time is up before none-\w+, which may take 500 s and cannot be interrupted"
    ):
        chapters.complete(other, [clean], store=kept, device="cpu", deadline=time.monotonic() + 300)
    assert kept.find(other) is not None, "it was trained"


def test_what_a_gpu_took_says_nothing_of_a_processor(kept):
    run = kept.get(SPEC.id)
    clean = EvalSpec(attack="none", images=30)
    result = {"images": 30, "true": 1, "predicted": 1, "seconds": 700.0}
    kept.add_evaluation(run, clean, result | {"provenance": {"device": "NVIDIA H200"}})
    assert chapters.longest(clean, "digits", kept) == chapters.A_MEASURE
    kept.add_evaluation(run, clean, result | {"provenance": {"device": "AMD EPYC, 2 cores, bf16 by float32"}})
    assert chapters.longest(clean, "digits", kept) == 700.0


def test_a_measure_that_would_be_late_keeps_neither_the_others_nor_the_next_run(kept, home, monkeypatch, capsys):
    late, quick = EvalSpec(attack="FGSM", images=20), EvalSpec(attack="none", images=20)
    kept.add_evaluation(kept.get(SPEC.id), late, {"images": 20, "true": 1, "predicted": 1, "seconds": 5000.0})
    first, second = (run_spec("digits", "vanilla", seed=seed, **TINY) for seed in (7, 8))
    monkeypatch.setattr(command, "measures_of", lambda spec: [late, quick])
    with pytest.raises(runs.Unfinished, match=f"^not done: {first.id}, {second.id}$"):
        command.one_by_one([first, second], kept, deadline=time.monotonic() + 600, device="cpu")
    for spec in (first, second):
        assert kept.evaluation(kept.get(spec.id), quick) is not None
        assert kept.evaluation(kept.get(spec.id), late) is None
    assert "may take 5000 s and cannot be interrupted" in capsys.readouterr().err


def test_a_stored_result_is_told_without_data_and_a_damaged_net_is_an_error(kept, cli, monkeypatch):
    run = kept.get(SPEC.id)
    spec = EvalSpec(attack="BIM(2,3)", images=20)
    kept.add_evaluation(run, spec, {"images": 20, "true": 5, "predicted": 6})
    words = ("evaluate", SPEC.id, "--attack", "BIM(2,3)", "--images", "20", "--device", "cpu")
    with monkeypatch.context() as without:
        without.setattr(doubts, "load_data", lambda *_: (_ for _ in ()).throw(InputError("no data")))
        code, out, err = cli(*words)
    assert (code, err) == (0, "warning: not checked for masked gradients: no data\n")
    assert "25.00 % (true labels), 30.00 % (predicted labels)" in out
    path = run.folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    code, _, err = cli(*words)
    assert code == 2
    assert err.startswith("error: ")


# --- plan and status


def test_plan_lists_what_is_to_do_and_status_all_of_it(home, cli):
    asked = chapters.asked()
    for word in ("plan", "status"):
        code, out, err = cli(word)
        assert (code, err) == (0, "")
        lines = iter(out.splitlines())
        for chapter, specs in asked.items():
            assert next(lines) == f"{chapter}: 0 of {len(specs)} runs done"
            found = [next(lines).split() for _ in specs]
            assert [words[-1] for words in found] == [spec.id for spec in specs]
            assert {words[0] for words in found} <= {"missing"}
        assert next(lines, None) is None
    by_hand = run_spec("mnist", "sim", lr=1e-4)
    line = next(line for line in out.splitlines() if line.endswith(by_hand.id))
    assert line.split()[1:] == ["10.8", "M", "forward", "10.8", "M", "backward", by_hand.id]
    assert not (home / "runs").exists()


def test_what_one_has_begun_goes_on_by_its_id(kept, cli, monkeypatch):
    begun, taken = replace(SPEC, seed=7), []
    kept.save_checkpoint(begun, {}, {})
    damaged, broken = replace(SPEC, seed=8), replace(SPEC, seed=9)
    for spec in (damaged, broken):
        kept.checkpoint(spec).parent.mkdir(parents=True)
    kept.checkpoint(damaged).write_bytes(b"no tensors")
    save_file({"x": torch.zeros(1)}, kept.checkpoint(broken), metadata={"spec": "{"})
    monkeypatch.setattr(command, "train", lambda arguments, store: taken.append(command.wanted(arguments, store)))
    code, _, said = cli("run", begun.id[:-2])
    assert (code, taken) == (0, [[begun]])
    for spec in (damaged, broken):
        assert f"{spec.id.split('/')[1]} is left out: its checkpoint is damaged" in said


def test_the_commands_start_without_what_the_chapters_alone_need():
    code = "import sys, simbook.commands; print(*sorted({'IPython', 'matplotlib', 'papermill'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_what_is_done_leaves_the_plan_and_what_was_begun_is_partial(kept, cli, monkeypatch):
    done, begun, *others = chapters.asked()["06_evaluation"]
    clean = EvalSpec(attack="none")
    asked = {"06_evaluation": {done: [clean], begun: [clean], **{spec: [clean] for spec in others}}}
    monkeypatch.setattr(chapters, "asked", lambda: asked)
    specs = [done, begun, *others]
    run = kept.get(SPEC.id)
    stored = kept.finish(done, store.build_model(done), run.history, run.cost | {"seconds": 61.4}, run.provenance)
    kept.save_checkpoint(begun, {}, {})

    head, *lines = cli("plan")[1].splitlines()
    assert head == f"06_evaluation: 1 of {len(specs)} runs done"
    assert lines[0].split()[:3] == ["done", "61", "s"]
    assert lines[0].endswith(f"{done.id}  not measured: {clean.id}")
    assert [line.split()[-1] for line in lines[1:]] == [spec.id for spec in specs[1:]]
    assert lines[1].split()[0] == "partial"

    kept.add_evaluation(stored, clean, {"images": 10, "true": 9, "predicted": 9})
    before = tree(kept.roots[0])
    head, *lines = cli("plan")[1].splitlines()
    assert [line.split()[-1] for line in lines] == [spec.id for spec in specs[1:]]
    _, *lines = cli("status")[1].splitlines()
    lines, own = lines[: len(specs)], lines[len(specs) :]
    assert [line.split()[0] for line in lines] == ["done", "partial"] + ["missing"] * (len(specs) - 2)
    assert own[1:] == [f"  done    {SPEC.id}"]
    assert lines[0].split()[1:3] == ["61", "s"]

    # the beginning of an id is enough, and what is done is neither trained nor measured again
    monkeypatch.setattr(runs, "trainer_of", None)
    code, out, _ = cli("run", done.id[:-3], "--device", "cpu")
    assert (code, out.split(":")[0]) == (0, done.id)
    assert tree(kept.roots[0]) == before


def test_status_lists_ones_own_runs_and_what_is_begun_again(kept, cli, monkeypatch):
    (done,) = asked = {run_spec("digits", "vanilla", epochs=1): []}
    monkeypatch.setattr(chapters, "asked", lambda: {"06_evaluation": asked})
    run = kept.get(SPEC.id)
    kept.finish(done, store.build_model(done), run.history, run.cost, run.provenance)
    code, out, err = cli("status")
    assert (code, err) == (0, "")
    _, first, head, own = out.splitlines()
    assert first.endswith(done.id)
    assert (head, own) == (f"your own, in {kept.roots[0]}: 1 of 1 runs done", f"  done    {SPEC.id}")
    begun = replace(SPEC, seed=5)
    kept.save_checkpoint(begun, {}, {})
    assert cli("status")[1].splitlines()[2:] == [
        f"your own, in {kept.roots[0]}: 1 of 2 runs done",
        *sorted([f"  done    {SPEC.id}", f"  partial {begun.id}"], key=lambda line: line[10:]),
    ]
    kept.save_checkpoint(done, {}, {})
    assert f"{done.id}  begun again, and partial" in cli("status")[1]
    assert SPEC.id not in cli("plan")[1]


@pytest.mark.parametrize("word", ["plan", "status"])
def test_a_damaged_record_hides_no_other(kept, cli, monkeypatch, word):
    first, second = (run_spec("digits", "vanilla", epochs=1, seed=seed) for seed in range(2))
    monkeypatch.setattr(chapters, "asked", lambda: {"06_evaluation": {first: [], second: []}})
    path = kept.path(first.id) / "run.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    code, out, err = cli(word)
    assert code == 2
    head, *lines = out.splitlines()
    assert head == "06_evaluation: 0 of 2 runs done"
    assert [(line.split()[0], line.split()[-1]) for line in lines[:2]] == [
        ("damaged", first.id),
        ("missing", second.id),
    ]
    assert err.startswith(f"error: {path} is damaged (")


def test_a_damaged_run_of_ones_own_is_told(kept, cli, monkeypatch):
    monkeypatch.setattr(chapters, "asked", dict)
    path = kept.path(SPEC.id) / "run.json"
    path.write_text("{")
    code, out, err = cli("status")
    assert (code, out.splitlines()[1:]) == (2, [f"  damaged {SPEC.id}"])
    assert err.startswith(f"error: {path} is damaged (")
    assert cli("plan") == (0, "", "")


# --- evaluate


def test_the_beginning_of_an_id_stands_for_the_one_run_that_it_fits(kept):
    run = kept.get(SPEC.id)
    assert command.stored(SPEC.id[:-3], kept).spec == SPEC
    longer = f"{SPEC.id}-more"  # an id that is the beginning of another is still an id
    shutil.copytree(run.folder, kept.roots[0] / longer)
    assert command.stored(SPEC.id, kept).spec == SPEC
    for number in range(3):
        shutil.copytree(run.folder, kept.roots[0] / f"{SPEC.id}-{number}")
    with pytest.raises(
        InputError, match=rf"id '{SPEC.id[:-1]}' fits 5 stored runs \({SPEC.id}, .*, \.\.\.\); write more"
    ):
        command.stored(SPEC.id[:-1], kept)


def test_an_evaluation_prints_both_conventions_and_is_kept(kept, home, cli):
    words = ["evaluate", SPEC.id, "--attack", "BIM(2, 3)", "--images", "20", "--device", "cpu", "--threads", "1"]
    code, out, err = finish(process(home, *words))
    assert code == 0
    assert not [line for line in err.splitlines() if not line.startswith("warning: not to be trusted: ")]
    assert not [frame for frame in BAR if frame in out + err]
    (path,) = (home / "runs" / SPEC.id / "evals").iterdir()
    assert path.name.startswith("bim-2-3-")
    record = store.read_record(path)
    true, predicted = (100 * record[name] / 20 for name in ("true", "predicted"))
    (line,) = out.splitlines()
    assert line.startswith(f"{SPEC.id} under BIM(2,3)")
    assert [part in line for part in (f"{true:.2f} % (true", f"{predicted:.2f} % (predicted", "20 images")] == [
        True
    ] * 3
    before = tree(home)
    assert cli(*words) == (0, out, err)
    assert tree(home) == before


def test_an_evaluation_that_is_stored_is_not_measured_again(kept, cli, monkeypatch):
    words = ["evaluate", SPEC.id, "--attack", "FGSM", "--images", "20", "--device", "cpu"]
    first = cli(*words)
    assert (first[0], first[2]) == (0, "")
    monkeypatch.setattr(Store, "model", None)
    assert cli(*words) == first


# --- bad input


RUN = ["run", "--dataset", "digits", "--method", "sim"]
BAD = [
    (["run", "--dataset", "minst", "--method", "sim"], ["'minst'", "did you mean 'mnist'", "digits, mnist, fmnist"]),
    (["run", "--dataset", "digits", "--method", "pgd"], ["'pgd'", "vanilla, fgsm, rfgsm, bim, madry, atda"]),
    ([*RUN, "--n1", "0"], ["n1 = 0.0", "above 0"]),
    ([*RUN, "--n1", "-1"], ["n1 = -1.0", "above 0"]),
    ([*RUN, "--n1", "nan"], ["n1 = nan", "finite number"]),
    ([*RUN, "--epsilon", "0"], ["epsilon = 0.0", "above 0"]),
    ([*RUN, "--epsilon", "inf"], ["epsilon = inf", "finite number"]),
    ([*RUN, "--n2", "0"], ["n2 = 0", "at least 1"]),
    ([*RUN, "--epochs", "0"], ["epochs = 0", "at least 1"]),
    ([*RUN, "--lr", "0"], ["lr = 0.0", "above 0"]),
    ([*RUN, "--seed", "-1"], ["seed = -1", "at least 0"]),
    ([*RUN, "--images", "0"], ["images = 0", "at least 1"]),
    ([*RUN, "--m", "3"], ["method 'sim' has no m", "n1, n2, reset"]),
    ([*RUN, "--reset", "always"], ["reset = 'always'", "cycle, staggered, never, random"]),
    ([*RUN, "--model", "resnet20"], ["model = 'resnet20'", "lenet"]),
    ([*RUN, "--threads", "0"], ["threads = 0", "at least 1"]),
    ([*RUN, "--threads", "100000"], ["threads = 100000", "at most"]),
    (["run", "--all", "--jobs", "2", "--alone"], ["--alone", "--jobs"]),
    (["run", "--all", "--job", "2"], ["unrecognized arguments: --job", "did you mean '--jobs'"]),
    ([*RUN, "--epoch", "2"], ["unrecognized arguments: --epoch", "did you mean '--epochs'"]),
    (["evaluate", SPEC.id, "--atack", "FGSM"], ["unrecognized arguments: --atack", "did you mean '--attack'"]),
    (["evaluate", SPEC.id, "--images", "361", "--device", "cpu"], ["images = 361: the test set of digits has 360"]),
    ([*RUN, "--device", "gpu"], ["device = 'gpu'", "auto, cpu, cuda"]),
    ([*RUN, "--device", "cuda"], ["device = 'cuda'", "0 GPUs", "try cpu or auto"]),
    ([*RUN, "--budget", "9"], ["budget = '9'", "as in 9m"]),
    ([*RUN, "--budget", "0m"], ["budget = '0m'", "above 0", "as in 9m"]),
    ([*RUN, "--all"], ["--dataset and --method", "--all"]),
    ([*RUN, "mnist/sim"], ["--dataset and --method", "ids"]),
    (["run", "--dataset", "digits"], ["needs --dataset and --method"]),
    (["run", "--epochs", "3"], ["needs --dataset and --method"]),
    (["run"], ["nothing to run", "plan", "--all", "--dataset and --method"]),
    (["run", "mnist/nothing"], ["'mnist/nothing'", "plan lists them"]),
    (["run", "--all", "mnist/sim"], ["ids or --all, not both"]),
    (["publish", "--all", "mnist/sim"], ["ids or --all, not both"]),
    (["run", "--dataset", "mnist", "--method", "vanilla"], ["'mnist'", "could not be downloaded", "SIMADV_DATA"]),
    (["evaluate", SPEC.id[:-1] + "?"], [f"did you mean '{SPEC.id}'", "fits no run in", "status says which are done"]),
    (["compare", SPEC.id, "mnist/nothing"], ["'mnist/nothing' fits no run in"]),
    (["compare", SPEC.id], [f"id '{SPEC.id}' fits no run in", "published", "run ID --again", "two ids"]),
    (["evaluate", SPEC.id, "--attack", "PGD"], ["'PGD'", "FGSM, R+FGSM, BIM, Madry"]),
    (["evaluate", SPEC.id, "--attack", "BIM"], ["'BIM'", "as in BIM(10,40)"]),
    (["evaluate", SPEC.id, "--attack", "BIM(0,40)"], ["n1 = 0", "above 0"]),
    (["evaluate", SPEC.id, "--attack", "BIM(1.1.1,40)"], ["'BIM(1.1.1,40)'", "BIM(10,40)"]),
    (["evaluate", SPEC.id, "--attack", "BIM(10,0)"], ["n2 = 0", "at least 1"]),
    (["evaluate", SPEC.id, "--epsilon", "0"], ["epsilon = 0.0", "above 0"]),
    (["evaluate", SPEC.id, "--images", "0"], ["images = 0", "at least 1"]),
    (["evaluate", SPEC.id, "--seed", "-1"], ["seed = -1", "at least 0"]),
    (["evaluate", SPEC.id, "--device", "cuda:3"], ["device = 'cuda:3'", "0 GPUs", "try cpu or auto"]),
    # what the parser itself finds
    ([], ["plan", "run", "status", "evaluate"]),
    (["train"], ["'train'", "plan", "run", "status", "evaluate"]),
    ([*RUN, "--epochs", "two"], ["--epochs", "'two'", "int"]),
    ([*RUN, "--epochs", "2.5"], ["--epochs", "'2.5'", "int"]),
    ([*RUN, "--lr", "fast"], ["--lr", "'fast'", "float"]),
    ([*RUN, "--spice", "3"], ["--spice"]),
    ([*RUN, "--lr"], ["--lr", "expected one argument"]),
    (["evaluate"], ["ID"]),
]


@pytest.fixture
def no_network(monkeypatch):
    """Let every download fail at once: nobody listens at the mirror."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [nobody])
        yield


@pytest.mark.parametrize(("words", "said"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_is_one_line_and_code_2_and_nothing_is_written(kept, home, cli, monkeypatch, no_network, words, said):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    before = tree(home)
    code, out, err = cli(*words)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert [word for word in said if word not in line] == []
    assert tree(home) == before


def test_bad_input_to_a_process_is_one_line_and_code_2(tmp_path):
    code, out, err = finish(process(tmp_path, *RUN, "--n1", "0"))
    assert (code, out, err) == (2, "", "error: n1 = 0.0 must be above 0\n")
    assert tree(tmp_path) == {}


def test_a_damaged_store_is_one_line_and_code_2_and_stays_as_it_is(kept, home, cli):
    path = home / "runs" / SPEC.id / "run.json"
    path.write_bytes(path.read_bytes().replace(b'"n2": 2', b'"n2": 3'))
    before = tree(home)
    for words in (OWN, ["evaluate", SPEC.id]):
        code, out, err = cli(*words)
        assert (code, out) == (2, "")
        (line,) = err.splitlines()
        assert line.startswith("error: ")
        assert "run.json was changed: its checksum differs; restore or delete it" in line
    assert tree(home) == before


def test_a_store_that_is_no_folder_is_one_line_and_code_2(home, cli):
    (home / "runs").write_text("mine")
    code, out, err = cli(*OWN)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert (home / "runs").read_text() == "mine"


def test_runs_of_two_data_sets_are_not_compared(kept, cli):
    run, other = kept.get(SPEC.id), run_spec("mnist", "vanilla", epochs=1)
    kept.finish(other, store.build_model(other), run.history, run.cost, run.provenance)
    code, out, err = cli("compare", SPEC.id, other.id)
    assert (code, out) == (2, "")
    assert err == f"error: {SPEC.id} and {other.id} are of two data sets; only runs of one can be compared\n"


@pytest.mark.parametrize(("text", "value"), [("90s", 90), ("9m", 540), ("1.5h", 5400), ("0.5s", 0.5)])
def test_a_budget_is_seconds_minutes_or_hours(text, value):
    assert command.seconds(text) == value


@pytest.mark.parametrize("text", ["", "9", "m", "-1m", "0s", "0.0h", "9 m", "1e3s", "nans", "9d", "9m\n", "1,5h"])
def test_a_budget_that_is_no_time_is_refused(text):
    with pytest.raises(InputError, match=r"budget = .* write a number above 0 with s, m or h, as in 9m"):
        command.seconds(text)


def test_a_reader_that_has_read_enough_gets_no_traceback(tmp_path):
    started = process(tmp_path, "plan", stdin=None)
    started.stdout.close()
    assert started.wait(120) == 141
    assert started.stderr.read() == ""
    started.stderr.close()


def test_the_version_is_that_of_the_package(cli, capsys):
    with pytest.raises(SystemExit) as end:
        command.main(["--version"])
    assert (end.value.code, capsys.readouterr().out) == (0, f"simadv {simadv.__version__}\n")
    assert simadv.__version__ == importlib.metadata.version("simadv")


def test_ctrl_c_while_it_is_imported_is_no_traceback(home, tmp_path):
    package = tmp_path / "first" / "simbook"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "commands.py").write_text("raise KeyboardInterrupt")
    program = ("-c", f"import sys, runpy; sys.path.insert(0, {str(package.parent)!r}); runpy.run_module('simadv')")
    assert finish(process(home, program=program)) == (130, "", "")
