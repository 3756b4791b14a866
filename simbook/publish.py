r"""From a reader's store into the book's: what is shipped of a run, and what is refused."""

import shutil
from pathlib import Path

from simadv.specs import EvalSpec
from simadv.store import Run, Store, StoreError, read_record, sha256, write_whole
from simbook import chapters
from simbook.measures.base import Measure

LIMIT = 24_000_000  # bytes of the whole published store
OF_THE_MACHINE = ("seconds", "cost", "provenance")  # what may differ between two makings of the same result


def files(run: Run, measures: list[Measure | EvalSpec], store: Store) -> dict[str, Path]:
    """Return what is shipped of a run, by its name in the run's folder: the record that makes it count comes last.

    Raises:
        StoreError: something of it is damaged, or its weights are to be shipped and are not there.
    """
    found = {}
    if chapters.with_weights(run.spec):
        store.model(run)  # whole, and those of the record
        found["weights.safetensors"] = run.folder / "weights.safetensors"
    for measure in measures:
        if store.evaluation(run, measure) is not None:
            name = f"evals/{measure.id}.json"
            paths = [root / run.spec.id / name for root in store.roots]
            found[name] = next(p for p in paths if p.exists() and read_record(p)["weights"] == run.weights)
    return found | {"run.json": run.folder / "run.json"}


def same(ours: Path, theirs: Path) -> bool:
    """Return whether two files hold the same result, whichever machine made it and however long it took."""
    if ours.suffix != ".json":
        return sha256(ours.read_bytes()) == sha256(theirs.read_bytes())
    results = [{k: v for k, v in read_record(p).items() if k not in OF_THE_MACHINE} for p in (ours, theirs)]
    return results[0] == results[1]


def missing(shipped: dict[str, Path], folder: Path) -> dict[str, Path]:
    """Return those files of a run that are not in its published ``folder``.

    Raises:
        StoreError: a file there holds another result.
    """
    for name, path in shipped.items():
        if (folder / name).exists() and not same(path, folder / name):
            raise StoreError(
                f"{folder.parent.name}/{folder.name} is published with another {name}; delete it there first"
            )
    return {name: path for name, path in shipped.items() if not (folder / name).exists()}


def publish(plan: dict[str, dict[str, Path]], target: Path) -> None:
    """Copy files, by run and name, into the store at ``target``, each whole or not at all.

    Raises:
        StoreError: the store would grow too large; nothing was copied.
    """
    new = sum(path.stat().st_size for shipped in plan.values() for path in shipped.values())
    size = new + sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    if size > LIMIT:
        raise StoreError(f"the published store would grow to {size / 1e6:.1f} MB; it may have {LIMIT / 1e6:.0f} MB")
    for run_id, shipped in plan.items():
        for name, path in shipped.items():
            write_whole(target / run_id / name, lambda part, path=path: shutil.copyfile(path, part))
