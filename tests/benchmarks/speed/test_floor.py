from benchmarks.speed import floor as floor_module
from benchmarks.speed.floor import count_pictures, decode_all, floor, picture_seconds
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.models.manifest import read_manifest
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from lumbar_kernel.views import VIEWS


def test_every_pass_of_the_studies_is_counted(dataset, monkeypatch):
    monkeypatch.delattr(floor_module, "load_models")  # networks are not needed for their names
    files = find_studies(dataset)
    studies = [read_study(item) for item in files]
    count = count_pictures(files)
    assert count["sagittal"] == sum(len(study.slices(role)) for study in studies for role in (SAGITTAL_T1, SAGITTAL_T2))
    assert count["axial"] == 5 * sum(bool(study.slices(AXIAL_T2)) for study in studies)
    slices = VIEWS["sagittal_t1"].geometry.slices
    assert count["foraminal_t1_lite"] == 10 * slices * sum(bool(study.slices(SAGITTAL_T1)) for study in studies)
    assert set(count) == {"sagittal", "axial", *(spec.name for spec in read_manifest(None).members)}


def test_the_floor_adds_decoding_and_arithmetic(dataset, monkeypatch):
    files = find_studies(dataset)
    monkeypatch.setattr(floor_module, "process_pool", _InThisProcess)
    monkeypatch.setattr(floor_module, "picture_seconds", lambda _: dict.fromkeys(count_pictures(files[:1]), 0.25))
    least = floor(files, cores=2)
    assert least.network_seconds == sum(least.pictures.values()) * 0.25 / 2
    assert least.seconds == least.decode_seconds + least.network_seconds
    assert 0 < least.decode_seconds < 10


class _InThisProcess:
    """Stands in for a pool of processes."""

    def __init__(self, _):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    map = staticmethod(map)


def test_each_kind_of_network_is_timed(monkeypatch):
    monkeypatch.setattr(floor_module, "SECONDS_EACH", 0.01)
    monkeypatch.setattr(floor_module, "BATCHES", (1,))
    assert all(0 < seconds < 10 for seconds in picture_seconds(0).values())


def test_all_pixels_are_decoded(dataset):
    (files,) = find_studies(dataset)[:1]
    paths = [path for series in files.series for path in series.paths]
    pixels = sum(item.pixels.size for series in read_study(files).series for item in series.slices)
    assert decode_all(paths) >= pixels
