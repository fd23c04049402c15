import argparse
import errno
import io
import sys
from pathlib import Path

import pytest

from lumbar_kernel.commands.options import add_command, add_data, picture_file, say


class Terminal(io.TextIOWrapper):
    """A terminal that shows ASCII only."""

    def __init__(self):
        super().__init__(io.BytesIO(), encoding="ascii")


def test_a_line_is_shown_on_every_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    say("caf\xe9 \udcff")
    terminal.flush()
    assert terminal.buffer.getvalue() == b"caf\\xe9 \\udcff\n"


class Unread(io.StringIO):
    """A pipe whose reader has ended, or another stream that takes nothing."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def write(self, _):
        raise OSError(self.number, "not taken")


def test_a_line_that_nobody_reads_is_no_error_but_one_that_finds_no_room_is(monkeypatch):
    for number in (errno.EPIPE, errno.EIO):
        monkeypatch.setattr(sys, "stdout", Unread(number))
        say("line")
    monkeypatch.setattr(sys, "stdout", Unread(errno.ENOSPC))
    with pytest.raises(OSError, match="not taken"):
        say("line")


@pytest.mark.parametrize("name", ["sheet", "sheet.gif"])
def test_a_picture_in_a_format_that_is_not_drawn_is_refused_by_the_parser(name, capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument("--png", type=picture_file)
    assert parser.parse_args(["--png", "a/sheet.jpg"]).png == Path("a/sheet.jpg")
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["--png", name])
    assert "must end in .png or .jpg" in capsys.readouterr().err


def test_errors_go_where_errors_belong(capsys):
    say("wrong", to_error=True)
    assert capsys.readouterr() == ("", "wrong\n")


def test_a_command_brings_its_help_and_its_function(capsys):
    parser = argparse.ArgumentParser(prog="tool")
    commands = parser.add_subparsers()
    add_data(
        add_command(commands, "look", lambda chosen: len(chosen.series), brief="a look", description="One.\n\nTwo.")
    )
    chosen = parser.parse_args(["look", "folder", "--series", "1=t1", "--series", "2=axial"])
    assert chosen.command(chosen) == 2
    with pytest.raises(SystemExit, match="0"):
        parser.parse_args(["look", "--help"])
    assert "One.\n\nTwo." in capsys.readouterr().out
