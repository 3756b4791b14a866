"""The set-up: pins, Makefile, what is tracked, and the script that builds the book."""

import base64
import importlib.metadata
import io
import os
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml
from nbformat import v4
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
# only for a path that starts there: not for a URL or a longer relative path
MACHINE_PATH = re.compile(r"(?<![\w.:/-])/(work|root|home)/\w")
MEGABYTE = 1_000_000


def constraints() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def pins() -> dict[str, str]:
    """Return each pinned version by canonical name; every line must be an exact pin."""
    found = {}
    for requirement in map(Requirement, constraints()):
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", requirement
        assert "+" not in specifier.version, f"{requirement}: no index has a local version"
        found[canonicalize_name(requirement.name)] = specifier.version
    return found


def run(*command, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    """Run ``command`` as from a shell of its own: the tests themselves may run under make."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        command, cwd=cwd, env=environment | variables, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


def make(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    return run("make", *arguments, cwd=cwd)


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_conda_users_get_the_same_pins():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["dependencies"][:-1] == ["python=3.11", "pip"]
    assert environment["dependencies"][-1] == {"pip": [*constraints(), "-e ."]}


def test_every_direct_dependency_is_pinned_within_its_own_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = pins()
    for line in chain(project["dependencies"], *project["optional-dependencies"].values()):
        requirement = Requirement(line)
        version = pinned.get(canonicalize_name(requirement.name))
        assert version, f"{line} is not pinned"
        assert requirement.specifier.contains(version), f"{line} is pinned to {version}"


def test_pins_leave_torchs_own_cuda_packages_to_torch():
    assert not [name for name in pins() if name.startswith(("nvidia", "cuda", "triton"))]


def test_torch_and_torchvision_are_the_pinned_pair_and_work_together():
    for name in ("torch", "torchvision"):
        assert importlib.metadata.version(name).split("+")[0] == pins()[name]
    # a compiled operator: it is missing where torchvision was built for another torch
    program = "import torch, torchvision; print(torchvision.ops.nms(torch.eye(2, 4), torch.ones(2), 0.5).tolist())"
    result = run(sys.executable, "-c", program, cwd=ROOT)
    assert result.stdout.strip() == "[0, 1]", result.stderr


@pytest.fixture
def clone(tmp_path) -> Path:
    """Return a folder with what make needs, and one chapter."""
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "06_evaluation.ipynb").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "wrong", "allowed"),
    [
        (["book", "PROFILE=paper"], "'paper'", ["published", "digits"]),
        (["book", "PROFILE="], "''", ["published", "digits"]),
        (["book", "PROFILE=published digits"], "'published digits'", ["published", "digits"]),
        (["chapter", "NAME=evaluation"], "'evaluation'", ["06_evaluation"]),
        (["chapter"], "''", ["06_evaluation"]),
        (["book", "PYTHON=/no/python"], "/no/python", ["3.11", "3.12"]),
    ],
)
def test_make_refuses_with_one_line_before_any_work(clone, arguments, wrong, allowed):
    before = sorted(clone.rglob("*"))
    result = make(*arguments, cwd=clone)
    assert result.returncode != 0
    (line,) = result.stderr.strip().splitlines()
    assert all(word in line for word in [wrong, *allowed]), line
    assert sorted(clone.rglob("*")) == before


def test_make_help_names_every_target(clone):
    text = make(cwd=clone).stdout
    assert re.findall(r"^make (\w+)", text, re.M) == [
        "help",
        "book",
        "chapter",
        "test",
        "verify",
        "bench",
        "peers",
        "refresh",
        "env",
        "clean",
    ]


def test_an_install_cut_short_starts_afresh_and_a_finished_one_is_reused(clone):
    pip = 'echo "$*" >> installs; [ ! -e cut ]'
    python = script(
        clone / "python",
        f"[ $1 = -c ] || {{ mkdir -p .venv/bin; printf '#!/bin/sh\\n%s\\n' '{pip}' > .venv/bin/python; }}\n"
        "[ $1 = -c ] || chmod +x .venv/bin/python",
    )
    stamp, half, cut = clone / ".venv/.installed", clone / ".venv/half", clone / "cut"
    cut.touch()
    assert make("env", f"PYTHON={python}", cwd=clone).returncode != 0
    half.touch()
    assert not stamp.exists()

    cut.unlink()
    assert make("env", f"PYTHON={python}", cwd=clone).returncode == 0
    assert stamp.exists()
    assert not half.exists()

    assert make("env", cwd=clone).returncode == 0
    installs = (clone / "installs").read_text(encoding="utf-8").splitlines()
    assert installs == ["-m pip install -c constraints.txt -e .[book,test]"] * 2
    os.utime(clone / "constraints.txt", (stamp.stat().st_mtime + 60,) * 2)
    assert make("-q", "env", cwd=clone).returncode != 0


def test_ci_calls_make_test_and_passes_on_what_it_says(tmp_path):
    assert os.access(ROOT / ".ci/run", os.X_OK)
    script(tmp_path / "make", 'echo "make $*" in "$PWD"; exit 7')
    result = run(ROOT / ".ci/run", cwd=tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert (result.stdout, result.returncode) == (f"make test in {ROOT}\n", 7)


def tracked() -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in names.split("\0") if name]
    assert paths, "nothing is tracked"
    return [path for path in paths if path.is_file()]


def test_tracked_files_are_small():
    sizes = {path: path.stat().st_size for path in tracked()}
    assert [str(path) for path, size in sizes.items() if size > 5 * MEGABYTE] == []
    assert sum(sizes.values()) < 40 * MEGABYTE


def machine_paths(text: str) -> list[str]:
    return [match.group() for match in MACHINE_PATH.finditer(text)]


def test_tracked_text_names_no_folder_of_a_machine():
    found = {}
    for path in tracked():
        try:
            found[str(path.relative_to(ROOT))] = machine_paths(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            continue  # not text
    assert {name: hits for name, hits in found.items() if hits} == {}


def test_machine_paths_are_seen_where_they_are():
    assert machine_paths("in " + "/" + "home/me") == ["/" + "home/m"]
    assert machine_paths('{"path": "' + "/" + 'work/x"}') == ["/" + "work/x"]
    assert machine_paths("https://example.org" + "/" + "home/me and net" + "/" + "work/x") == []


@pytest.fixture
def book(tmp_path) -> Path:
    """Return a book of one page and one chapter, with the real configuration and build script."""
    (tmp_path / "book").mkdir()
    for name in ("_config.yml", "book/build.py", "book/chapter.py", "book/references.bib"):
        shutil.copy(ROOT / name, tmp_path / name)
    toc = {"format": "jb-book", "root": "book/intro", "chapters": [{"file": "book/toy"}]}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    (tmp_path / "book/intro.md").write_text("# Intro\n\n{doc}`toy`\n", encoding="utf-8")
    write_chapter(tmp_path)
    return tmp_path


def write_chapter(book: Path, *code: str) -> None:
    show = "import os, pathlib\nprint('ran', profile, pathlib.Path(os.environ.get('SIMADV_STORE', '')).name)"
    cells = [
        v4.new_markdown_cell("# Toy", id="title"),
        v4.new_code_cell('profile = "published"', id="parameters", metadata={"tags": ["parameters"]}),
        *(v4.new_code_cell(source, id=f"code-{i}") for i, source in enumerate([show, *code])),
    ]
    kernel = {"name": "my-own", "display_name": "Mine", "language": "python"}
    nbformat.write(v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), book / "book/toy.ipynb")


def build(book: Path, *arguments: str) -> subprocess.CompletedProcess:
    return run(sys.executable, "book/build.py", *arguments, cwd=book, SIMADV_STORE="elsewhere")


def test_a_site_is_replaced_only_by_a_whole_one(book):
    result = build(book, "--profile", "digits")
    assert result.returncode == 0, result.stderr
    site = book / "_build/html"
    page = (site / "book/toy.html").read_text(encoding="utf-8")
    assert "ran digits runs" in page
    assert "PROFILE=digits" in page
    assert (site / "index.html").exists()
    assert not [path for path in site.rglob("*.html") if str(book) in path.read_text(encoding="utf-8")]

    write_chapter(book, "1 / 0")
    failed = build(book)
    assert failed.returncode == 1
    last = failed.stderr.strip().splitlines()[-1]
    assert "book/toy" in last
    assert "ZeroDivisionError: division by zero" in last

    write_chapter(book)
    (book / "book/intro.md").write_text("# Intro\n\n{doc}`nowhere`\n", encoding="utf-8")
    warned = build(book)
    assert warned.returncode == 1
    assert "nowhere" in warned.stderr
    assert (site / "book/toy.html").read_text(encoding="utf-8") == page


def test_a_refreshed_chapter_holds_results_and_nothing_else_that_changes(book):
    chapter = book / "book/toy.ipynb"
    texts = []
    for _ in range(2):
        result = build(book, "--refresh")
        assert result.returncode == 0, result.stderr
        texts.append(chapter.read_text(encoding="utf-8"))
    assert texts[0] == texts[1]
    notebook = nbformat.reads(texts[0], as_version=4)
    assert [cell.id for cell in notebook.cells] == ["title", "parameters", "code-0"]
    assert [cell.metadata for cell in notebook.cells] == [{}, {"tags": ["parameters"]}, {}]
    assert notebook.cells[2].outputs[0].text == "ran published refresh\n"
    assert notebook.cells[2].execution_count == 2
    assert notebook.metadata.kernelspec.name == "python3"
    assert "papermill" not in texts[0]
    assert str(book) not in texts[0]


def test_a_refreshed_chapter_keeps_its_figures_in_few_colours(book):
    """Figures are most of what a refresh adds to the repository; no pixel may look another colour."""
    draw = "from PIL import Image\nimport numpy as np\nx, y = np.mgrid[:96, :128]"
    write_chapter(book, f"{draw}\nImage.fromarray(np.stack([x, y, 0 * x + 99], -1).astype(np.uint8))")
    result = build(book, "--refresh")
    assert result.returncode == 0, result.stderr
    notebook = nbformat.read(book / "book/toy.ipynb", as_version=4)
    kept = Image.open(io.BytesIO(base64.b64decode(notebook.cells[3].outputs[0].data["image/png"])))
    assert (kept.mode, kept.size) == ("P", (128, 96))
    x, y = np.mgrid[:96, :128]
    drawn = np.stack([x, y, np.full_like(x, 99)], -1)
    assert np.abs(np.asarray(kept.convert("RGB")).astype(int) - drawn).max() <= 8


@pytest.mark.parametrize("name", ["SIMADV_STORE", "SIMADV_DATA"])
@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("mine", str(ROOT / "mine")),
        ("my own runs", str(ROOT / "my own runs")),
        ("/a/b", "/a/b"),
        ("/a b/c d", "/a b/c d"),
        ("~/c", "~/c"),
        ("", ""),
    ],
)
def test_make_names_folders_from_where_it_was_called(name, given, seen, tmp_path):
    """Chapters run in book/, and a folder's name is meant from here."""
    shown = tmp_path / "show.mk"
    shown.write_text(f"include {ROOT / 'Makefile'}\nshow:\n\t@printenv {name} || true\n", encoding="utf-8")
    for words, environment in (([], {name: given}), ([f"{name}={given}"], {})):
        done = run("make", "-s", "-f", str(shown), "show", *words, cwd=ROOT, **environment)
        assert done.stdout.strip() == seen


def test_an_environment_that_another_make_sets_up_is_left_alone(tmp_path):
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    half = tmp_path / ".venv" / "half"
    half.mkdir(parents=True)

    def make(number: int) -> subprocess.CompletedProcess:
        (tmp_path / ".venv" / ".installing").write_text(f"{number}\n")
        words = ["make", "env", "PY=false"]  # which sets up nothing
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = make(os.getpid())
    assert done.returncode != 0
    assert ".venv is being set up by another make: wait for it (or remove .venv/.installing)\n" in done.stdout
    assert half.exists()
    make(2**22 + 1)  # no process has so high a number: one that was cut short
    assert not half.exists()
