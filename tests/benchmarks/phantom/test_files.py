import shutil

import pydicom

from benchmarks.phantom import files
from lumbar_kernel.phantom import write_study
from lumbar_kernel.phantom.write import coordinate_rows


def test_labels_lead_back_to_the_truth_and_a_moved_header_shows(phantom, tmp_path):
    write_study(phantom, tmp_path)
    rows = coordinate_rows(phantom)
    assert not files.geometry(files.round_trips(tmp_path, rows, phantom.truth), 1).failed
    path = tmp_path / str(rows[0][1]) / f"{rows[0][2]}.dcm"
    header = pydicom.dcmread(path)
    header.ImagePositionPatient = [float(x) + 1 for x in header.ImagePositionPatient]
    header.save_as(path)
    assert [f.what for f in files.geometry(files.round_trips(tmp_path, rows, phantom.truth), 1).failed]


def test_a_changed_byte_shows(dataset, tmp_path):
    copy = shutil.copytree(dataset, tmp_path / "copy")
    assert files.tree_hashes(copy) == files.tree_hashes(dataset)
    path = next(copy.rglob("*.dcm"))
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    assert files.tree_hashes(copy) != files.tree_hashes(dataset)
