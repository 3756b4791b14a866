"""SIM-Adv's carried examples against a naive loop of Eqs. 14-16, its resets, and the other makers of examples."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import images, naive_gradient, tiny_net
from torch import nn

from simadv.adversaries import RESETS, SIM, Attacker, Carried, NoAdversary
from simadv.attacks import LABELS, PROJECTIONS, Attack
from simadv.checks import InputError
from simadv.data import Identity, PadCropFlip


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class InDouble(nn.Module):
    """A float64 net for float32 images: a rounded gradient would have another sign alone than in company."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x.double())


class TwoClasses(nn.Module):
    """A linear net of two classes, label 0: the gradient at every image is ``direction`` times a positive number."""

    def __init__(self, direction):
        super().__init__()
        self.direction = direction

    def forward(self, x):
        score = (x.double() * self.direction).sum((1, 2, 3))
        return torch.stack([-score / 100, score / 100], 1)


def shuffled(n, size, epoch):
    """The batches of an epoch; the last one is shorter where n is no multiple of size."""
    return torch.randperm(n, generator=generator(1000 + epoch)).split(size)


def one_epoch(sim, net, y, epoch, *, view=Identity, size=4):
    """Run every image through ``sim`` once and return the examples, in the augmented frame, with their views."""
    made = []
    for number, index in enumerate(shuffled(len(sim.x), size, epoch)):
        source = generator(100 * epoch + number)
        batch_view = view((len(index), *sim.x.shape[1:]), source)
        x_hat = batch_view.forward(sim.x[index])
        x_tilde = sim(net, x_hat, y[index], index, epoch=epoch, view=batch_view, generator=source)
        made.append((index, batch_view, x_hat, x_tilde))
    return made


ROUNDING = 1 / 131_070  # of two bytes


def on_grey_levels(x):
    return (x * 255).round() / 255


def held(example, exact):
    """What one byte, or two, can hold of it."""
    return (example * (255 if exact else 65_535)).round() / (255 if exact else 65_535)


def naive_step(net, start, x_hat, y, epsilon, n1, ball):
    """Eqs. 14-15 for one image, with the projection that ``ball`` adds."""
    step = epsilon / n1 * torch.sign(naive_gradient(net, start, y))
    moved = start + (step if ball else torch.clip(step, -epsilon, epsilon))
    if ball:
        moved = x_hat + torch.clip(moved - x_hat, -epsilon, epsilon)
    return torch.clip(moved, 0, 1)


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize("exact", [True, False])
def test_cycle_is_eqs_14_to_16_over_epochs(exact, projection, labels):
    """A naive loop that carries one image at a time, through resets, and what the store then holds."""
    net = InDouble(tiny_net(0)).eval()
    x, y = images(0, 6, dtype=torch.float32)
    x = on_grey_levels(x)
    epsilon, n1, n2 = (24 / 255, 3, 5) if exact else (0.11, 3, 5)
    sim = SIM(x, epsilon=epsilon, n1=n1, n2=n2, labels=labels, projection=projection)
    assert sim.carried.exact == exact
    assert sim.passes == ((2, 1) if labels == "predicted" else (1, 1))
    with torch.no_grad():
        target = net(x).argmax(1) if labels == "predicted" else y
    assert labels == "true" or not torch.equal(target, y)
    carried = x.double()
    for epoch in range(12):
        batches = one_epoch(sim, net, y, epoch)
        made = {int(j): row for index, _, _, rows in batches for j, row in zip(index, rows, strict=True)}
        assert sorted(made) == list(range(6))
        for j in range(6):
            start = x[j].double() if epoch % n2 == 0 else carried[j]
            example = naive_step(net, start, x[j].double(), target[j], epsilon, n1, projection == "ball")
            torch.testing.assert_close(made[j].double(), example, rtol=0, atol=1e-6)
            stored = sim.carried.read(torch.tensor([j]))[0]
            if exact:
                assert torch.equal((stored * 255).round(), (example * 255).round().float())
                torch.testing.assert_close(stored.double(), example, rtol=0, atol=1e-6)
            assert (stored.double() - example).abs().max() <= ROUNDING + 1e-7
            carried[j] = held(example, exact)  # the next step starts from what the store holds
    if projection == "literal":
        assert (sim.carried.read(torch.arange(6)) - x).abs().max() <= 2 * epsilon / n1 + 1e-3
    assert not any(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize(("epsilon", "n1", "n2"), [(8 / 255, 4, 20), (0.2, 1, 3), (0.2, 51, 60), (0.2, 3, 6)])
def test_bytes_hold_every_example_exactly(epsilon, n1, n2):
    """Steps of whole grey levels on images of whole grey levels: integers all the way, through the reset."""
    check_bytes(epsilon, n1, n2, "ball")


@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize(
    ("epsilon", "n1"), [(0.3, 1.5), (0.3, 0.5), (0.25, 1.25), (8 / 255, 8 / 3), (8 / 255, 0.5), (0.2, 0.6)]
)
def test_the_store_is_exact_where_it_says_so_for_any_n1(epsilon, n1, projection):
    """Where n1 is no whole number, the step can be whole grey levels and the ball's bound between two of them."""
    check_bytes(epsilon, n1, 4, projection, demanded=False)


def check_bytes(epsilon, n1, n2, projection, demanded=True):
    x, _ = images(1, 5, dtype=torch.float32)
    x = on_grey_levels(x)
    y = torch.zeros(5, dtype=torch.int64)
    direction = torch.randn(x.shape[1:], generator=generator(3), dtype=torch.float64)
    net, sign = TwoClasses(direction), direction.sign()
    sim = SIM(x, epsilon=epsilon, n1=n1, n2=n2, projection=projection)
    assert sim.carried.exact or not demanded
    tolerance = 1e-6 if sim.carried.exact else 1 / 510
    for epoch in range(n2 + 3):
        one_epoch(sim, net, y, epoch)
        steps, step = epoch % n2 + 1, epsilon / n1
        reach = min(steps * step, epsilon) if projection == "ball" else steps * min(step, epsilon)
        expected = (x.double() + reach * sign).clamp(0, 1)
        stored = sim.carried.read(torch.arange(5)).double()
        assert float((stored - expected).abs().max()) <= tolerance, f"epoch {epoch}: the store is off"


@pytest.mark.parametrize(("epsilon", "n1", "n2"), [(0.3, 10, 20), (0.2, 10, 20), (0.15, 7, 40), (0.3, 1.5, 90)])
def test_two_bytes_stay_within_half_a_grey_level_over_a_cycle(epsilon, n1, n2):
    """As many steps as a cycle has, each rounded once: what is carried is what float64 would have carried."""
    x, _ = images(2, 8, dtype=torch.float32)  # no whole grey levels
    y = torch.zeros(8, dtype=torch.int64)
    direction = torch.randn(x.shape[1:], generator=generator(3), dtype=torch.float64)
    sim = SIM(x, epsilon=epsilon, n1=n1, n2=n2)
    assert not sim.carried.exact
    for epoch in range(n2):
        one_epoch(sim, TwoClasses(direction), y, epoch)
        expected = (x.double() + min((epoch + 1) * epsilon / n1, epsilon) * direction.sign()).clamp(0, 1)
        stored = sim.carried.read(torch.arange(8)).double()
        assert (stored - expected).abs().max() <= (epoch + 1) * (ROUNDING + 1e-7) < 0.5 / 255


@given(seed=st.integers(0, 10**6))
def test_two_bytes_move_a_pixel_by_at_most_what_is_said(seed):
    x = torch.rand(3, 1, 16, 16, generator=generator(seed))
    carried = Carried(x, moves=(0.03,))
    y = torch.rand(2, 1, 16, 16, generator=generator(seed + 1))
    carried.write(torch.tensor([2, 0]), y)
    assert (carried.read(torch.tensor([2, 0])) - y).abs().max() <= ROUNDING + 1e-7
    assert (carried.read(torch.tensor([1])) - x[1:2]).abs().max() <= ROUNDING + 1e-7
    assert 0 <= carried.read(torch.arange(3)).min() <= carried.read(torch.arange(3)).max() <= 1


def test_a_byte_is_used_only_where_it_is_exact():
    x, _ = images(0, 3, dtype=torch.float32)
    on_grid = on_grey_levels(x)
    assert Carried(on_grid, moves=(2 / 255,)).exact
    assert Carried(on_grid, moves=(2 / 255,)).values.dtype == torch.uint8
    for images_, moves in ((x, (2 / 255,)), (on_grid, (0.03,)), (on_grid, (1 / 255, 0.3)), (on_grid, ())):
        assert not Carried(images_, moves=moves).exact
        assert Carried(images_, moves=moves).values.dtype == torch.int16
    levels = (torch.arange(256) / 255).view(1, 1, 16, 16)
    for moves in ((1 / 255,), (0.03,)):
        assert torch.equal(Carried(levels, moves=moves).read(torch.tensor([0])), levels), "an image as it came"


class Recorder(nn.Module):
    """Keeps what a net was last shown."""

    def __init__(self, net):
        super().__init__()
        self.net, self.last = net, None

    def forward(self, x):
        self.last = x.detach().clone()
        return self.net(x)


def resets(reset, *, n, n2, epochs, seed=0):
    """``(epochs, n)`` bool: in which epochs each image's step starts from the image itself."""
    x, y = images(4, n, side=6, dtype=torch.float32)
    net = Recorder(InDouble(tiny_net(4, side=6)))
    sim = SIM(x, epsilon=0.1, n1=4, n2=n2, reset=reset, seed=seed)
    table = torch.zeros(epochs, n, dtype=torch.bool)
    for epoch in range(epochs):
        for index in shuffled(n, 7, epoch):
            sim(net, x[index], y[index], index, epoch=epoch, view=Identity(), generator=generator(epoch))
            table[epoch, index] = (net.last == x[index]).flatten(1).all(1)
            says = sim.restarts(index, epoch)
            assert reset == "random" or torch.equal(says, table[epoch, index])
    return table, sim


def test_cycle_restarts_all_images_every_n2_epochs():
    table, _ = resets("cycle", n=9, n2=4, epochs=11)
    assert [epoch for epoch in range(11) if table[epoch].all()] == [0, 4, 8]
    assert table.sum() == 3 * 9


def test_never_restarts_no_image_after_the_first_epoch():
    table, _ = resets("never", n=9, n2=4, epochs=11)
    assert table[0].all()
    assert not table[1:].any()


def test_staggered_restarts_each_image_by_its_own_phase():
    n, n2 = 60, 5
    table, sim = resets("staggered", n=n, n2=n2, epochs=23)
    assert table[0].all()
    assert not table[1:n2].any(), "the first cycle is a normal one"
    phases = []
    for j in range(n):
        epochs = [epoch for epoch in range(n2, 23) if table[epoch, j]]
        assert n2 <= epochs[0] < 2 * n2
        assert epochs == list(range(epochs[0], 23, n2))
        phases.append(-epochs[0] % n2)
    assert phases == sim.phase.tolist()
    assert all(phases.count(phase) >= 4 for phase in range(n2)), "the phases do not spread"
    again, other = resets("staggered", n=n, n2=n2, epochs=1)[1], resets("staggered", n=n, n2=n2, epochs=1, seed=1)[1]
    assert torch.equal(again.phase, sim.phase)
    assert not torch.equal(other.phase, sim.phase)


def test_random_restarts_at_a_random_point_of_the_ball():
    n, n2, epsilon = 20, 4, 0.1
    x, y = images(4, n, side=6, dtype=torch.float32)
    x = x * 0.6 + 0.2  # no pixel so near 0 or 1 that the ball is cut
    net = Recorder(InDouble(tiny_net(4, side=6)))
    sim = SIM(x, epsilon=epsilon, n1=4, n2=n2, reset="random")
    index, starts = torch.arange(n), {}
    for epoch in range(10):
        before = sim.carried.read(index)
        sim(net, x, y, index, epoch=epoch, view=Identity(), generator=generator(epoch))
        if epoch in (4, 8):
            assert (net.last - x).abs().max() <= epsilon + 1e-6
            starts[epoch] = (net.last - x) / epsilon
            assert abs(float(starts[epoch].mean())) < 0.1
            assert abs(float(starts[epoch].std()) - 3**-0.5) < 0.05, "not uniform in the ball"
        elif epoch > 0:
            assert torch.equal(net.last, before), "an image restarted out of turn"
    assert not torch.equal(starts[4], starts[8])


@pytest.mark.parametrize("exact", [True, False])
def test_carried_examples_follow_their_image_through_crop_and_flip(exact):
    """A loop over pixels: each augmented pixel moves the pixel that it came from, and hidden ones stay."""
    net = InDouble(tiny_net(6, channels=3)).eval()
    x, y = images(6, 5, channels=3, dtype=torch.float32)
    x = on_grey_levels(x)
    epsilon, n1, n2 = (24 / 255, 3, 4) if exact else (0.11, 3, 4)
    sim = SIM(x, epsilon=epsilon, n1=n1, n2=n2)
    assert sim.carried.exact == exact
    places = torch.arange(1, x[0].numel() + 1, dtype=torch.float32).view(x.shape[1:])
    carried = x.double()
    hidden = moved = 0
    for epoch in range(7):
        if epoch % n2 == 0:
            carried = x.double()
        for index, view, x_hat, x_tilde in one_epoch(sim, net, y, epoch, view=PadCropFlip, size=3):
            came_from = view.forward(places.expand(len(index), *places.shape)).long()
            for r, j in enumerate(index.tolist()):
                start = torch.zeros_like(carried[j])
                for p, place in enumerate(came_from[r].flatten().tolist()):
                    if place:  # 0 is the padding
                        start.view(-1)[p] = carried[j].reshape(-1)[place - 1]
                expected = naive_step(net, start, x_hat[r].double(), y[j], epsilon, n1, ball=True)
                torch.testing.assert_close(x_tilde[r].double(), expected, rtol=0, atol=1e-6)
                after = carried[j].clone().view(-1)
                for p, place in enumerate(came_from[r].flatten().tolist()):
                    if place:
                        after[place - 1] = expected.reshape(-1)[p]
                hidden += x[0].numel() - int((came_from[r] > 0).sum())
                moved += int((came_from[r] != places.long()).sum())
                after = after.view(x.shape[1:])
                stored = sim.carried.read(torch.tensor([j]))[0].double()
                assert (stored - after).abs().max() <= (1e-6 if exact else ROUNDING + 1e-7)
                carried[j] = held(after, exact)
        assert (carried - x).abs().max() <= epsilon + ROUNDING + 1e-7
    assert hidden > 100, "no crop hid a pixel: the test shows nothing"
    assert moved > 100


def test_predicted_labels_are_those_of_the_clean_image():
    """The carried example is pushed away from what the net says of the image, not of the example."""
    direction = torch.ones(1, 4, 4, dtype=torch.float64)
    net = TwoClasses(direction)
    x = torch.full((2, 1, 4, 4), 0.5)
    x[1] = 0.25
    with torch.no_grad():
        assert net(x).argmax(1).tolist() == [1, 1]
    y = torch.tensor([0, 1])
    sim = SIM(x, epsilon=0.2, n1=2, n2=4, labels="predicted")
    made = sim(net, x, y, torch.tensor([0, 1]), epoch=0, view=Identity(), generator=generator())
    torch.testing.assert_close(made, x - 0.1)
    truthful = SIM(x, epsilon=0.2, n1=2, n2=4)
    made = truthful(net, x, y, torch.tensor([0, 1]), epoch=0, view=Identity(), generator=generator())
    torch.testing.assert_close(made, x + torch.tensor([0.1, -0.1]).view(2, 1, 1, 1))


FIXED = tiny_net(8, side=6, dtype=torch.float32)


@given(
    reset=st.sampled_from(RESETS),
    epsilon=st.floats(0.005, 0.6) | st.sampled_from([8 / 255, 0.2, 0.3]),
    n1=st.floats(0.2, 20) | st.integers(1, 20),
    n2=st.integers(1, 6),
    augmented=st.booleans(),
    grey=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_examples_stay_in_the_ball_over_epochs(reset, epsilon, n1, n2, augmented, grey, seed):
    x, y = images(seed, 5, side=6, dtype=torch.float32)
    x = on_grey_levels(x) if grey else x
    before = x.clone()
    sim = SIM(x, epsilon=epsilon, n1=n1, n2=n2, reset=reset, seed=seed)
    for epoch in range(2 * n2 + 2):
        for _, _, x_hat, x_tilde in one_epoch(sim, FIXED, y, epoch, view=PadCropFlip if augmented else Identity):
            assert float((x_tilde - x_hat).abs().max()) <= epsilon + 1e-6
            assert 0 <= float(x_tilde.min()) <= float(x_tilde.max()) <= 1
        stored = sim.carried.read(torch.arange(5))
        slack = 1e-6 if sim.carried.exact else ROUNDING + 1e-6
        assert float((stored - x).abs().max()) <= epsilon + slack, "the store itself left the ball"
    assert torch.equal(x, before), "the clean images were written to"


def test_the_state_is_all_that_must_be_kept():
    """Loaded in place into a fresh adversary, it goes on with the same examples."""
    net = InDouble(tiny_net(4))
    x, y = images(9, 6, dtype=torch.float32)
    first = SIM(x, epsilon=0.1, n1=3, n2=3, reset="staggered", seed=5)
    for epoch in range(4):
        one_epoch(first, net, y, epoch)
    second = SIM(x, epsilon=0.1, n1=3, n2=3, reset="staggered", seed=6)
    for name, value in second.state().items():
        value.copy_(first.state()[name].clone())
    for epoch in range(4, 8):
        pairs = zip(one_epoch(first, net, y, epoch), one_epoch(second, net, y, epoch), strict=True)
        assert all(torch.equal(a[3], b[3]) for a, b in pairs)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_sim_leaves_the_model_as_it_was(mode):
    net = tiny_net(4, dtype=torch.float32).train()
    net[1].eval()
    x, y = images(9, 6, dtype=torch.float32)
    buffers = [b.clone() for b in net.buffers()]
    flags = [m.training for m in net.modules()]
    sim = SIM(x, epsilon=0.1, n1=3, n2=3, mode=mode, labels="predicted")
    one_epoch(sim, net, y, 0)
    assert all(torch.equal(a, b) for a, b in zip(buffers, net.buffers(), strict=True))
    assert [m.training for m in net.modules()] == flags
    assert all(p.requires_grad and p.grad is None for p in net.parameters())


def test_an_attacker_is_its_attack():
    net = tiny_net(4, dtype=torch.float32)
    x, y = images(9, 6, dtype=torch.float32)
    attack = Attack(kind="Madry", epsilon=0.1, n1=2, n2=3)
    adversary = Attacker(attack)
    settings = {"epoch": 3, "view": Identity(), "generator": generator(1)}
    made = adversary(net, x, y, torch.arange(6), **settings)
    assert torch.equal(made, attack(net, x, y, generator=generator(1)))
    assert adversary.passes == (3, 3)
    assert adversary.state() == NoAdversary().state() == {}
    assert NoAdversary()(net, x, y, torch.arange(6), **settings) is None
    assert NoAdversary.passes == (0, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"reset": "stagger"},
            "reset = 'stagger' .*did you mean 'staggered'.*allowed: cycle, staggered, never, random",
        ),
        ({"n1": 0}, "n1 = 0 must be above 0"),
        ({"n1": 1e5}, r"epsilon / n1 = 3e-06 moves no pixel; it must be at least 7.6e-06"),
        ({"n1": 1e9}, "epsilon / n1 = 3e-10 moves no pixel"),
        ({"n2": 0}, "n2 = 0 must be at least 1"),
        ({"epsilon": -1}, "epsilon = -1 must be above 0"),
        ({"labels": "none"}, "labels = 'none' .*allowed: true, predicted"),
        ({"projection": "sphere"}, "projection = 'sphere' .*allowed: ball, literal"),
        ({"mode": "fast"}, "attack mode = 'fast' .*allowed: eval, train"),
    ],
)
def test_bad_settings_say_what_is_allowed(change, message):
    with pytest.raises(InputError, match=message):
        SIM(torch.zeros(2, 1, 4, 4), **({"epsilon": 0.3, "n1": 10, "n2": 20} | change))


def test_random_starts_its_first_cycle_at_the_images():
    table, _ = resets("random", n=9, n2=4, epochs=4)
    assert table[0].all()
    assert not table[1:].any()


def test_random_points_are_carried_in_two_bytes():
    x, settings = on_grey_levels(images(2, 4, dtype=torch.float32)[0]), {"epsilon": 24 / 255, "n1": 3, "n2": 2}
    assert SIM(x, **settings).carried.exact
    assert not SIM(x, **settings, reset="random").carried.exact
