"""The losses and the centres against loops written from Eqs. 7-12, and ATDA's objective against their sum."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import images, naive_cross_entropy, tiny_net

from simadv.checks import InputError
from simadv.losses import Centers, CrossEntropy, DomainAdaptation, coral, mmd, sda, uda


def logits(seed, n, k, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, k, generator=generator, dtype=torch.float64)


def naive_scatter(c):
    """Sum over the batch of (C(x)_i - mean_i) (C(x)_j - mean_j), entry by entry."""
    n, k = len(c), len(c[0])
    mean = [sum(c[r][i] for r in range(n)) / n for i in range(k)]
    return [[sum((c[r][i] - mean[i]) * (c[r][j] - mean[j]) for r in range(n)) for j in range(k)] for i in range(k)]


def naive_coral(clean, adversarial, form):
    """Eq. 7: the covariance divides by n - 1; the authors' code does not divide."""
    n, k = len(clean), len(clean[0])
    a, b = naive_scatter(clean), naive_scatter(adversarial)
    total = sum(abs(a[i][j] - b[i][j]) for i in range(k) for j in range(k))
    return total / k**2 / (n - 1 if form == "cov" else 1)


def naive_mmd(clean, adversarial):
    """Eq. 8."""
    n, k = len(clean), len(clean[0])
    return sum(abs(sum(row[i] for row in clean) / n - sum(row[i] for row in adversarial) / n) for i in range(k)) / k


def naive_sda(c, y, phi):
    """Eqs. 10-11; n counts clean and adversarial examples together."""
    total = 0.0
    for row, label in zip(c, y, strict=True):
        distance = [sum(abs(a - b) for a, b in zip(row, center, strict=True)) for center in phi]
        for m in range(len(phi)):
            if m != label:
                t = distance[label] - distance[m]
                total += max(t, 0) + math.log1p(math.exp(-abs(t)))
    return total / ((len(phi) - 1) * len(c))


def naive_update(c, y, phi, beta):
    """Eq. 12, class by class."""
    moved = []
    for m, center in enumerate(phi):
        members = [row for row, label in zip(c, y, strict=True) if label == m]
        pull = [sum(center[i] - row[i] for row in members) / (1 + len(members)) for i in range(len(center))]
        moved.append([center[i] - beta * pull[i] for i in range(len(center))])
    return moved


def scatter_update(c, y, phi, beta):
    """The form of ATDA's authors: every example subtracts its own share from the centre that was there before."""
    moved = [list(center) for center in phi]
    for row, label in zip(c, y, strict=True):
        appear_times = sum(other == label for other in y)
        for i in range(len(row)):
            moved[label][i] -= beta * (phi[label][i] - row[i]) / (1 + appear_times)
    return moved


sizes = {"n": st.integers(2, 7), "k": st.integers(2, 6), "seed": st.integers(0, 10**6)}


@given(**sizes, form=st.sampled_from(["scatter", "cov"]))
def test_unsupervised_losses_agree_with_loops(n, k, seed, form):
    clean, adversarial = logits(seed, n, k), logits(seed + 1, n, k)
    lists = clean.tolist(), adversarial.tolist()
    assert float(coral(clean, adversarial, form=form)) == pytest.approx(naive_coral(*lists, form), abs=1e-6, rel=1e-9)
    assert float(mmd(clean, adversarial)) == pytest.approx(naive_mmd(*lists), abs=1e-6, rel=1e-9)
    both = naive_coral(*lists, form) + naive_mmd(*lists)
    assert float(uda(clean, adversarial, form=form)) == pytest.approx(both, abs=1e-6, rel=1e-9)


@pytest.mark.parametrize("form", ["cov", "scatter"])
def test_a_batch_of_one_has_no_covariance_and_no_distance(form):
    """As the last batch of an epoch may be."""
    assert float(coral(torch.randn(1, 4), torch.randn(1, 4), form=form)) == 0


def test_coral_as_printed_is_a_covariance():
    clean, adversarial = logits(0, 9, 4), logits(1, 9, 4)
    expected = (torch.cov(clean.T) - torch.cov(adversarial.T)).abs().sum() / 16
    assert float(coral(clean, adversarial, form="cov")) == pytest.approx(float(expected), rel=1e-9)
    assert float(coral(clean, adversarial, form="scatter")) == pytest.approx(8 * float(expected), rel=1e-9)


def test_unsupervised_losses_vanish_on_equal_batches_and_only_there():
    clean = logits(0, 6, 4)
    assert float(uda(clean, clean.clone(), form="cov")) == 0
    shifted = clean + torch.tensor([0.0, 0.5, 0.0, 0.0])
    assert float(coral(clean, shifted, form="cov")) == pytest.approx(0, abs=1e-12)
    assert float(mmd(clean, shifted)) == pytest.approx(0.5 / 4)


@given(**sizes, scale=st.sampled_from([0.1, 3.0, 300.0]))
def test_supervised_loss_agrees_with_a_loop(n, k, seed, scale):
    c, phi = logits(seed, n, k, scale), logits(seed + 1, k, k, scale)
    y = torch.randint(k, (n,), generator=torch.Generator().manual_seed(seed))
    expected = naive_sda(c.tolist(), y.tolist(), phi.tolist())
    assert float(sda(c, y, phi)) == pytest.approx(expected, abs=1e-6, rel=1e-9)


def test_supervised_loss_on_a_hand_sized_example():
    """Two classes, an example at its own centre: softplus(0 - 4)."""
    phi = torch.tensor([[1.0, 1.0], [3.0, -1.0]], dtype=torch.float64)
    value = sda(phi[:1].clone(), torch.tensor([0]), phi)
    assert float(value) == pytest.approx(math.log1p(math.exp(-4)))


@given(**sizes, beta=st.floats(0.01, 1.0))
def test_centers_move_as_eq_12_and_as_the_authors_code(n, k, seed, beta):
    centers = Centers(k, beta=beta).double()
    centers.phi.copy_(logits(seed + 1, k, k))
    c = logits(seed, n, k)
    y = torch.randint(k, (n,), generator=torch.Generator().manual_seed(seed))
    before = centers.phi.tolist()
    centers.update(c, y)
    for expected in (naive_update, scatter_update):
        moved = torch.tensor(expected(c.tolist(), y.tolist(), before, beta), dtype=torch.float64)
        torch.testing.assert_close(centers.phi, moved, rtol=0, atol=1e-6)
    absent = [m for m in range(k) if m not in y.tolist()]
    assert centers.phi[absent].tolist() == [before[m] for m in absent], "a class that is not there has moved"


def test_centers_start_at_0_and_are_no_parameters():
    centers = Centers(5, beta=0.1)
    assert centers.phi.shape == (5, 5)
    assert not centers.phi.any()
    assert not list(centers.parameters())


def test_no_gradient_flows_into_the_centers():
    c = logits(0, 6, 4).requires_grad_(True)
    y = torch.tensor([0, 1, 2, 3, 0, 1])
    centers = Centers(4, beta=0.1).double()
    centers.phi.copy_(logits(1, 4, 4))
    loss = sda(c, y, centers.phi)
    centers.update(c, y)
    assert not centers.phi.requires_grad
    assert centers.phi.grad_fn is None
    loss.backward()  # the old centres are still there for it
    # what remains is the derivative with the centres held still
    numeric = torch.zeros_like(c)
    phi = logits(1, 4, 4)
    for r in range(6):
        for i in range(4):
            step = torch.zeros_like(numeric)
            step[r, i] = 1e-6
            numeric[r, i] = (sda(c.detach() + step, y, phi) - sda(c.detach() - step, y, phi)) / 2e-6
    torch.testing.assert_close(c.grad, numeric, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cross_entropy_is_the_mean_of_both_halves(dtype):
    net = tiny_net(0, dtype=dtype)
    x, y = images(0, 5, dtype=dtype)
    x_tilde, _ = images(1, 5, dtype=dtype)
    clean, adversarial = naive_cross_entropy(net(x), y), naive_cross_entropy(net(x_tilde), y)
    torch.testing.assert_close(CrossEntropy()(net, x, x_tilde, y), (clean + adversarial) / 2)
    torch.testing.assert_close(CrossEntropy()(net, x, None, y), clean)
    assert CrossEntropy().state() == {}


@pytest.mark.parametrize(
    "objective", [CrossEntropy(), DomainAdaptation(4, lambda_=1.0, beta=0.1, coral_form="cov")], ids=["mean", "atda"]
)
def test_the_halves_are_two_forwards(objective):
    """Batch norm in train mode sees each half alone, the clean one first."""
    net, seen = tiny_net(0).train(), []
    net.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    x, y = images(0, 5)
    x_tilde, _ = images(1, 5)
    objective(net, x, x_tilde, y)
    assert [torch.equal(seen[0], x), torch.equal(seen[1], x_tilde), len(seen)] == [True, True, 2]


@pytest.mark.parametrize("form", ["scatter", "cov"])
@pytest.mark.parametrize("lambda_", [0.0, 1 / 3, 2.0])
def test_domain_adaptation_is_the_printed_sum_and_then_moves_its_centers(lambda_, form):
    net = tiny_net(3, dtype=torch.float32)
    objective = DomainAdaptation(4, lambda_=lambda_, beta=0.1, coral_form=form)
    phi = torch.zeros(4, 4).tolist()
    for batch in range(3):  # the centres of one batch are those of the batches before it
        x, y = images(batch, 6, dtype=torch.float32)
        x_tilde, _ = images(batch + 50, 6, dtype=torch.float32)
        with torch.no_grad():
            clean, adversarial = net(x).double(), net(x_tilde).double()
        both, labels = clean.tolist() + adversarial.tolist(), y.tolist() * 2
        unsupervised = naive_coral(clean.tolist(), adversarial.tolist(), form)
        unsupervised += naive_mmd(clean.tolist(), adversarial.tolist())
        expected = float(naive_cross_entropy(clean, y) + naive_cross_entropy(adversarial, y))
        expected += lambda_ * (unsupervised + naive_sda(both, labels, phi))
        loss = objective(net, x, x_tilde, y)
        assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
        phi = naive_update(both, labels, phi, 0.1)
        torch.testing.assert_close(objective.centers.phi, torch.tensor(phi), rtol=1e-5, atol=1e-6)
        net.zero_grad()
        loss.backward()  # after the move
        assert all(parameter.grad.abs().sum() > 0 for parameter in net.parameters())
    assert objective.state()["centers"] is objective.centers.phi


def test_domain_adaptation_stays_out_of_bf16():
    """Under autocast only the net is bf16: from its logits on, everything is float32."""
    net = tiny_net(3, dtype=torch.float32, norm=False)
    x, y = images(0, 6, dtype=torch.float32)
    x_tilde, _ = images(1, 6, dtype=torch.float32)
    objective = DomainAdaptation(4, lambda_=1.0, beta=0.1, coral_form="cov")
    with torch.autocast("cpu", torch.bfloat16):
        clean, adversarial = net(x), net(x_tilde)
        loss = objective(net, x, x_tilde, y)
    assert clean.dtype == torch.bfloat16
    clean, adversarial = clean.detach().double(), adversarial.detach().double()
    both, labels = clean.tolist() + adversarial.tolist(), y.tolist() * 2
    expected = float(naive_cross_entropy(clean, y) + naive_cross_entropy(adversarial, y))
    expected += naive_coral(clean.tolist(), adversarial.tolist(), "cov")
    expected += naive_mmd(clean.tolist(), adversarial.tolist())
    expected += naive_sda(both, labels, torch.zeros(4, 4).tolist())
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lambda_": -0.1}, "lambda_ = -0.1 must be at least 0"),
        ({"beta": 0}, "beta = 0 must be above 0"),
        ({"beta": "0.1"}, "beta = '0.1' must be a finite number"),
        ({"coral_form": "Cov"}, "coral = 'Cov' .*did you mean 'cov'.*allowed: scatter, cov"),
    ],
)
def test_bad_settings_say_what_is_allowed(change, message):
    with pytest.raises(InputError, match=message):
        DomainAdaptation(10, **({"lambda_": 1 / 3, "beta": 0.1, "coral_form": "scatter"} | change))
