"""Data sets, their files and downloads, batches, and the augmentation with its inverse."""

import functools
import gzip
import hashlib
import http.server
import io
import pickle
import signal
import struct
import subprocess
import sys
import tarfile
import textwrap
import threading
import time

import numpy as np
import pytest
import torch
import torchvision.datasets
from hypothesis import given, settings
from hypothesis import strategies as st

from simadv import data
from simadv.checks import InputError
from simadv.data import Identity, PadCropFlip, batches, load

SMALL = {"mnist": (28, 28), "fmnist": (28, 28), "cifar10": (32, 32, 3)}


@pytest.fixture
def small(monkeypatch):
    """Formats of 20 train and 10 test images, and arrays that fit them."""
    forms = {name: form._replace(train=20, test=10, sha256="") for name, form in data.FORMATS.items()}
    monkeypatch.setattr(data, "FORMATS", forms)
    return lambda name: arrays(SMALL[name])


def arrays(image, train=20, test=10):
    rng = np.random.default_rng(0)
    made = {}
    for part, n in (("train", train), ("test", test)):
        made[f"{part}_images"] = rng.integers(0, 256, (n, *image), dtype=np.uint8)
        made[f"{part}_labels"] = (np.arange(n) % 10).astype(np.uint8)
    return made


# --- sets


def test_digits():
    digits = load("digits")
    assert digits.name == "digits"
    assert digits.y_train.max() == digits.y_test.max() == 9
    assert digits.x_train.shape == (1437, 1, 28, 28)
    assert digits.x_test.shape == (360, 1, 28, 28)
    assert digits.x_train.dtype == torch.float32
    assert digits.y_train.dtype == torch.int64
    assert digits.x_train.min() == 0
    assert digits.x_train.max() == 1


def test_digits_are_stratified_disjoint_and_the_same_every_time():
    digits, again = load("digits"), load("digits")
    assert torch.equal(digits.x_train, again.x_train)
    assert torch.equal(digits.y_test, again.y_test)
    train, test = digits.y_train.bincount(), digits.y_test.bincount()
    assert (test - (train + test) * 360 / 1797).abs().max() <= 1
    from sklearn.datasets import load_digits

    corners = {0: 0, 27: 7}  # bilinear enlargement keeps the corner pixels
    for place, original in corners.items():
        enlarged = torch.cat([digits.x_train, digits.x_test])[:, 0, place, place].sort().values
        assert torch.allclose(
            enlarged, torch.from_numpy(np.sort(load_digits().images[:, original, original]) / 16).float()
        )


@pytest.mark.parametrize("name", SMALL)
def test_npz(name, small, tmp_path):
    made = small(name)
    np.savez_compressed(tmp_path / f"{name}.npz", **made)
    loaded = load(name, root=tmp_path)
    n = len(SMALL[name])
    assert loaded.x_train.shape[1:] == ((1, 28, 28) if n == 2 else (3, 32, 32))
    assert loaded.x_train.is_contiguous()
    assert loaded.x_train.dtype == torch.float32
    assert loaded.y_train.tolist() == made["train_labels"].tolist()
    back = (loaded.x_test * 255).round().to(torch.uint8)
    back = back[:, 0] if n == 2 else back.permute(0, 2, 3, 1)
    assert np.array_equal(back.numpy(), made["test_images"])


def test_root_comes_from_the_environment(small, tmp_path, monkeypatch):
    np.savez(tmp_path / "mnist.npz", **small("mnist"))
    monkeypatch.setenv("SIMADV_DATA", str(tmp_path))
    assert len(load("mnist").x_train) == 20


def test_published_sizes():
    assert [(f.train, f.test) for f in data.FORMATS.values()] == [(60_000, 10_000)] * 2 + [(50_000, 10_000)]


def test_unknown_set():
    with pytest.raises(InputError, match=r"did you mean 'mnist'.*allowed: digits, mnist, fmnist, cifar10"):
        load("minst")


def test_other_images_under_a_known_name_are_told(small, tmp_path, monkeypatch):
    """They may be of another set, or in another order, so that the first 1,000 are others."""
    made = small("mnist")
    np.savez(tmp_path / "mnist.npz", **made)
    digest = hashlib.sha256(b"".join(made[key].tobytes() for key in data.KEYS)).hexdigest()
    monkeypatch.setitem(data.FORMATS, "mnist", data.FORMATS["mnist"]._replace(sha256=digest[:16]))
    load("mnist", root=tmp_path)  # a warning would be an error here
    np.savez(tmp_path / "mnist.npz", **made | {"test_images": made["test_images"][::-1]})
    with pytest.warns(UserWarning, match="mnist.npz holds other images, or the same in another order, than those"):
        load("mnist", root=tmp_path)


# --- damaged files


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": None}, "cannot be read.*train_images"),
        ({"test_images": np.zeros((9, 28, 28), np.uint8)}, r"test_images must be \(10, 28, 28\) uint8, not \(9, 28"),
        ({"train_images": np.zeros((20, 28, 28, 1), np.uint8)}, r"must be \(20, 28, 28\)"),
        ({"train_images": np.zeros((20, 28, 28))}, "must be .* uint8, not .* float64"),
        ({"train_labels": np.zeros(20, np.int64)}, "train_labels must be .* int64"),
        ({"test_labels": np.full(10, 10, np.uint8)}, r"test_labels must lie in 0\.\.9, but reach 10"),
        ({"test_labels": np.array([None] * 10)}, "cannot be read.*allow_pickle"),
    ],
)
def test_wrong_npz(change, message, small, tmp_path):
    made = {key: value for key, value in (small("mnist") | change).items() if value is not None}
    np.savez(tmp_path / "mnist.npz", **made)
    with pytest.raises(InputError, match=message) as caught:
        load("mnist", root=tmp_path)
    assert "mnist.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_set_of_another_size_is_refused(tmp_path):
    np.savez(tmp_path / "mnist.npz", **arrays((28, 28)))
    with pytest.raises(InputError, match=r"train_images must be \(60000, 28, 28\) uint8, not \(20, 28, 28\)"):
        load("mnist", root=tmp_path)


@pytest.mark.parametrize("content", [b"", b"no archive at all", "cut", "npy", "folder"])
def test_unreadable_npz(content, small, tmp_path):
    path = tmp_path / "mnist.npz"
    buffer = io.BytesIO()
    np.savez(buffer, **small("mnist"))
    if content == "folder":
        path.mkdir()
    elif content == "npy":
        with open(path, "wb") as file:
            np.save(file, np.zeros(3))
    else:
        path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2] if content == "cut" else content)
    with pytest.raises(InputError, match=r"^mnist\.npz cannot be read"):
        load("mnist", root=tmp_path)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_flipped_bit_never_passes_unseen(tmp_path_factory, draw):
    made = arrays((2, 2))
    form = data.Format((2, 2), 20, 10, "MNIST")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **made)
    content = bytearray(buffer.getvalue())
    content[draw.draw(st.integers(0, len(content) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    path = tmp_path_factory.mktemp("flip") / "mnist.npz"
    path.write_bytes(content)
    try:
        read = data._read(path, form)
    except InputError:
        return
    assert all(np.array_equal(array, made[key]) for key, array in zip(data.KEYS, read, strict=True))


# --- downloads


def idx(array):
    """An array of bytes in the format of the MNIST files, gzipped."""
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}i", *array.shape)
    return gzip.compress(head + array.tobytes(), mtime=0)


def md5(content):
    return hashlib.md5(content).hexdigest()


def mnist_files(made):
    return {
        f"{prefix}-{kind}-idx{rank}-ubyte.gz": idx(made[f"{part}_{kind}"])
        for prefix, part in (("train", "train"), ("t10k", "test"))
        for kind, rank in (("images", 3), ("labels", 1))
    }


def cifar10_archive(made):
    """The python tar of CIFAR-10 with 5 train batches; returns it and the MD5 of each member."""
    members = {"batches.meta": pickle.dumps({"label_names": [str(i) for i in range(10)]})}
    rows = made["train_images"].transpose(0, 3, 1, 2).reshape(5, -1, 3072)
    labels = made["train_labels"].reshape(5, -1)
    for i in range(5):
        members[f"data_batch_{i + 1}"] = pickle.dumps({"data": rows[i], "labels": labels[i].tolist()})
    test = made["test_images"].transpose(0, 3, 1, 2).reshape(-1, 3072)
    members["test_batch"] = pickle.dumps({"data": test, "labels": made["test_labels"].tolist()})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue(), {name: md5(content) for name, content in members.items()}


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; a name in `cut` breaks off half-way, one in `stuck` never ends."""

    cut: frozenset = frozenset()
    stuck: frozenset = frozenset()

    def log_message(self, *_):
        pass

    def do_GET(self):
        name = self.path.lstrip("/")
        if name not in self.cut | self.stuck:
            return super().do_GET()
        with open(self.translate_path(self.path), "rb") as file:
            content = file.read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.wfile.flush()
        if name in self.stuck:
            self.server.released.wait(60)
        return None


@pytest.fixture
def mirror(tmp_path):
    """A web server on this machine; `mirror(files, cut=..., stuck=...)` puts files there, returns its URL."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    handler = type("Handler", (Quiet,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder))
    server.released = threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    def serve(files, cut=(), stuck=()):
        for name, content in files.items():
            (folder / name).write_bytes(content)
        handler.cut, handler.stuck = frozenset(cut), frozenset(stuck)
        return f"http://127.0.0.1:{server.server_port}/"

    yield serve
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


def point(monkeypatch, torchvision_class, url, files):
    monkeypatch.setattr(torchvision_class, "mirrors", [url])
    monkeypatch.setattr(torchvision_class, "resources", [(name, md5(c)) for name, c in files.items()])


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(("name", "source"), [("mnist", "MNIST"), ("fmnist", "FashionMNIST")])
def test_download_mnist(name, source, small, mirror, root, monkeypatch, capsys):
    made = small(name)
    files = mnist_files(made)
    point(monkeypatch, getattr(torchvision.datasets, source), mirror(files), files)
    first = load(name, root=root)
    assert "100%" in capsys.readouterr().err  # the progress bar
    assert [path.name for path in root.iterdir()] == [f"{name}.npz"]
    with np.load(root / f"{name}.npz") as stored:
        assert all(np.array_equal(stored[key], made[key]) for key in data.KEYS)
    point(monkeypatch, getattr(torchvision.datasets, source), "http://127.0.0.1:9/", files)
    assert torch.equal(load(name, root=root).x_train, first.x_train)  # and now without a network


def test_download_cifar10(small, mirror, root, monkeypatch):
    made = small("cifar10")
    archive, sums = cifar10_archive(made)
    source = torchvision.datasets.CIFAR10
    monkeypatch.setattr(source, "url", mirror({"cifar.tar.gz": archive}) + "cifar.tar.gz")
    monkeypatch.setattr(source, "tgz_md5", md5(archive))
    monkeypatch.setattr(source, "train_list", [[n, sums[n]] for n in sums if n.startswith("data")])
    monkeypatch.setattr(source, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(source, "meta", source.meta | {"md5": sums["batches.meta"]})
    loaded = load("cifar10", root=root)
    back = (loaded.x_train * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(back, made["train_images"])
    assert [path.name for path in root.iterdir()] == ["cifar10.npz"]


def test_corrupt_download(small, mirror, root, monkeypatch):
    files = mnist_files(small("mnist"))
    wrong = files | {"t10k-labels-idx1-ubyte.gz": files["train-labels-idx1-ubyte.gz"]}
    point(monkeypatch, torchvision.datasets.MNIST, mirror(wrong), files)
    with pytest.raises(InputError, match=r"'mnist' could not be downloaded.*t10k-labels.*corrupted") as caught:
        load("mnist", root=root)
    assert all(words in str(caught.value) for words in ("network", "mnist.npz", "SIMADV_DATA", *data.KEYS))
    assert "\n" not in str(caught.value)
    assert not list(root.iterdir())


def test_download_that_breaks_off(small, mirror, root, monkeypatch):
    files = mnist_files(small("mnist"))
    point(monkeypatch, torchvision.datasets.MNIST, mirror(files, cut=["t10k-images-idx3-ubyte.gz"]), files)
    with pytest.raises(InputError, match="could not be downloaded"):
        load("mnist", root=root)
    assert not list(root.iterdir())


def test_download_that_stalls(small, mirror, root, monkeypatch):
    files = mnist_files(small("mnist"))
    monkeypatch.setattr(data, "STALLED", 0.2)
    point(monkeypatch, torchvision.datasets.MNIST, mirror(files, stuck=["train-images-idx3-ubyte.gz"]), files)
    with pytest.raises(InputError, match=r"could not be downloaded.*timed out"):
        load("mnist", root=root)
    assert not list(root.iterdir())
    assert data.socket.getdefaulttimeout() is None


def test_no_network(root, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(InputError, match="refused"):
        load("mnist", root=root)
    assert not list(root.iterdir())


def test_download_of_another_size_is_not_kept(mirror, root, monkeypatch):
    files = mnist_files(arrays((28, 28)))
    point(monkeypatch, torchvision.datasets.MNIST, mirror(files), files)
    with pytest.raises(InputError, match=r"train_images must be \(60000, 28, 28\)"):
        load("mnist", root=root)
    assert not list(root.iterdir())


def test_a_root_that_cannot_be(tmp_path, small):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"'mnist' could not be downloaded.*file"):
        load("mnist", root=tmp_path / "file")


def test_interrupted_by_the_user(small, mirror, root, monkeypatch):
    files = mnist_files(small("mnist"))
    point(monkeypatch, torchvision.datasets.MNIST, mirror(files), files)

    def interrupt(*_):
        assert (root / ".mnist.part" / "mnist.npz").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(data.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load("mnist", root=root)
    assert not list(root.iterdir())


def test_killed_in_the_middle_then_tried_again(small, mirror, root, monkeypatch):
    """SIGKILL lets nobody tidy up: no mnist.npz is there, and the next call clears what is."""
    files = mnist_files(small("mnist"))
    url = mirror(files, stuck=["t10k-images-idx3-ubyte.gz"])
    point(monkeypatch, torchvision.datasets.MNIST, url, files)
    script = f"""
        import torchvision
        from simadv import data
        torchvision.datasets.MNIST.mirrors = {[url]}
        torchvision.datasets.MNIST.resources = {torchvision.datasets.MNIST.resources}
        data.load("mnist", root={str(root)!r})
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stderr=subprocess.DEVNULL) as child:
        begun = root / ".mnist.part" / "MNIST" / "raw" / "t10k-images-idx3-ubyte.gz"
        deadline = time.monotonic() + 60
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
    assert begun.exists()
    assert not (root / "mnist.npz").exists()
    mirror(files)
    assert len(load("mnist", root=root).x_train) == 20
    assert [path.name for path in root.iterdir()] == ["mnist.npz"]


def test_two_at_once_download_once(small, mirror, root, monkeypatch):
    files = mnist_files(small("mnist"))
    point(monkeypatch, torchvision.datasets.MNIST, mirror(files), files)
    fetched, fetch = [], data._fetch

    def slow(*arguments):
        fetched.append(arguments)
        time.sleep(0.3)
        fetch(*arguments)

    monkeypatch.setattr(data, "_fetch", slow)
    loaded = []
    threads = [threading.Thread(target=lambda: loaded.append(load("mnist", root=root))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loaded) == 3
    assert len(fetched) == 1
    assert [path.name for path in root.iterdir()] == ["mnist.npz"]


# --- batches


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 2**32))
def test_batches_cover_everything_once(n, batch_size, seed):
    cut = list(batches(n, batch_size, generator=torch.Generator().manual_seed(seed)))
    again = list(batches(n, batch_size, generator=torch.Generator().manual_seed(seed)))
    assert sorted(torch.cat(cut).tolist()) == list(range(n))
    assert [len(b) for b in cut[:-1]] == [batch_size] * (len(cut) - 1)
    assert len(cut) == -(-n // batch_size)
    assert all(map(torch.equal, cut, again))
    assert cut[0].dtype == torch.int64


def test_batches_differ_from_epoch_to_epoch():
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.cat(list(batches(50, 8, generator=generator))) for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("n", "batch_size"), [(0, 1), (5, 0), (5, 2.5), (5, True)])
def test_bad_batches(n, batch_size):
    with pytest.raises(InputError, match="must be"):
        batches(n, batch_size, generator=torch.Generator())


# --- augmentation


def naive(x, tops, lefts, flips, pad):
    """Pad, crop and flip, one image at a time."""
    out = torch.empty_like(x)
    h, w = x.shape[2:]
    for i in range(len(x)):
        canvas = torch.zeros(x.shape[1], h + 2 * pad, w + 2 * pad)
        canvas[:, pad : pad + h, pad : pad + w] = x[i]
        crop = canvas[:, tops[i] : tops[i] + h, lefts[i] : lefts[i] + w]
        out[i] = crop.flip(-1) if flips[i] else crop
    return out


def naive_inverse(stored, x_aug, tops, lefts, flips, pad):
    """Write the crop back, one pixel at a time."""
    out = stored.clone()
    b, _, h, w = stored.shape
    for i in range(b):
        for row in range(h):
            for col in range(w):
                r = row + tops[i] - pad
                c = (w - 1 - col if flips[i] else col) + lefts[i] - pad
                if 0 <= r < h and 0 <= c < w:
                    out[i, :, r, c] = x_aug[i, :, row, col]
    return out


def draws(shape, seed, pad):
    """The offsets and flips that PadCropFlip draws, in its order."""
    generator = torch.Generator().manual_seed(seed)
    top, left, flip = (torch.randint(n, (shape[0], 1), generator=generator) for n in (2 * pad + 1, 2 * pad + 1, 2))
    return top.flatten().tolist(), left.flatten().tolist(), flip.bool().flatten().tolist()


cases = given(
    st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)),
    st.integers(0, 2**32),
    st.integers(0, 5),
)


@settings(deadline=None)
@cases
def test_pad_crop_flip_equals_the_naive_loop(shape, seed, pad):
    generator = torch.Generator().manual_seed(seed)
    augmentation = PadCropFlip(shape, generator, pad)
    x, stored, noise = torch.rand(3, *shape)
    expected = draws(shape, seed, pad)
    assert torch.equal(augmentation.forward(x), naive(x, *expected, pad))
    assert torch.equal(augmentation.inverse_into(stored, noise), naive_inverse(stored, noise, *expected, pad))


@settings(deadline=None)
@cases
def test_inverse_brings_back_what_is_seen_and_keeps_the_rest(shape, seed, pad):
    augmentation = PadCropFlip(shape, torch.Generator().manual_seed(seed), pad)
    x, stored = torch.rand(2, *shape)
    untouched = stored.clone()
    back = augmentation.inverse_into(stored, augmentation.forward(x))
    seen = augmentation.inverse_into(torch.zeros(shape), torch.ones(shape)).bool()
    assert torch.equal(back, torch.where(seen, x, stored))
    assert torch.equal(stored, untouched)
    assert torch.equal(augmentation.forward(back), augmentation.forward(torch.where(seen, x, 0)))
    assert back.is_contiguous()


def test_pad_crop_flip_draws_every_offset_and_both_sides():
    n = 4000
    x = torch.zeros(n, 1, 9, 9)
    x[:, :, 4, 3] = 1  # off the middle: only unflipped crops show it in column 0, only flipped ones in 8
    _, _, row, col = PadCropFlip(x.shape, torch.Generator().manual_seed(0)).forward(x).nonzero().T
    assert row.bincount(minlength=9).min() > 0.8 * n / 9
    sides = col.bincount(minlength=9)
    assert min(sides[0], sides[8]) > 0.8 * n / 18


def test_channels_last_batches_are_augmented_alike():
    x = torch.rand(5, 3, 8, 8)
    a = PadCropFlip(x.shape, torch.Generator().manual_seed(1))
    assert torch.equal(a.forward(x), a.forward(x.to(memory_format=torch.channels_last)))


def test_identity_changes_and_draws_nothing():
    x, other = torch.rand(2, 5, 3, 8, 8)
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    augmentation = Identity(x.shape, generator)
    assert augmentation.forward(x) is x
    assert augmentation.inverse_into(other, x) is x
    assert torch.equal(generator.get_state(), before)
