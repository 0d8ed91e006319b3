"""One clip as a picture: by id or by path, good or broken, on the clip's own clock."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from conftest import run_module
from media_files import write_clip

from pipelines.clip_picture import MOST_ROWS, draw_clip
from pipelines.decode import MediaInfo
from pipelines.inspect import main
from pipelines.process import ClipResult, Sound
from pipelines.records import ClipOutcome, Segment
from pipelines.shard_tables import ClipFrames

VOICE_BGR = (78, 157, 42)
Picture = npt.NDArray[np.uint8]


def read(path: Path) -> Picture:
    picture = cv2.imread(str(path))
    assert picture is not None, f"{path} is no picture"
    return np.asarray(picture, np.uint8)


def columns_of(picture: Picture, colour: tuple[int, int, int]) -> npt.NDArray[np.intp]:
    """Columns where at least fifty pixels have about this colour."""
    near = np.abs(picture.astype(int) - colour).max(axis=2) < 12
    return np.flatnonzero(near.sum(axis=0) >= 50)


def test_a_clip_of_the_corpus_is_drawn_with_its_voice_where_the_outcome_says(
    tmp_path: Path,
) -> None:
    result = run_module(
        "pipelines.inspect", "s02/fear_1", "--json", "vad.after_s=0.1", cwd=tmp_path
    )
    assert result.status == 0, result.stderr
    outcome = json.loads(result.stdout)
    assert (outcome["clip_id"], outcome["status"]) == ("s02/fear_1", "ok")
    assert outcome["picture"] == "fear_1.png"
    assert result.stderr == "s02/fear_1: ok\n"
    assert not (tmp_path / "data" / "shards").exists()
    truth_path = next(tmp_path.rglob("fear_1.truth.json"))
    truth = json.loads(truth_path.read_text())
    picture = read(tmp_path / "fear_1.png")
    edges = columns_of(picture, VOICE_BGR)
    # The time axis goes from 1.65 inches on the left to 0.2 on the right, at 100 pixels each.
    width = picture.shape[1] - 185
    times = (edges[[0, -1]] - 165) / width * truth["frames"] / 30
    assert times[0] == pytest.approx(truth["voice_start_s"] - 0.2, abs=0.08)
    assert times[1] == pytest.approx(truth["voice_end_s"] + 0.1, abs=0.08)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the command in this process; -v leaves stderr as it is."""
    status = main(["-v", *arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_a_file_that_is_no_clip_says_why_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.avi").write_text("This is a text.\n" * 100)
    status, out, err = run(capsys, "text.avi")
    assert (status, out) == (1, "")
    assert err.startswith("text: failed: not_media")
    assert err.count("\n") == 1
    assert not Path("text.png").exists()


def test_a_clip_without_a_face_is_drawn_as_far_as_it_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(Path("empty.avi"), video="mpeg4", audio="pcm_s16le")
    status, out, err = run(capsys, "empty.avi", "--out", "seen.png")
    assert (status, out) == (1, "seen.png\n")
    assert err.startswith("empty: dropped: no_face")
    assert err.count("\n") == 1
    picture = read(Path("seen.png"))
    assert columns_of(picture, VOICE_BGR).size
    # Its frames are shown instead of crops: bright ones among dark ones, in the last row.
    strip = picture[-70:-40, 165:900].astype(int)
    assert ((strip < 40).mean() > 0.2) & ((strip > 215).mean() > 0.2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["s01/angr_1"], "CLIP (s01/angr_1) is neither a file nor one of the 72 clips of the "
         "corpus synthetic: did you mean s01/anger_1?"),
        (["clip.avi", "--out", "clip.jpg"], "--out (clip.jpg) must end with .png"),
        (["clip.avi", "--out", "a/clip.png"], "--out (a/clip.png): the folder a does not exist"),
        (["clip.avi", "vad.floor=3"], "vad.floor is not a setting: did you mean vad.floor_db?"),
        (["clip.avi"], "clip.png exists and was not made by this command: name another file with "
         "--out"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_request_is_said_in_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(Path("clip.avi"), video="mpeg4", audio="pcm_s16le")
    Path("clip.png").write_bytes(b"somebody's own picture")
    assert run(capsys, *arguments) == (2, "", f"error: {said}\n")
    assert Path("clip.png").read_bytes() == b"somebody's own picture"


def test_its_own_picture_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(Path("clip.avi"), video="mpeg4", audio="pcm_s16le")
    assert run(capsys, "clip.avi")[1] == "clip.png\n"
    first = Path("clip.png").read_bytes()
    assert run(capsys, "clip.avi")[1] == "clip.png\n"
    assert Path("clip.png").read_bytes() == first
    run(capsys, "clip.avi", "vad=off")
    assert Path("clip.png").read_bytes() != first


def made_up(segments: int) -> ClipResult:
    """A clip whose crop k is of grey level 5 k, and whose frame 3 has no face."""
    frames = max(50, 8 * segments + 20)
    times = np.arange(frames) / 25
    crops = np.repeat(np.arange(frames) * 5 % 250, 227 * 227 * 3).astype(np.uint8)
    return ClipResult(
        ClipOutcome(
            clip_id="a", subject="s", emotion="fear", status="ok", voice_found=True,
            voice_end_s=1.0, frames=frames, segments=segments,
        ),
        ClipFrames(
            times_s=times,
            crops=crops.reshape(-1, 227, 227, 3),
            boxes=np.zeros((frames, 4), np.float32),
            detected=np.arange(frames) != 3,
        ),
        [
            Segment(
                clip_id="a", segment_index=index, start_s=0.3 * index,
                mfcc=np.zeros((64, 64, 3), np.float16),
                frame_indices=np.clip(np.arange(20) + 8 * index - 1, 0, None).astype(np.int32),
                pitch_hz=np.zeros(64, np.float16),
                energy_db=np.zeros(64, np.float16),
            )
            for index in range(segments)
        ],
        MediaInfo(227, 227, times, 16000, 0.0, None, False, 25.0),
        Sound(np.zeros(16000, np.float32), 16000, 0.0),
    )  # fmt: skip


def drawn(result: ClipResult, path: Path) -> Picture:
    draw_clip(result, rescaling="row", segment_s=0.655).savefig(path)
    return read(path)


def test_each_segment_has_a_row_of_its_own_20_crops_in_order(tmp_path: Path) -> None:
    picture = drawn(made_up(2), tmp_path / "a.png")
    # Two rows, 61 pixels apart, stand 32 above the bottom; crops are 56 wide and high.
    lines = [picture.shape[0] - 32 - 61 * (2 - row) for row in range(2)]
    for row, expected in enumerate((range(-1, 19), range(7, 27))):
        crops = [picture[lines[row] + 28, 363 + 56 * k + 28].tolist() for k in range(20)]
        for k, frame in enumerate(expected):
            level = 5 * max(frame, 0)
            repeated = row == 0 and k == 1  # frame 0 is shown a second time
            assert crops[k] == [level // 3 + 170 if repeated else level] * 3, (row, k)
            edge = picture[lines[row] + 2, 363 + 56 * k + 28].tolist()
            assert (edge[2] > edge[0] + 100) == (frame == 3), (row, k)


def test_of_a_long_clip_the_first_segments_are_drawn_and_the_others_counted() -> None:
    few, most, many = (
        draw_clip(made_up(count), rescaling="row", segment_s=0.655)
        for count in (MOST_ROWS - 1, MOST_ROWS, MOST_ROWS + 9)
    )
    assert few.get_figheight() < most.get_figheight() == many.get_figheight()
    said = [text.get_text() for text in many.texts]
    assert "and 9 more segments, up to 6.66 s: not drawn here" in said
    assert not [text for text in most.texts if "more segments" in text.get_text()]
