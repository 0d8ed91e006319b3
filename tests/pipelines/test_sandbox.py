from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from media_files import write_clip

from pipelines.decode import ClipReader, DecodeError
from pipelines.sandbox import Sandbox


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(
        tmp_path_factory.mktemp("media") / "clip.avi", video="mpeg4", audio="pcm_s16le"
    )


def child_of(sandbox: Sandbox) -> int:
    assert sandbox.child_pid is not None
    return sandbox.child_pid


def gone(process: int) -> bool:
    """Whether a process has ended; one that only waits to be collected has."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return True
    return status.rsplit(")", 1)[1].split()[0] == "Z"


def ends_within(process: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if gone(process):
            return True
        time.sleep(0.05)
    return False


def test_what_comes_out_is_what_the_reader_gives(clip: Path) -> None:
    reader = ClipReader(clip)
    with Sandbox(30) as sandbox:
        info = sandbox.open(clip, 60)
        np.testing.assert_array_equal(info.frame_times_s, reader.info.frame_times_s)
        assert (info.width, info.height) == (160, 120)
        for rate in (None, 16000):
            samples, actual = sandbox.audio(rate)
            expected, expected_rate = reader.audio(rate)
            assert actual == expected_rate
            np.testing.assert_array_equal(samples, expected)
        wanted = np.array([3, 40, 3], dtype=np.int32)
        np.testing.assert_array_equal(sandbox.frames(wanted), reader.frames(wanted))
        assert sandbox.frames([]).shape == (0, 120, 160, 3)
        pictures = sandbox.frames([0])
        pictures[0, 0, 0] = 7  # a caller may write into what it was given
    reader.close()


def test_refusals_come_through_and_the_child_goes_on(clip: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.avi"
    half.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    empty = tmp_path / "empty.avi"
    empty.touch()
    text = tmp_path / "text.avi"
    text.write_text("no film\n" * 1000)
    silent = write_clip(tmp_path / "silent.avi", video="mpeg4", audio=None)
    blind = write_clip(tmp_path / "blind.avi", video=None, audio="pcm_s16le")
    expected = {
        half: "truncated",
        empty: "empty_file",
        text: "not_media",
        silent: "no_audio",
        blind: "no_video",
        tmp_path / "nowhere.avi": "missing_file",
    }
    with Sandbox(30) as sandbox:
        sandbox.open(clip)
        child = child_of(sandbox)
        for path, reason in expected.items():
            with pytest.raises(DecodeError) as refusal:
                sandbox.open(path)
            assert refusal.value.reason == reason
            with pytest.raises(DecodeError, match="no clip is open"):
                sandbox.audio()
        assert len(sandbox.open(clip).frame_times_s) == 50
        assert sandbox.child_pid == child


def test_a_clip_that_is_too_long_is_refused_in_the_child(clip: Path) -> None:
    with Sandbox(30) as sandbox, pytest.raises(DecodeError, match="too_long"):
        sandbox.open(clip, max_seconds=1)


def test_a_child_that_hangs_is_killed_and_the_next_clip_gets_another(clip: Path) -> None:
    with Sandbox(0.5) as sandbox:
        sandbox.open(clip)
        child = child_of(sandbox)
        os.kill(child, signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(DecodeError) as refusal:
            sandbox.audio(16000)
        assert refusal.value.reason == "time_limit"
        assert time.monotonic() - started < 3
        assert gone(child)
        assert len(sandbox.open(clip).frame_times_s) == 50
        assert sandbox.child_pid != child


def test_the_time_limit_is_for_all_calls_of_a_clip_together(clip: Path) -> None:
    with Sandbox(1.5) as sandbox:
        sandbox.open(clip)
        child = child_of(sandbox)
        os.kill(child, signal.SIGSTOP)
        threading.Timer(0.9, os.kill, (child, signal.SIGCONT)).start()
        sandbox.audio()  # takes 0.9 s of the 1.5 s
        os.kill(child, signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(DecodeError, match="time_limit"):
            sandbox.audio()
        assert time.monotonic() - started < 1.2


@pytest.mark.parametrize("deadly", [signal.SIGKILL, signal.SIGSEGV])
def test_a_child_that_dies_once_costs_nothing(clip: Path, deadly: signal.Signals) -> None:
    whole = ClipReader(clip)
    with Sandbox(30) as sandbox:
        sandbox.open(clip)
        child = child_of(sandbox)
        os.kill(child, signal.SIGSTOP)  # so that it cannot answer before it dies
        os.kill(child, deadly)
        threading.Timer(0.2, go_on, (child,)).start()
        np.testing.assert_array_equal(sandbox.frames([0, 1]), whole.frames([0, 1]))
        assert sandbox.child_pid != child
        assert sandbox.audio(16000)[0].size == 32000
    whole.close()


def go_on(process: int) -> None:
    """Let a stopped process take its signals."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGCONT)


def test_a_clip_on_which_the_child_dies_twice_is_told_with_the_signal(clip: Path) -> None:
    with Sandbox(30) as sandbox:
        sandbox.open(clip)
        first = child_of(sandbox)
        os.kill(first, signal.SIGKILL)
        killer = threading.Thread(target=kill_the_next_child, args=(sandbox, first))
        killer.start()
        with pytest.raises(DecodeError) as refusal:
            ask_often(sandbox)
        killer.join()
        assert refusal.value.reason == "decoder_crashed"
        assert "SIGKILL" in refusal.value.detail
        with pytest.raises(RuntimeError, match="call open first"):
            sandbox.audio()
        assert len(sandbox.open(clip).frame_times_s) == 50


def kill_the_next_child(sandbox: Sandbox, former: int) -> None:
    while sandbox.child_pid in (None, former):
        time.sleep(0.01)
    os.kill(child_of(sandbox), signal.SIGKILL)


def ask_often(sandbox: Sandbox) -> None:
    for _ in range(10_000):
        sandbox.frames([0, 1])


PLANT = """
import sys
if "pipelines.sandbox_child" in sys.orig_argv:
    import ctypes, time
    import numpy
    from pipelines.decode.reader import ClipReader
    read = ClipReader.__init__
    def plant(self, path, *arguments):
        ordered = len(arguments) == 3 and arguments[2]
        name = path.rpartition("/")[2]
        if name == "segfault.avi" or name == "decord fault.avi" and not ordered:
            ctypes.string_at(0)
        if name == "hang.avi":
            time.sleep(600)
        if name == "hungry.avi":
            numpy.ones(2**33)
        read(self, path, *arguments)
    ClipReader.__init__ = plant
"""


@pytest.fixture
def planted(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose clips are good, and misused in the child by their names."""
    (tmp_path / "sitecustomize.py").write_text(PLANT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for name in ("good", "segfault", "decord fault", "hang", "hungry"):
        (tmp_path / f"{name}.avi").write_bytes(clip.read_bytes())
    return tmp_path


def test_a_clip_that_crashes_or_hangs_its_decoder_costs_itself_alone(planted: Path) -> None:
    with Sandbox(3) as sandbox:

        def reason_of(name: str) -> str:
            try:
                count = len(sandbox.open(planted / f"{name}.avi").frame_times_s)
            except DecodeError as refusal:
                return str(refusal)
            return f"{count} frames"

        assert "decoder_crashed: twice: killed by SIGSEGV" in reason_of("segfault")
        assert reason_of("good") == "50 frames"
        assert reason_of("decord fault") == "50 frames"
        assert "too_large" in reason_of("hungry")
        assert reason_of("good") == "50 frames"
        assert "time_limit" in reason_of("hang")
        assert reason_of("good") == "50 frames"


def test_an_answer_that_stops_half_way_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.sandbox._STALL_LIMIT_S", 1)
    large = write_clip(tmp_path / "large.avi", video="mpeg4", width=1280, height=720)
    with Sandbox(60) as sandbox:
        sandbox.open(large)
        child = child_of(sandbox)
        # Its first bytes have come, and 138 MB don't fit into a socket.
        connection = sandbox._child._connection  # type: ignore[union-attr]
        poll = connection.poll

        def stop_then_poll(limit_s: float) -> bool:
            answered = poll(limit_s)
            os.kill(child, signal.SIGSTOP)
            return answered

        monkeypatch.setattr(connection, "poll", stop_then_poll)
        with pytest.raises(DecodeError, match="time_limit"):
            sandbox.frames(range(50))
        assert gone(child)


def test_a_child_that_died_between_clips_costs_no_clip(clip: Path) -> None:
    with Sandbox(30) as sandbox:
        sandbox.open(clip)
        child = child_of(sandbox)
        os.kill(child, signal.SIGSEGV)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # dead, and left for the sandbox
        assert len(sandbox.open(clip).frame_times_s) == 50


def test_the_child_is_replaced_after_its_share_of_clips(clip: Path) -> None:
    with Sandbox(30, clips_per_child=2) as sandbox:
        children = []
        for _ in range(4):
            sandbox.open(clip)
            children.append(child_of(sandbox))
    assert children[0] == children[1] != children[2] == children[3]
    assert all(gone(child) for child in children)


def test_closing_ends_the_child(clip: Path) -> None:
    sandbox = Sandbox(30)
    sandbox.open(clip)
    child = child_of(sandbox)
    sandbox.close()
    assert gone(child)
    assert sandbox.child_pid is None
    sandbox.close()


PARENT = """
import sys, threading, time
from pipelines.sandbox import Sandbox
def work():
    sandbox = Sandbox(600)
    sandbox.open(sys.argv[1])
    print(sandbox.child_pid, flush=True)
    time.sleep(600)
if sys.argv[2] == "main":
    work()
else:
    threading.Thread(target=work).start()
"""


@pytest.mark.parametrize("thread", ["main", "other"])
def test_the_child_dies_with_its_parent_even_while_it_is_busy(clip: Path, thread: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(clip), thread], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert not gone(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert ends_within(child, 10)


def test_a_child_that_cannot_answer_is_killed_with_its_parent(clip: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(clip), "main"], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.kill(child, signal.SIGSTOP)  # deaf to the closed socket, as in a decoder's endless loop
    parent.kill()
    parent.wait()
    parent.stdout.close()
    died = ends_within(child, 10)
    if not died:
        os.kill(child, signal.SIGKILL)
    assert died


def test_the_child_starts_whatever_folder_the_parent_works_in(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "av.py").write_text("raise SystemExit('the wrong av')\n")
    monkeypatch.chdir(tmp_path)
    with Sandbox(30) as sandbox:
        assert sandbox.open(clip).frame_rate == 25
