"""SIM-Adv's neighbours against naive loops of their papers' algorithms, one image at a time, in float64."""

import copy

import pytest
import torch
from reference import images, naive_cross_entropy, naive_gradient, tiny_net
from test_adversaries import generator, held, on_grey_levels, shuffled
from torch import nn

from simadv.adversaries import SIM, Attacker
from simadv.attacks import Attack, half_start, random_start
from simadv.checks import InputError
from simadv.data import Identity, PadCropFlip
from simadv.learners import Adversarial
from simadv.losses import CrossEntropy
from simadv.neighbours import MEP, Consistency, FreeSIM, Momentum, NoisyFGSM
from simadv.runs import learner_of, passes_per_image
from simadv.specs import run_spec

EPSILON, RATE = 0.2, 0.05


class Reads64(nn.Module):
    """A float64 net that takes the float32 examples of a store."""

    def __init__(self, seed):
        super().__init__()
        self.net = tiny_net(seed, norm=False)

    def forward(self, x):
        return self.net(x.double())


def descend(net, loss):
    """One step of SGD by hand."""
    gradients = torch.autograd.grad(loss, list(net.parameters()))
    with torch.no_grad():
        for parameter, gradient in zip(net.parameters(), gradients, strict=True):
            parameter -= RATE * gradient


def moved(start, direction, x_hat, n1):
    """One projected step from ``start``."""
    away = torch.clip(start + EPSILON / n1 * torch.sign(direction) - x_hat, -EPSILON, EPSILON)
    return torch.clip(x_hat + away, 0, 1)


def same_nets(ours, theirs):
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def directions(momentum, mu, gradients, index):
    """FGSM-MEP's m <- mu m + g / ||g||_1, kept in bfloat16."""
    for row, j in zip(gradients, index.tolist(), strict=True):
        fresh = mu * momentum[j] + row / row.abs().sum() if mu else row
        momentum[j] = fresh.bfloat16().double() if mu else fresh
        yield fresh


def carried_run(adversary, objective, epochs, after):
    """Train through the learner; after each batch call ``after(index, epoch, twin)``, which moves the twin alike."""
    net = Reads64(3)
    twin = copy.deepcopy(net)
    learner = Adversarial(net, torch.optim.SGD(net.parameters(), RATE), adversary, objective, "float32")
    y = images(5, 6)[1]
    for epoch in range(epochs):
        for number, index in enumerate(shuffled(6, 4, epoch)):
            x_hat = adversary.x[index]
            source = generator(100 * epoch + number)
            learner(x_hat, y[index], index, epoch=epoch, view=Identity(), generator=source)
            after(twin, x_hat.double(), y[index], index, epoch, generator(100 * epoch + number))
            same_nets(net, twin)
    return learner


@pytest.fixture
def x():
    return on_grey_levels(images(5, 6, dtype=torch.float32)[0])


@pytest.mark.parametrize(("mu", "fresh"), [(0.0, 0), (0.7, 0), (0.0, 2), (0.7, 3)])
def test_free_sim_moves_by_the_gradient_of_the_training_pass(x, mu, fresh):
    """Trained on where the last epoch's gradient moved the example, from the image itself after a reset."""
    n1, n2 = 3, 4
    adversary = FreeSIM(x, epsilon=EPSILON, n1=n1, n2=n2, reset="cycle", seed=0, momentum=mu, fresh=fresh)
    carried, momentum = x.double().clone(), torch.zeros_like(x, dtype=torch.float64)

    def after(twin, x_hat, y, index, epoch, source):
        if epoch % n2 == 0:
            carried[index], momentum[index] = x_hat, 0.0
        at = carried[index].clone()
        if fresh and epoch % fresh == fresh - 1:
            gradients = [naive_gradient(twin, row, label) for row, label in zip(at, y, strict=True)]
            at = torch.stack([moved(*rows, n1) for rows in zip(at, gradients, x_hat, strict=True)])
        gradients = torch.stack([naive_gradient(twin, row, label) for row, label in zip(at, y, strict=True)])
        descend(twin, (naive_cross_entropy(twin(x_hat), y) + naive_cross_entropy(twin(at), y)) / 2)
        for i, (j, way) in enumerate(zip(index, directions(momentum, mu, gradients, index), strict=True)):
            carried[j] = held(moved(at[i], way, x_hat[i], n1), adversary.carried.exact).double()

    carried_run(adversary, CrossEntropy(), 7, after)
    torch.testing.assert_close(adversary.carried.read(torch.arange(6)).double(), carried, rtol=0, atol=2e-5)
    assert (carried - x).abs().max() == pytest.approx(EPSILON, abs=1e-4)


def test_free_sim_keeps_its_own_weights_gradients(x):
    """The gradient that is observed is that of the examples before the update, and leaves no trace in the model."""
    adversary = FreeSIM(x, epsilon=EPSILON, n1=3, n2=4, reset="never", seed=0, momentum=0, fresh=0)
    net = Reads64(3)
    settings = {"epoch": 0, "view": Identity()}
    made = adversary(net, x, None, torch.arange(6), **settings, generator=None)
    assert made.requires_grad
    assert torch.equal(made, x)
    with pytest.raises(AttributeError):
        adversary.observe(x, made, torch.arange(6), **settings)  # no training pass, no gradient


@pytest.mark.parametrize(("kind", "own"), [(FreeSIM, {"momentum": 0, "fresh": 0}), (MEP, {"momentum": 0.3})])
@pytest.mark.parametrize("setting", [{"labels": "predicted"}, {"mode": "train"}, {"k": 2}])
def test_a_setting_that_changes_nothing_is_refused(x, kind, own, setting):
    with pytest.raises(TypeError, match=f"argument '{next(iter(setting))}'"):
        kind(x, epsilon=EPSILON, n1=1, n2=2, **own, **setting)


def test_mep_is_its_algorithm(x):
    """Jia et al. 2022: FGSM's step is trained on, the momentum's is carried, both nets' logits are drawn together."""
    mu, lambda_, n2 = 0.3, 10.0, 3
    adversary = MEP(x, epsilon=EPSILON, n1=1, n2=n2, seed=0, momentum=mu)
    carried, momentum = x.double().clone(), torch.zeros_like(x, dtype=torch.float64)

    def after(twin, x_hat, y, index, epoch, source):
        if epoch % n2 == 0:
            signs = torch.randn(x_hat.shape, generator=source).sign()
            carried[index], momentum[index] = torch.clip(x_hat + EPSILON * signs, 0, 1), 0.0
        at = carried[index].clone()
        gradients = torch.stack([naive_gradient(twin, row, label) for row, label in zip(at, y, strict=True)])
        x_tilde = torch.stack([moved(*rows, 1) for rows in zip(at, gradients, x_hat, strict=True)])
        new, old = twin(x_tilde), twin(at)
        squares = torch.stack([(a - b) ** 2 for a, b in zip(new.flatten(), old.flatten(), strict=True)])
        descend(twin, naive_cross_entropy(new, y) + lambda_ * squares.mean())
        for i, (j, way) in enumerate(zip(index, directions(momentum, mu, gradients, index), strict=True)):
            carried[j] = held(moved(at[i], way, x_hat[i], 1), adversary.carried.exact).double()

    learner = carried_run(adversary, Consistency(adversary, lambda_=lambda_), 5, after)
    torch.testing.assert_close(adversary.carried.read(torch.arange(6)).double(), carried, rtol=0, atol=2e-5)
    assert learner.passes == (2, 3)


def test_n_fgsm_steps_from_wide_noise_and_is_not_projected(x):
    net, y = Reads64(4), images(5, 6)[1]
    attack = NoisyFGSM(epsilon=EPSILON, labels="true", mode="eval")
    noise = torch.rand(x.shape, generator=generator(8)).double() * 2 - 1
    start = torch.clip(x.double() + 2 * EPSILON * noise, 0, 1)
    expected = [
        torch.clip(row + EPSILON * torch.sign(naive_gradient(net, row, label)), 0, 1)
        for row, label in zip(start, y, strict=True)
    ]
    ours = Attacker(attack)(net, x, y, torch.arange(6), epoch=0, view=Identity(), generator=generator(8))
    torch.testing.assert_close(ours.double(), torch.stack(expected), rtol=0, atol=1e-6)
    assert 1.5 * EPSILON < (ours - x).abs().max() <= 3 * EPSILON + 1e-6
    assert attack.passes == (1, 1)


def test_rs_fgsm_takes_one_and_a_quarter_epsilon_from_a_random_point(x):
    net, y = Reads64(4), images(5, 6)[1]
    spec = run_spec("digits", "rs-fgsm", epsilon=EPSILON)
    start = random_start(x, epsilon=EPSILON, generator=generator(9)).double()
    rows = zip(start, x.double(), y, strict=True)
    expected = [moved(row, naive_gradient(net, row, label), x_hat, 0.8) for row, x_hat, label in rows]
    ours = spec.attack(net, x, y, generator=generator(9))
    torch.testing.assert_close(ours.double(), torch.stack(expected), rtol=0, atol=1e-6)
    assert pytest.approx(1.25 * EPSILON) == EPSILON / 0.8


@pytest.mark.parametrize("method", ["atta", "rs-fgsm", "n-fgsm"])
def test_the_adversarial_half_alone_is_trained_on(method, x):
    """One update by hand: the clean images are not seen."""
    net, y = Reads64(6), images(5, 6)[1]
    twin = copy.deepcopy(net)
    settings = {"n1": 2} if method == "atta" else {}
    spec = run_spec("digits", method, epsilon=EPSILON, precision="float32", **settings)
    learner = learner_of(spec, net, torch.optim.SGD(net.parameters(), RATE), x)
    learner(x, y, torch.arange(6), epoch=0, view=Identity(), generator=generator(2))
    attack = spec.attack or Attack(kind="BIM", epsilon=EPSILON, n1=2, n2=1)
    descend(twin, naive_cross_entropy(twin(attack(twin, x, y, generator=generator(2))), y))
    same_nets(net, twin)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_k_steps_an_epoch_are_those_of_k_epochs_of_a_resting_model(k, x):
    net, y, index = Reads64(6), images(5, 6)[1], torch.arange(6)
    settings = {"epsilon": EPSILON, "n1": 4, "n2": 9}
    several, single = SIM(x, k=k, **settings), SIM(x, **settings)
    for epoch in range(2):
        ours = several(net, x, y, index, epoch=epoch, view=Identity(), generator=None)
    for epoch in range(2 * k):
        theirs = single(net, x, y, index, epoch=epoch, view=Identity(), generator=None)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)  # the store rounds between epochs
    assert several.passes == (k, k)


@pytest.mark.parametrize("method", ["free-sim", "mep"])
def test_what_is_carried_follows_the_augmentation(method, x):
    """Only pixels that the crop shows move; what it hides is kept, example and direction alike."""
    spec = run_spec("digits", method, epsilon=EPSILON, momentum=0.5, precision="float32")
    net, y, index = Reads64(6), images(5, 6)[1], torch.arange(6)
    learner = learner_of(spec, net, torch.optim.SGD(net.parameters(), RATE), x)
    for epoch in range(3):
        view = PadCropFlip(x.shape, generator(epoch), pad=2)
        state = learner.adversary.state()
        before = {name: state[name].clone() for name in ("carried", "momentum")}
        shown = view.inverse_into(torch.zeros_like(x), torch.ones_like(x)) == 1
        assert not shown.all()
        learner(view.forward(x), y, index, epoch=epoch, view=view, generator=generator(50 + epoch))
        assert torch.equal(state["momentum"][~shown], before["momentum"][~shown])
        assert (state["momentum"][shown] != before["momentum"][shown]).float().mean() > 0.9
        if epoch > 0:
            assert torch.equal(state["carried"][~shown], before["carried"][~shown])
            assert not torch.equal(state["carried"][shown], before["carried"][shown])


def test_momentum_of_nothing_is_the_gradient_itself(x):
    plain = Momentum(x, 0.0)
    assert plain(x, torch.arange(6), again=torch.ones(6, dtype=torch.bool), view=Identity()) is x
    assert plain.values.numel() == 0


def test_mep_starts_at_corners_of_the_ball(x):
    adversary = MEP(x, epsilon=EPSILON, n1=1, n2=5, seed=0, momentum=0.3)
    start = adversary.start(torch.arange(6), 0, generator(4))
    torch.testing.assert_close(start, half_start(x, epsilon=2 * EPSILON, generator=generator(4)))
    inside = (x > EPSILON) & (x < 1 - EPSILON)
    torch.testing.assert_close((start - x).abs()[inside], torch.full_like(x[inside], EPSILON))


@pytest.mark.parametrize(
    ("method", "F"),
    [("sim-k", 10), ("free-sim", 6), ("rs-fgsm", 5), ("n-fgsm", 5), ("atta", 5), ("mep", 7), ("sim", 8), ("free", 30)],
)
def test_what_an_image_costs(method, F):
    """Forward, backward to the input and backward to the weights count one each."""
    assert sum(passes_per_image(run_spec("mnist", method))) == F


def test_fresh_steps_are_paid_for_where_they_are_made():
    assert passes_per_image(run_spec("mnist", "free-sim", fresh=7, epochs=60)) == (2 + 8 / 60, 2 + 8 / 60, 2)


@pytest.mark.parametrize(
    ("method", "change", "message"),
    [
        ("free-sim", {"momentum": -0.1}, "momentum = -0.1 must be at least 0"),
        ("free-sim", {"fresh": -1}, "fresh = -1 must be at least 0"),
        ("sim-k", {"k": 0}, "k = 0 must be at least 1"),
        ("sim", {"k": 2}, "method 'sim' has no k"),
        ("n-fgsm", {"n1": 2}, "method 'n-fgsm' has no n1"),
        ("mep", {"lambda_": -1}, "lambda_ = -1 must be at least 0"),
    ],
)
def test_bad_settings_are_refused(method, change, message):
    with pytest.raises(InputError, match=message):
        run_spec("mnist", method, **change)


def test_momentum_adds_gradients_of_l1_norm_1():
    momentum, index = Momentum(torch.zeros(1, 1, 1, 2), 1.0), torch.tensor([0])
    again = {"again": torch.tensor([False]), "view": Identity()}
    momentum(torch.tensor([[[[1.0, 1.0]]]]), index, **again)
    assert momentum(torch.tensor([[[[-2.0, 0.0]]]]), index, **again).flatten().tolist() == [-0.5, 0.5]
