"""What a CUDA graph records and replays, on the CPU: a tape of operations that lie where they lay when recorded."""

import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the benchmark is no part of the package

from bench import gpu  # noqa: E402
from simadv import graphs  # noqa: E402
from simadv.adversaries import Attacker  # noqa: E402
from simadv.attacks import Attack  # noqa: E402
from simadv.learners import autocast  # noqa: E402
from simadv.models import build  # noqa: E402
from simadv.runs import trainer_of  # noqa: E402
from simadv.specs import METHODS, run_spec  # noqa: E402
from simadv.training import fit  # noqa: E402

CPU = torch.device("cpu")
# a GPU would have to be asked: what depends on a value, and what is as long as the number of hits
LOOKS = {"_local_scalar_dense", "nonzero", "masked_select", "unique_dim", "_unique2", "equal", "is_nonzero"}


def places(values) -> set[int]:
    return {leaf.untyped_storage().data_ptr() for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)}


def looks(function, values) -> bool:
    """Whether an operation makes the host wait for a device's values."""
    name = function.overloadpacket.__name__
    by_mask = any(isinstance(v, torch.Tensor) and v.dtype == torch.bool for v in tree_leaves(values[1:2]))
    return name in LOOKS or (name in ("index", "index_put", "index_put_") and by_mask)


class NoLooking(TorchDispatchMode):
    """Refuses what a GPU could not do without making the host wait; counts the operations."""

    count = 0

    def __torch_dispatch__(self, function, types, values=(), options=None):
        assert not looks(function, values), f"{function} makes the host wait"
        self.count += 1
        return function(*values, **(options or {}))


class Tape(TorchDispatchMode):
    """A CUDA graph on the CPU: recording leaves all that was there as it was; replaying writes where recording did."""

    def __init__(self):
        super().__init__()
        self.lines, self.mine, self.before, self.replays = [], set(), {}, 0

    def __torch_dispatch__(self, function, types, values=(), options=None):
        options = options or {}
        assert not looks(function, values), f"{function} cannot be recorded"
        arguments = [*zip(function._schema.arguments, values, strict=False)]
        arguments += [(a, options[a.name]) for a in function._schema.arguments if a.name in options]
        for argument, value in arguments:
            if argument.alias_info is not None and argument.alias_info.is_write:
                for leaf in tree_leaves(value):
                    if places(leaf) - self.mine and id(leaf) not in self.before:
                        self.before[id(leaf)] = (leaf, leaf.detach().clone())
        result = function(*values, **options)
        made = [(i, leaf) for i, leaf in enumerate(tree_leaves(result)) if places(leaf) - places((values, options))]
        self.mine |= places([leaf for _, leaf in made])
        self.lines.append((function, values, options, made))
        return result

    def undo(self):
        for leaf, value in self.before.values():
            leaf.detach().copy_(value)

    @torch.no_grad()
    def replay(self):
        self.replays += 1
        for function, values, options, made in self.lines:
            again = tree_leaves(function(*values, **options))
            for i, leaf in made:
                leaf.detach().copy_(again[i])


@pytest.fixture
def tapes(monkeypatch):
    """CUDA's graphs replaced by tapes; the list of those that were recorded."""
    recorded = []

    @contextmanager
    def graph(tape, *, stream):
        with tape:
            yield
        tape.undo()
        recorded.append(tape)

    def current_stream(device):
        assert device == stream.device, "of the device of the data, whichever is current"
        return stream

    stream = SimpleNamespace(wait_stream=lambda other: None, device=torch.device("cuda:1"))
    cuda = {"CUDAGraph": Tape, "graph": graph, "Stream": lambda device: stream, "stream": lambda s: nullcontext()}
    cuda |= {"device": lambda device: nullcontext(), "current_stream": current_stream}
    monkeypatch.setattr(graphs, "cuda", SimpleNamespace(**cuda))
    monkeypatch.setattr(graphs, "DEVICES", ("cpu",))
    return recorded


SMALL = {"images": 20, "batch_size": 8, "monitor": None, "epochs": 4}
SETTINGS = {
    "bim": {"n1": 2, "n2": 3},
    "madry": {"n1": 2, "n2": 3},
    "bim-atda": {"n1": 2, "n2": 2},
    "free": {"m": 2, "epochs": 8},
    "sim": {"n1": 2, "n2": 2},
}
SETTINGS["free-sim"] = {"fresh": 1}
# Free-Adv's own loop of one pass a replay runs as it is
CASES = [(method, "float32", {}) for method in METHODS if method != "free"] + [("sim", "bf16", {}), ("bim", "bf16", {})]
CASES += [("sim", "float32", {"reset": "staggered", "labels": "predicted", "mode": "train"})]
CASES += [("bim", "float32", {"optimizer": "sgd", "schedule": "steps", "weight_decay": 1e-3, "epochs": 8})]


@pytest.mark.parametrize(("method", "precision", "settings"), CASES)
def test_replayed_training_ends_in_the_same_bits(method, precision, settings, tapes, monkeypatch):
    """Two of three steps have full batches; these and the shorter ones are replayed after their warm-up."""
    # the settings of a GPU, on both sides: no cast is kept, and the state of the optimizer is said to be in place
    monkeypatch.setattr("simadv.learners.autocast", uncached)
    monkeypatch.setattr("simadv.runs.torch.optim.Adam", GpuAdam)
    spec = run_spec("digits", method, precision=precision, **(SMALL | SETTINGS.get(method, {}) | settings))
    replayed, plain = trainer_of(spec, CPU), trainer_of(spec, CPU)
    replayed.run()
    # FGSM-MEP's update goes on into the graph of its example, so that it runs as it is
    assert bool(tapes) == (method != "mep"), "nothing was recorded"
    assert min((len(tape.lines) for tape in tapes), default=11) > 10
    assert sum(tape.replays for tape in tapes) > len(tapes) or not tapes
    monkeypatch.setattr(graphs, "DEVICES", ())
    plain.run()
    ours, theirs = replayed.tensors(), plain.tensors()
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    assert [r["loss"] for r in replayed.progress.history] == [r["loss"] for r in plain.progress.history]


def uncached(device, precision):
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)


ADAM = torch.optim.Adam


class GpuAdam(ADAM):
    """Adam whose settings say what is true of its fused form: all of its state lies beside the weights."""

    def __init__(self, parameters, lr, **options):
        super().__init__(parameters, lr, **(options | {"capturable": False}))
        for group in self.param_groups:
            group["capturable"] = True


def test_a_tape_is_as_strict_as_a_graph(tapes):
    """What is looked at or made anew by Python at each call is not in a record; in-place work is done once a call."""
    net = build("lenet", image_shape=(1, 28, 28), classes=10, seed=0)
    state = torch.zeros(2)

    def adds(model, x):
        state.add_(x)
        return state * 2

    work = graphs.Replayed(adds)
    seen = [work(net, torch.full((2,), float(i))).tolist() for i in range(1, 7)]
    assert seen == [[2.0 * sum(range(i + 1))] * 2 for i in range(1, 7)]
    assert [tape.replays for tape in tapes] == [3]

    class Rebinds:
        value = torch.zeros(2)

        def __call__(self, model, x):
            self.value = self.value + x
            return self.value * 1

    rebinds = graphs.Replayed(Rebinds())
    assert rebinds(net, torch.ones(2)).tolist() == [1, 1]
    late = [rebinds(net, torch.ones(2)).tolist() for _ in range(5)][-1]
    assert late == [4, 4], "the tape does not show this mistake"
    looking = graphs.Replayed(lambda model, x: x * float(x.sum()))
    for _ in range(graphs.WARM_UP):
        looking(net, torch.ones(2))
    with pytest.raises(AssertionError, match=r"_local_scalar_dense.* cannot be recorded"):
        looking(net, torch.ones(2))


def test_results_are_the_callers_own_and_shapes_have_records_of_their_own(tapes):
    net = build("lenet", image_shape=(1, 28, 28), classes=10, seed=0)
    work = graphs.Replayed(lambda model, x, factor: x * factor)
    kept = []
    for i in range(6):
        for size in (2, 3):
            x = torch.full((size,), float(i))
            kept += [(i, size, work(net, x, 5)), (i, size, work(net, x, 7))]
    assert len(tapes) == 4
    for place, (i, size, product) in enumerate(kept):
        assert product.tolist() == [i * (7 if place % 2 else 5)] * size


def test_who_asks_for_a_gradient_gets_it(tapes):
    net = build("lenet", image_shape=(1, 28, 28), classes=10, seed=0)
    work = graphs.Replayed(lambda model, x: (x * x).sum())
    for _ in range(graphs.WARM_UP + 2):
        x = torch.ones(3, requires_grad=True)
        work(net, x).backward()
        assert x.grad.tolist() == [2, 2, 2]
    assert not tapes


def test_a_model_that_is_not_known_to_be_fit_runs_as_it_is(tapes):
    """A reader's own net may do another thing at each call, and a reader's Adam may keep numbers on the CPU."""
    x, y = torch.rand(16, 1, 28, 28), torch.arange(16) % 10
    own = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    attacker = Attacker(Attack(kind="BIM", epsilon=0.1, n1=2, n2=2))
    options = {"adversary": attacker, "epochs": 6, "batch_size": 16, "seed": 0}
    fit(own, x, y, optimizer=torch.optim.SGD(own.parameters(), 0.1), **options)
    assert not tapes
    net = build("lenet", image_shape=(1, 28, 28), classes=10, seed=0)
    fit(net, x, y, optimizer=torch.optim.Adam(net.parameters(), 1e-3), **options)
    assert len(tapes) == 1, "the attack alone"
    fit(net, x, y, optimizer=torch.optim.SGD(net.parameters(), 0.1), **options)
    assert len(tapes) == 2, "the attack has its record already"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("augment", ["none", "pad-crop-flip"])
def test_no_step_makes_the_host_wait(method, augment):
    spec = run_spec("digits", method, augment=augment, **(SMALL | SETTINGS.get(method, {})))
    trainer = trainer_of(spec, CPU)
    with NoLooking() as mode:
        for _ in range(2):  # an epoch's end is the third step's: it reads the loss
            trainer._step()
    assert mode.count > 50


def test_casts_are_kept_on_the_cpu_alone():
    with autocast(CPU, "bf16"):
        assert torch.is_autocast_cache_enabled()
    with autocast(SimpleNamespace(type="cuda"), "float32"):
        assert not torch.is_autocast_cache_enabled()


def test_the_benchmark_compares_recorded_bits_with_plain_ones(tapes, monkeypatch):
    monkeypatch.setattr("simadv.runs.torch.optim.Adam", GpuAdam)
    monkeypatch.setattr("simadv.learners.autocast", uncached)
    assert gpu.same_bits("mnist", "sim", 40, CPU, batch=8)
    assert len(tapes) == 2, "the attack and the update, recorded by one of the two"
    assert tapes[0].replays == 7
    monkeypatch.setattr(Tape, "undo", lambda tape: None)  # one step is now made twice
    assert not gpu.same_bits("mnist", "sim", 40, CPU, batch=8)
