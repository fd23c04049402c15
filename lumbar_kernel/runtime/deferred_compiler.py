"""torch's compiler, imported when something asks for it instead of with timm.

Importing timm and torchvision imports `torch._dynamo`, of which they want two names: a decorator that exempts a
function from compilation, and whether a device has a compiler. That takes a third of the start of a process, and
nothing here compiles.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

COMPILER, UTILS = "torch._dynamo", "torch._dynamo.utils"


def defer_compiler() -> None:
    """Answer those two names without the compiler in this process; call it before torch is imported.

    Asking for anything else imports it. Functions that were exempted before are not exempted then, so this is for
    processes that only run networks.
    """
    torch = find_spec("torch")
    if torch is None or torch.origin is None or COMPILER in sys.modules:
        return
    compiler, utils = _Deferred(COMPILER), _Deferred(UTILS)
    compiler.__path__ = [str(Path(torch.origin).with_name("_dynamo"))]  # its other modules are found as usual
    compiler.disable = _exempt  # type: ignore[attr-defined]
    compiler.utils = utils  # type: ignore[attr-defined]
    utils.is_compile_supported = lambda device_type: False  # type: ignore[attr-defined]
    sys.modules |= {COMPILER: compiler, UTILS: utils}


class _Deferred(ModuleType):
    """A module that is replaced by the one of its name when it lacks what is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked of every module by whoever goes through all of them
            raise AttributeError(name)
        for module in (COMPILER, UTILS):
            if isinstance(sys.modules.get(module), _Deferred):
                del sys.modules[module]
        return getattr(import_module(self.__name__), name)


def _exempt(function: Callable[..., Any] | None = None, *_: object, **__: object) -> Callable[..., Any]:
    """The function as it is; without one, a decorator that does the same."""
    return _exempt if function is None else function
