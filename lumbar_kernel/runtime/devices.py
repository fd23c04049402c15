"""The devices that grade: those requested that compute a real operation correctly, else the processor."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from lumbar_kernel.errors import ConfigError
from lumbar_kernel.processes import KILLED_SECONDS, spawn_context

logger = logging.getLogger(__name__)

CPU = "cpu"
AUTO = "auto"
DRIVERS = ("libcuda.so.1", "nvcuda.dll")

PROBE_SECONDS = 120.0
"""Time limit of the probe; importing torch from a cold disk and starting a driver take tens of seconds."""

TOLERANCE = 2e-2
"""Largest relative difference of a convolution from the processor's: TF32 keeps ten bits."""


@dataclass(frozen=True)
class Devices:
    """Names of the devices that work, at least one, and of those that do not with the reason."""

    working: tuple[str, ...]
    broken: Mapping[str, str] = field(default_factory=dict)

    def require(self, requested: str) -> None:
        """Refuse a run whose user named a device that does not work; `auto` takes those that do.

        Raises:
            ConfigError: naming the devices and the reasons.
        """
        if self.broken and requested != AUTO:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.broken.items())
            msg = f"the device asked for does not work ({reasons}); `auto` takes those that do"
            raise ConfigError(msg)


def find_devices(requested: str, *, seconds: float = PROBE_SECONDS) -> Devices:
    """The devices for a run, probed in a separate process, so that a driver that hangs or crashes is reported broken.

    A daemonic process, such as those of `multiprocessing.Pool`, probes by itself.

    Args:
        requested: "auto", or names such as "cpu", "cuda", "cuda:1", separated by commas; a device named twice gets two
            workers.
        seconds: time limit of the probe.
    """
    if set(requested.split(",")) == {CPU} or (requested == AUTO and not _has_driver()):
        return Devices((CPU,) if requested == AUTO else tuple(requested.split(",")))
    if multiprocessing.current_process().daemon:  # which may start no process
        return check_devices(requested)
    context = spawn_context()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_devices, args=(requested, sender), daemon=True)
    try:
        process.start()
    except OSError as error:
        receiver.close()
        return Devices((CPU,), {requested: f"no process can be started to probe it: {error}"})
    finally:
        sender.close()
    found, reason = None, f"the probe did not answer within {seconds:.0f} s"
    try:
        if receiver.poll(seconds):
            found = receiver.recv()
    except EOFError:
        process.join(1.0)
        reason = f"the probe died with exit code {process.exitcode}"
    finally:
        receiver.close()
        process.kill()
        process.join(KILLED_SECONDS)  # a driver may keep even a killed process
    return found or Devices((CPU,), {requested: reason})


def check_devices(
    requested: str, *, count: Callable[[], int] | None = None, fault: Callable[[str], str | None] | None = None
) -> Devices:
    """The requested devices that pass the probe.

    Args:
        requested: as for `find_devices`.
        count: how many CUDA devices there are; torch is asked when None.
        fault: why a device does not work, None when it does; `device_fault` when None.
    """
    names = requested.split(",")
    if requested == AUTO:
        names = [f"cuda:{number}" for number in range((count or _cuda_count)())]
    reasons = {name: (fault or device_fault)(name) for name in dict.fromkeys(names) if name != CPU}
    broken = {name: reason for name, reason in reasons.items() if reason is not None}
    return Devices(tuple(name for name in names if name not in broken) or (CPU,), broken)


def device_fault(name: str) -> str | None:
    """Why a device does not compute a convolution as the processor does, None when it does.

    An old card may be reported as available and still fail at its first kernel.
    """
    import torch

    try:
        picture = torch.linspace(-1, 1, 2 * 8 * 16 * 16).reshape(2, 8, 16, 16)
        filters = torch.linspace(-1, 1, 4 * 8 * 3 * 3).reshape(4, 8, 3, 3).cos()
        expected = torch.nn.functional.conv2d(picture, filters)
        computed = torch.nn.functional.conv2d(picture.to(name), filters.to(name)).cpu()  # copying waits for the device
    except (RuntimeError, AssertionError) as error:
        return " ".join(str(error).split())[:200]
    difference = float((computed - expected).abs().max() / expected.abs().max())
    return None if difference <= TOLERANCE else f"a convolution is off by {difference:.3g} of its size"


def _cuda_count() -> int:
    import torch

    return torch.cuda.device_count()


def _has_driver() -> bool:
    """Whether the driver of an accelerator is installed; asking torch would import it on every machine."""
    for name in DRIVERS:
        with suppress(OSError):
            ctypes.CDLL(name)
            return True
    return False


def _send_devices(requested: str, sender: Connection) -> None:
    sender.send(check_devices(requested))
