"""Nets that no longer do what their record says are found; two runs are compared as by hand."""

import json
import math
import shutil
from dataclasses import replace

import pytest

from simadv import runs, store
from simadv.checks import InputError
from simadv.specs import EvalSpec, run_spec
from simadv.store import Store, write_record
from simbook import audit
from simbook import commands as command
from simbook.measures.autoattack import AutoAttack
from simbook.measures.base import take

ATTACKS = ("none", "FGSM", "BIM(2,3)")


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Store:
    """Two runs, each measured on 40 images under three attacks."""
    kept = Store(tmp_path_factory.mktemp("audit"))
    for seed in (0, 1):
        settings = {"epochs": 3, "images": 256, "monitor": None, "precision": "float32"}
        run = runs.load_or_run(run_spec("digits", "vanilla", seed=seed, **settings), store=kept, device="cpu")
        for attack in ATTACKS:
            take(run, EvalSpec(attack=attack, images=40), store=kept, device="cpu")
    return kept


def both(kept):
    return [kept.get(run_id) for run_id in kept.ids()]


def tampered(kept, tmp_path, attack, by):
    """The same two runs with one stored accuracy of the first changed, checksum and all."""
    other = Store(tmp_path, *kept.roots)
    run, _ = both(kept)
    record = kept.evaluation(run, EvalSpec(attack=attack, images=40))
    other.add_evaluation(run, EvalSpec(attack=attack, images=40), record | {"true": record["true"] + by})
    return other


def test_clean_and_bim_accuracy_of_each_net_is_measured_again(kept):
    checks = list(audit.verify(kept))
    assert [(check.run, check.attack) for check in checks] == [
        (run_id, attack) for run_id in kept.ids() for attack in ("none", "BIM(2,3)")
    ]
    assert all(check.holds and check.stored == check.measured for check in checks)
    assert len({check.measured for check in checks}) > 1


@pytest.mark.parametrize(("attack", "by", "found"), [("none", -1, 1), ("BIM(2,3)", 1, 1), ("FGSM", 1, 0)])
def test_a_record_that_is_off_is_found(kept, tmp_path, attack, by, found):
    other = tampered(kept, tmp_path, attack, by)
    off = [check for check in audit.verify(other) if not check.holds]
    assert len(off) == found
    for check in off:
        assert (check.run, check.attack) == (kept.ids()[0], attack)
        assert check.stored - check.measured == pytest.approx(100 * by / 40)


def test_two_tenths_of_a_point_are_rounding():
    assert audit.Check("run", "none", 98.2, 98.0).holds
    assert audit.Check("run", "none", 98.0, 98.2).holds
    assert not audit.Check("run", "none", 98.0, 98.21).holds


def test_runs_without_weights_are_left_out_and_damaged_ones_are_errors(kept, tmp_path):
    run, other = both(kept)
    layer = Store(tmp_path)
    for each in (run, other):
        record = json.loads((each.folder / "run.json").read_text())["record"]
        write_record(tmp_path / each.spec.id / "run.json", record)
    assert list(audit.verify(layer)) == []
    (tmp_path / run.spec.id / "weights.safetensors").write_bytes(b"x")
    with pytest.raises(store.StoreError, match=r"weights.safetensors is damaged"):
        list(audit.verify(layer))


def test_two_runs_side_by_side(kept):
    a, b = both(kept)
    settings, table = audit.compare(kept, a, b)
    assert settings == [f"seed: {a.spec.seed} != {b.spec.seed}"]
    assert list(table.index[:5]) == [
        "Original, images 40",
        "BIM(2,3), images 40, true labels",
        "BIM(2,3), images 40, predicted labels",
        "FGSM, images 40, true labels",
        "FGSM, images 40, predicted labels",
    ]
    ours, theirs = (kept.evaluation(run, EvalSpec(attack="FGSM", images=40))["true"] for run in (a, b))
    row = table.loc["FGSM, images 40, true labels"]
    assert row["A"].startswith(f"{100 * ours / 40:.2f} [")
    assert row["A - B"] == f"{100 * (ours - theirs) / 40:+.2f}"
    # the textbook interval of a difference of two shares
    p, q = ours / 40, theirs / 40
    reach = 196 * math.sqrt(p * (1 - p) / 40 + q * (1 - q) / 40)
    low, high = (float(word) for word in row["95 %"].strip("[]").split(","))
    assert (low, high) == pytest.approx((100 * (p - q) - reach, 100 * (p - q) + reach), abs=0.02)
    assert table.loc["training forward", "A"] == f"{a.cost['forward']} passes"
    assert table.loc["trained on", "B"] == f"{b.provenance['device']}, beside other work"
    assert table.loc["training seconds", "A - B"] == "", "neither had the device to itself"
    alone = [replace(run, provenance=run.provenance | {"alone": True}) for run in (a, b)]
    table = audit.compare(kept, *alone)[1]
    assert table.loc["training seconds", "A - B"] == f"{a.cost['seconds'] - b.cost['seconds']:+.0f}"
    assert table.loc["trained on", "A"] == a.provenance["device"]


def test_only_what_both_have_is_compared(kept, tmp_path):
    run, other = both(kept)
    layer = Store(tmp_path, *kept.roots)
    layer.add_evaluation(run, EvalSpec(attack="BIM(5,7)"), {"images": 10, "true": 5, "predicted": 6})
    _, table = audit.compare(layer, run, other)
    assert not [name for name in table.index if "BIM(5,7)" in name]
    _, table = audit.compare(layer, run, run)
    assert table.loc["BIM(5,7), predicted labels", ["A", "A - B"]].tolist() == ["60.00 [31.27, 83.18]", "+0.00"]


def test_autoattack_is_compared_as_well(kept, tmp_path):
    run, _ = both(kept)
    layer = Store(tmp_path, *kept.roots)
    layer.add_evaluation(run, AutoAttack(images=10), {"images": 10, "true": 6})
    _, table = audit.compare(layer, run, run)
    assert table.loc["AutoAttack, images 10", ["A", "A - B"]].tolist() == ["60.00 [31.27, 83.18]", "+0.00"]
    assert table.index[-5] == "AutoAttack, images 10"  # after all accuracies, before the costs


def test_measures_that_differ_in_a_setting_alone_stay_apart(kept, tmp_path):
    run, _ = both(kept)
    layer = Store(tmp_path, *kept.roots)
    for right, settings in enumerate(({}, {"images": 10}, {"seed": 3}, {"epsilon": 0.1}), 2):
        layer.add_evaluation(
            run, EvalSpec(attack="BIM(5,7)", **settings), {"images": 10, "true": right, "predicted": 9}
        )
    _, table = audit.compare(layer, run, run)
    found = {name: row["A"][:5] for name, row in table.iterrows() if "BIM(5,7)" in name and "true" in name}
    names = ["", ", images 10", ", seed 3", ", epsilon 0.1"]
    assert found == {f"BIM(5,7){name}, true labels": f"{right}0.00" for right, name in enumerate(names, 2)}


def test_on_the_command_line(kept, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(store, "PUBLISHED", kept.roots[0])
    monkeypatch.setenv("SIMADV_STORE", str(tmp_path / "none"))
    assert command.main(["compare", *kept.ids()]) == 0
    assert "settings that differ (A != B): seed:" in capsys.readouterr().out
    assert command.main(["compare", kept.ids()[0], "mnist/nothing"]) == 2
    assert "id 'mnist/nothing' fits no run in" in capsys.readouterr().err
    assert command.main(["verify", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert {line.split()[0] for line in lines[:-1]} == {"ok"}
    assert lines[-1] == "4 stored accuracies were measured again"
    tampered(kept, tmp_path / "none", "none", -1)
    assert command.main(["verify", "--device", "cpu"]) == 2
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()].count("OFF") == 1
    assert err == "error: 1 stored accuracies are off by more than 0.2 points\n"


def test_a_run_of_ones_own_hides_no_published_one(kept, tmp_path, monkeypatch, capsys):
    """The reader's own is as its record says; the published one of the same name is not."""
    shutil.copytree(kept.roots[0], tmp_path / "published")
    shutil.copytree(kept.roots[0], tmp_path / "own")
    tampered(kept, tmp_path / "published", "none", -1)
    monkeypatch.setattr(store, "PUBLISHED", tmp_path / "published")
    monkeypatch.setenv("SIMADV_STORE", str(tmp_path / "own"))
    assert command.main(["verify", "--device", "cpu"]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["ok"] * 4 + ["OFF"] + ["ok"] * 3


def test_the_store_says_what_was_measured_of_a_run(kept):
    run, _ = both(kept)
    assert [spec.attack for spec in audit.accuracies(kept, run)] == ["none", "BIM(2,3)", "FGSM"]
    with pytest.raises(InputError):
        kept.get("digits/nothing")
