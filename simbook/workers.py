"""Processes in another environment: start one, ask it, and say which one failed and how it ended.

The libraries that attack beside us have pins that clash with the book's; ``make peers`` installs them on their own.
"""

import json
import os
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PEER_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
INSTALLED = ROOT / ".venv-bench" / ".installed"  # make writes it when all is there


def found_first(folder: Path) -> dict[str, str]:
    """Return the environment of a process that imports from ``folder`` before what PYTHONPATH has already."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}


class WorkerError(RuntimeError):
    """A worker ended or gave no valid answer; the message has its exit status and the last line that it printed."""


class Worker:
    """A process that answers each line with a line of JSON, after a first line that says that it is ready."""

    def __init__(self, name: str, command: list[str], *, gpu: bool) -> None:
        self.name = name
        text = {"encoding": "utf-8", "errors": "replace"}  # a library's stray byte must not hide its words
        self.errors = tempfile.TemporaryFile("w+", **text)  # noqa: SIM115 (it lives as long as the process)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors, **text}
        # some libraries would take a CUDA device that they see
        environment = found_first(ROOT) | ({} if gpu else {"CUDA_VISIBLE_DEVICES": ""})
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)

    def ask(self, line: str) -> dict:
        """Return the answer to ``line``."""
        with suppress(BrokenPipeError):  # it has ended; reading says how
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        return self.read()

    def read(self) -> dict:
        """Return the next answer.

        Raises:
            WorkerError: there is none, or it is no JSON object.
        """
        line = self.process.stdout.readline()
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            how = f"answered {line[:200].strip()!r}" if line else f"ended with status {self.process.wait()}"
            self.errors.seek(0)
            said = (self.errors.read().strip().splitlines() or ["nothing"])[-1]
            raise WorkerError(f"{self.name}: {how}; the last that it said: {said}")
        return found

    def close(self) -> None:
        """End the process and wait for it."""
        with suppress(BrokenPipeError):  # what was asked of a process that had ended
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error) -> None:
        if kind is not None:  # nobody waits for its answer any more
            self.process.kill()
        self.close()
