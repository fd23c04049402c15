"""The documentation names only what exists, and every module is explained."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from training.presets import Member

ROOT = Path(__file__).parents[1]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "training" / "README.md",
    ROOT / "weights" / "README.md",
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
ROW = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def anchors(page: Path) -> set[str]:
    """The anchors that a Markdown page's headings give, in the spelling of code hosts."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def modules_of_package() -> list[str]:
    return [path.stem for path in (ROOT / "lumbar_kernel").rglob("*.py") if path.stem not in {"__init__"}]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 90


def test_every_page_is_in_the_navigation_and_the_site_builds_without_a_warning(tmp_path):
    configuration = (ROOT / "mkdocs.yml").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert re.search(rf"- {page.name}$", configuration, re.MULTILINE), page.name
    site = tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", site]
    variables = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"index.html", "model-card.html", "contributing.html", "changelog.html"} <= {p.name for p in site.iterdir()}
    for page in site.glob("*.html"):
        text = page.read_text()
        assert re.findall(r"""<(?:script|img|iframe)[^>]*src=["']?https?:""", text) == [], page.name
        assert re.findall(r"""<link[^>]*rel=["']?stylesheet[^>]*href=["']?https?:""", text) == [], page.name


def test_troubleshooting_names_messages_that_the_kernel_gives():
    section = (ROOT / "docs" / "troubleshooting.md").read_text().partition("## Messages of the kernel")[2]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| ")][1:]
    source = " ".join(path.read_text() for path in sorted((ROOT / "lumbar_kernel").rglob("*.py")))
    messages = [span for cell in cells for span in re.findall(r"`([^`]+)`", cell) if "numpy.core" not in span]
    assert len(messages) > 8
    for message in messages:
        assert all(part.strip() in source for part in message.split("…")), message


@pages
def test_links_lead_to_files_and_headings(page):
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    for link in links:
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pages
def test_commands_name_modules_that_run(page):
    for module in re.findall(r"python -m ((?:training|benchmarks|evaluation|lumbar_kernel)[\w.]*)", page.read_text()):
        spec = importlib.util.find_spec(module)
        assert spec is not None, module
        assert "__main__" in Path(spec.origin).read_text(), module


@pytest.mark.slow
def test_the_python_examples_run(dataset, tmp_path):
    """Each block as a script of its own, without a main guard, in a folder that holds `studies/`."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    (tmp_path / "studies").symlink_to(dataset)
    for number, block in enumerate(blocks):
        script = tmp_path / f"example_{number}.py"
        script.write_text(block)
        variables = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, script]
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert done.stdout


@pages
def test_make_targets_exist(page):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^ {4}|\n    )make ([a-z]+)", page.read_text())) <= targets


def test_every_module_of_the_package_is_explained_once():
    explained = ROW.findall((ROOT / "docs" / "how-it-works.md").read_text())
    assert sorted(explained) == sorted(modules_of_package())


def test_every_training_module_is_explained():
    text = (ROOT / "docs" / "training.md").read_text()
    folders = (ROOT / "training", ROOT / "evaluation")
    names = {path.stem for folder in folders for path in folder.glob("*.py")} - {"__init__"}
    assert {name for name in names if f"`{name}`" not in text} == set()


def test_the_member_that_is_added_as_an_example_can_be_made():
    text = (ROOT / "docs" / "add-a-member.md").read_text()
    (line,) = re.findall(r"^ {8}(Member\(.*\))$", text, re.MULTILINE)
    made = eval(line, {"Member": Member})
    assert made.name in re.findall(r"runs/(\w+)_0", text)
    assert made.backbone in re.findall(r"--backbone (\w+)", text)


def test_the_scores_of_the_model_card_are_those_of_the_results():
    card, results, readme = (
        (ROOT / path).read_text() for path in ("weights/README.md", "docs/results.md", "README.md")
    )
    section = card.partition("| what | loss | prior |")[2].partition("\n\n")[0]
    rows = re.findall(r"^(\| (.*?) \| ([\d.]+ \([^|]*\)) \| [\d.]+ \|)$", section, re.MULTILINE)
    assert len(rows) == 8
    assert [row for row, *_ in rows if f"\n{row} " not in results] == []
    shown = re.findall(r"^\| [^|]* (\| [\d.]+ \([^|]*\) \| [\d.]+ \|)", readme, re.MULTILINE)
    assert len(shown) == 4
    assert [row for row in shown if row not in section] == []


@pages
def test_paths_of_the_repository_exist(page):
    for path in re.findall(
        r"`((?:lumbar_kernel|training|benchmarks|evaluation|tests|docs|weights)/[\w./-]*)`", page.read_text()
    ):
        assert (ROOT / path).exists(), path
