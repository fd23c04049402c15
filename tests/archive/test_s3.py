"""An archive and its results in an S3-compatible store, where s3fs and the server of moto are installed."""

import os
import socket
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from benchmarks.robustness.archive_kills import faults_of

pytest.importorskip("s3fs", reason="s3fs is not installed")
pytest.importorskip("moto.server", reason="the server of moto is not installed")

pytestmark = pytest.mark.slow

START_SECONDS = 60.0


@pytest.fixture
def store(monkeypatch):
    """A server of one bucket; this process and those it starts find it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "FSSPEC_S3_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    import s3fs

    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        system = s3fs.S3FileSystem(endpoint_url=f"http://127.0.0.1:{port}", skip_instance_cache=True)
        system.mkdir("bucket")
        yield system
        server.terminate()


def test_an_archive_in_a_store_gets_the_same_grades_into_a_store(store, setting, tmp_path):
    names = sorted(setting.expected)[:2]
    for name in names:
        store.put(str(setting.data / "test_images" / name), f"bucket/data/{name}", recursive=True)
    words = ["archive", "s3://bucket/data", "--out", "s3://bucket/out", "--weights", str(setting.weights)]
    command = [sys.executable, "-m", "lumbar_kernel", *words, "--quiet", "--cores", "1"]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    store.get("bucket/out", str(tmp_path / "out"), recursive=True)
    assert pq.read_table(tmp_path / "out" / "index" / "studies").num_rows >= 6
    assert faults_of(tmp_path / "out", {name: setting.expected[name] for name in names}) == []
