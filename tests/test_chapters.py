"""The chapters: executed, fresh, and compared with nbval for real."""

import base64
import json
import os
import random
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel

from simadv.checks import InputError
from simadv.store import PUBLISHED, Store, write_record
from simbook import chapters
from simbook.chapters import asked, collect, evaluation_runs, evaluations
from simbook.measures.survival import Transfer
from simbook.publish import LIMIT
from simbook.settings import EvaluationSettings as Settings
from simbook.settings import Settings as BookSettings

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
CHAPTERS = sorted(BOOK.glob("*.ipynb"))
EVALUATION = BOOK / "06_evaluation.ipynb"
DIAGRAMS = {"fig-per-epoch", "fig-across-epochs"}  # of a process: there are no data
TEXTS = ("text/plain", "text/html", "text/markdown")


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def environment(store):
    """The surroundings of a chapter: the published runs, below a layer of the test's own."""
    return os.environ | {"SIMADV_STORE": str(store), "OMP_NUM_THREADS": "1"}


def run_nbval(store, chapter=EVALUATION):
    # a process of its own, with none of this project's pytest options: what a reader would call
    options = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=120", "-q"]
    options += ["-p", "no:xdist", "-p", "no:cacheprovider", "-o", "addopts=", "-o", "filterwarnings="]
    command = [sys.executable, "-m", "pytest", *options, chapter]
    return subprocess.run(command, env=environment(store), capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_is_executed_and_clean(chapter):
    notebook = read(chapter)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [o for cell in cells for o in cell.outputs if o.output_type == "error"]
    assert any("parameters" in cell.metadata.get("tags", []) for cell in cells)
    lines = [cell.source.splitlines() for cell in cells]
    assert max(map(len, lines)) <= 12
    assert max(len(line) for cell in lines for line in cell) <= 90, "as much as a page shows without scrolling"
    assert "papermill" not in notebook.metadata
    assert not any("svg" in kind for cell in cells for o in cell.outputs for kind in o.get("data", {}))
    assert "injected-parameters" not in json.dumps(notebook)


def has_link(cells):
    return any("download=" in str(o.get("data", {}).get("text/html")) for cell in cells for o in cell.outputs)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_figures_and_tables_are_as_a_reader_needs_them(chapter):
    """A figure has a name that the prose refers to, a caption, words for who does not see it, and its data."""
    notebook = read(chapter)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    cells = code_cells(notebook)
    for cell, after in zip(cells, [*cells[1:], None], strict=True):
        for data in [output.get("data", {}) for output in cell.outputs]:
            if "image/png" in data:
                shown = cell.metadata.mystnb
                assert f"{{numref}}`{shown.figure.name}`" in prose
                assert len(shown.figure.caption) > 60
                assert len(shown.image.alt) > 20
                assert shown.figure.name in DIAGRAMS or has_link([after]), cell.id
                # a PNG says how wide it is in its header: twice the 700 points of a page at least
                assert int.from_bytes(base64.b64decode(data["image/png"])[16:20], "big") >= 1400
            if "<table" in str(data.get("text/html")):
                assert "download=" in data["text/html"], cell.id


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_begins_with_its_verdicts_and_folds_what_fetches_them(chapter):
    cells = read(chapter).cells
    for cell in cells:
        fetches = "from simbook.plots.style import style" in cell.source or "verdicts.of_chapter(" in cell.source
        assert not fetches or cell.metadata.get("tags") == ["hide-input"], cell.source
    if chapter.stem != "claims":
        heads = [cell.source.splitlines()[0] for cell in cells if re.match("#+ ", cell.source)]
        assert heads[1] == "## In short"
        assert "## How it was judged" in heads
        verdicts = next(cell for cell in cells if cell.cell_type == "code" and "judging.summary(" in cell.source)
        assert cells[cells.index(verdicts) - 1].source.startswith("## In short")


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_rerun_gives_the_committed_outputs(chapter, tmp_path):
    done = run_nbval(tmp_path / "empty", chapter)
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"{len(code_cells(read(chapter)))} passed" in done.stdout


def numbers_shown():
    """Every stored number that chapter 6 shows: (file, path to the number inside its record)."""
    shown, store = [], Store(PUBLISHED)
    for spec in evaluation_runs(Settings()):
        run = store.find(spec)
        if run is None:
            continue
        measured = [e.id for e in evaluations(spec.dataset) if store.evaluation(run, e)]
        shown += [(f"{spec.id}/evals/{e}.json", (kind,)) for e in measured for kind in ("true", "predicted")]
        shown.append((f"{spec.id}/run.json", ("cost", "seconds")))
        if spec.method == "sim" and spec.lr == max(
            s.lr for s in evaluation_runs(Settings()) if s.dataset == spec.dataset
        ):
            shown += [(f"{spec.id}/run.json", ("history", epoch, "robust")) for epoch in range(spec.epochs)]
    first = set(evaluation_runs(Settings()))
    for spec, measures in asked()["06_evaluation"].items():  # what stands beside Table 3 is shown under true labels
        run = store.find(spec)
        for measure in measures if run else []:
            # of the nets in its rows the others are chapter 7's to show
            if store.evaluation(run, measure) and (spec not in first or measure in chapters.stronger(spec.dataset)):
                shown.append((f"{spec.id}/evals/{measure.id}.json", ("true",)))
    # a clean image is not attacked: its two conventions are one number, and the chapter shows it once
    return [(file, path) for file, path in shown if not ("/none-" in file and path == ("predicted",))]


def change(file, path, layer):
    """Copy a published run into ``layer`` with one number changed by the least that is visible, checksum and all."""
    run_id = "/".join(file.split("/")[:2])
    shutil.rmtree(layer, ignore_errors=True)
    shutil.copytree(PUBLISHED / run_id, layer / run_id)
    record = json.loads((layer / file).read_text())["record"]
    *way, last = path
    inner = record
    for key in way:
        inner = inner[key]
    step = {"seconds": 360.0, "robust": 0.1}.get(last, 1)
    inner[last] += step if inner[last] < record.get("images", float("inf")) else -step
    write_record(layer / file, record)


@contextmanager
def warm_kernel(store):
    """Yield a function that runs cells in one kernel from its start and returns their outputs as nbval compares them.

    A cell that fails raises AssertionError with its traceback.
    """
    manager, client = start_new_kernel(kernel_name="python3", env=environment(store), cwd=str(BOOK))

    def once(sources):
        outputs = []
        # the first cells define and check the parameters: names of the last round must be gone
        for source in ["%reset -f", *sources]:
            seen = []

            def keep(message, seen=seen):
                content = message["content"]
                if message["header"]["msg_type"] == "error":
                    raise AssertionError("\n".join(content["traceback"]))
                data = content.get("data", {"text/plain": content["text"]} if content.get("name") == "stdout" else {})
                seen += [data[kind] for kind in TEXTS if kind in data]

            client.execute_interactive(source, output_hook=keep, timeout=120)
            outputs.append(seen)
        return outputs[1:]

    yield once
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def rerun(tmp_path_factory):
    """Execute all code cells of chapter 6 in one warm kernel; return their outputs."""
    layer = tmp_path_factory.mktemp("layer") / "runs"
    sources = [cell.source for cell in code_cells(read(EVALUATION))]
    with warm_kernel(layer) as once:
        yield layer, lambda: once(sources)


def test_every_number_that_is_shown_is_compared(rerun):
    """One stored number at a time is changed; the chapter's text must change with it, or nbval could not see it."""
    layer, once = rerun
    untouched = once()
    everything = numbers_shown()
    kinds = sorted({path[0] for _, path in everything})
    assert kinds == ["cost", "history", "predicted", "true"]
    draw = random.Random(6)
    some = [draw.choice([n for n in everything if n[1][0] == kind]) for kind in kinds for _ in range(4)]
    for file, path in some:
        change(file, path, layer)
        assert once() != untouched, f"{file} {path} was changed and the chapter shows the same"
    shutil.rmtree(layer)
    assert once() == untouched


@pytest.mark.parametrize("kind", ["true", "history"])
def test_nbval_fails_when_a_stored_number_changes(kind, tmp_path):
    file, path = random.Random(kind).choice([number for number in numbers_shown() if number[1][0] == kind])
    change(file, path, tmp_path / "runs")
    done = run_nbval(tmp_path / "runs")
    assert done.returncode == 1
    assert "failed" in done.stdout


def test_a_chapter_that_has_nothing_on_a_data_set_says_so(own_store):
    with pytest.raises(
        InputError, match="chapter 07_beyond has nothing on cifar10; it is about: digits, fmnist, mnist"
    ):
        collect("07_beyond", BookSettings(dataset="cifar10"), store=own_store)
    assert collect("cost", BookSettings(dataset="cifar10"), store=own_store) == []


def test_runs_of_another_seed_are_a_readers_own_and_trained_one_and_all(own_store, monkeypatch):
    """Those of seed 1 that the book asks for, too, and those that it does not."""
    trained = []
    monkeypatch.setattr(chapters, "complete", lambda spec, *_, **__: trained.append(spec))
    collect("07_beyond", BookSettings(dataset="mnist", seed=1), store=own_store)
    assert len(trained) == len(chapters.beyond_runs(BookSettings(), "mnist"))
    assert {spec.seed for spec in trained} == {1}
    trained.clear()
    collect("07_beyond", BookSettings(dataset="mnist"), store=own_store)
    assert trained == []


def test_the_published_store_stays_small():
    assert sum(path.stat().st_size for path in PUBLISHED.rglob("*") if path.is_file()) < LIMIT == 24_000_000


def test_weights_are_published_where_they_are_to_be_and_nowhere_else():
    store = Store(PUBLISHED)
    for run in map(store.get, store.ids()):
        assert run.measurable == chapters.with_weights(run.spec), run.spec.id


def test_only_other_seeds_wide_nets_and_the_last_of_chapter_7_have_no_weights():
    plan = asked()
    none = {spec for specs in plan.values() for spec in specs if spec.seed == 0 and not chapters.with_weights(spec)}
    assert {(spec.dataset, spec.model) for spec in none} == {
        ("mnist", "lenet_wide"),
        ("mnist", "lenet"),
        ("fmnist", "lenet"),
    }
    last = {spec for spec in none if spec.model == "lenet"}
    assert sorted(spec.dataset for spec in last) == ["fmnist"] * 16 + ["mnist"]
    elsewhere = {spec for name, specs in plan.items() if name != "07_beyond" for spec in specs}
    assert not last & elsewhere, "chapter 7's alone"
    sources = {m.source for specs in plan.values() for ms in specs.values() for m in ms if isinstance(m, Transfer)}
    assert not sources & {spec.id for spec in none}, "examples made for another net need its weights"


def test_the_published_store_holds_what_the_chapters_ask_for_and_nothing_else():
    store, wanted = Store(PUBLISHED), {}
    for specs in asked().values():
        for spec, measures in specs.items():
            wanted.setdefault(spec.id, set()).update(measure.id for measure in measures)
    assert set(store.ids()) <= wanted.keys()
    for run_id in store.ids():
        files = {
            str(path.relative_to(PUBLISHED / run_id)) for path in (PUBLISHED / run_id).rglob("*") if path.is_file()
        }
        evals = {file for file in files if file.startswith("evals/")}
        assert evals <= {f"evals/{measure}.json" for measure in wanted[run_id]}
        assert files - evals <= {"run.json", "weights.safetensors"}


def test_runs_that_the_text_names_are_published():
    pages = [ROOT / "README.md", *BOOK.glob("*.md")]
    texts = [page.read_text(encoding="utf-8") for page in pages]
    texts += [cell.source for chapter in CHAPTERS for cell in read(chapter).cells]
    named = {
        name for text in texts for name in re.findall(r"\b(?:mnist|fmnist|cifar10|digits)/[\w.-]+-[0-9a-f]{6}\b", text)
    }
    assert named
    assert named <= set(Store(PUBLISHED).ids())


def test_readme_example(tmp_path):
    """SIM-Adv on a reader's own net and tensors, at most 20 lines, works as printed."""
    example, shown = run_example(ROOT / "README.md", tmp_path)
    assert len([line for line in example.splitlines() if line.strip()]) <= 20
    share = float(re.match(r"([\d.]+) %", shown)[1])
    assert share > 60


def test_a_method_of_ones_own_is_made_as_the_page_on_the_code_says(tmp_path):
    _, shown = run_example(BOOK / "api.md", tmp_path, which=1, then="print(len(history), history[-1]['loss'] > 0)")
    assert shown == "2 True\n"


def test_a_loop_of_ones_own_trains_as_the_page_on_the_code_says(tmp_path):
    moved = "print(float((adversary.carried.read(torch.arange(256)) - x).abs().max()) > 0.03, loss.item() > 0)"
    _, shown = run_example(BOOK / "api.md", tmp_path, then=moved)
    assert shown == "True True\n", "examples have moved by two steps of epsilon / n1 = 0.02"


def run_example(page: Path, folder: Path, *, which: int = 0, then: str = "") -> tuple[str, str]:
    """Return an example of a page and what it prints where it is run, with a line of ours after it."""
    examples = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    assert len(examples) == {"README.md": 1, "api.md": 2}[page.name], "each has its test"
    example = examples[which]
    words = [sys.executable, "-W", "error", "-c", example + then]
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return example, done.stdout
