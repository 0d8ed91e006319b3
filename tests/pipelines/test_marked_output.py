"""One log of a job holds what stdout and stderr hold, and how far each stage is."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

import pytest

from pipelines.jobs.client import _Lines, entrypoint, job_server
from pipelines.jobs.viewer import Viewer
from pipelines.marked_output import MarkedStderr, StageState, mark_stderr, parse
from pipelines.progress import Reporter


def begun(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Return the log of a job that has begun, in which this process is from now on."""
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    log.write("Ray speaks of its runtime environment\n")
    mark_stderr({"HARNESS_JOB": "1"})
    mark_stderr({"HARNESS_JOB": "1"})
    return log


def show(log: str, monkeypatch: pytest.MonkeyPatch, *, quiet: bool = False) -> tuple[str, str]:
    """Return stdout and stderr of who follows a job with this log."""
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    viewer = Viewer(Reporter(quiet=quiet))
    lines = _Lines(viewer.take)
    lines.add(log)
    lines.end()
    viewer.end()
    return out.getvalue(), err.getvalue()


def test_who_follows_sees_what_the_command_would_have_shown_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = begun(monkeypatch)
    reporter = Reporter()
    reporter.line("running on the Ray cluster")
    with reporter.stage("train", 2) as stage:
        stage.advance("s01 epoch 3")
        stage.advance()
    log.write('{"clip_accuracy": 1}\n')
    reporter.warn("MLflow did not take it")
    out, err = show(log.getvalue(), monkeypatch)
    assert out == '{"clip_accuracy": 1}\n'
    told = err.splitlines()
    assert told[0] == "running on the Ray cluster"
    assert told[1].startswith("train: 2 of 2 in 0.0 s")
    assert told[2:] == ["warning: MLflow did not take it"]


def test_a_stage_is_told_while_it_runs_and_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    log = begun(monkeypatch)
    with Reporter().stage("train", 3) as stage:
        stage.advance("s01 epoch 3")
    states = [parse(line).stage for line in log.getvalue().splitlines() if parse(line).kind == "P"]
    assert [(s.name, s.total, s.done, s.note, s.ended) for s in states] == [
        ("train", 3, 1, "s01 epoch 3", False),
        ("train", 3, 1, "s01 epoch 3", True),
    ]


def test_outside_a_job_nothing_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    err = io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)
    mark_stderr({})
    with Reporter().stage("train", 1) as stage:
        stage.advance()
    assert not isinstance(sys.stderr, MarkedStderr)
    assert "\x1f" not in err.getvalue()


def test_why_a_command_never_began_is_shown_and_ray_s_words_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = begun(monkeypatch)
    assert show("sh: 1: python: not found\n", monkeypatch) == ("", "sh: 1: python: not found\n")
    assert show(log.getvalue(), monkeypatch) == ("", "")


def test_a_log_that_comes_again_is_passed_on_once_however_it_is_cut() -> None:
    whole = "one\ntwo\nthree"
    for cut in range(len(whole) + 1):
        passed: list[str] = []
        lines = _Lines(passed.append)
        lines.begin()
        lines.add(whole[:cut])
        # The connection broke: all of it again, in other parts.
        lines.begin()
        for start in range(0, len(whole), 4):
            lines.add(whole[start : start + 4])
        lines.end()
        assert passed == ["one", "two", "three"], cut


@pytest.mark.parametrize(
    ("overrides", "address", "server"),
    [
        ([], "", None),
        ([], "10.0.0.1:6379", None),
        ([], "auto", None),
        ([], "http://127.0.0.1:8265", "RAY_ADDRESS (http://127.0.0.1:8265)"),
        (["seed=1"], "https://a.example.org", "RAY_ADDRESS (https://a.example.org)"),
        # A setting goes before the environment, and the last one before others.
        (["cluster.address=10.0.0.1:6379"], "http://127.0.0.1:8265", None),
        (["cluster.address=a:1", "cluster.address=http://b:2"], "", "cluster.address (http://b:2)"),
    ],
)
def test_a_job_server_is_told_by_its_address(
    overrides: Sequence[str], address: str, server: str | None
) -> None:
    told = job_server(overrides, {"RAY_ADDRESS": address} if address else {})
    assert (told and str(told)) == server


def test_the_job_is_this_command_less_what_says_where() -> None:
    told = ["corpus=rml", "--detach", "-q", "name=a b", "cluster.address=http://b:2", "x={a: [1]}"]
    assert entrypoint("harness.loso", told) == (
        "python -m harness.loso corpus=rml -q 'name=a b' 'x={a: [1]}'"
    )


def test_a_state_is_one_line_whatever_its_note() -> None:
    log = io.StringIO()
    state = StageState("train", 2, 1, 0.5, note="a\nb \x1f é")
    MarkedStderr(log).tell_stage(state)
    (line,) = log.getvalue().splitlines()
    assert parse(line).stage == state
