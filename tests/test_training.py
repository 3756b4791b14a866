"""The training loop: the update itself, what it costs, and that stopping and resuming changes no bit."""

import copy
import io
import math
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
import torch
from reference import images, naive_attack, naive_cross_entropy, tiny_net
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from simadv import evaluation, learners, models, runs, specs
from simadv.adversaries import SIM, Adversary, Attacker, NoAdversary
from simadv.attacks import Attack
from simadv.checks import InputError
from simadv.data import Identity, PadCropFlip
from simadv.evaluation import accuracy
from simadv.learners import Adversarial, FreeReplay
from simadv.losses import CrossEntropy, DomainAdaptation
from simadv.runs import rate_of, trainer_of
from simadv.specs import EvalSpec, run_spec
from simadv.store import Store
from simadv.training import Monitor, Progress, Trainer, bar, fit, generator_for
from simbook.measures import base

CPU = torch.device("cpu")


def sgd(net, lr=0.1):
    return torch.optim.SGD(net.parameters(), lr)


def same(ours, theirs, atol=1e-10):
    """Whether two nets agree in every parameter and buffer."""
    for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=atol, msg=lambda text, name=name: f"{name}: {text}")
    return True


def test_an_update_is_one_step_by_hand():
    """Eqs. 5-6: examples by BIM, the mean of both halves in train mode, clean half first, one step of SGD."""
    net = tiny_net(0)
    twin = copy.deepcopy(net)
    x, y = images(0, 5)
    attack = Attack(kind="BIM", epsilon=0.2, n1=3, n2=4)
    learner = Adversarial(net, sgd(net), Attacker(attack), CrossEntropy(), "float32")
    for epoch in range(3):  # gradients of one step must not leak into the next
        loss = learner(x, y, torch.arange(5), epoch=epoch, view=Identity(), generator=None)
        x_tilde = naive_attack(twin.eval(), x, y, epsilon=0.2, n1=3, n2=4)
        twin.train()
        expected = (naive_cross_entropy(twin(x), y) + naive_cross_entropy(twin(x_tilde), y)) / 2
        gradients = torch.autograd.grad(expected, list(twin.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(twin.parameters(), gradients, strict=True):
                parameter -= 0.1 * gradient
        assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-9)
        assert same(net, twin)


def of_bf16(x):
    return x.bfloat16().float()


def gradients(net, x, y, context):
    """The logits, and the gradients of the mean cross-entropy with respect to images and parameters."""
    x = x.clone().requires_grad_()
    with context:
        logits = net(x)
    loss = torch.nn.functional.cross_entropy(logits.float(), y)
    return [logits, *torch.autograd.grad(loss, [x, *net.parameters()])]


def test_a_product_without_bf16_arithmetic_is_one_of_rounded_numbers(monkeypatch):
    monkeypatch.setattr(learners, "NATIVE", False)
    layer, (x, _) = nn.Linear(16, 3), images(0, 5, dtype=torch.float32)
    x = x.flatten(1)[:, :16].clone().requires_grad_()
    with learners.autocast(CPU, "bf16"):
        out, other = layer(x), x.sqrt()
    weight, bias = (of_bf16(p.detach()) for p in layer.parameters())
    assert torch.equal(out, of_bf16(of_bf16(x) @ weight.T + bias))
    assert torch.equal(other, x.sqrt()), "what is no product of a layer is not rounded"
    upward = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad(out, x, upward)
    assert torch.equal(gradient, of_bf16(of_bf16(upward) @ weight))


def test_bf16_by_float32_is_as_autocast_has_it(monkeypatch):
    """Nets of convolutions, layers, ReLU and max-pooling: all that remains is the order of sums."""
    net = models.build("lenet", image_shape=(1, 28, 28), classes=10, seed=0)
    x, y = torch.rand(32, 1, 28, 28, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 10
    monkeypatch.setattr(learners, "NATIVE", True)
    native = gradients(net, x, y, learners.autocast(CPU, "bf16"))
    assert native[0].dtype == torch.bfloat16
    monkeypatch.setattr(learners, "NATIVE", False)
    ours = gradients(net, x, y, learners.autocast(CPU, "bf16"))
    plain = gradients(net, x, y, learners.autocast(CPU, "float32"))
    for a, b, c in zip(native, ours, plain, strict=True):
        near, far = ((other - a.float()).norm() / a.float().norm() for other in (b, c))
        assert near < 0.03
        assert near < far / 3
    assert isinstance(learners.autocast(CPU, "float32"), torch.autocast)


@pytest.mark.parametrize("native", [True, False])
def test_a_run_says_how_its_processor_computes_bf16(monkeypatch, native):
    monkeypatch.setattr(runs, "NATIVE", native)
    assert runs.cpu_name().endswith(", bf16 by float32") != native


def test_vanilla_is_one_step_on_clean_images():
    net = tiny_net(1)
    twin = copy.deepcopy(net).train()
    x, y = images(1, 5)
    Adversarial(net, sgd(net), NoAdversary(), CrossEntropy(), "float32")(
        x, y, torch.arange(5), epoch=0, view=Identity(), generator=None
    )
    gradients = torch.autograd.grad(naive_cross_entropy(twin(x), y), list(twin.parameters()))
    with torch.no_grad():
        for parameter, gradient in zip(twin.parameters(), gradients, strict=True):
            parameter -= 0.1 * gradient
    assert same(net, twin)


def test_free_replay_is_algorithm_1():
    """Shafahi et al. 2019: m updates a batch; delta moves by epsilon, stays within it, and is carried by slot."""
    net = tiny_net(2)
    twin = copy.deepcopy(net).train()
    x, y = images(2, 5)
    epsilon, m = 0.1, 3
    learner = FreeReplay(net, sgd(net), "float32", epsilon=epsilon, m=m, slots=x[:2])
    delta = torch.zeros(2, *x.shape[1:], dtype=torch.float64)
    frozen = 0
    for epoch in range(2):
        for index in (torch.tensor([3, 0]), torch.tensor([4, 1]), torch.tensor([2])):  # the last batch is shorter
            loss = learner(x[index], y[index], index, epoch=epoch, view=Identity(), generator=None)
            for _ in range(m):
                leaf = (x[index] + delta[: len(index)]).clamp(0, 1).requires_grad_(True)
                expected = naive_cross_entropy(twin(leaf), y[index])
                found = torch.autograd.grad(expected, [leaf, *twin.parameters()])
                with torch.no_grad():
                    for parameter, gradient in zip(twin.parameters(), found[1:], strict=True):
                        parameter -= 0.1 * gradient
                for slot in range(len(index)):
                    image = x[index[slot]] + delta[slot]
                    cut_off = (image < 0) | (image > 1)  # these pixels are clipped: nothing that they do counts
                    frozen += int(cut_off.sum())
                    moved = delta[slot] + epsilon * torch.where(cut_off, 0.0, torch.sign(found[0][slot]))
                    delta[slot] = torch.clip(moved, -epsilon, epsilon)
            assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-9)
            assert same(net, twin)
            torch.testing.assert_close(learner.state()["delta"], delta, rtol=0, atol=1e-12)
    assert delta.abs().max() == epsilon
    assert frozen > 20


class Meter:
    """Counts what happens to a net, image by image, and how often each of its weights gets a gradient."""

    def __init__(self, net):
        self.forward = self.backward = self.weight_gradients = 0
        self.weights = len(list(net.parameters()))
        net.register_forward_hook(self._count)
        for parameter in net.parameters():
            parameter.register_hook(self._weights)

    def _count(self, module, inputs, output):
        self.forward += len(output)
        if output.requires_grad:
            output.register_hook(self._back)

    def _back(self, gradient):
        self.backward += len(gradient)

    def _weights(self, gradient):
        self.weight_gradients += 1


METHODS = {
    "vanilla": ({}, (1, 1)),
    "fgsm": ({}, (3, 3)),
    "rfgsm": ({}, (3, 3)),
    "bim": ({"n1": 2, "n2": 3}, (5, 5)),
    "madry": ({"n1": 2, "n2": 3}, (5, 5)),
    "atda": ({"batch_size": 16}, (3, 3)),
    "bim-atda": ({"n1": 2, "n2": 3}, (5, 5)),
    "free": ({"m": 4, "epochs": 8}, (4, 4)),
    "sim": ({"n1": 2, "n2": 2}, (3, 3)),
    "sim-k": ({"n1": 2, "n2": 2, "k": 3}, (5, 5)),
    "free-sim": ({"n1": 2, "n2": 2}, (2, 2)),
    "rs-fgsm": ({}, (2, 2)),
    "n-fgsm": ({}, (2, 2)),
    "atta": ({}, (2, 2)),
    "mep": ({}, (2, 3)),
}
# the prediction on the clean batch is one forward more; these have no labels to choose
UNLABELLED = ("vanilla", "free", "free-sim", "mep")
PREDICTED = {name: (forward + 1, backward) for name, (_, (forward, backward)) in METHODS.items()}
CASES = [(name, settings, cost) for name, (settings, cost) in METHODS.items()]
CASES += [
    (name, METHODS[name][0] | {"labels": "predicted"}, cost)
    for name, cost in PREDICTED.items()
    if name not in UNLABELLED
]
CASES += [("sim", METHODS["sim"][0] | {"reset": reset}, (3, 3)) for reset in ("staggered", "never", "random")]
CASES += [("bim", METHODS["bim"][0] | {"mode": "train"}, (5, 5))]
CASES += [("free-sim", {"momentum": 0.3, "fresh": 2}, (2.5, 2.5)), ("free-sim", {"fresh": 1}, (3, 3))]


def small_spec(method, **settings):
    """A run of seconds on the digits: 20 images in batches of 8, 8 and 4."""
    small = {"images": 20, "batch_size": 8, "epochs": 4, "monitor": "FGSM", "monitor_images": 8, "precision": "float32"}
    return run_spec("digits", method, **(small | settings))


@pytest.mark.parametrize(("method", "settings", "expected"), CASES)
@pytest.mark.parametrize("monitor", [None, "Madry(2,2)x2"])
def test_passes_are_those_that_the_net_sees(method, settings, expected, monitor):
    spec = small_spec(method, **({"epochs": 2} | settings), images=40, monitor=monitor)
    spec = replace(spec, batch_size=16)
    trainer = trainer_of(spec, CPU)
    meter = Meter(trainer.learner.model)
    trainer.run()
    progress = trainer.progress
    images_seen = 40 * spec.passes_over_data
    assert spec.passes_over_data == 2
    watched = (8 * 2 * 7, 8 * 2 * 4) if monitor else (0, 0)
    assert (progress.monitor_forward, progress.monitor_backward) == watched
    assert (progress.forward, progress.backward) == tuple(count * images_seen for count in expected)
    assert meter.forward == progress.forward + progress.monitor_forward
    assert meter.backward == progress.backward + progress.monitor_backward
    assert runs.passes(spec) == (progress.forward, progress.backward), "what the plan says is not what happens"
    assert runs.passes_per_image(spec)[:2] == expected
    updates = (spec.m or 1) * 3 * spec.passes_over_data
    assert meter.weight_gradients == updates * meter.weights, "an attack computed gradients of the weights"
    assert progress.seconds > 0
    assert (progress.monitor_seconds > 0) == (monitor is not None)


def test_every_method_is_metered():
    assert METHODS.keys() == specs.METHODS.keys()


class WeightWork(TorchDispatchMode):
    """Counts the backward operations that are asked for a gradient of a convolution's or a linear layer's weight."""

    def __init__(self, net):
        super().__init__()
        self.shapes = {p.shape for p in net.parameters() if p.ndim > 1}
        self.made = self.masked = 0

    def __torch_dispatch__(self, function, types, values=(), options=None):
        result = function(*values, **(options or {}))
        if function.overloadpacket.__name__ == "convolution_backward":
            self.made += values[-1][1] or values[-1][2]
            self.masked += 1
        elif function.overloadpacket.__name__ == "mm":
            self.made += result.shape in self.shapes or result.T.shape in self.shapes
        return result


@pytest.mark.parametrize("attack", ["FGSM", "R+FGSM", "BIM(2,3)", "Madry(2,3)x2"])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_an_attack_works_for_the_input_alone(attack, mode):
    """Not one operation computes a gradient of weights, though they ask for one; an update's are seen."""
    net = tiny_net(0)
    x, y = images(0, 5)
    attack = Attack.parse(attack, epsilon=0.1, mode=mode)
    assert all(parameter.requires_grad for parameter in net.parameters())
    meter = Meter(net)
    with WeightWork(net) as work:
        attack(net, x, y, generator=generator_for(0, device=CPU))
    convolutions = 2 * attack.passes[1]
    assert (work.made, work.masked) == (0, convolutions)
    assert (meter.forward, meter.backward) == tuple(5 * count for count in attack.passes)
    assert meter.weight_gradients == 0
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())
    with WeightWork(net) as work:
        naive_cross_entropy(net(x), y).backward()
    assert work.made == 3, "the test does not see what it looks for"
    assert meter.weight_gradients == meter.weights


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"epochs": 6}, [0.5] * 6),
        ({"epochs": 12, "schedule": "steps"}, [0.5] * 6 + [0.05] * 3 + [0.005] * 3),
        ({"epochs": 5, "schedule": "steps"}, [0.5] * 3 + [0.05] + [0.005]),
        ({"epochs": 1, "schedule": "steps"}, [0.5]),
    ],
)
def test_rate_schedule(settings, expected):
    """Divided by 10 at one half and at three quarters of the epochs."""
    spec = small_spec("vanilla", lr=0.5, monitor=None, optimizer="sgd", **settings)
    assert [rate_of(spec)(epoch) for epoch in range(spec.epochs)] == pytest.approx(expected)
    trainer = trainer_of(spec, CPU)
    used, step = [], trainer.learner.optimizer.step

    def spy():
        used.append(trainer.learner.optimizer.param_groups[0]["lr"])
        step()

    trainer.learner.optimizer.step = spy
    trainer.run()
    assert used == pytest.approx([rate for rate in expected for _ in range(3)])


def test_free_steps_its_rate_by_its_own_passes():
    spec = small_spec("free", m=5, epochs=20, lr=0.5, schedule="steps")
    assert [rate_of(spec)(epoch) for epoch in range(spec.passes_over_data)] == pytest.approx([0.5, 0.5, 0.05, 0.005])


def finished(spec, **changes):
    torch.manual_seed(9)  # whoever draws from the global generator is seen
    trainer = trainer_of(replace(spec, **changes), CPU)
    trainer.run()
    return trainer


def equal_tensors(ours, theirs):
    """The names of what differs in a single bit."""
    assert sorted(ours) == sorted(theirs)
    return [name for name in ours if not torch.equal(ours[name], theirs[name])]


@pytest.mark.parametrize("method", ["sim", "madry", "free"])
def test_the_monitor_is_for_show_alone(method):
    spec = small_spec(method, **METHODS[method][0])
    watched = finished(spec, monitor="Madry(2,3)x2", monitor_images=16)
    tensors = watched.tensors()  # now: the state of the global generator is one of them
    alone = finished(spec, monitor=None)
    assert equal_tensors(tensors, alone.tensors()) == []
    assert [r["loss"] for r in watched.progress.history] == [r["loss"] for r in alone.progress.history]
    assert all({"epoch", "loss", "clean", "robust"} == set(record) for record in watched.progress.history)
    assert all(set(record) == {"epoch", "loss"} for record in alone.progress.history)


def test_the_monitor_measures(digits):
    """Clean and robust accuracy as a count; the model's mode stays."""
    trainer = finished(small_spec("vanilla", images=96, epochs=6))
    net, x, y = trainer.learner.model.train(), digits.x_test, digits.y_test
    attack = Attack(kind="BIM", epsilon=0.05, n1=2, n2=3)
    seen = Monitor(x, y, attack, "float32")(net)
    assert net.training
    net.eval()
    with torch.no_grad():
        clean = [int(net(x[j : j + 1]).argmax()) == int(y[j]) for j in range(len(y))]
        robust = [int(net(attack(net, x[j : j + 1], y[j : j + 1])).argmax()) == int(y[j]) for j in range(len(y))]
    assert seen == {"clean": 100 * sum(clean) / 64, "robust": 100 * sum(robust) / 64}
    assert 0 < seen["robust"] < seen["clean"] < 100, "nothing to tell apart: the test shows nothing"


def test_the_loss_of_an_epoch_is_its_mean_over_images():
    net, x, y = tiny_net(0, dtype=torch.float32, norm=False), *images(0, 7, dtype=torch.float32)
    optimizer = sgd(net, lr=1e-12)  # the net stays as it is
    history = fit(net, x, y, adversary=NoAdversary(), optimizer=optimizer, epochs=2, batch_size=3, seed=0)
    expected = float(naive_cross_entropy(net(x).detach().double(), y))
    assert [record["epoch"] for record in history] == [0, 1]
    assert [record["loss"] for record in history] == pytest.approx([expected] * 2, rel=1e-5)


def test_every_epoch_sees_each_image_once_in_another_order():
    x, y = images(0, 11, dtype=torch.float32)
    seen = []

    class Watches(NoAdversary):
        def __call__(self, model, x_hat, y, index, *, epoch, view, generator):
            seen.append((epoch, index.tolist(), torch.rand(3, generator=generator).tolist()))

    for seed in (0, 0, 1):
        net = tiny_net(0, dtype=torch.float32)
        fit(net, x, y, adversary=Watches(), optimizer=sgd(net), epochs=3, batch_size=4, seed=seed)
    first, again, other = seen[:9], seen[9:18], seen[18:]
    assert first == again
    orders = [[j for e, index, _ in run if e == epoch for j in index] for run in (first, other) for epoch in range(3)]
    assert all(sorted(order) == list(range(11)) for order in orders)
    assert len({tuple(order) for order in orders}) == 6, "an epoch has the order of another one"
    assert [len(index) for _, index, _ in first] == [4, 4, 3] * 3
    assert len({tuple(noise) for _, _, noise in first + other}) == 18, "a step has the random numbers of another one"


class Own(nn.Module):
    """A reader's net: dropout, batch norm, and images of no standard size."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv = nn.Conv2d(2, 4, 3)
            self.norm = nn.BatchNorm2d(4)
            self.drop = nn.Dropout(0.3)
            self.out = nn.Linear(4 * 3 * 5, 3)

    def forward(self, x):
        return self.out(self.drop(torch.relu(self.norm(self.conv(x)))).flatten(1))


def own_data(count=60):
    """Three classes: where the bright pixels are."""
    generator = torch.Generator().manual_seed(4)
    y = torch.arange(count) % 3
    x = 0.3 * torch.rand(count, 2, 5, 7, generator=generator)
    for j in range(count):
        x[j, :, :, 2 * int(y[j]) : 2 * int(y[j]) + 3] += 0.6
    return x, y


def test_fit_on_a_readers_own_net_and_tensors():
    x, y = own_data()
    net = Own()
    sim = SIM(x, epsilon=0.1, n1=2, n2=4)
    monitor = Monitor(x[:30], y[:30], Attack(kind="BIM", epsilon=0.1, n1=2, n2=4), "float32")
    adam = torch.optim.Adam(net.parameters(), 0.01)
    history = fit(net, x, y, adversary=sim, optimizer=adam, epochs=12, batch_size=16, seed=0, monitor=monitor)
    assert [record["epoch"] for record in history] == list(range(12))
    assert history[-1]["loss"] < history[0]["loss"] / 2
    assert history[-1]["robust"] > 80
    moved = sim.carried.read(torch.arange(60)) - x
    assert 0.05 < moved.abs().max() <= 0.1 + 2**-12
    adaptation = DomainAdaptation(3, lambda_=1 / 3, beta=0.1, coral_form="cov")
    attacker = Attacker(Attack(kind="FGSM", epsilon=0.1))
    net = Own()
    adam = torch.optim.Adam(net.parameters(), 0.01)
    options = {"objective": adaptation, "precision": "bf16"}
    history = fit(net, x, y, adversary=attacker, optimizer=adam, epochs=4, batch_size=16, seed=0, **options)
    assert history[-1]["loss"] < history[0]["loss"]
    assert adaptation.centers.phi.any()


RESUMED = {
    "sim-cycle": small_spec("sim", n1=2, n2=2),
    "sim-staggered": small_spec("sim", n1=2, n2=2, reset="staggered", precision="bf16"),
    "sim-random-augmented": small_spec("sim", n1=2, n2=3, reset="random", augment="pad-crop-flip", epochs=3),
    "atda": small_spec("atda", epochs=3),
    "free": small_spec("free", m=3, epochs=9),
    "bim": small_spec("bim", n1=2, n2=2, epochs=3, optimizer="sgd", lr=0.05, schedule="steps", weight_decay=1e-3),
    "madry": small_spec("madry", n1=2, n2=2, epochs=2, monitor=None),
    "free-sim": small_spec("free-sim", n1=2, n2=3, reset="random", momentum=0.5, fresh=2, augment="pad-crop-flip"),
    "mep": small_spec("mep", n2=2, epochs=3, precision="bf16"),
}


def run_and_keep(trainer, spec, folder):
    """Train to the end; keep a checkpoint of every step in a store of its own and return the stores."""
    stores = []

    def save():
        stores.append(Store(folder / str(len(stores))))
        stores[-1].save_checkpoint(spec, trainer.tensors(), asdict(trainer.progress))

    assert trainer.run(save=save, save_every=0)
    return stores


def outcome(trainer):
    """All that a run leaves, but for the seconds that it took."""
    progress = {name: value for name, value in asdict(trainer.progress).items() if "seconds" not in name}
    return {name: value.clone() for name, value in trainer.tensors().items()}, progress


@pytest.mark.parametrize("spec", RESUMED.values(), ids=RESUMED)
def test_resuming_at_any_step_ends_in_the_same_bits(spec, tmp_path):
    first = trainer_of(spec, CPU)
    stores = run_and_keep(first, spec, tmp_path)
    tensors, progress = outcome(first)
    assert len(stores) == 3 * spec.passes_over_data
    assert any(name.startswith("optimizer.") for name in tensors) or spec.optimizer == "sgd"
    carried = ["carried", "phase"]
    kept = {"sim": carried, "free-sim": [*carried, "momentum"], "mep": [*carried, "momentum"]}
    kept = (kept | {"atda": ["centers"], "free": ["delta"]}).get(spec.method, [])
    assert {f"learner.{name}" for name in kept} == {name for name in tensors if name.startswith("learner.")}
    for step, store in enumerate(stores, 1):
        torch.rand(step)  # the global generator of another process is somewhere else
        again = trainer_of(spec, CPU)
        again.load(*store.load_checkpoint(spec))
        done = again.progress.epoch * 3 + again.progress.step
        assert done == step
        again.run()
        theirs, their_progress = outcome(again)
        assert equal_tensors(tensors, theirs) == [], f"resumed after step {step}"
        assert progress == their_progress, f"resumed after step {step}"


def test_a_run_does_not_go_on_on_another_kind_of_device(tmp_path):
    """Its order of images and its random starts would be drawn anew in the middle of an epoch."""
    first = trainer_of(small_spec("vanilla"), CPU)
    before = [p.clone() for p in first.learner.model.parameters()]
    tensors = first.tensors() | {"rng.cuda": torch.zeros(16, dtype=torch.uint8)}
    with pytest.raises(InputError, match="made on another kind of device than cpu; go on there"):
        first.load(tensors, {"epoch": 1})
    assert first.progress.epoch == 0
    assert all(torch.equal(a, b) for a, b in zip(before, first.learner.model.parameters(), strict=True))


def own_trainer():
    x, y = own_data(20)
    net = Own()
    adam = torch.optim.Adam(net.parameters(), 0.01, weight_decay=1e-3)
    learner = Adversarial(net, adam, SIM(x, epsilon=0.1, n1=2, n2=2, mode="train"), CrossEntropy(), "float32")
    return Trainer(learner, x, y, epochs=2, batch_size=8, seed=3)


def resnet_trainer():
    """Channels-last weights and a fused optimizer: moments have a memory layout too."""
    x, y = images(5, 6, channels=3, side=12, classes=10, dtype=torch.float32)
    net = models.build("resnet20", image_shape=(3, 32, 32), classes=10, seed=0)
    adam = torch.optim.Adam(net.parameters(), 1e-3, fused=True)
    learner = Adversarial(net, adam, NoAdversary(), CrossEntropy(), "float32")
    return Trainer(learner, x, y, epochs=2, batch_size=3, seed=3)


@pytest.mark.parametrize("make", [own_trainer, resnet_trainer])
def test_resuming_a_readers_own_net_ends_in_the_same_bits(make, tmp_path):
    """Dropout draws from the global generator: it is a part of the checkpoint."""
    spec = small_spec("vanilla")  # a name for the file, no more
    torch.manual_seed(8)
    first = make()
    stores = run_and_keep(first, spec, tmp_path)
    tensors, progress = outcome(first)
    for step, store in enumerate(stores, 1):
        torch.manual_seed(100 + step)
        again = make()
        again.load(*store.load_checkpoint(spec))
        again.run()
        theirs, their_progress = outcome(again)
        assert equal_tensors(tensors, theirs) == [], f"resumed after step {step}"
        assert progress == their_progress


def test_a_bar_is_shown_in_a_notebook_after_a_while_and_not_where_output_is_captured(monkeypatch):
    captured = io.StringIO()
    monkeypatch.setattr(sys, "stderr", captured)
    assert list(bar(range(3))) == [0, 1, 2]
    assert captured.getvalue() == ""
    kernels = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    monkeypatch.setattr(sys, "stderr", kernels)
    assert list(bar(range(3))) == [0, 1, 2]
    assert kernels.getvalue() == "", "a short one would be noise, and no rerun would give the same output"
    with bar(total=4, desc="long", unit="step") as shown:
        shown.start_t -= 60  # it has been running for a minute
        shown.last_print_t -= 60
        shown.update(2)
        assert "long:  50%" in kernels.getvalue()
    assert kernels.getvalue().rpartition("\r")[2].strip() == "", "it goes when all is done"


def test_randomness_depends_on_the_seed_and_the_position_alone():
    def draws(*position):
        return torch.rand(4, generator=generator_for(*position, device=CPU)).tolist()

    positions = [(0,), (1,), (0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (1, 0, 1), (2, 3, 4)]
    assert draws(0, 0, 1) == draws(0, 0, 1)
    assert len({tuple(draws(*position)) for position in positions}) == len(positions)


def test_a_deadline_stops_at_a_checkpoint():
    spec = small_spec("sim", n1=2, n2=2)
    whole = finished(spec)
    trainer, saved = trainer_of(spec, CPU), []

    def save():
        saved.append((trainer.progress.epoch, trainer.progress.step))

    assert not trainer.run(save=save, deadline=time.monotonic() - 1)
    assert saved == [(0, 1)], "one step is made, and then saved"
    assert not trainer.run(save=save, deadline=time.monotonic() + 1), "the time of a save is not kept free"
    assert saved == [(0, 1), (0, 2)]
    assert trainer.run(save=save, deadline=time.monotonic() + 600)
    assert len(saved) == 2
    assert equal_tensors(whole.tensors(), trainer.tensors()) == []


def test_a_run_that_is_out_of_time_goes_on_where_it_stopped(own_store):
    spec = small_spec("sim", n1=2, n2=2)
    for step in range(1, 4):
        with pytest.raises(runs.Unfinished, match=f"{spec.id}: time is up at epoch {step // 3}, step {step % 3}"):
            runs.load_or_run(spec, device="cpu", deadline=time.monotonic())
        assert own_store.checkpoint(spec).exists()
        assert own_store.find(spec) is None
    run = runs.load_or_run(spec, device="cpu")
    assert own_store.find(spec) == run
    assert not own_store.checkpoint(spec).exists()
    whole = finished(spec)
    assert run.history == whole.progress.history
    assert run.cost["forward"] == whole.progress.forward
    stored = own_store.model(run).state_dict()
    assert equal_tensors(whole.learner.model.state_dict(), stored) == []


class Interrupted(NoAdversary):
    """Makes nothing; at the fourth batch another thread sends a signal to the process."""

    def __init__(self, kind):
        self.kind, self.calls = kind, 0

    def __call__(self, *batch, **position):
        self.calls += 1
        if self.calls == 4:
            thread = threading.Thread(target=os.kill, args=(os.getpid(), self.kind))
            thread.start()
            thread.join()


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_what_was_done(kind):
    net, (x, y) = Own(), own_data(20)
    adversary, saved = Interrupted(kind), []
    learner = Adversarial(net, sgd(net), adversary, CrossEntropy(), "float32")
    trainer = Trainer(learner, x, y, epochs=5, batch_size=8, seed=0)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt, match="what was done is saved"):
        trainer.run(save=lambda: saved.append(asdict(trainer.progress)))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert [(kept["epoch"], kept["step"]) for kept in saved] == [(1, 1)], "the step was not finished before saving"
    assert trainer.run()
    assert trainer.progress.epoch == 5
    assert adversary.calls == 15


def test_ctrl_c_in_the_last_step_of_all_is_not_lost():
    """Who stops ``run --all`` then wants no next run; all that was done is kept, and is all there is to do."""
    net, (x, y) = Own(), own_data(20)
    saved = []
    learner = Adversarial(net, sgd(net), Interrupted(signal.SIGINT), CrossEntropy(), "float32")
    trainer = Trainer(learner, x, y, epochs=2, batch_size=10, seed=0)
    with pytest.raises(KeyboardInterrupt, match="what was done is saved"):
        trainer.run(save=lambda: saved.append(asdict(trainer.progress)))
    assert [(kept["epoch"], kept["step"]) for kept in saved] == [(2, 0)]
    assert trainer.run()


def test_a_stop_where_nothing_is_saved_does_not_say_so():
    net, (x, y) = Own(), own_data(20)
    adversary = Interrupted(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as stop:
        fit(net, x, y, adversary=adversary, optimizer=sgd(net), epochs=5, batch_size=8, seed=0)
    assert "stopped after" in str(stop.value)
    assert "saved" not in str(stop.value)


def test_training_in_a_thread_needs_no_signals():
    outcomes = []

    def work():
        net, (x, y) = Own(), own_data(12)
        fit(net, x, y, adversary=NoAdversary(), optimizer=sgd(net), epochs=1, batch_size=8, seed=0)
        outcomes.append("done")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert outcomes == ["done"]


def test_a_diverging_run_says_so():
    net, (x, y) = Own(), own_data(20)
    options = {"adversary": NoAdversary(), "epochs": 30, "batch_size": 8, "seed": 0}
    with pytest.raises(
        FloatingPointError,
        match=r"the loss of epoch \d+ is (nan|inf), \d+ weights after it are not finite: the run diverged",
    ):
        fit(net, x, y, optimizer=sgd(net, lr=3e38), **options)


def test_a_mask_of_infinities_is_no_weight():
    net, (x, y) = Own(), own_data(20)
    net.register_buffer("mask", torch.full((2,), -math.inf))
    fit(net, x, y, optimizer=sgd(net), adversary=NoAdversary(), epochs=1, batch_size=20, seed=0)


def test_a_run_whose_last_update_breaks_the_weights_says_so():
    """No loss is computed after it, so the loss alone would not tell."""

    class Breaking(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            self.param_groups[0]["params"][0].data.view(-1)[0] = math.inf

    net, (x, y) = Own(), own_data(20)
    options = {"adversary": NoAdversary(), "epochs": 1, "batch_size": 20, "seed": 0}
    said = r"the loss of epoch 0 is \d\.\d+, 1 weights after it are not finite: the run diverged"
    with pytest.raises(FloatingPointError, match=said):
        fit(net, x, y, optimizer=Breaking(net.parameters(), lr=0.1), **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs = 0 must be at least 1"),
        ({"epochs": 1.5}, "epochs = 1.5 must be a whole number"),
        ({"batch_size": 0}, "batch_size = 0 must be at least 1"),
        ({"seed": -1}, "seed = -1 must be at least 0"),
    ],
)
def test_bad_settings_say_what_is_allowed(change, message):
    net, (x, y) = Own(), own_data(6)
    settings = {"adversary": NoAdversary(), "optimizer": sgd(net), "epochs": 1, "batch_size": 4, "seed": 0}
    with pytest.raises(InputError, match=message):
        fit(net, x, y, **(settings | change))


@pytest.mark.parametrize(
    ("change", "message"), [({"epsilon": 0}, "epsilon = 0 must be above 0"), ({"m": 0}, "m = 0 must be at least 1")]
)
def test_bad_settings_of_free_replay_say_what_is_allowed(change, message):
    net, (x, _) = Own(), own_data(6)
    with pytest.raises(InputError, match=message):
        FreeReplay(net, sgd(net), "float32", **({"epsilon": 0.1, "m": 2, "slots": x} | change))


def test_progress_is_plain_numbers():
    values = asdict(Progress())
    assert all(isinstance(value, int | float | list) for value in values.values())
    assert not any(math.isnan(value) for value in values.values() if isinstance(value, float))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda x, y: (x[:, 0], y),
        lambda x, y: (x, y[:-1]),
        lambda x, y: (x[:0], y[:0]),
        lambda x, y: ((255 * x).to(torch.uint8), y),
        lambda x, y: (2 * x, y),
        lambda x, y: (x.half(), y),
        lambda x, y: (x.bfloat16(), y),
        lambda x, y: (x - 0.1, y),
        lambda x, y: (x * float("nan"), y),
        lambda x, y: (x, y[:, None]),
        lambda x, y: (x, y.float()),
        lambda x, y: (x, y.to(torch.uint8)),
        lambda x, y: (x, y - 20),
        lambda x, y: (x.numpy(), y),
        lambda x, y: (x, y.tolist()),
        lambda x, y: (x, None),
    ],
)
def test_a_readers_tensors_are_checked_before_any_work(spoil):
    net = tiny_net(4)
    before = copy.deepcopy(net)
    x, y = spoil(*images(4, 8))
    said = r"must be tensors|float32 or float64 \(N, C, H, W\) in \[0, 1\]|y must be int64 \(N,\) >= 0, one an image"
    with pytest.raises(InputError, match=said):
        fit(net, x, y, adversary=NoAdversary(), optimizer=sgd(net), epochs=1, batch_size=8, seed=0)
    with pytest.raises(InputError, match=said):
        accuracy(net, x, y)
    with pytest.raises(InputError, match=said):
        Attack.parse("FGSM", epsilon=0.1)(net, x, y)
    assert same(net, before)


@pytest.mark.parametrize(
    "adversary",
    [
        lambda x: None,
        lambda x: Attack.parse("FGSM", epsilon=0.1),
        lambda x: Attacker,
        lambda x: SIM(x.float(), epsilon=0.1, n1=2, n2=4),
        lambda x: SIM(x[:4], epsilon=0.1, n1=2, n2=4),
        lambda x: SIM(1 - x, epsilon=0.1, n1=2, n2=4),
    ],
)
def test_an_adversary_is_checked_before_any_work(adversary):
    x, y = images(4, 8)
    net = tiny_net(4)
    before = copy.deepcopy(net)
    with pytest.raises(InputError, match=r"must be an Adversary and carry this x: SIM\(x, ...\)"):
        fit(net, x, y, adversary=adversary(x), optimizer=sgd(net), epochs=1, batch_size=8, seed=0)
    assert same(net, before)


class Maker(Adversary):
    """A reader's own adversary, which makes what it was given."""

    def __init__(self, make) -> None:
        self.make = make

    def __call__(self, model, x_hat, y, index, *, epoch, view, generator):
        return self.make(model, x_hat)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda model, x: None, "examples is a NoneType and y a Tensor; images and labels must be tensors"),
        (lambda model, x: x + 0.5, r"examples torch.float64 \(4, 1, 8, 8\): images must be"),
        (lambda model, x: x.bfloat16(), "examples torch.bfloat16"),
        (lambda model, x: x[:2], "2 images, y torch.int64"),
        (lambda model, x: x * next(model.parameters()).sum().sigmoid(), r"examples have a graph, .*; detach\(\) them"),
    ],
)
def test_examples_of_a_readers_own_adversary_are_looked_at_before_the_first_update(make, said):
    x, y = images(4, 8)
    net = tiny_net(4)
    before = copy.deepcopy(net)
    with pytest.raises(InputError, match=said):
        fit(net, x, y, adversary=Maker(make), optimizer=sgd(net), epochs=1, batch_size=4, seed=0)
    assert same(net, before)


def test_an_optimizer_of_another_model_is_refused():
    x, y = images(4, 8)
    settings = {"adversary": NoAdversary(), "epochs": 1, "batch_size": 4, "seed": 0}
    net, other = tiny_net(4), tiny_net(5)
    with pytest.raises(InputError, match="optimizer holds no parameter of this model"):
        fit(net, x, y, optimizer=sgd(other), **settings)
    both = torch.optim.SGD([*net.parameters(), *other.parameters()], 0.1)
    before = copy.deepcopy(net.state_dict())
    fit(net, x, y, optimizer=both, **settings)
    assert not any(torch.equal(value, before[name]) for name, value in net.named_parameters())


def test_a_monitor_is_checked_before_the_first_epoch():
    x, y = images(4, 8)
    net = tiny_net(4)
    settings = {"adversary": NoAdversary(), "optimizer": sgd(net), "epochs": 1, "batch_size": 4, "seed": 0}
    with pytest.raises(InputError, match="must have passes, a pair of forward and backward"):
        fit(net, x, y, monitor=lambda model: pytest.fail("watched"), **settings)
    attack = Attack.parse("FGSM", epsilon=0.1)
    with pytest.raises(InputError, match=r"precision = 'float16' is not known.*allowed: float32, bf16"):
        Monitor(x, y, attack, "float16")
    with pytest.raises(InputError, match="one an image"):
        Monitor(x, y[:3], attack, "float32")


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"batch_size": 2.5}, {"seed": -1}, {"seed": "1"}])
def test_numbers_of_an_accuracy_are_checked(wrong):
    (name,) = wrong
    with pytest.raises(InputError, match=f"{name} = .* must be"):
        accuracy(tiny_net(4), *images(4, 8), **wrong)


def test_a_run_that_goes_on_leaves_torch_s_own_generator_alone(own_store):
    spec = small_spec("sim", n1=2, n2=2)
    with pytest.raises(runs.Unfinished):
        runs.load_or_run(spec, device="cpu", alone=False, deadline=time.monotonic())
    torch.manual_seed(123)
    expected = torch.rand(1)
    torch.manual_seed(123)
    run = runs.load_or_run(spec, device="cpu", alone=True)
    assert torch.equal(torch.rand(1), expected)
    assert run.provenance["alone"] is False, "what it did before the stop may not have been"


def test_the_settings_of_a_run_reach_its_trainer():
    decayed = {
        name: trainer_of(small_spec("vanilla", optimizer=name, weight_decay=1e-3), CPU) for name in ("adam", "sgd")
    }
    adam, sgd = (trainer.learner.optimizer for trainer in decayed.values())
    assert (type(adam), adam.defaults["weight_decay"]) == (torch.optim.Adam, 1e-3)
    assert (type(sgd), sgd.defaults["weight_decay"], sgd.defaults["momentum"]) == (torch.optim.SGD, 1e-3, 0.9)
    assert [trainer_of(small_spec("vanilla", seed=seed), CPU).seed for seed in (0, 3)] == [0, 3]
    assert trainer_of(small_spec("vanilla", augment="pad-crop-flip"), CPU).augment is PadCropFlip
    first, second = (trainer_of(small_spec("sim", reset="staggered", seed=s), CPU).learner.adversary for s in (0, 1))
    assert not torch.equal(first.phase, second.phase)
    objective = trainer_of(small_spec("atda", coral="cov", beta=0.3, lambda_=0.7), CPU).learner.objective
    assert (objective.coral_form, objective.centers.beta, objective.lambda_) == ("cov", 0.3, 0.7)


@pytest.mark.parametrize("method", ["vanilla", "bim", "free"])
@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("float32", torch.float32)])
def test_every_pass_of_training_has_the_precision_of_the_run(method, precision, dtype, monkeypatch):
    monkeypatch.setattr(learners, "NATIVE", True)  # else bf16 is rounded float32
    spec = small_spec(method, **METHODS[method][0], precision=precision, monitor=None)
    trainer, seen = trainer_of(spec, CPU), []
    trainer.learner.model.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    trainer.run()
    assert set(seen) == {dtype}


def test_a_monitor_crafts_in_its_precision_and_judges_in_float32(monkeypatch):
    monkeypatch.setattr(learners, "NATIVE", True)
    net, (x, y), seen = tiny_net(0, dtype=torch.float32, norm=False), images(0, 5, dtype=torch.float32), []
    net.register_forward_hook(lambda module, given, out: seen.append((out.requires_grad, out.dtype)))
    Monitor(x, y, Attack(kind="BIM", epsilon=0.1, n1=2, n2=2), "bf16")(net)
    assert sorted(seen, key=str) == [(False, torch.float32)] * 2 + [(True, torch.bfloat16)] * 2


def test_the_seed_of_an_evaluation_reaches_its_random_starts(monkeypatch):
    seen, data = [], SimpleNamespace(x_test=torch.zeros(1), y_test=torch.zeros(1))
    counted = evaluation.Accuracy(1, 1, 1)
    monkeypatch.setattr(base, "accuracy", lambda *_, seed=None, **__: seen.append(seed) or counted)
    base.accuracy_under(EvalSpec(attack="Madry(2,2)", images=1, seed=7), run_spec("digits", "vanilla"), None, data)
    assert seen == [7]
