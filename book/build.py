"""Execute the chapters with papermill and build the site that ends at ``_build/html``.

``python book/build.py --profile digits`` works on a copy of the book in ``_build/digits``; the site already there
is replaced only by one that was built without an error or a warning. ``python book/build.py --refresh`` executes
the chapters with their own parameters and writes them back over the sources, ready to commit, with README's picture,
its tables, and the list on the first page.
"""

import argparse
import base64
import io
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import nbformat
import papermill
import yaml
from chapter import drop_bars
from nbformat import NotebookNode
from PIL import Image
from sphinx_external_toc.parsing import parse_toc_yaml

from simadv.store import write_whole
from simbook.told.headline import renewed, written

ROOT = Path(__file__).resolve().parents[1]
# one cell of parameters is enough to show: papermill's copy goes where it changes nothing, else the defaults fold
HIDE = {"published": ("injected-parameters", "remove-cell"), "digits": ("parameters", "hide-input")}
PROFILES = tuple(HIDE)
# the kernel's own warnings are about its sockets, which are local
KERNEL = {"kernel_name": "python3", "extra_arguments": ["--log-level=ERROR"]}
# bars of the cells, and of what is trained in them
SHOWN = {"progress_bar": True, "stderr_file": sys.stderr} if sys.stderr.isatty() else {"progress_bar": False}
# the README's picture: the figure of a chapter's cell
PICTURE = ("book/06_evaluation", "sawtooth", ROOT / "book" / "images" / "sawtooth.png")
BANNER = "Built with PROFILE={}: these are not the published results."


def chapters() -> list[str]:
    """Return the notebooks of ``_toc.yml`` in its order, as ``book/name``; every page it names must exist."""
    pages = list(parse_toc_yaml(ROOT / "_toc.yml"))
    missing = [page for page in pages if not any((ROOT / f"{page}{kind}").exists() for kind in (".ipynb", ".md"))]
    if missing:
        raise SystemExit(f"_toc.yml names pages that do not exist: {', '.join(missing)}")
    return [page for page in pages if (ROOT / f"{page}.ipynb").exists()]


def execute(name: str, parameters: dict[str, str]) -> NotebookNode:
    """Return chapter ``name`` executed in a new kernel; a chapter that fails ends the program."""
    source = nbformat.read(ROOT / f"{name}.ipynb", as_version=4)
    unknown = parameters.keys() - papermill.inspect_notebook(source).keys()
    if unknown:
        raise SystemExit(f"{name} has no parameter {', '.join(unknown)}")
    print(f"executing {name}", flush=True)
    try:
        notebook = papermill.execute_notebook(source, None, parameters, cwd=ROOT / "book", **KERNEL, **SHOWN)
    except Exception as error:  # whatever a kernel may do: the reader needs the chapter's name beside it
        print(error, file=sys.stderr)
        kind, text = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", error)
        raise SystemExit(f"{name} failed, and nothing was published: {kind}: {text}") from None
    return tidy(notebook, *HIDE[parameters.get("profile", PROFILES[0])])


def tidy(notebook: NotebookNode, hide: str, how: str) -> NotebookNode:
    """Drop what changes from one execution to the next and is no result; add tag ``how`` where there is ``hide``."""
    drop_bars(notebook)
    notebook.metadata.pop("papermill", None)
    notebook.metadata.kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata.language_info = {"name": "python", "pygments_lexer": "ipython3"}
    for cell in notebook.cells:
        tags = cell.metadata.pop("tags", [])
        if tags:  # not the empty ones that papermill leaves
            cell.metadata.tags = [*tags, how] if hide in tags else tags
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = light(output.data["image/png"])
    return notebook


def light(picture: str) -> str:
    """Return a PNG, in base64 as notebooks keep it, in 256 colours: a third of the bytes, and every refresh is kept."""
    drawn, kept = Image.open(io.BytesIO(base64.b64decode(picture))), io.BytesIO()
    drawn.convert("RGB").quantize(256).save(kept, format="png", optimize=True)
    return base64.b64encode(kept.getvalue()).decode()


def build(profile: str) -> None:
    """Execute the book at ``profile`` in ``_build/<profile>``, build it there, and publish it."""
    names, program = chapters(), Path(sys.executable).with_name("jupyter-book")
    if not program.exists():
        raise SystemExit(f"{program} is not there: pip install 'simadv[book]', or make env")
    stage = ROOT / "_build" / profile
    shutil.rmtree(stage, ignore_errors=True)
    skip = shutil.ignore_patterns("runs", "*.ipynb", "*.py", "__pycache__", ".*")
    shutil.copytree(ROOT / "book", stage / "book", ignore=skip)
    shutil.copy(ROOT / "_toc.yml", stage)
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    # its own, so that a reader's runs, which lie over the published ones, stay out of the published site
    os.environ["SIMADV_STORE"] = str(stage / "runs")
    if profile != PROFILES[0]:
        config.setdefault("html", {})["announcement"] = BANNER.format(profile)
    (stage / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    for name in names:
        nbformat.write(execute(name, {"profile": profile}), stage / f"{name}.ipynb")
    command = [program, "build", stage, "-W", "-n", "--keep-going", "-q"]
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
        raise SystemExit("jupyter-book warned or failed (see above), and nothing was published")
    publish(stage / "_build" / "html", ROOT / "_build" / "html")


def publish(new: Path, site: Path) -> None:
    """Put ``new`` in the place of ``site``."""
    old = site.with_name("html.old")
    shutil.rmtree(old, ignore_errors=True)
    if site.exists():
        site.rename(old)
    new.rename(site)
    shutil.rmtree(old, ignore_errors=True)
    print(f"open {site.relative_to(ROOT)}/index.html")


def main() -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description="Execute the chapters and build the site.")
    parser.add_argument("--profile", choices=PROFILES, default=PROFILES[0])
    parser.add_argument("--refresh", action="store_true", help="write the executed chapters back into book/")
    arguments = parser.parse_args()
    if arguments.refresh:
        refresh()
    else:
        build(arguments.profile)


def refresh() -> None:
    """Execute every chapter on the published runs; then, and not before, write chapters, picture and pages."""
    own = ROOT / "_build" / "refresh"  # instead of the reader's own runs, which lie over the published ones
    shutil.rmtree(own, ignore_errors=True)
    os.environ["SIMADV_STORE"] = str(own)
    executed = {name: execute(name, {}) for name in chapters()}
    made = {ROOT / f"{name}.ipynb": nbformat.writes(notebook).encode() + b"\n" for name, notebook in executed.items()}
    made |= pictured(executed) if PICTURE[0] in executed else {}
    for page, content in made.items():
        write_whole(page, partial(Path.write_bytes, data=content))


def pictured(executed: dict[str, nbformat.NotebookNode]) -> dict[Path, bytes]:
    """Return README, the first page and their picture, a figure of a chapter, as they are after a refresh."""
    chapter, cell_id, path = PICTURE
    (cell,) = (cell for cell in executed[chapter].cells if cell.id == cell_id)
    (picture,) = (output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {}))
    between = written()
    pages = (ROOT / "README.md", ROOT / "book" / "intro.md")
    texts = {page: renewed(page.read_text(encoding="utf-8"), between).encode() for page in pages}
    return texts | {path: base64.b64decode(picture)}


if __name__ == "__main__":
    main()
