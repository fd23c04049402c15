"""Refuse every connection that leaves this machine; loaded by every Python process of a wheel-only environment.

An audit hook sees each socket call of the interpreter, cannot be removed and applies to child processes of the same
environment. It cannot see native code that opens sockets by itself, for which `benchmarks.kaggle.offline` has a network
namespace. The code keeps to the standard library, since it runs before anything else.
"""

from __future__ import annotations

import errno
import ipaddress
import sys
from typing import Any

CONNECTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
LOOKUPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname"})


def forbid_network() -> None:
    """Make every further connection or name lookup that is not loopback raise OSError (ENETUNREACH)."""
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """Raise for an event that would leave this machine; Unix and netlink sockets have no host and pass."""
    if event in CONNECTS:
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) and address else None
    elif event in LOOKUPS:
        host = arguments[0]
    else:
        return
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    if isinstance(host, str) and not _stays_here(host):
        raise OSError(errno.ENETUNREACH, f"the guard of this environment keeps the network off: {host}")


def _stays_here(host: str) -> bool:
    """Whether a host is this machine: no name, localhost, or a loopback or unspecified address."""
    if host in {"", "localhost"}:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


forbid_network()
