"""Every command of the pages: the cheap ones run, the costly ones go as far as their own parser.

Those of the quick start and of the page on outputs run in order on phantoms (`slow`), except for `git`, `pip` and
`make`. `make` is asked what it would do; modules of `training` and `benchmarks` and the client of Kaggle parse their
arguments and stop; of `pip` the wheel's name and extras are compared with the project.
"""

import argparse
import importlib
import json
import os
import re
import shlex
import subprocess
import sys

import pytest
from packaging.requirements import Requirement

from lumbar_kernel import __version__
from lumbar_kernel.__main__ import main
from tests.conftest import ROOT

PAGES = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "weights" / "README.md")
PROGRAMS = ("lumbar-kernel", "python", "make", "kaggle", "pip", "git", "cd")
FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
MENTIONS = {"lumbar-kernel": 2, "python": 3, "make": 1, "kaggle": 3, "pip": 1, "git": 1, "cd": 1}
"""Words up to which a span of text only names a command."""


def console_blocks(page):
    """The blocks of commands of a page, line by line."""
    return [body.splitlines() for language, body in FENCE.findall(page.read_text()) if language == "console"]


def commands(page):
    """The commands of a page: lines of blocks, and spans of the text that hold more than a name."""
    prose = FENCE.sub("", page.read_text())
    lines = [line for block in console_blocks(page) for line in block]
    lines += re.findall(r"^ {4,}(\S.*)$", prose, re.MULTILINE)
    spans = [span for span in re.findall(r"`([^`\n]+)`", prose) if "…" not in span]
    for text, is_line in [*((line, True) for line in lines), *((span, False) for span in spans)]:
        if text.split()[0] not in PROGRAMS or "COMMAND" in text:
            continue
        words = shlex.split(re.sub(r"<[^>]*>", "PLACE", text), comments=True)
        words = ["3" if word in ("N", "S") else word for word in words]
        if is_line or len(words) > MENTIONS[words[0]]:
            yield words


ALL = sorted({tuple(words) for page in PAGES for words in commands(page)})
of_program = {program: [words for words in ALL if words[0] == program] for program in PROGRAMS}
named = {"ids": " ".join}


class Parsed(Exception):  # noqa: N818 - not an error
    """The arguments of a command were accepted."""


@pytest.fixture
def parse_only(monkeypatch):
    """Lets every parser of arguments stop the command once it has accepted them."""
    real = argparse.ArgumentParser.parse_args

    def parse(self, *arguments):
        raise Parsed(real(self, *arguments))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)


def test_commands_are_found():
    assert len(ALL) > 60
    assert all(of_program[program] for program in PROGRAMS)


@pytest.mark.parametrize("words", of_program["lumbar-kernel"], **named)
def test_the_command_line_accepts(words, parse_only):
    with pytest.raises(Parsed):
        main(list(words[1:]))


@pytest.mark.parametrize("words", of_program["python"], **named)
def test_modules_accept(words, parse_only, monkeypatch):
    _, flag, module, *arguments = words
    assert flag == "-m"
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    with pytest.raises(Parsed):
        importlib.import_module(module).main()


@pytest.mark.parametrize("words", of_program["make"], **named)
def test_make_knows_the_targets_and_their_variables(words):
    makefile = (ROOT / "Makefile").read_text()
    for name in (word.partition("=")[0] for word in words if "=" in word):
        assert f"$({name})" in makefile, name
    done = subprocess.run([*words, "--dry-run"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the client of Kaggle needs Python 3.11")
def test_the_client_of_kaggle_accepts():
    code = (
        "import argparse, json, sys\n"
        "from kaggle import cli\n"
        "real = argparse.ArgumentParser.parse_args\n"
        "class Parsed(Exception): pass\n"
        "def parse(self, *arguments):\n"
        "    raise Parsed(real(self, *arguments))\n"
        "argparse.ArgumentParser.parse_args = parse\n"
        "for words in json.load(sys.stdin):\n"
        "    sys.argv = words\n"
        "    try:\n"
        "        cli.main()\n"
        "    except Parsed:\n"
        "        print('accepted')\n"
    )

    variables = {**os.environ, "KAGGLE_USERNAME": "jane", "KAGGLE_KEY": "0" * 32}
    typed = json.dumps(of_program["kaggle"])
    done = subprocess.run([sys.executable, "-c", code], input=typed, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["accepted"] * len(of_program["kaggle"])


@pytest.mark.parametrize("words", of_program["pip"], **named)
def test_pip_would_find_the_wheel_and_its_extras(words):
    tomllib = pytest.importorskip("tomllib")  # since Python 3.11
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert words[1] == "install"
    for word in words[2:]:
        if ".whl" in word:
            name, _, wanted = word.rstrip("]").partition("[")
            assert name == f"lumbar_kernel-{__version__}-py3-none-any.whl"
            assert set(wanted.split(",")) <= set(extras)
        else:
            requirement = Requirement(word)
            assert requirement.name != "lumbar-kernel" or requirement.extras <= set(extras)


def test_the_walks_of_the_quick_start_are_short():
    clone, wheel, _ = console_blocks(ROOT / "docs" / "quick-start.md")
    assert [line.split()[0] for line in clone] == ["git", "cd", "make"]
    assert clone[-1] == "make replay"
    assert [line.split()[:2] for line in wheel] == [["pip", "install"], ["lumbar-kernel", "predict"]]


@pytest.mark.slow
def test_the_quick_start_and_the_page_on_outputs_run(dataset, tmp_path, monkeypatch, capsys):
    (tmp_path / "studies").symlink_to(dataset)
    monkeypatch.chdir(tmp_path)
    outputs = ROOT / "docs" / "outputs.md"
    lines = [line for block in console_blocks(ROOT / "docs" / "quick-start.md") for line in block]
    ran = [shlex.split(line) for line in lines if line.startswith("lumbar-kernel ")]
    ran += [words for words in commands(outputs) if words[:2] == ["lumbar-kernel", "sr"]]
    assert len(ran) == 6
    for words in ran:
        assert main(list(words[1:])) == 0, words
    said = capsys.readouterr().out
    assert "all studies graded" in said
    assert "mean" in said
    blocks = [body for language, body in FENCE.findall(outputs.read_text()) if language == "python"]
    assert len(blocks) == 2
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    for block in blocks:
        command = [sys.executable, "-c", block]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert done.stdout
