import subprocess

from benchmarks.kaggle import offline


def test_the_guard_alone_refuses_addresses_and_names(wheel_only):
    lookup = "import socket; socket.getaddrinfo('example.invalid', 443)"
    for code in (
        offline.PROBE,
        f"try:\n    {lookup}\nexcept OSError as error:\n    assert 'guard' in str(error), error",
    ):
        subprocess.run([offline.python_of(wheel_only), "-c", code], check=True)


def test_the_guard_lets_loopback_through(wheel_only):
    code = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname())"
    subprocess.run([offline.python_of(wheel_only), "-c", code], check=True)
