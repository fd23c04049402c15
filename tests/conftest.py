"""What many tests share: phantoms in memory, on disk and graded, and folders of weights."""

import hashlib
import json
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

import nbformat
import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import settings
from jsonschema import Draft202012Validator

import build_wheel
from benchmarks.robustness.light_weights import light_weights
from lumbar_kernel import Config, predict
from lumbar_kernel.geometry import SlicePlane
from lumbar_kernel.localisation.landmarks import Landmarks
from lumbar_kernel.models.grade_net import GradeNet
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.models.manifest import FORMAT_VERSION, LANDMARKS, MANIFEST, weights_folder
from lumbar_kernel.phantom import make_phantom, write_dataset
from lumbar_kernel.results.report import report_schema
from lumbar_kernel.schema import CANAL, FORAMINAL, LEVELS, SIDES, SUBARTICULAR
from lumbar_kernel.study import Slice
from training.phantoms import truth_of
from training.studies import true_axial_levels

BACKBONE = "mobilenetv3_small_050"

LIGHT_FOLDS = (("localisers", "sagittal"), ("localisers", "axial"), ("members", "axial_t2"))
"""Networks so small that a second fold costs next to nothing."""

# A busy machine is no error of the code; everything else as hypothesis has it here or in CI.
settings.register_profile("any speed", settings(), deadline=None)
settings.load_profile("any speed")


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A folder for temporary files, of this process and of those that it starts."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture(scope="session")
def phantom():
    """One study in memory, all three roles."""
    return make_phantom(11, study_id="11")


@pytest.fixture(scope="session")
def landmarks(phantom):
    """Its true landmarks, in the shape that the localiser returns."""
    truth = phantom.truth
    sure, both = np.ones(len(LEVELS)), np.ones((len(LEVELS), len(SIDES)))
    return Landmarks(truth.disc_margin, truth.canal, truth.disc_normal, truth.foramina, sure, both, sure, both)


@pytest.fixture(scope="session")
def views(phantom):
    """Its axial views by true geometry."""
    return true_axial_levels(phantom.study, truth_of(phantom.truth))


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """Two phantom studies on disk, test split."""
    folder = tmp_path_factory.mktemp("dataset")
    write_dataset(folder, studies=2, seed=23)
    return folder


@pytest.fixture(scope="session")
def packed(dataset, tmp_path_factory):
    """These two in an archive, by its kind; packed in haste, since the usual levels of compression take ten seconds."""
    folder = tmp_path_factory.mktemp("packed")
    files = {"zip": folder / "data.zip", "gztar": folder / "data.tar.gz"}
    with zipfile.ZipFile(files["zip"], "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(dataset.rglob("*")):
            archive.write(path, path.relative_to(dataset))
    with tarfile.open(files["gztar"], "w:gz", compresslevel=1) as archive:
        archive.add(dataset, ".")
    return files


def _write(net, folder, name):
    raw = safetensors.torch.save({key: value.contiguous() for key, value in net.half().state_dict().items()})
    (folder / name).write_bytes(raw)
    return {"file": name, "sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw), "fold": 0}


def _sure(net, factor):
    """The net with steeper maps: an axial one must point somewhere, or no slice shows a spine."""
    with torch.no_grad():
        net.head.weight *= factor
    return net


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """A weights folder of tiny untrained nets, every view once, so that tests do not hang on what training found."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    sure = {"sagittal": 1.0, "axial": 3000.0}
    localisers = {
        name: {
            "architecture": BACKBONE,
            "points": points,
            "files": [_write(_sure(HeatmapNet(BACKBONE, points=points), sure[name]), folder, f"{name}.safetensors")],
        }
        for name, points in LANDMARKS.items()
    }
    members = {}
    views = {"sagittal_t1": (1, (FORAMINAL,)), "axial_t2": (3, (CANAL, SUBARTICULAR)), "sagittal_t2": (3, (CANAL,))}
    for view, (in_chans, groups) in views.items():
        net = GradeNet(BACKBONE, in_chans=in_chans, heads=len(groups))
        members[f"tiny_{view}"] = {
            "view": view,
            "architecture": BACKBONE,
            "in_chans": in_chans,
            "ensemble_weight": dict.fromkeys(groups, 1.0 if view != "sagittal_t2" else 0.5),
            "seconds_per_study": 0.05,
            "files": [_write(net, folder, f"tiny_{view}.safetensors")],
        }
    manifest = {"format_version": FORMAT_VERSION, "localisers": localisers, "members": members, "calibration": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="session")
def trained():
    """The weights of this checkout."""
    return weights_folder()


@pytest.fixture(scope="session")
def light(trained, tmp_path_factory):
    """Some of those weights, which grade every row: a member a view, one fold but where LIGHT_FOLDS averages two."""
    folder = light_weights(tmp_path_factory.mktemp("light") / "weights")
    whole, manifest = (json.loads((path / MANIFEST).read_text(encoding="utf-8")) for path in (trained, folder))
    for kind, name in LIGHT_FOLDS:
        files = whole[kind][name]["files"][:2]
        manifest[kind][name]["files"] = files
        shutil.copy(trained / files[1]["file"], folder)
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def light_run(dataset, light, tmp_path_factory):
    """The options of a finished run of one process with them; its folder is to be read only."""
    out = tmp_path_factory.mktemp("light run")
    config = Config(data=dataset, output=out, weights=light, progress=False, workers=0, strict=True)
    predict(config)
    return config


SAGITTAL = (np.array([0.0, 1, 0]), np.array([0.0, 0, -1]))

AXIAL = (np.array([1.0, 0, 0]), np.array([0.0, 1, 0]))


def make_slice(axes=SAGITTAL, *, origin=(0, 0, 0), spacing=(1.0, 1.0), shape=(40, 30), pixels=None):
    plane = SlicePlane(np.array(origin, float), axes[0], axes[1], spacing[0], spacing[1], shape)
    if pixels is None:
        rows, columns = np.mgrid[: shape[0], : shape[1]]
        pixels = (rows * spacing[0] + 100 * columns * spacing[1]).astype(np.float32)
    return Slice(plane, pixels, None)


class FakeClock:
    """A clock that moves only when it is advanced."""

    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


ROOT = Path(__file__).resolve().parent.parent

SOURCES = ("lumbar_kernel", "pyproject.toml", "README.md", "LICENSE", "kernel-metadata.json", ".gitignore")

SECOND_CLASS = shutil.ignore_patterns("__pycache__")


def refused_by_schema(report):
    """What the schema of `report.json` refuses in a report, as sentences."""
    return [error.message for error in Draft202012Validator(report_schema()).iter_errors(report)]


def write_weights(folder, **files):
    """A manifest and weights files with the given content; they hold no model."""
    folder.mkdir(exist_ok=True)
    entries = []
    for name, content in files.items():
        (folder / f"{name}.safetensors").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        entries.append({"file": f"{name}.safetensors", "sha256": digest, "bytes": len(content)})
    members = {"tiny": {"files": entries[:1]}}
    manifest = {"format_version": FORMAT_VERSION, "members": members, "localisers": {"a": {"files": entries[1:]}}}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """The project with weights of a few bytes, so that building takes a second."""
    root = tmp_path_factory.mktemp("project")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=SECOND_CLASS)
        else:
            shutil.copyfile(source, root / name)
    write_weights(root / "weights", member=b"m" * 300, localiser=b"l" * 200)
    return root


@pytest.fixture(scope="session")
def wheel(project):
    return build_wheel.build(project, project / "dist")


@pytest.fixture
def notebook():
    return nbformat.read(ROOT / "inference.ipynb", as_version=4)
