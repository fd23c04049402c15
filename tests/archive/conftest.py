"""Ray on two cores, and one archive graded on it: headers full of what must not get out, a study that is broken."""

from __future__ import annotations

import gc
import logging
import shutil
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pydicom
import pytest

from benchmarks.kaggle.multiply import multiply
from benchmarks.robustness.archive_kills import Expected, Setting, break_studies, prepare
from benchmarks.robustness.light_weights import light_weights

ray = pytest.importorskip("ray", reason="ray is not installed; the extra archive brings it")
pytest.importorskip("pyarrow", reason="pyarrow is not installed; the extra archive brings it")
fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed; the extra archive brings it")

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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # of the processes that were given up
            gc.collect()
    else:
        ray.init(address="local", **options)
    yield
    ray.shutdown()


@pytest.fixture
def store():
    """A store in memory, empty before and after."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


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


BROKEN_WITH = ("bits of the header", "cut", "tags gone", "no file")
"""Some kinds of damage of `benchmarks.robustness.mutations`; all of them are run by `benchmarks.archive broken`."""


@dataclass(frozen=True)
class Graded:
    """A finished run: what it did, where, the grades expected, the study without images, and those broken otherwise."""

    outcome: Outcome
    options: ArchiveOptions
    out: Path
    expected: Expected
    no_images: str
    damaged: Mapping[str, str]

    @property
    def broken(self) -> frozenset[str]:
        """The studies that are not intact."""
        return frozenset([self.no_images, *self.damaged])


@pytest.fixture(scope="session")
def graded(named, setting, ray_here, tmp_path_factory) -> Graded:
    """Two intact studies graded beside five broken ones."""
    folder = tmp_path_factory.mktemp("graded")
    data = multiply(named, folder / "data", studies=3 + len(BROKEN_WITH))
    *studies, no_images = sorted(path.name for path in (data / "test_images").iterdir())
    for path in (data / "test_images" / no_images).glob("*/*.dcm"):
        path.unlink()
        path.write_bytes(b"Secretfile, no image")
    to_break = {name: setting.expected[min(setting.expected)] for name in studies[2:]}
    damaged = break_studies(replace(setting, data=data, expected=to_break), kinds=BROKEN_WITH)
    out = folder / "out"
    options = ArchiveOptions(data=str(data), out=Folder.of(out), weights=setting.weights, shard_studies=2)
    intact = {name: setting.expected[name] for name in studies[:2]}
    return Graded(grade_archive(options), options, out, {**to_break, **intact}, no_images, damaged)
