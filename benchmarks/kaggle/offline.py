"""An environment that holds nothing but the installed wheel, and commands in it with the network off.

    python -m benchmarks.kaggle.offline install FOLDER WHEEL     create or refresh the environment
    python -m benchmarks.kaggle.offline run COMMAND ...          run a command without a network

The environment borrows torch and the other libraries from the interpreter that creates it, by links that leave out
`lumbar_kernel`: what is imported there comes from the wheel, never from the checkout.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

PACKAGE = "lumbar_kernel"
ROOT = Path(__file__).resolve().parents[2]
QUIET_ENVIRONMENT = {
    "PIP_NO_INDEX": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "HF_HUB_OFFLINE": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
}
LEAKS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "JUPYTER_PATH")
PROBE = """
import errno, socket
for address in (("192.0.2.1", 443), ("1.1.1.1", 53)):
    try:
        socket.create_connection(address, timeout=5).close()
    except OSError as error:
        assert error.errno == errno.ENETUNREACH, f"{address}: expected an unreachable network, got {error!r}"
    else:
        raise AssertionError(f"the network is on: {address} answered")
"""
"""Fails where the network is on; a timeout does not count as off, since it proves nothing."""
CHILD_PROBE = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {PROBE!r}], check=True)"
"""The same in a child of the interpreter that runs it."""


def python_of(folder: Path) -> Path:
    """The interpreter of a wheel-only environment."""
    return folder.absolute() / "bin" / "python"


def make_environment(folder: Path) -> None:
    """Make a fresh environment that sees this interpreter's libraries, but neither this package nor the network.

    Args:
        folder: replaced when it exists.
    """
    venv.EnvBuilder(clear=True, symlinks=True, with_pip=False).create(folder)
    borrowed = folder / "borrowed"
    borrowed.mkdir()
    for entry in _libraries():
        (borrowed / entry.name).symlink_to(entry)
    site_packages = next((folder / "lib").glob("python*/site-packages"))
    shutil.copyfile(Path(__file__).with_name("guard.py"), site_packages / "network_guard.py")
    (site_packages / "borrowed.pth").write_text(f"{borrowed.absolute()}\nimport network_guard\n", encoding="utf-8")


def install(folder: Path, wheel: Path) -> None:
    """Create a wheel-only environment and install the wheel there, without an index.

    Raises:
        RuntimeError: the package can be imported before it is installed, or afterwards from somewhere else.
    """
    make_environment(folder)
    if found := imported_from(folder):
        msg = f"{PACKAGE} comes from {found} before the wheel is installed; take that copy off the path"
        raise RuntimeError(msg)
    options = ("-m", "pip", "install", "--quiet", "--no-index", "--no-deps")
    call: list[str | Path] = [python_of(folder), *options, wheel.absolute()]
    subprocess.run(without_network(call), check=True, cwd=folder, env=environment())
    found = imported_from(folder)
    if not found.startswith((str(folder.absolute()), str(folder.resolve()))):
        msg = f"{PACKAGE} was installed in {folder} but comes from {found or 'nowhere'}"
        raise RuntimeError(msg)


def imported_from(folder: Path) -> str:
    """The file that the package comes from in a wheel-only environment, empty when it cannot be imported there."""
    code = f"import {PACKAGE}; print({PACKAGE}.__file__)"
    call: list[str | Path] = [python_of(folder), "-c", code]
    return subprocess.run(call, cwd=folder, env=environment(), capture_output=True, text=True).stdout.strip()


@functools.cache
def namespace() -> tuple[str, ...]:
    """The prefix that puts a command in a network namespace with nothing but loopback; empty where forbidden."""
    unshare = ("unshare", "--map-root-user", "--net")
    prefix = (*unshare, "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
    if shutil.which("unshare") is None:
        return ()
    tried = subprocess.run([*prefix, "true"], capture_output=True)
    return prefix if tried.returncode == 0 else ()


def without_network(command: Sequence[str | Path]) -> list[str]:
    """The command without a network, as far as this machine allows.

    Where namespaces are forbidden, only the guard inside a wheel-only environment applies.
    """
    return [*namespace(), *map(str, command)]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's variables without those that let other code or a proxy in, with pip and hub set to offline."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in LEAKS and not name.lower().endswith("_proxy") and not name.startswith(("KAGGLE_", "LUMBAR_"))
    }
    return {**kept, **QUIET_ENVIRONMENT, **(extra or {})}


def check_offline(folder: Path) -> None:
    """Try to reach the network from a wheel-only environment and its child; raises CalledProcessError on success."""
    for code in (PROBE, CHILD_PROBE):
        subprocess.run(without_network([python_of(folder), "-c", code]), check=True, cwd=folder, env=environment())


def _libraries() -> list[Path]:
    """Everything in this interpreter's library folders but this package and files that extend the path."""
    found: dict[str, Path] = {}
    for folder in (Path(entry) for entry in sys.path if entry):
        if folder.name not in {"site-packages", "dist-packages"} or not folder.is_dir():
            continue
        for entry in sorted(folder.iterdir()):
            if not entry.name.startswith((PACKAGE, "__pycache__")) and entry.suffix != ".pth":
                found.setdefault(entry.name, entry.resolve())
    return list(found.values())


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="A wheel-only environment, without a network.")
    commands = parser.add_subparsers(dest="command", required=True)
    installer = commands.add_parser("install", help="make the environment and install the wheel")
    installer.add_argument("folder", type=Path)
    installer.add_argument("wheel", type=Path)
    runner = commands.add_parser("run", help="run a command without a network")
    runner.add_argument("line", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if arguments.command == "install":
        install(arguments.folder, arguments.wheel)
    else:
        line = without_network(arguments.line)
        os.execvpe(line[0], line, environment())


if __name__ == "__main__":
    main()
