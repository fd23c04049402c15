"""Ray on two cores, and one archive graded on it: headers full of what must not get out, a study that is broken."""

from __future__ import annotations

import logging
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

from benchmarks.kaggle.multiply import multiply
from benchmarks.robustness.archive_kills import Expected, Setting, light_weights, prepare

ray = pytest.importorskip("ray", reason="ray is not installed; the extra archive brings it")
pytest.importorskip("pyarrow", reason="pyarrow is not installed; the extra archive brings it")

from lumbar_kernel.archive.grading import ArchiveOptions, Outcome, grade_archive  # noqa: E402
from lumbar_kernel.archive.storage import Folder  # noqa: E402

ATTEMPTS = 3

SECRETS = {
    "PatientName": "Doe^Secretname",
    "PatientID": "Secretpid",
    "PatientBirthDate": "19610203",
    "PatientAddress": "Secretstreet 7",
    "PatientComments": "Secretcomment",
    "OtherPatientIDs": "Secretother",
    "InstitutionName": "Secrethospital",
    "ReferringPhysicianName": "Doctor^Secretdoctor",
    "OperatorsName": "Secretoperator",
    "AccessionNumber": "Secretaccess",
    "StudyDescription": "Secretstudy",
    "SeriesDescription": "Secretseries",
    "ProtocolName": "Secretprotocol",
    "ImageComments": "Secretimage",
    "RequestedProcedureDescription": "Secretprocedure",
    "ContrastBolusAgent": "Secretagent",
    "SequenceName": "Secretsequence",
    "BodyPartExamined": "SECRETPART",
}
"""What headers hold and nothing else may."""


@pytest.fixture(scope="session")
def ray_here():
    """Ray on this machine, for all tests of a process."""
    options = {"num_cpus": 2, "include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    for _ in range(ATTEMPTS - 1):
        with suppress(Exception):  # Ray gives its processes thirty seconds to start, too few on an overloaded machine
            ray.init(address="local", **options)
            break
        ray.shutdown()
    else:
        ray.init(address="local", **options)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """The package's weights, fewer of them."""
    return light_weights(tmp_path_factory.mktemp("light") / "weights")


@pytest.fixture(scope="session")
def named(dataset, tmp_path_factory):
    """Two phantoms whose headers are full of names."""
    folder = tmp_path_factory.mktemp("named") / "data"
    shutil.copytree(dataset, folder)
    for path in folder.glob("test_images/*/*/*.dcm"):
        file = pydicom.dcmread(path)
        for keyword, value in SECRETS.items():
            setattr(file, keyword, value)
        file.save_as(path)
    return folder


@pytest.fixture(scope="session")
def setting(named, weights, tmp_path_factory) -> Setting:
    """Six studies, links to two, with the grades of `predict`."""
    return prepare(named, tmp_path_factory.mktemp("setting"), studies=6, weights=weights, shard_studies=1)


@dataclass(frozen=True)
class Graded:
    """A finished run: what it did, where, the grades expected, and the study that was broken."""

    outcome: Outcome
    options: ArchiveOptions
    out: Path
    expected: Expected
    broken: str


@pytest.fixture(scope="session")
def graded(named, setting, ray_here, tmp_path_factory) -> Graded:
    """Three of these studies graded, the files of one of them no images."""
    folder = tmp_path_factory.mktemp("graded")
    data = multiply(named, folder / "data", studies=3)
    *_, broken = sorted(path.name for path in (data / "test_images").iterdir())
    for path in (data / "test_images" / broken).glob("*/*.dcm"):
        path.unlink()
        path.write_bytes(b"Secretfile, no image")
    out = folder / "out"
    options = ArchiveOptions(data=str(data), out=Folder.of(out), weights=setting.weights, shard_studies=2)
    expected = {name: grades for name, grades in setting.expected.items() if (data / "test_images" / name).is_dir()}
    return Graded(grade_archive(options), options, out, expected, broken)
