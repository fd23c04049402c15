"""The arrows between modules run one way; the tables below are the picture, the tests keep the code to it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lumbar_kernel"
ROOT = PACKAGE.name

ORDER = (
    *("schema", "errors", "arrays", "geometry", "config", "finite", "faults", "devices"),
    *("dicom_file", "dicom", "folders", "roles", "stacks", "study", "shared_pixels", "readers"),
    *("forward", "heatmaps", "sampling", "chain", "localise", "axial", "crop", "grade", "ensemble", "checkpoints"),
    *("submission", "metric", "budget", "report", "messages", "journal", "pictures"),
    *("study_report", "tools", "plan", "desk", "prepare", "pipeline", "graders", "supervisor"),
    *("__init__", "__main__"),
)
"""A module may import only from modules before it; a new module has to be placed here."""

DIRECTORS = (
    *("messages", "journal", "study_report", "plan", "desk", "prepare", "pipeline", "graders", "supervisor"),
    *("__init__", "__main__"),
)
"""The only modules that know the clock and the record of failures."""

CLOCKS = (*DIRECTORS, "budget", "report", "readers")
"""The only modules that may read the time; a reader measures and limits its workers."""

PHANTOM = "phantom"
PHANTOM_NEEDS = ("schema", "errors", "arrays", "geometry", "study")
THIRD_PARTY = ("torch", "timm", "pydicom", "numpy", "pandas", "cv2", "tqdm", "safetensors")
BROAD = ("Exception", "BaseException")

FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def module_of(file):
    """Name in `ORDER` of a file in the package; every file of the phantom is `phantom`."""
    return file.parts[0] if len(file.parts) > 1 else file.stem


def imported(tree):
    """Full dotted names of all imports, wherever they stand."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            yield from (f"{start}.{alias.name}" for alias in node.names)


def inner(tree):
    """The modules of the package that a tree imports; a name from the package's door counts as `__init__`."""
    for name in imported(tree):
        top, _, rest = name.partition(".")
        if top == ROOT and rest != "__version__":
            target = rest.partition(".")[0]
            yield target if target in (*ORDER, PHANTOM) or (PACKAGE / f"{target}.py").exists() else "__init__"


def wrong_imports(module, source):
    """A sentence for each import that runs against the picture."""
    tree = ast.parse(source)
    for target in inner(tree):
        if PHANTOM in (module, target):
            fits = target in (PHANTOM, *PHANTOM_NEEDS) if module == PHANTOM else module == "__main__"
        else:
            fits = target in ORDER and ORDER.index(target) < ORDER.index(module)
        if not fits or (target in ("budget", "report") and module not in DIRECTORS):
            yield f"{module} must not import {target}"
    for name in imported(tree):
        top = name.partition(".")[0]
        if top == "time" and module not in CLOCKS:
            yield f"{module} must not read the clock"
        if top not in sys.stdlib_module_names and top not in (ROOT, *THIRD_PARTY):
            yield f"{module} must not import {name}"


def names_in(node):
    """The last part of each name in an expression such as `builtins.Exception` or `(OSError, Exception)`."""
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    return [part.attr if isinstance(part, ast.Attribute) else getattr(part, "id", "") for part in parts]


def broad_excepts(source):
    """Lines that catch or suppress every exception."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler) and (node.type is None or set(names_in(node.type)) & set(BROAD)):
            yield node.lineno
        if isinstance(node, ast.Call) and names_in(node.func) == ["suppress"]:
            yield from (node.lineno for argument in node.args if set(names_in(argument)) & set(BROAD))


def prints(source):
    """Lines that print."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [call.lineno for call in calls if names_in(call.func) == ["print"]]


def test_every_module_has_its_place():
    known = {*ORDER, PHANTOM}
    unknown = sorted({module_of(file) for file in FILES} - known)
    assert not unknown, f"place {unknown} in ORDER, after what they import and before what imports them"


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_run_one_way(file):
    if module_of(file) not in (*ORDER, PHANTOM):
        pytest.fail(f"{file} has no place in ORDER")
    assert list(wrong_imports(module_of(file), (PACKAGE / file).read_text(encoding="utf-8"))) == []


def test_the_guard_of_the_report_is_the_only_broad_except():
    found = {str(file): list(broad_excepts((PACKAGE / file).read_text(encoding="utf-8"))) for file in FILES}
    assert {name: len(lines) for name, lines in found.items() if lines} == {"report.py": 1}, found


@pytest.mark.parametrize("file", FILES, ids=str)
def test_the_package_prints_nothing(file):
    assert prints((PACKAGE / file).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("crop", "import training.packs"),
        ("crop", "from tests import dicom_files"),
        ("crop", "import scipy.ndimage"),
        ("crop", "from . import schema"),
        ("crop", "from lumbar_kernel.grade import grade"),
        ("crop", "from lumbar_kernel import pipeline"),
        ("crop", "from lumbar_kernel import predict"),
        ("crop", "def late():\n    import lumbar_kernel.report"),
        ("crop", "from lumbar_kernel.phantom.truth import truth"),
        ("crop", "import time"),
        ("pictures", "from lumbar_kernel.budget import Budget"),
        ("phantom", "from lumbar_kernel.crop import crop"),
        ("schema", "from lumbar_kernel import schema"),
    ],
)
def test_a_wrong_arrow_is_seen(module, source):
    assert len(list(wrong_imports(module, source))) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("crop", "import numpy as np\nfrom lumbar_kernel.geometry import unit\nfrom lumbar_kernel import __version__"),
        ("pipeline", "import time\nfrom lumbar_kernel import budget, report"),
        ("phantom", "from lumbar_kernel.phantom import tissue\nfrom lumbar_kernel.study import Slice"),
        ("__main__", "from lumbar_kernel import predict\nfrom lumbar_kernel.phantom import generate"),
    ],
)
def test_right_arrows_are_left_alone(module, source):
    assert list(wrong_imports(module, source)) == []


@pytest.mark.parametrize("what", ["except", "except Exception", "except (OSError, BaseException) as error"])
def test_a_broad_except_is_seen(what):
    assert list(broad_excepts(f"try:\n    pass\n{what}:\n    pass")) == [3]
    assert list(broad_excepts("try:\n    pass\nexcept (OSError, ValueError):\n    pass")) == []


def test_broad_suppression_and_prints_are_seen():
    assert list(broad_excepts("with contextlib.suppress(Exception):\n    pass")) == [1]
    assert prints("x = 1\nprint(x)") == [2]


@pytest.mark.parametrize(
    "module", ["lumbar_kernel", *(f"lumbar_kernel.{name}" for name in ("config", "report", "metric"))]
)
def test_light_modules_stay_light(module):
    code = f"import sys, {module}; print(sorted({{'torch', 'timm', 'pandas', 'cv2', 'pydicom'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
