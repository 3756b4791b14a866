r"""The store of runs: small JSON and safetensors files, read in two layers, written whole or not at all.

``book/runs`` holds the published runs. What a reader trains lands in ``$SIMADV_STORE`` (default ``local_runs``
beside the book), which is looked up first. A run is a folder named by its id:

    run.json                 spec, history, cost, provenance, and the checksum of the weights; written last
    weights.safetensors      the model after the last epoch
    checkpoint.safetensors   while it trains: every tensor that decides the rest, with spec and progress
    evals/<id>.json          one evaluation each
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from operator import index
from pathlib import Path

import filelock
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from simadv import models
from simadv.checks import InputError, one_of
from simadv.specs import CLASSES, IMAGE_SHAPES, EvalSpec, RunSpec

HOME = Path(__file__).resolve().parents[1]
PUBLISHED = HOME / "book" / "runs"


class StoreError(InputError):
    """A stored file is damaged, or is not what was asked for."""


def write_whole(path: Path, write) -> None:
    """Call ``write(part)`` and move the part to ``path`` once it is on disk: ``path`` never holds half a file.

    Raises:
        OSError: the disk is full, say; what was there stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        write(part)
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except (OSError, SafetensorError) as error:  # a full disk names no file
        raise OSError(f"{path} was not written, and is as it was: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def sha256(content: bytes) -> str:
    """Return the SHA-256 of ``content`` in hex."""
    return hashlib.sha256(content).hexdigest()


def fingerprint(tensors: dict[str, Tensor], about: dict[str, str]) -> str:
    """Return the SHA-256 of what a checkpoint says and holds, in hex."""
    found = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def write_record(path: Path, record: dict) -> None:
    """Write ``record`` as JSON that carries its own checksum."""
    body = json.dumps(record, indent=1, allow_nan=False, default=index)
    text = json.dumps({"sha256": sha256(body.encode()), "record": json.loads(body)}, indent=1)
    write_whole(path, lambda part: part.write_text(text + "\n"))


def read_record(path: Path) -> dict:
    """Return what :func:`write_record` wrote.

    Raises:
        StoreError: the file is damaged.
    """
    try:
        content = json.loads(path.read_text())
        record, stated = content["record"], content["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error}); restore or delete it") from error
    if sha256(json.dumps(record, indent=1).encode()) != stated:
        raise StoreError(f"{path} was changed: its checksum differs; restore or delete it")
    return record


@dataclass(frozen=True)
class Run:
    """A finished run as it is stored: plain numbers, no tensors.

    Attributes:
        history: one record an epoch: ``epoch``, ``loss``, and the monitor's ``clean`` and ``robust`` in percent.
        cost: ``seconds`` and ``monitor_seconds``; ``forward``, ``backward`` and the monitor's passes, in images.
        provenance: commit, versions, device, threads, date, and whether the device was the run's own.
        weights: SHA-256 of ``weights.safetensors``.
        folder: where the run lies.
    """

    spec: RunSpec
    history: list[dict]
    cost: dict
    provenance: dict
    weights: str
    folder: Path

    @property
    def measurable(self) -> bool:
        """Whether its weights are there; without them, what is stored of it is all there is."""
        return (self.folder / "weights.safetensors").exists()


class Store:
    """Runs in layers of folders: all are read, the first is written."""

    def __init__(self, *roots: Path | str) -> None:
        self.roots = [Path(root) for root in roots]

    def path(self, run_id: str) -> Path:
        """Return the folder of a run in the layer that is written."""
        return self.roots[0] / run_id

    def ids(self) -> list[str]:
        """Return the ids of all finished runs."""
        return sorted({str(p.parent.relative_to(root)) for root in self.roots for p in root.glob("*/*/run.json")})

    def get(self, run_id: str) -> Run:
        """Return a finished run by its id.

        Raises:
            InputError: there is none. StoreError: it is damaged.
        """
        one_of("run", run_id, self.ids())
        run = self._read(run_id)
        if run.spec.id != run_id:
            raise StoreError(f"{run_id} holds another spec, that of {run.spec.id}; delete or rename it")
        return run

    def _read(self, run_id: str) -> Run:
        folder = next(root / run_id for root in self.roots if (root / run_id / "run.json").exists())
        record = read_record(folder / "run.json")
        try:
            return Run(**(record | {"spec": RunSpec(**record["spec"])}), folder=folder)
        except (KeyError, TypeError, InputError) as error:
            raise StoreError(f"{run_id}: its record does not fit this version of the book ({error})") from error

    def find(self, spec: RunSpec) -> Run | None:
        """Return the finished run of ``spec``, or None.

        Raises:
            StoreError: what is stored under its id has another spec, or is damaged.
        """
        if not any((root / spec.id / "run.json").exists() for root in self.roots):
            return None
        run = self._read(spec.id)
        if run.spec != spec:
            raise StoreError(f"{spec.id} holds another spec ({'; '.join(run.spec.differs(spec))}); delete or rename it")
        return run

    def model(self, run: Run | str, *, device: str = "cpu") -> nn.Module:
        """Return the trained model of a run (or of its id), in eval mode.

        Raises:
            StoreError: its weights are not there or are damaged.
        """
        run = self.get(run) if isinstance(run, str) else run
        path = run.folder / "weights.safetensors"
        if not run.measurable:
            raise StoreError(f"{run.spec.id} was stored without its weights; its numbers are all there is")
        if sha256(path.read_bytes()) != run.weights:
            raise StoreError(f"{run.spec.id}: weights.safetensors is damaged: its checksum differs; restore it")
        net = build_model(run.spec)
        net.load_state_dict(load_file(path))
        return net.to(device).eval()

    def finish(self, spec: RunSpec, net: nn.Module, history: list[dict], cost: dict, provenance: dict) -> Run:
        """Store a finished run: weights first, the record that makes it count last, and drop its checkpoint."""
        folder = self.path(spec.id)
        tensors = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
        write_whole(folder / "weights.safetensors", lambda part: save_file(tensors, part))
        weights = sha256((folder / "weights.safetensors").read_bytes())
        record = {"spec": asdict(spec), "history": history, "cost": cost, "provenance": provenance, "weights": weights}
        write_record(folder / "run.json", record)
        self.checkpoint(spec).unlink(missing_ok=True)
        return self.get(spec.id)

    def evaluation(self, run: Run, spec: EvalSpec) -> dict | None:
        """Return a stored evaluation: ``images``, correct under ``true`` and ``predicted`` labels, cost; or None."""
        for root in self.roots:
            path = root / run.spec.id / "evals" / f"{spec.id}.json"
            if path.exists():
                record = read_record(path)
                if record["weights"] != run.weights and path.parents[1] != run.folder:
                    continue  # of another training of the same spec, in another layer
                if record["spec"] != asdict(spec) or record["weights"] != run.weights:
                    raise StoreError(f"{run.spec.id}: evals/{path.name} belongs to another spec or other weights")
                return record
        return None

    def evaluations(self, run: Run) -> list[dict]:
        """Return the records of everything that was measured of these weights, each once, by name."""
        paths = [p for root in reversed(self.roots) for p in (root / run.spec.id / "evals").glob("*.json")]
        records = {path.name: record for path in paths if (record := read_record(path))["weights"] == run.weights}
        return [records[name] for name in sorted(records)]  # the first layer's win

    def add_evaluation(self, run: Run, spec: EvalSpec, result: dict) -> dict:
        """Store an evaluation of exactly these weights and return its record."""
        record = {"spec": asdict(spec), "weights": run.weights} | result
        write_record(self.path(run.spec.id) / "evals" / f"{spec.id}.json", record)
        return record

    def checkpoint(self, spec: RunSpec) -> Path:
        """Return where a run's checkpoint lies."""
        return self.path(spec.id) / "checkpoint.safetensors"

    def save_checkpoint(self, spec: RunSpec, tensors: dict[str, Tensor], progress: dict) -> None:
        """Keep everything that a run needs to go on, in one file, replaced as a whole."""
        plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        about = {"spec": json.dumps(asdict(spec)), "progress": json.dumps(progress)}
        about["sha256"] = fingerprint(plain, about)
        write_whole(self.checkpoint(spec), lambda part: save_file(plain, part, metadata=about))

    def load_checkpoint(self, spec: RunSpec) -> tuple[dict[str, Tensor], dict] | None:
        """Return tensors and progress of a run that was stopped, or None.

        Raises:
            StoreError: the checkpoint is damaged or belongs to another spec.
        """
        path = self.checkpoint(spec)
        if not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                about = file.metadata() or {}
            tensors = load_file(path)
            if about.pop("sha256", None) != fingerprint(tensors, about):
                raise SafetensorError("its checksum differs")
            other = RunSpec(**json.loads(about["spec"]))
        except (SafetensorError, OSError, TypeError, InputError) as error:  # or of a version with other settings
            raise StoreError(f"{spec.id}: its checkpoint is damaged ({error}); delete it to start again") from error
        if other != spec:
            raise StoreError(f"{spec.id}: its checkpoint has another spec ({'; '.join(other.differs(spec))})")
        return tensors, json.loads(about["progress"])

    def writable(self, spec: RunSpec) -> Path:
        """Return the folder of a run, made where it was missing.

        Raises:
            StoreError: it cannot be made or written to.
        """
        folder = self.path(spec.id)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise StoreError(f"{folder} cannot be written to ({error.strerror}); SIMADV_STORE names another") from error
        return folder

    @contextmanager
    def lock(self, spec: RunSpec) -> Iterator[None]:
        """Hold a run for one process; the operating system lets go of it when the process dies.

        Raises:
            StoreError: another process is training it, or its folder cannot be written to.
        """
        folder = self.writable(spec)
        try:
            with filelock.FileLock(folder / "run.lock", timeout=0):
                for part in folder.glob("*.part"):  # of a process that was killed while it wrote
                    part.unlink()
                yield
        except filelock.Timeout as error:
            raise StoreError(f"{spec.id} is being trained by another process") from error


def build_model(spec: RunSpec) -> nn.Module:
    """Return the untrained model of a run; its weights depend on the spec's seed alone."""
    return models.build(spec.model, image_shape=IMAGE_SHAPES[spec.dataset], classes=CLASSES, seed=spec.seed)


def default() -> Store:
    """Return the store that chapters and the command line use: a reader's own runs over the published ones.

    Raises:
        StoreError: ``SIMADV_STORE`` names a file, or a folder in the published store.
    """
    own = Path(os.environ.get("SIMADV_STORE") or HOME / "local_runs").expanduser()
    if own.resolve().is_relative_to(PUBLISHED.resolve()) or own.is_file():
        what = "a file" if own.is_file() else "in the published store"
        raise StoreError(f"SIMADV_STORE = {own} is {what}; own runs need a folder of their own")
    return Store(own, PUBLISHED)


def load(run_id: str, *, device: str = "cpu") -> nn.Module:
    """Return the trained model of a run: ``store.load("mnist/sim-10-20-lr1e-3-s0-...")``, ready to predict.

    Args:
        device: as torch names it, not ``auto``.

    Raises:
        InputError: no such run is in the store, which is ``$SIMADV_STORE`` and that of the checkout.
    """
    return default().model(run_id, device=device)
