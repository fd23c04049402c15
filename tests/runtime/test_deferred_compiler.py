import subprocess
import sys

import pytest

from lumbar_kernel.runtime.deferred_compiler import COMPILER, UTILS

LOADED = f"""
import sys
def loaded():
    return hasattr(sys.modules.get({COMPILER!r}), "__file__")
from lumbar_kernel.runtime.deferred_compiler import defer_compiler
"""


def printed(lines: str) -> list[str]:
    """What a fresh process prints."""
    done = subprocess.run([sys.executable, "-c", LOADED + lines], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_all_that_grades_is_imported_and_computes_without_the_compiler():
    found = printed("""
defer_compiler()
import timm, torch
from lumbar_kernel.runtime import pipeline
from lumbar_kernel.models.checkpoints import load_models
from lumbar_kernel.models.inference import run_batch
models, failed = load_models(None, "cpu")
maps = run_batch(models.sagittal, torch.zeros(1, 1, 64, 64), combine=torch.cat)
print(len(failed), maps.isfinite().all().item(), loaded())
""")
    assert found == ["0", "True", "False"]


@pytest.mark.parametrize(
    "asked",
    [
        "import torch; print(torch.compile(lambda x: x + 1, backend='eager')(torch.ones(1)).item())",
        f"from {UTILS} import counters; print(2.0)",
        f"import {COMPILER}.config; import torch; torch._dynamo.reset(); print(2.0)",
    ],
)
def test_the_compiler_comes_when_it_is_asked_for(asked):
    first = "defer_compiler()\nimport timm\nbefore = loaded()\n"
    assert printed(first + asked + "\nprint(before, loaded())") == ["2.0", "False", "True"]


def test_looking_around_does_not_bring_it_and_who_deferred_it_sees_the_one_that_comes():
    found = printed(f"""
defer_compiler()
import timm
held = sys.modules[{UTILS!r}]
import torch
print("before", loaded())
for module in list(sys.modules.values()):
    hasattr(module, "__file__"), hasattr(module, "__wrapped__")
print("all modules", loaded())
def plain():
    pass
exempted = torch.compiler.disable(plain) is plain, torch.compiler.disable(recursive=False)(plain) is plain
print("exempted", *exempted, loaded())
torch._dynamo.reset()
print("asked", loaded())
print("same", held.counters is sys.modules[{UTILS!r}].counters, torch._dynamo.utils is sys.modules[{UTILS!r}])
""")
    assert " ".join(found) == ("before False all modules False exempted True True False asked True same True True")


def test_a_compiler_that_is_there_stays():
    assert printed(f"""
import {COMPILER}
before = sys.modules[{COMPILER!r}]
defer_compiler()
print(sys.modules[{COMPILER!r}] is before)
""") == ["True"]


def test_an_installation_without_torch_is_left_as_it_is():
    assert printed(f"""
sys.path[:] = [entry for entry in sys.path if "site-packages" not in entry]
defer_compiler()
print({COMPILER!r} in sys.modules)
""") == ["False"]
