"""The worked example is run as its page has it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import clean_environment

PAGE = Path(__file__).parents[1] / "docs" / "worked_example.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LEFT_OUT = "..."


def steps() -> list[tuple[str, list[str]]]:
    """Commands in their order, each with the lines that the page says it prints."""
    found: list[tuple[str, list[str]]] = []
    for language, text in BLOCK.findall(PAGE.read_text()):
        for line in text.splitlines() if not language else ():
            if line.startswith("$ "):
                found.append((line.removeprefix("$ "), []))
            elif line and line != LEFT_OUT:
                found[-1][1].append(line)
    return found


def program() -> str:
    (text,) = (text for language, text in BLOCK.findall(PAGE.read_text()) if language == "python")
    return str(text)


def opening(line: str) -> str:
    """What of a line is the same on every machine: the words before its first number or path."""
    return re.split(r"[-+]?\d|/home", line, maxsplit=1)[0]


@pytest.mark.long
def test_every_command_of_the_page_does_and_says_what_the_page_has(tmp_path: Path) -> None:
    (tmp_path / "manifest.py").write_text(program())
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    commands = steps()
    assert len(commands) > 8
    for command, expected in commands:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=clean_environment(PATH=path),
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        said = (done.stdout + done.stderr).splitlines()
        for line in expected:
            assert any(each.startswith(opening(line)) for each in said), f"{command}: {line}"
    for left in ("anger.png", "moved.png", "runs/audio/report.html", "runs/both/figures"):
        assert (tmp_path / left).exists()
