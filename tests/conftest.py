"""What every test shares: one thread, a slice of the digits, a store of its own, and repeatable properties."""

import os

import pytest
import torch
from hypothesis import settings
from shelves import Shelf

from simadv import data, store

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch looks: what is tested is the same with a GPU and without
torch.set_num_threads(1)
settings.register_profile("simadv", deadline=None, max_examples=40, derandomize=True, database=None)
settings.load_profile("simadv")


@pytest.fixture(scope="session")
def digits() -> data.Dataset:
    """The first 96 training and 64 test images of the digits."""
    whole = data.load("digits")
    return data.Dataset("digits", whole.x_train[:96], whole.y_train[:96], whole.x_test[:64], whole.y_test[:64])


@pytest.fixture
def own_store(tmp_path, monkeypatch) -> store.Store:
    """The default store with an empty folder of this test on top."""
    monkeypatch.setenv("SIMADV_STORE", str(tmp_path / "runs"))
    return store.default()


@pytest.fixture
def shelf(tmp_path, monkeypatch) -> Shelf:
    """A store of this test's own, over an empty published one, to be filled by hand."""
    monkeypatch.setattr(store, "PUBLISHED", tmp_path / "published")
    monkeypatch.setenv("SIMADV_STORE", str(tmp_path / "runs"))
    return Shelf(tmp_path / "runs")
