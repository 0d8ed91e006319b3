"""Shards are kept for years under the version of the arithmetic that made them.

The facts below belong to the version beside them. Where one of them comes out otherwise, the same
clip gives other shards than before: raise `ARITHMETIC_VERSION`, and pin what comes out now
(`python tests/pipelines/test_arithmetic_version.py`). They are compared within what another CPU's
last bits may change.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.faces import FacesConfig
from pipelines.mfcc import MfccConfig
from pipelines.preprocess_config import PreprocessConfig
from pipelines.process import ClipProcessor
from pipelines.records import Clip
from pipelines.segments import SegmentsConfig
from pipelines.shards import ARITHMETIC_VERSION, ShardFolder
from pipelines.vad import VadConfig

PINNED = Path(__file__).with_name("arithmetic_facts.json")
FORMS: dict[str, dict[str, Any]] = {
    "as it was played.avi": {},
    "sixty frames a second.avi": {"fps": 60},
    "gated.avi": {"gate": 0.02},
    "noisy.avi": {"noise": 0.02},
    "offset.avi": {"offset": 0.1},
}


def facts(folder: Path) -> dict[str, Any]:
    """Return what a few clips come to, from the voice to the crops."""
    from performances import record, take

    played = take(3)
    found: dict[str, Any] = {}
    with ClipProcessor(
        ShardFolder(folder),
        vad=VadConfig(),
        mfcc=MfccConfig(),
        faces=FacesConfig(),
        segments=SegmentsConfig(),
        preprocess=PreprocessConfig(),
    ) as processor:
        for name, form in FORMS.items():
            samples = played.samples.astype(np.float64) + form.get("offset", 0.0)
            if "noise" in form:
                samples += np.random.default_rng(0).normal(0, form["noise"], samples.size)
            if "gate" in form:
                samples[np.abs(samples) < form["gate"]] = 0.0
            fps = form.get("fps", 30)
            path = record(
                folder / name,
                np.repeat(played.pictures, fps // 30, axis=0),
                samples.astype(np.float32),
                video="mpeg4",
                audio="pcm_s16le",
                fps=fps,
            )
            result = processor.compute(Clip(clip_id=name, path=str(path), subject="s", emotion="e"))
            assert result.frames is not None, result.outcome
            assert result.sound is not None
            found[name] = {
                "voice_s": [result.outcome.voice_start_s, result.outcome.voice_end_s],
                "reason": result.outcome.reason,
                "frames": result.outcome.frames,
                "frame_times_s": float(result.frames.times_s.sum()),
                "segment_starts_s": [segment.start_s for segment in result.segments],
                "frame_indices": [int(s.frame_indices.sum()) for s in result.segments],
                "words": result.sound.words.astype(">u4").tobytes().hex(),
                "boxes": result.frames.boxes.mean(axis=0).astype(float).tolist(),
                "crops": float(result.frames.crops.mean()),
                "voiced": float(np.mean([s.pitch_hz > 0 for s in result.segments])),
                "pitch_hz": float(np.mean([s.pitch_hz.astype(float) for s in result.segments])),
                "energy_db": [float(s.energy_db.astype(float).mean()) for s in result.segments],
                "audio_images": [
                    np.abs(s.mfcc.astype(float)).mean(axis=(0, 1)).tolist() for s in result.segments
                ],
            }
    return found


def test_the_same_clips_give_what_belongs_to_this_version(tmp_path: Path) -> None:
    pinned = json.loads(PINNED.read_text())
    assert pinned["version"] == ARITHMETIC_VERSION
    found = facts(tmp_path)
    assert found.keys() == pinned["facts"].keys()
    for name, before in pinned["facts"].items():
        now = found[name]
        for exact in ("reason", "frames", "frame_indices"):
            assert now[exact] == before[exact], (name, exact)
        for key, tolerance in (
            ("voice_s", 1e-6),
            ("frame_times_s", 1e-4),
            ("segment_starts_s", 1e-6),
            ("boxes", 0.3),
            ("crops", 0.3),
            ("voiced", 0.01),
            ("pitch_hz", 1.0),
            ("energy_db", 0.01),
        ):
            np.testing.assert_allclose(now[key], before[key], atol=tolerance, err_msg=name)
        np.testing.assert_allclose(
            now["audio_images"], before["audio_images"], rtol=5e-3, err_msg=name
        )
        words, kept = (np.frombuffer(bytes.fromhex(t["words"]), np.uint8) for t in (now, before))
        assert np.bitwise_count(words ^ kept).sum() < 0.002 * 8 * len(kept), name


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    with tempfile.TemporaryDirectory() as made:
        pin = {"version": ARITHMETIC_VERSION, "facts": facts(Path(made))}
    PINNED.write_text(json.dumps(pin, indent=1, sort_keys=True) + "\n")
