"""Accuracy under both label conventions against naive counts, rho, and the doubts about an evaluation."""

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import images, naive_attack, tiny_net
from torch import nn

from simadv.adversaries import NoAdversary
from simadv.attacks import Attack, input_gradient
from simadv.checks import InputError
from simadv.evaluation import Accuracy, accuracy, rho
from simadv.training import fit, generator_for
from simbook.doubts import doubts

CPU = torch.device("cpu")


def half_right(seed, count=40):
    """A random net in float64, images, and labels of which it gets about two thirds right."""
    net = tiny_net(seed)
    x, y = images(seed, count)
    with torch.no_grad():
        guess = net(x).argmax(1)
    wrong = torch.arange(count) % 3 == 0
    return net, x, torch.where(wrong, y, guess)


def count_right(net, x, y):
    with torch.no_grad():
        return sum(int(net(x[j : j + 1]).argmax()) == int(y[j]) for j in range(len(y)))


@pytest.mark.parametrize("batch_size", [40, 16, 1])
def test_accuracy_of_clean_images_is_a_count(batch_size):
    net, x, y = half_right(0)
    right = count_right(net, x, y)
    assert 0 < right < 40
    assert accuracy(net, x, y, batch_size=batch_size) == Accuracy(40, right, right)
    assert accuracy(net, x, y, batch_size=batch_size).percent() == pytest.approx(100 * right / 40)


@pytest.mark.parametrize("seed", [0, 2, 4, 5])
@pytest.mark.parametrize(("n1", "n2", "epsilon", "batch_size"), [(1, 1, 0.15, 16), (3, 5, 0.15, 40), (3, 5, 0.3, 16)])
def test_one_pass_gives_both_label_conventions(seed, n1, n2, epsilon, batch_size):
    """Two naive evaluations: away from the true label, and away from the prediction on the clean image."""
    net, x, y = half_right(seed)
    with torch.no_grad():
        guess = net(x).argmax(1)
    by_true = naive_attack(net, x, y, epsilon=epsilon, n1=n1, n2=n2)
    by_guess = naive_attack(net, x, guess, epsilon=epsilon, n1=n1, n2=n2)
    expected = Accuracy(40, count_right(net, by_true, y), count_right(net, by_guess, y))
    kind = {"kind": "FGSM"} if n2 == 1 else {"kind": "BIM", "n1": n1, "n2": n2}
    for labels in ("true", "predicted"):  # the attack's own convention does not matter
        attack = Attack(epsilon=epsilon, labels=labels, **kind)
        found = accuracy(net, x, y, attack, batch_size=batch_size)
        assert found == expected
        assert found.percent() == pytest.approx(100 * expected.true / 40)
        assert found.percent("predicted") == pytest.approx(100 * expected.predicted / 40)


def test_the_conventions_can_differ():
    """An image that is wrong at first can only gain from being pushed away from that."""
    for seed in (0, 2, 4, 5):
        result = accuracy(*half_right(seed), Attack(kind="BIM", epsilon=0.3, n1=3, n2=5))
        assert result.predicted > result.true


def naive_random(net, x, y, attack, batch_size, labels):
    """Worst case over restarts, each from the start that its seed, batch and number give to every image."""
    right = 0
    for number, (x_hat, target) in enumerate(zip(x.split(batch_size), y.split(batch_size), strict=True)):
        with torch.no_grad():
            away = target if labels == "true" else net(x_hat).argmax(1)
        stands = torch.ones(len(target), dtype=torch.bool)
        for restart in range(attack.restarts):
            generator = generator_for(5, number, restart, device=CPU)
            if attack.kind == "Madry":
                noise = 2 * torch.rand(x_hat.shape, generator=generator, dtype=x.dtype) - 1
                start, n1 = (x_hat + attack.epsilon * noise).clamp(0, 1), attack.n1
            else:
                noise = torch.randn(x_hat.shape, generator=generator, dtype=x.dtype).sign()
                start, n1 = (x_hat + attack.epsilon / 2 * noise).clamp(0, 1), 2
            x_tilde = naive_attack(net, x_hat, away, epsilon=attack.epsilon, n1=n1, n2=attack.n2, start=start)
            with torch.no_grad():
                stands &= net(x_tilde).argmax(1) == target
        right += int(stands.sum())
    return right


RANDOM = [
    Attack(kind="Madry", epsilon=0.2, n1=4, n2=2),
    Attack(kind="Madry", epsilon=0.2, n1=6, n2=1, restarts=3),
    Attack(kind="R+FGSM", epsilon=0.2),
]


@pytest.mark.parametrize("labels", ["true", "predicted"])
@pytest.mark.parametrize("attack", RANDOM, ids=str)
def test_random_attacks_agree_with_naive_evaluations(attack, labels):
    for seed in (0, 2, 4):
        net, x, y = half_right(seed)
        found = accuracy(net, x, y, attack, seed=5, batch_size=25)
        assert getattr(found, labels) == naive_random(net, x, y, attack, 25, labels), f"net {seed}"


def test_random_starts_are_the_same_under_both_conventions():
    net, x, y = half_right(1)
    with torch.no_grad():
        wrong = net(x).argmax(1) != y
    shown = []
    net.register_forward_hook(lambda module, inputs, output: shown.append((inputs[0].clone(), output.requires_grad)))
    accuracy(net, x, y, Attack(kind="Madry", epsilon=0.2, n1=2, n2=1))
    starts = [x_tilde for x_tilde, is_attacked in shown if is_attacked]
    assert len(starts) == 2
    assert len(starts[0]) == 40
    again = starts[1] if len(starts[1]) == int(wrong.sum()) else starts[1][wrong]
    assert torch.equal(again, starts[0][wrong]), "an image starts elsewhere when its neighbours are left out"


def test_restarts_only_lower_accuracy():
    net, x, y = half_right(2)
    attack = Attack(kind="Madry", epsilon=0.2, n1=8, n2=1)
    results = [accuracy(net, x, y, replace(attack, restarts=restarts)) for restarts in (1, 3, 9)]
    assert results[0].true >= results[1].true >= results[2].true
    assert results[0].predicted >= results[1].predicted >= results[2].predicted
    assert results[0].true > results[2].true


def test_evaluation_leaves_the_model_as_it_was():
    net, x, y = half_right(3)
    net.train()
    before = copy.deepcopy(net.state_dict())
    rng = torch.get_rng_state()
    accuracy(net, x, y, Attack(kind="Madry", epsilon=0.04, n1=2, n2=2, mode="train"))
    assert net.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert torch.equal(torch.get_rng_state(), rng)


@given(error=st.floats(0, 1), most=st.floats(1e-3, 1))
def test_rho_is_a_ratio(error, most):
    assert rho(error, most) == pytest.approx(error / most)
    assert rho(most, most) == 1
    assert rho(0, most) == 0


@pytest.mark.parametrize(
    ("error", "most"), [(0.5, 0), (0.5, -0.1), (-0.1, 0.5), (1.1, 1), (0.5, 50), (float("nan"), 1)]
)
def test_rho_wants_error_rates(error, most):
    with pytest.raises(InputError, match=r"must be in \[0, 1\], the second above 0"):
        rho(error, most)


@pytest.fixture(scope="module")
def plain(digits):
    """A small net that has learnt the digits a little: nothing masks its gradients."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(784, 24), nn.Tanh(), nn.Linear(24, 10))
    adam = torch.optim.Adam(net.parameters(), 0.01)
    options = {"adversary": NoAdversary(), "optimizer": adam, "epochs": 30, "batch_size": 32, "seed": 0}
    fit(net, digits.x_train, digits.y_train, **options)
    return net


class Scaled(nn.Module):
    """Logits times a million: the softmax saturates, and its gradient is 0."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return 1e6 * self.net(x)


class Quantised(nn.Module):
    """Pixels rounded to black and white on the way in: no gradient comes through."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x.round())


class Valley(nn.Module):
    """The loss rises for two small steps, falls again, and is high at the end of one large step."""

    def forward(self, x):
        u = x.mean((1, 2, 3)) - 0.5
        nodes = torch.tensor([-1.0, -0.001, 0.02, 0.1, 0.18, 0.2, 1.0])
        values = torch.tensor([1.2, 1.01, 0.5, 1.0, 1.0, -1.0, -1.0])
        cell = (torch.bucketize(u.detach(), nodes) - 1).clamp(0, 5)
        slope = (values[cell + 1] - values[cell]) / (nodes[cell + 1] - nodes[cell])
        return torch.stack([values[cell] + slope * (u - nodes[cell]), torch.zeros_like(u)], 1)


BIM = Attack(kind="BIM", epsilon=0.2, n1=10, n2=20)


@pytest.mark.parametrize("attack", [BIM, Attack(kind="Madry", epsilon=0.2, n1=10, n2=20), replace(BIM, n1=4, n2=8)])
def test_a_plain_net_raises_no_doubt(plain, digits, attack):
    assert accuracy(plain, digits.x_test, digits.y_test).percent() > 60
    assert doubts(plain, digits.x_test, digits.y_test, attack) == []


def test_an_attack_that_does_not_come_as_far_as_fgsm_is_not_doubted_for_it(plain, digits):
    short = replace(BIM, n1=10, n2=1)
    x, y = digits.x_test, digits.y_test
    assert accuracy(plain, x, y, short).true > accuracy(plain, x, y, replace(short, kind="FGSM", n1=1, n2=1)).true
    assert not [doubt for doubt in doubts(plain, x, y, short) if "stronger" in doubt]


@pytest.mark.parametrize("mask", [Scaled, Quantised])
def test_masked_gradients_raise_doubts(plain, digits, mask):
    net = mask(plain).eval()
    assert accuracy(net, digits.x_test, digits.y_test).percent() > 50
    found = doubts(net, digits.x_test, digits.y_test, BIM)
    no_gradient = [text for text in found if "the loss has no gradient at" in text]
    unbounded = [text for text in found if "with epsilon = 1 " in text and "0 % was to be expected" in text]
    assert len(no_gradient) == 1
    assert len(unbounded) == 1
    if mask is Quantised:
        assert "at 100.0 % of the images" in no_gradient[0]
        left = accuracy(net, digits.x_test, digits.y_test).percent()
        assert f"with epsilon = 1 {left:.1f} % are still classified correctly" in unbounded[0]
        assert not [text for text in found if "is stronger than" in text], "one step does as well as many, no better"


def test_one_step_that_beats_many_raises_a_doubt():
    x, y = torch.full((6, 1, 3, 3), 0.5), torch.zeros(6, dtype=torch.int64)
    found = doubts(Valley(), x, y, BIM)
    assert any(text == "FGSM (0.0 %) is stronger than BIM(10,20) (100.0 %)" for text in found), found


def test_a_gradient_that_is_nan_raises_a_doubt(plain, digits):
    class Rooted(torch.nn.Module):
        def forward(self, x):
            return plain(x + 0 * (x - x.mean()).abs().sqrt())  # of a flat image 0 times infinity, backwards

    flat = torch.zeros_like(digits.x_test[:4])
    assert input_gradient(Rooted(), flat, digits.y_test[:4]).isnan().all()
    found = doubts(Rooted(), flat, digits.y_test[:4], BIM)
    assert any("no gradient at 100.0 % of the images" in text for text in found), found


def test_doubts_leave_the_model_as_it_was(plain, digits):
    plain.train()
    before = copy.deepcopy(plain.state_dict())
    doubts(plain, digits.x_test[:8], digits.y_test[:8], BIM)
    assert plain.training
    assert all(torch.equal(before[name], value) for name, value in plain.state_dict().items())


def test_an_attack_in_the_papers_notation_is_to_be_read_first():
    with pytest.raises(InputError, match=r"attack = 'BIM\(10,40\)' must be an Attack or None; Attack.parse reads"):
        accuracy(tiny_net(0), *images(4, 2), "BIM(10,40)")
