import hashlib
import hmac
from types import SimpleNamespace

import pyarrow as pa
import pytest

from lumbar_kernel.archive import ids as ids_module
from lumbar_kernel.archive.ids import AS_THEY_ARE, Ids, IdSet, hash64, read_ids
from lumbar_kernel.errors import ConfigError


def test_ids_stay_as_they_are_without_a_key():
    assert read_ids(None) is AS_THEY_ARE
    assert AS_THEY_ARE.published("1.2.3") == "1.2.3"
    assert AS_THEY_ARE.fingerprint == ""


def test_hashes_follow_from_id_and_key_alone(tmp_path):
    (tmp_path / "key").write_bytes(b"0123456789abcdef\n")
    ids = read_ids(tmp_path / "key")
    assert ids == Ids(b"0123456789abcdef")
    assert ids.published("1.2.3") == Ids(b"0123456789abcdef").published("1.2.3")
    assert len({ids.published("1.2.3"), ids.published("1.2.4"), Ids(b"x" * 16).published("1.2.3"), "1.2.3"}) == 4
    assert ids.published("") == ""
    assert ids.fingerprint != Ids(b"x" * 16).fingerprint
    assert "0123" not in ids.fingerprint


def test_whoever_has_the_key_finds_a_study_again():
    key = b"0123456789abcdef"
    assert Ids(key).published("1.2.3") == hmac.new(key, b"1.2.3", hashlib.sha256).hexdigest()[:32]


@pytest.mark.parametrize("content", [None, b"short", b"               short        ", b"x" * 15])
def test_a_key_that_is_no_secret_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigError, match="key of ids"):
        read_ids(tmp_path / "key")


def test_a_set_of_ids_holds_each_once():
    ids = IdSet.of([["b", "a"], [], ["a", "c"]])
    assert len(ids) == 3
    assert [name in ids for name in ("a", "b", "c", "d")] == [True, True, True, False]
    assert len(ids & IdSet.of([["c", "d"]])) == 1
    assert len(IdSet.of([])) == 0
    assert "a" not in IdSet.of([])


def test_a_set_of_ids_chooses_rows():
    rows = pa.record_batch({"study_id": ["a", "b", "a", "c"], "value": [1, 2, 3, 4]})
    assert IdSet.of([["a", "c"]]).rows_of(rows)["value"].to_pylist() == [1, 3, 4]
    assert IdSet.of([]).rows_of(rows).num_rows == 0


@pytest.mark.parametrize(("name", "expected"), [("1.2.3", 15126846397147187743), ("d\udcfcse", 5851139717345183475)])
def test_hashes_of_names_never_change_or_an_interrupted_index_cannot_go_on(name, expected):
    assert hash64(name) == expected


def test_no_name_has_the_hash_that_stands_for_several(monkeypatch):
    nothing = SimpleNamespace(digest=lambda: bytes(8))
    monkeypatch.setattr(ids_module, "hashlib", SimpleNamespace(blake2b=lambda *_, **__: nothing))
    assert hash64("1.2.3") == 1
