from benchmarks.speed import data
from benchmarks.speed.data import dataset
from lumbar_kernel.dicom.discovery import find_studies


def test_studies_are_generated_once_and_repeated_beyond(tmp_path, monkeypatch):
    generated = []

    def write(folder, *, studies, **_):
        generated.append(studies)
        for number in range(studies):
            (folder / "test_images" / str(number) / "1").mkdir(parents=True)
            (folder / "test_images" / str(number) / "1" / "1.dcm").write_bytes(b"")
        rows = "".join(f"{number},1,Axial T2\n" for number in range(studies))
        (folder / "test_series_descriptions.csv").write_text(f"study_id,series_id,series_description\n{rows}")

    monkeypatch.setattr(data, "write_dataset", write)
    monkeypatch.setattr(data, "MAX_GENERATED", 3)
    (tmp_path / "phantoms_3.part" / "test_images" / "0" / "1").mkdir(parents=True)  # of a run that was interrupted
    (tmp_path / "repeated_7.part" / "test_images").mkdir(parents=True)
    first = dataset(tmp_path, studies=3)
    assert dataset(tmp_path, studies=3) == first
    assert len(find_studies(dataset(tmp_path, studies=7))) == 7
    assert generated == [3]
