"""The arrows between rooms run one way; the tables below are the picture, the tests keep the code to it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lumbar_kernel"
NAME = PACKAGE.name

TOP = (
    *("schema", "errors", "dependencies", "arrays", "geometry", "containers", "cpu_count", "output_names", "config"),
    *("checks", "processes", "study", "views", "grids", "resampling", "intensities", "slice_choice"),
)
"""Modules of the top of the package; each may import only those before it."""

ROOMS = {
    "dicom": (
        *("packed_files", "element_walk", "safe_open", "elements"),
        *("identity", "persons", "grouping", "folders", "tables", "dicomdir", "unpacking", "discovery", "overrides"),
        *("encoded_frames", "rle", "ordinary", "headers", "pixels", "ordering", "descriptions", "roles"),
        *("pixel_weighting", "series_split", "stacks", "selection", "volumes", "reader", "inspection"),
    ),
    "models": (
        *("heatmap_net", "compact_cnn", "grade_net", "inference", "folding", "same_padding"),
        *("pointwise", "replicas"),
        *("calibration", "manifest", "storage", "checkpoints"),
    ),
    "localisation": (
        "slice_maps",
        "level_decoding",
        "confidence",
        "coverage",
        "landmarks",
        "series_shift",
        "reformat",
        "axial",
    ),
    "grading": ("crops", "grader", "ensemble"),
    "results": (
        "atomic",
        "submission",
        "metric",
        "report",
        "study_report",
        "tables",
        "wording",
        "drawing",
        "reliability",
        "score_report",
        "grade_chart",
        "panels",
        "pictures",
        "gallery",
        "inspection_picture",
        "run_files",
        "page",
    ),
    "runtime": (
        *(
            "fault_injection",
            "folder_lock",
            "temporary_folder",
            "budget",
            "first_grades",
            "recorder",
            "devices",
            "deferred_compiler",
            "process_settings",
            "messages",
            "sharding",
            "run_state",
            "progress",
            "journal",
            "shared_memory",
            "reader_process",
            "study_loader",
        ),
        *(
            "scheduler",
            "stages",
            "member_grading",
            "pipeline",
            "worker_process",
            "fork_server",
            "supervision",
            "workers",
            "persistent_worker",
            "outputs",
            "study_search",
            "supervisor",
        ),
    ),
    "structured_reports": ("codes", "findings", "sources", "document", "write"),
    "archive": (
        *(
            "defaults",
            "storage",
            "ids",
            "reasons",
            "study_table",
            "sources",
            "remote_files",
            "header_chunks",
            "index_schema",
        ),
        *("study_parts", "cluster", "index", "result_schema", "results", "shards", "shard_task", "grading", "status"),
    ),
    "commands": ("options", "predict", "report", "score", "phantom", "inspect", "sr", "archive"),
}
"""Modules of each room; each may import only those before it."""

BELOW = {
    "dicom": (),
    "models": (),
    "localisation": ("models",),
    "grading": ("models", "localisation"),
    "results": ("localisation",),
    "runtime": ("dicom", "models", "localisation", "grading", "results"),
    "structured_reports": ("dicom", "results"),
    "archive": ("dicom", "models", "results", "runtime"),
    "phantom": (),
    "commands": ("dicom", "results", "runtime", "structured_reports", "archive", "phantom"),
}
"""The rooms that a room may import, besides the top of the package."""

DOORS = ("__init__", "__main__", "kernel")
"""What users enter by; nothing of the package imports it, but for the name that `__init__` lends to `kernel`."""

PHANTOM_NEEDS = ("schema", "errors", "arrays", "geometry", "processes", "study")
"""The modules that the phantom may import besides its own: it must not know how it will be graded."""

CLOCK = "time"
THIRD_PARTY = ("torch", "timm", "pydicom", "numpy", "pandas", "cv2", "tqdm", "safetensors")
EXTRA = {"structured_reports": ("highdicom",), "archive": ("ray", "pyarrow", "fsspec")}
"""Packages of optional extras, each for one room only, which the command line imports when it is asked for."""
BROAD = ("Exception", "BaseException")

FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
OUTSIDE = {
    "evaluation": ("evaluation", NAME),
    "training": ("training", "evaluation", NAME),
    "benchmarks": ("benchmarks", "evaluation", NAME),
    "tests": ("tests", "training", "benchmarks", "evaluation", NAME),
}
"""What the folders beside the package may import; no two of them import each other."""


def place_of(file):
    """Room and module of a file of the package; the top of the package is the room `""`."""
    *rooms, _ = file.parts
    return (rooms[0] if rooms else "", file.stem)


def imported(tree):
    """Full dotted names of all imports, wherever they stand."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            yield from (f"{start}.{alias.name}" for alias in node.names)


def target_of(name):
    """Room and module that a dotted name of the package leads to; its own names count as the door `__init__`."""
    first, second, *_ = (*name.split(".")[1:], "", "")
    if first in BELOW:
        return first, second
    return "", first if first in (*TOP, *DOORS) else "__init__"


def allowed(importer, imported_place):
    """Whether a module may import another, both as room and module."""
    (room, module), (other_room, other) = importer, imported_place
    if other_room == "" and other in DOORS:
        return (room, module, other) == ("", "__init__", "kernel")
    if module in DOORS and room == "":
        return True
    if room == "phantom":
        return other_room == "phantom" or other in PHANTOM_NEEDS
    if other_room == "":
        order = TOP
        return other in order and (room != "" or order.index(other) < order.index(module))
    if room == other_room:
        order = ROOMS[room]
        return other in order and order.index(other) < order.index(module)
    return room != "" and other_room in BELOW[room]


def wrong_imports(importer, source):
    """A sentence for each import that runs against the picture."""
    name_of = ".".join(part for part in importer if part)
    for name in imported(ast.parse(source)):
        top = name.partition(".")[0]
        if top == NAME:
            if name != f"{NAME}.__version__" and not allowed(importer, target_of(name)):
                yield f"{name_of} must not import {name}"
        elif top == CLOCK and importer[0] != "runtime":
            yield f"{name_of} must not read the clock"
        elif top not in sys.stdlib_module_names and top not in (*THIRD_PARTY, *EXTRA.get(importer[0], ())):
            yield f"{name_of} must not import {name}"


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
    known = {("", name) for name in (*TOP, *DOORS)} | {(room, name) for room in ROOMS for name in ROOMS[room]}
    found = {place_of(file) for file in FILES}
    unplaced = {place for place in found - known if place[0] != "phantom" and place[1] != "__init__"}
    assert not unplaced, "place them in TOP or ROOMS, after what they import and before what imports them"
    assert not known - found, "these modules are gone"


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_run_one_way(file):
    assert list(wrong_imports(place_of(file), (PACKAGE / file).read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_nothing_by_themselves(room):
    assert list(imported(ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize("folder", OUTSIDE)
def test_folders_beside_the_package_are_no_circle(folder):
    own = {"training", "benchmarks", "evaluation", "tests", NAME}
    wrong = [
        (str(path.relative_to(ROOT)), name)
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name in imported(ast.parse(path.read_text(encoding="utf-8")))
        if (top := name.partition(".")[0]) in own and top not in OUTSIDE[folder]
    ]
    assert wrong == []


def test_no_test_module_imports_another():
    wrong = [
        (str(path.relative_to(ROOT)), name)
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for name in imported(ast.parse(path.read_text(encoding="utf-8")))
        if name.startswith("tests.") and any(part.startswith("test_") for part in name.split(".")[:-1])
    ]
    assert wrong == []


def test_the_guard_of_the_recorder_is_the_only_broad_except():
    found = {file.as_posix(): list(broad_excepts((PACKAGE / file).read_text(encoding="utf-8"))) for file in FILES}
    assert {name: len(lines) for name, lines in found.items() if lines} == {"runtime/recorder.py": 1}, found


@pytest.mark.parametrize("file", FILES, ids=str)
def test_the_package_prints_nothing(file):
    assert prints((PACKAGE / file).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("place", "source"),
    [
        (("grading", "crops"), "import training.packs"),
        (("grading", "crops"), "from tests import dicom_files"),
        (("grading", "crops"), "import scipy.ndimage"),
        (("grading", "crops"), "from . import schema"),
        (("grading", "crops"), "from lumbar_kernel.grading.grader import grade"),
        (("grading", "crops"), "from lumbar_kernel.runtime import pipeline"),
        (("grading", "crops"), "from lumbar_kernel import predict"),
        (("grading", "crops"), "def late():\n    import lumbar_kernel.results.report"),
        (("grading", "crops"), "from lumbar_kernel.phantom.measure import measure"),
        (("grading", "crops"), "import time"),
        (("results", "pictures"), "from lumbar_kernel.runtime.budget import Budget"),
        (("results", "pictures"), "from lumbar_kernel.grading.crops import cut_crops"),
        (("phantom", "make"), "from lumbar_kernel.grading.crops import cut_crops"),
        (("phantom", "make"), "from lumbar_kernel.views import VIEWS"),
        (("results", "report"), "import highdicom"),
        (("runtime", "pipeline"), "from lumbar_kernel.structured_reports.write import write_structured_reports"),
        (("", "schema"), "from lumbar_kernel import schema"),
        (("", "study"), "from lumbar_kernel.dicom.headers import SliceHeader"),
        (("", "study"), "from lumbar_kernel.resampling import sample"),
        (("runtime", "workers"), "from lumbar_kernel.__main__ import main"),
        (("runtime", "supervisor"), "from lumbar_kernel.archive.grading import grade_archive"),
        (("runtime", "supervisor"), "import ray"),
    ],
)
def test_a_wrong_arrow_is_seen(place, source):
    assert len(list(wrong_imports(place, source))) == 1


@pytest.mark.parametrize(
    ("place", "source"),
    [
        (("grading", "crops"), "import numpy as np\nfrom lumbar_kernel.geometry import unit"),
        (("grading", "crops"), "from lumbar_kernel import __version__, schema"),
        (("runtime", "pipeline"), "import time\nfrom lumbar_kernel.runtime import budget, recorder"),
        (("phantom", "make"), "from lumbar_kernel.phantom import tissue\nfrom lumbar_kernel.study import Slice"),
        (("", "__main__"), "from lumbar_kernel.runtime.supervisor import predict\nimport lumbar_kernel.phantom"),
    ],
)
def test_right_arrows_are_left_alone(place, source):
    assert list(wrong_imports(place, source)) == []


@pytest.mark.parametrize("what", ["except", "except Exception", "except (OSError, BaseException) as error"])
def test_a_broad_except_is_seen(what):
    assert list(broad_excepts(f"try:\n    pass\n{what}:\n    pass")) == [3]
    assert list(broad_excepts("try:\n    pass\nexcept (OSError, ValueError):\n    pass")) == []


def test_broad_suppression_and_prints_are_seen():
    assert list(broad_excepts("with contextlib.suppress(Exception):\n    pass")) == [1]
    assert prints("x = 1\nprint(x)") == [2]


@pytest.mark.parametrize(
    "module", ["", ".config", ".study", ".views", ".models.manifest", ".results.report", ".results.metric"]
)
def test_light_modules_stay_light(module):
    heavy = {"torch", "timm", "pandas", "cv2", "pydicom"}
    code = f"import sys, {NAME}{module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
