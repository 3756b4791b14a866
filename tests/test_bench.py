"""The benchmark's arithmetic, its workers' protocol and its options; nothing here is timed."""

import json
import sys
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the benchmark is no part of the package

from bench import attacks, floors, gpu, growth, report, stats, timing, training, worker  # noqa: E402
from bench.__main__ import main  # noqa: E402
from bench.nets import book_net, frozen, plain_lenet  # noqa: E402
from bench.peers import ATTACKERS, PEERS  # noqa: E402
from bench.subjects import by_chance  # noqa: E402
from simadv.data import PadCropFlip  # noqa: E402
from simadv.runs import passes_per_image  # noqa: E402
from simadv.specs import run_spec  # noqa: E402
from simbook.workers import Worker, WorkerError  # noqa: E402


def test_a_summary_is_the_median_and_the_middle_half():
    assert stats.summary([5.0, 1.0, 3.0, 2.0, 4.0]) == {"median": 3.0, "spread": pytest.approx(2 / 3), "rounds": 5}
    assert stats.summary([2.0]) == {"median": 2.0, "spread": 0.0, "rounds": 1}
    for wrong in ([], [1.0, 0.0]):
        with pytest.raises(ValueError, match="timings must be there and above 0"):
            stats.summary(wrong)


def test_a_ratio_is_taken_round_by_round():
    """A round in which everything took ten times as long changes nothing."""
    assert stats.ratio([2.0, 40.0, 3.0], [1.0, 20.0, 1.0]) == 2.0


def test_exponents_are_those_of_powers():
    sizes = [1, 2, 5, 40]
    assert stats.exponent(sizes, [7 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    assert stats.exponent(sizes, [3.0] * 4) == pytest.approx(0)


def test_the_floor_is_the_larger_of_the_two():
    found = stats.floor(6e9, 1e9, rate=2e9, bandwidth=4e9)
    assert found == {"arithmetic": 3.0, "memory": 0.25, "floor": 3.0}
    assert stats.floor(1.0, 8.0, rate=1.0, bandwidth=2.0)["floor"] == 4.0


@pytest.mark.parametrize(
    ("method", "settings", "times"),
    [("sim", {}, 8 / 3), ("bim", {}, 22), ("fgsm", {}, 8 / 3), ("free", {"m": 10}, 10), ("vanilla", {}, 1)],
)
def test_the_passes_predict_what_the_book_says(method, settings, times):
    passes = passes_per_image(run_spec("mnist", method, **settings))
    assert stats.units(*passes) / stats.units(1, 1, 1) == pytest.approx(times)


def test_things_are_timed_in_turn_and_the_first_round_does_not_count():
    asked = []

    def clock(name):
        return lambda: asked.append(name) or len(asked)

    taken = timing.in_turn({name: clock(name) for name in "abc"}, rounds=2, label="test")
    assert "".join(asked) == "abccbaabc"
    assert taken == {"a": [6, 7], "b": [5, 8], "c": [4, 9]}


def small_net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(3 * 5 * 7, 4, bias=False))


def test_the_operations_of_a_known_net_are_counted():
    """Forward, and backward to the input: twice the multiply-adds of each layer, 2 operations each; no weights'."""
    x, y = torch.rand(6, 2, 5, 7), torch.arange(6) % 4
    flops, size = floors.counted(small_net(), x, y)
    multiply_adds = 6 * (3 * 5 * 7) * (2 * 3 * 3) + 6 * (3 * 5 * 7) * 4
    assert flops == 2 * 2 * multiply_adds
    # at least each layer's input, weights and output once a direction
    once = 4 * (6 * 2 * 5 * 7 + 3 * 2 * 3 * 3 + 2 * 6 * 3 * 5 * 7 + 4 * 3 * 5 * 7 + 6 * 4)
    assert 2 * once <= size < 4 * once


def test_the_time_of_a_call_is_divided():
    net, (x, y) = small_net(), (torch.rand(6, 2, 5, 7), torch.arange(6) % 4)
    found = floors.shares(lambda: floors.input_gradient(net, x, y))
    assert found.keys() == {"convolutions", "products", "rest"}
    assert sum(found.values()) == pytest.approx(100)
    assert min(found.values()) > 0
    nothing_else = {"convolutions": 0, "products": 0, "rest": pytest.approx(100)}
    assert floors.shares(lambda: torch.add(x, 1)) == nothing_else


def test_bytes_are_what_operations_read_and_write_and_views_cost_nothing():
    x = torch.zeros(10, 4)
    with floors.Counter() as traffic:
        y = x.view(4, 10).t()
        assert traffic.bytes == 0
        y.relu()
        assert traffic.bytes == 2 * 160
        torch.add(x, torch.ones(1).expand(10, 4))  # one value is made, and read
    assert traffic.bytes == 2 * 160 + 2 * 160 + 4 + 4


def subject_file(folder: Path, attacker: str) -> dict:
    generator = torch.Generator().manual_seed(0)
    net = book_net("lenet")
    kept = {"weights": net.state_dict(), "x": torch.rand(6, 1, 28, 28, generator=generator), "y": torch.arange(6)}
    torch.save(kept, folder / "subject.pt")
    settings = {"attacker": attacker, "threads": torch.get_num_threads(), "file": str(folder / "subject.pt")}
    return settings | {"epsilon": 0.3, "n1": 10, "n2": 3, "batch": 4}


def test_the_plain_net_is_the_books_net():
    book = book_net("lenet")
    x = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    plain = plain_lenet(book.state_dict())
    torch.testing.assert_close(plain(x), book(x), rtol=0, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in frozen(plain).parameters())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of SciPy, at its import
def test_foolbox_and_we_are_set_to_the_same_thing(tmp_path):
    """In float64, so that rounding turns no sign; the other libraries live in an environment of their own."""
    made = {}
    for attacker in ("ours", "foolbox"):
        answer = worker.Answers(subject_file(tmp_path, attacker))
        path = tmp_path / f"{attacker} made.pt"
        assert answer(f"examples book float64 6 {path}\n") == {"images": 6}
        made[attacker] = torch.load(path, weights_only=True)
    assert (made["ours"] - torch.load(tmp_path / "subject.pt")["x"]).abs().max() == pytest.approx(0.09)
    assert attacks.agreement(made["ours"], made["foolbox"]) == {"images": 100.0, "pixels": 100.0}


def test_a_worker_times_one_batch_and_refuses_other_words(tmp_path):
    answer = worker.Answers(subject_file(tmp_path, "ours"))
    assert answer("go plain bf16 2\n")["seconds"] > 0
    with pytest.raises(ValueError, match="'stop' is not known"):
        answer("stop plain bf16 2\n")


def test_agreement_counts_images_and_pixels():
    ours = torch.zeros(4, 1, 2, 2)
    theirs = ours.clone()
    theirs[1, 0, 0, 0] = 0.06
    theirs[2] += 5e-7
    assert attacks.agreement(ours, theirs) == {"images": 75.0, "pixels": 93.75}


ECHO = """
import json, sys
print(json.dumps({"ready": True}), flush=True)
for number, line in enumerate(sys.stdin):
    if line == "die\\n":
        print("noise", file=sys.stderr)
        sys.exit("it had enough")
    print("plainly" if line == "speak\\n" else json.dumps({"seconds": number, "line": line.strip()}), flush=True)
"""


def test_a_worker_answers_line_by_line_and_ends_with_its_input():
    with Worker("echo", [sys.executable, "-c", ECHO], gpu=False) as echo:
        assert echo.read() == {"ready": True}
        assert [echo.ask(line) for line in ("go 500", "go 3")] == [
            {"seconds": 0, "line": "go 500"},
            {"seconds": 1, "line": "go 3"},
        ]
    assert echo.process.returncode == 0


def test_a_worker_that_fails_is_named_with_its_last_words():
    with Worker("echo", [sys.executable, "-c", ECHO], gpu=False) as echo:
        echo.read()
        with pytest.raises(WorkerError, match="echo: answered 'plainly'; the last that it said: nothing"):
            echo.ask("speak")
        for _ in range(2):  # also when it is long gone
            with pytest.raises(WorkerError, match="echo: ended with status 1; the last that it said: it had enough"):
                echo.ask("die")


def test_a_worker_that_is_killed_says_by_what():
    with Worker("echo", [sys.executable, "-c", ECHO], gpu=False) as echo:
        echo.read()
        echo.process.kill()
        with pytest.raises(WorkerError, match="echo: ended with status -9; the last that it said: nothing"):
            echo.ask("go 1")


def test_a_worker_is_ended_at_once_where_its_user_was_interrupted(monkeypatch):
    close = Worker.close

    def closed(worker):
        assert worker.process.wait(5) == -9, "before anybody waits for it"
        close(worker)

    monkeypatch.setattr(Worker, "close", closed)
    with pytest.raises(KeyboardInterrupt), Worker("idle", ["sleep", "60"], gpu=False) as idle:
        raise KeyboardInterrupt
    assert idle.process.returncode == -9


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--only", "attaks"], "part = 'attaks' is not known (did you mean 'attacks'?); allowed: attacks, training"),
        (["--rounds", "0"], "rounds = 0 must be at least 1"),
        (["--rounds", "many"], "argument --rounds: invalid int value: 'many'"),
        (["--threads", "-1"], "threads = -1 must be at least 1"),
        (["--gpu", "--only", "floors"], "--gpu stands for --only gpu; give one of the two"),
        (["--fast"], "unrecognized arguments: --fast"),
        (["--gpu"], "no CUDA device is here; the GPU part needs one"),
        (["--only", "attacks"], "the environment of the peers, .venv-bench, is not there; make peers sets it up"),
    ],
)
def test_bad_options_are_told_in_one_line(words, says, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(attacks, "PEER_PYTHON", tmp_path / "python")
    assert main(words) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"error: {says}")


ABOUT = {"device": "AMD EPYC, 2 cores", "threads": 2, "torch": "2", "date": "2026-01-02", "alone": False}
MADE_UP = {
    "floors": {
        "about": ABOUT,
        "flops_a_second": {"float32": 2.00004e11},
        "bytes_a_second": 1e10,
        "rows": [
            {"net": "lenet", "precision": "float32", "batch": 500, "flops_an_image": 1.5e6, "bytes_an_image": 2e5}
            | {"arithmetic_seconds": 0.004, "memory_seconds": 0.01, "floor_seconds": 0.01, "seconds": 0.02}
            | {"spread": 0.1, "times_the_floor": 2.0}
        ],
    }
}


def test_the_table_file_keeps_the_parts_that_were_not_taken(tmp_path):
    path = report.path_of("AMD EPYC, 2 cores", tmp_path / "results")
    assert path.name == "amd-epyc-2-cores.json"
    report.write(MADE_UP, path)
    report.write({"growth": {"about": ABOUT, "values": (1, 0.123456)}}, path)
    held = json.loads(path.read_text())
    assert held["growth"]["values"] == [1, 0.1235]
    assert held["floors"]["flops_a_second"]["float32"] == 2.0e11


def test_the_text_says_what_was_measured_where():
    text = report.text(MADE_UP)
    assert text.startswith("floors: AMD EPYC, 2 cores, 2 threads, torch 2, 2026-01-02, beside other work\n")
    assert "floors 4.00 and 10.00 ms, ours 20.00 ms, 2.0 times the larger" in text


@pytest.mark.parametrize("path", sorted((ROOT / "bench" / "results").glob("*.json")), ids=lambda path: path.stem)
def test_a_kept_table_is_complete_and_readable(path):
    held = json.loads(path.read_text())
    assert report.text(held)
    for part in held.values():
        assert part["about"].keys() >= {"device", "threads", "torch", "date", "commit", "alone"}
        assert report.path_of(part["about"]["device"]) == path


def test_growth_is_fitted_where_there_is_any():
    kept = {size: [{"seconds": 2.0 * size, "memory": 100}] * 3 for size in (1, 4, 16)}
    found = growth.table(kept)
    assert found["time_exponent"] == pytest.approx(1)
    assert "memory_exponent" not in found
    assert [row["median"] for row in found["rows"]] == [2.0, 8.0, 32.0]
    kept = {size: [{"seconds": 1.0, "memory": 5 * size**2}] for size in (1, 4, 16)}
    assert growth.table(kept)["memory_exponent"] == pytest.approx(2)


def test_a_row_of_training_counts_a_replay_as_an_epoch():
    spec = run_spec("mnist", "free", m=10)
    found = training.row("free", spec, {"free": [0.5, 0.5, 0.5], "vanilla": [0.25, 0.25, 0.5]})
    assert (found["method"], found["batch"]) == ("free", 128)
    assert (found["over_vanilla"], found["predicted"]) == (2.0, 1.0)


def test_the_first_layer_is_the_first_convolution():
    """The halves are the net, and what a pass saves that ends between them is that convolution's way back."""
    net = frozen(book_net("lenet"))
    first, rest = training.halves(net)
    x, y = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(3)), torch.arange(3)
    assert torch.equal(rest(first(x)), net(x))
    with floors.Counter() as forward:
        between = first(x)
    behind, _ = floors.counted(rest, between, y)
    convolution = first[-1]
    folding = 2 * convolution.weight.numel() * convolution.spread.shape[1]  # of the kernel: on the way there alone
    assert forward.flops > 5 * folding
    assert floors.counted(net, x, y)[0] == 2 * forward.flops - folding + behind


def test_runs_by_chance_are_the_books_own():
    """ResNet-20 is trained as on CIFAR-10, crops and flips included, but on no image of it."""
    spec = run_spec("cifar10", "sim", images=4, monitor=None, batch_size=2)
    trainer = by_chance(spec, torch.device("cpu"))
    assert trainer.x.shape == (4, 3, 32, 32)
    assert trainer.augment is PadCropFlip
    assert type(trainer.learner.optimizer) is torch.optim.SGD
    assert training.epoch(trainer) > 0
    assert trainer.progress.epoch == 1


def test_clocked_things_do_what_they_did():
    clock = {"work": 0.0}
    clocked = training.Clocked("abc", clock, "work")
    assert clocked.upper() == "ABC"
    assert training.Clocked(lambda x, *, y: x + y, clock, "work")(1, y=2) == 3
    assert clock["work"] > 0


def test_the_plain_loop_and_ours_make_the_same_examples():
    net = frozen(book_net("lenet")).double()
    x = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    options = {"epsilon": 0.3, "n1": 10, "n2": 3, "precision": "float64", "batch": 4}
    made = [make(net, **options)(x, torch.arange(4)) for make in (ATTACKERS["ours"], gpu.loop)]
    torch.testing.assert_close(*made, rtol=0, atol=1e-12)


def test_the_peers_environment_is_pinned_and_has_the_books_torch():
    def pins(name: str) -> dict[str, str]:
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        wanted = [Requirement(line) for line in lines if line and not line.startswith("#")]
        assert all(str(r.specifier).startswith("==") for r in wanted)
        return {r.name.lower(): str(r.specifier) for r in wanted}

    book, peers = pins("constraints.txt"), pins("bench/constraints.txt")
    assert {name: pin for name, pin in peers.items() if book.get(name, pin) != pin} == {}
    assert "torch" in book.keys() & peers.keys()
    assert {name.replace("art", "adversarial-robustness-toolbox") for name in PEERS} <= peers.keys()
