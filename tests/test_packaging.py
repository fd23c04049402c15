"""The wheel, the data set folder around it and the environment that proves them."""

import csv
import hashlib
import io
import os
import re
import subprocess
import sys
import zipfile

import pytest
import yaml
from packaging.metadata import Metadata

import build_wheel
from lumbar_kernel import __version__
from tests.conftest import ROOT, write_weights


@pytest.fixture
def weights(tmp_path):
    return write_weights(tmp_path / "weights", member=b"m" * 300, localiser=b"l" * 200)


def test_matching_weights_pass(weights):
    (weights / "MODEL_CARD.md").write_text("for people")
    build_wheel.check_weights(weights)


@pytest.mark.parametrize("damage", ["missing", "changed", "longer", "stray", "no manifest"])
def test_weights_that_differ_from_the_manifest_are_refused(weights, damage):
    file = weights / "localiser.safetensors"
    if damage == "missing":
        file.unlink()
    elif damage == "stray":
        (weights / "old.safetensors").write_bytes(b"x")
    elif damage == "no manifest":
        (weights / "manifest.json").unlink()
    else:
        file.write_bytes(b"x" * (200 if damage == "changed" else 201))
    with pytest.raises(build_wheel.BuildError, match=r"localiser|old|manifest\.json"):
        build_wheel.check_weights(weights)


def test_weights_over_the_limits_are_refused(weights, monkeypatch):
    monkeypatch.setattr(build_wheel, "MAX_FILE", 250)
    with pytest.raises(build_wheel.BuildError, match=r"member\.safetensors holds 300 bytes"):
        build_wheel.check_weights(weights)
    monkeypatch.setattr(build_wheel, "MAX_FILE", 300)
    monkeypatch.setattr(build_wheel, "MAX_SUM", 499)
    with pytest.raises(build_wheel.BuildError, match="500 bytes"):
        build_wheel.check_weights(weights)


@pytest.mark.skipif(not (ROOT / "weights" / "manifest.json").is_file(), reason="no weights yet in this checkout")
def test_the_weights_of_this_checkout_match_their_manifest():
    build_wheel.check_weights(ROOT / "weights")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("lumbar_kernel comes from elsewhere"),
        subprocess.CalledProcessError(1, ["pip"]),
        ValueError("submission.csv is empty"),
    ],
    ids=["foreign", "command", "submission"],
)
def test_whatever_the_proof_finds_ends_the_build_with_a_message(tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(build_wheel.offline, "install", fail)
    with pytest.raises(build_wheel.BuildError, match=re.escape(str(error))):
        build_wheel.prove(tmp_path / "any.whl")


def test_a_wrong_owner_is_refused_before_the_build(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build_wheel, "build", lambda *_: pytest.fail("nothing must be built"))
    monkeypatch.setattr(sys, "argv", ["build_wheel", "--owner", "Jane Doe", "--out", str(tmp_path)])
    assert build_wheel.main() == 1
    assert "'Jane Doe' is not a Kaggle user name" in capsys.readouterr().err


def test_the_wheel_is_pure_and_holds_the_package_and_its_weights(wheel):
    assert wheel.name.endswith("-py3-none-any.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lumbar_kernel").rglob("*.py")}
    weights = {f"lumbar_kernel/weights/{name}" for name in ("manifest.json", "member.safetensors")}
    assert modules | weights | {"lumbar_kernel/py.typed"} <= names
    assert not [name for name in names if name.startswith(("tests", "training", "benchmarks")) or "__pycache__" in name]


def test_two_builds_are_the_same_bytes(project, wheel, tmp_path):
    for path in (project / "lumbar_kernel").rglob("*.py"):
        os.utime(path, (1, 1))
    again = build_wheel.build(project, tmp_path)
    assert again.read_bytes() == wheel.read_bytes()


def test_record_names_every_member_with_its_hash_and_stands_last(wheel):
    build_wheel.check_wheel(wheel)
    archive = zipfile.ZipFile(wheel)
    record = archive.namelist()[-1]
    assert record.endswith(".dist-info/RECORD")
    assert {row[0] for row in csv.reader(io.StringIO(archive.read(record).decode()))} == set(archive.namelist())


def test_a_wheel_that_differs_from_its_record_is_refused(wheel, tmp_path):
    changed = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name) + (b"#" if name == "lumbar_kernel/schema.py" else b""))
    with pytest.raises(build_wheel.BuildError, match=r"schema\.py"):
        build_wheel.check_wheel(changed)


def test_the_wheel_requires_nothing_by_itself(wheel):
    archive = zipfile.ZipFile(wheel)
    metadata = next(archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA"))
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    assert required
    assert all("extra == " in line for line in required)


def test_checksums_cover_the_data_set(wheel):
    folder = wheel.parent
    sums = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert sums == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in sums}
    assert set(sums) | {"SHA256SUMS"} == {path.name for path in folder.iterdir()}


def test_without_an_owner_nothing_can_be_uploaded_by_mistake(wheel):
    assert not (wheel.parent / "dataset-metadata.json").exists()
    assert not [path for path in wheel.parent.iterdir() if path.is_dir()]


def test_a_new_build_leaves_no_older_wheel_behind(project, wheel, tmp_path):
    stale = tmp_path / "kaggle-dataset" / "lumbar_kernel-0.0.1-py3-none-any.whl"
    stale.parent.mkdir()
    stale.write_bytes(b"old")
    build_wheel.build(project, tmp_path)
    assert [path.name for path in stale.parent.glob("*.whl")] == [wheel.name]


def test_the_metadata_are_what_package_indexes_accept(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(item for item in archive.namelist() if item.endswith(".dist-info/METADATA"))
        text = archive.read(name)
    metadata = Metadata.from_email(text, validate=True)  # refuses fields that an index refuses
    assert str(metadata.version) == __version__
    assert metadata.license_expression == "Apache-2.0 AND CC-BY-NC-4.0"
    assert not [item for item in metadata.classifiers if item.startswith("License ::")]
    assert "Typing :: Typed" in metadata.classifiers
    assert {"runtime", "dicom", "dev"} <= set(metadata.provides_extra)
    assert not [item for item in metadata.requires_dist if item.marker is None], "the wheel itself requires nothing"
    assert metadata.description_content_type == "text/markdown"


def test_the_project_file_is_valid():
    done = subprocess.run([sys.executable, "-m", "validate_pyproject", ROOT / "pyproject.toml"], capture_output=True)
    assert done.returncode == 0, done.stdout


def test_the_schema_of_the_report_is_in_the_wheel(wheel):
    assert "lumbar_kernel/results/report.schema.json" in zipfile.ZipFile(wheel).namelist()


def test_the_citation_is_complete_and_of_this_version():
    """The fields that the Citation File Format 1.2.0 requires, and those that must agree with the project."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert str(citation["version"]) == __version__
    assert all(author.get("name") or author.get("family-names") for author in citation["authors"])


def test_the_changelog_begins_with_this_version_after_what_is_unreleased():
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert next(heading for heading in headings if heading != "Unreleased") == __version__
    assert "Unreleased" not in headings[1:]
