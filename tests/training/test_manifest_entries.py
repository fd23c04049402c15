from lumbar_kernel.models.manifest import read_manifest
from training import manifest_entries


def test_entries_come_back_as_they_were_written_and_the_kernel_reads_them(untrained, tmp_path):
    entries = manifest_entries.read(untrained)
    manifest_entries.write(tmp_path, entries)
    assert manifest_entries.read(tmp_path) == entries
    assert read_manifest(tmp_path).members == read_manifest(untrained).members


def test_a_manifest_begins_with_every_entry_that_the_kernel_needs(untrained):
    needed = set(manifest_entries.read(untrained)) - {"stage_seconds"}
    assert needed <= set(manifest_entries.empty())
