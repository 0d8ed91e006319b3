"""Real talking faces, as they are and in the containers that people bring."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import pyarrow.parquet as pq
import pytest
from conftest import run_module


@pytest.mark.long
def test_every_split_of_the_real_clips_runs_with_the_papers_detector(
    grid_clips: Path, face_models: Path, tmp_path: Path
) -> None:
    result = run_module(
        "harness.loso",
        "corpus=csv_manifest",
        f"corpus.root={grid_clips}",
        "corpus.manifest=manifest.csv",
        "faces=ssd_resnet",
        f"faces.model_dir={face_models}",
        "training.audio_epochs=3",
        "training.visual_epochs=2",
        "training.fusion_epochs=3",
        "name=grid",
        "--json",
        cwd=tmp_path,
    )
    assert result.status == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["splits_done"], summary["splits_expected"]) == (10, 10)
    assert (summary["clips"], summary["coverage"]) == (11, 1.0)
    # Both clips with "place" are by one speaker: only where he is tested can't it be learned.
    assert summary["warnings"] == [
        "split loso-p7: no training clip of class place: it was never learned"
    ]
    (shards,) = (tmp_path / "data" / "shards").iterdir()
    outcomes = pq.read_table(shards / "outcomes").to_pylist()
    assert len(outcomes) == 11
    for outcome in outcomes:
        assert (outcome["status"], outcome["voice_found"]) == ("ok", True)
        assert outcome["missing_face_ratio"] == 0.0
        assert 0.2 < outcome["voice_end_s"] - outcome["voice_start_s"] < 3.0


def rewrap(source: Path, target: Path, *, fps: int, width: int, height: int) -> None:
    """Write a real clip once more as H.264 and AAC, at another size and frame rate."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        video = new.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "bf": "2"})
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        sound = new.add_stream("aac", rate=44100)
        pictures = list(old.decode(video=0))
        start = float(pictures[0].time or 0.0)
        wanted = 0
        for index, picture in enumerate(pictures):
            # Each picture stands until the next one: 30 frames a second repeat every fifth.
            while wanted / fps < (index + 1) / 25 - 1e-9:
                frame = picture.reformat(width, height, "yuv420p")
                frame.pts, frame.time_base = wanted, Fraction(1, fps)
                new.mux(video.encode(frame))
                wanted += 1
        new.mux(video.encode(None))
        old.seek(0)
        for block in old.decode(audio=0):
            block.pts = round((float(block.time or 0.0) - start) * 44100)
            block.time_base = Fraction(1, 44100)
            new.mux(sound.encode(block))
        new.mux(sound.encode(None))


@pytest.mark.long
@pytest.mark.parametrize("faces", ["haar", "ssd_resnet"])
def test_h264_and_aac_at_1080p_and_other_rates_give_the_same_voice_and_faces(
    grid_clips: Path, face_models: Path, tmp_path: Path, faces: str
) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    kinds = [("mp4", 25, 1920, 1080), ("mp4", 30, 1280, 720), ("mov", 30, 720, 576)]
    listed = ["path,subject,label"]
    for number, (suffix, fps, width, height) in enumerate(kinds):
        name = f"clip{number}.{suffix}"
        rewrap(grid_clips / "bbaf2n.mpg", clips / name, fps=fps, width=width, height=height)
        listed.append(f"{name},p{number},bin")
    (clips / "manifest.csv").write_text("\n".join(listed) + "\n")
    result = run_module(
        "pipelines.preprocess",
        "corpus=csv_manifest",
        f"corpus.root={clips}",
        f"faces={faces}",
        f"faces.model_dir={face_models}",
        cwd=tmp_path,
    )
    assert result.status == 0, result.stderr
    shards = Path(result.stdout.strip())
    outcomes = pq.read_table(shards / "outcomes").to_pylist()
    assert {outcome["status"] for outcome in outcomes} == {"ok"}
    for outcome in outcomes:
        assert outcome["voice_found"]
        assert outcome["missing_face_ratio"] <= 0.02
        # As found in the original MPEG-1, whose own clock starts a little before its picture.
        assert outcome["voice_start_s"] == pytest.approx(0.78, abs=0.12)
        assert outcome["voice_end_s"] == pytest.approx(2.30, abs=0.12)
