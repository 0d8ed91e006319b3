"""What holds of every corpus: clips in order, found where they are said to be, named alike."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from corpus_trees import enterface_paths, plant, ravdess_paths, reasons, rml_paths, savee_names

from pipelines.corpora.listing import CORPORA, is_made, read_corpus
from pipelines.corpora.rml import RmlConfig
from pipelines.errors import UsageError
from pipelines.records import from_row, to_row

TREES = {
    "crema_d": [f"VideoFlash/{n}_DFA_ANG_XX.flv" for n in range(1001, 1012)],
    "enterface05": list(enterface_paths()),
    "ravdess": list(ravdess_paths()),
    "rml": list(rml_paths()),
    "savee": [f"{s}/{n}.avi" for s in ("DC", "JE", "JK", "KL") for n in savee_names()],
}
WORDS = {"anger", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"}


@pytest.mark.parametrize("name", TREES)
def test_clips_of_every_corpus_are_in_order_found_and_named_alike(
    name: str, tmp_path: Path
) -> None:
    plant(tmp_path, TREES[name])
    listing = read_corpus(CORPORA[name].settings(root=str(tmp_path)))
    ids = [clip.clip_id for clip in listing.clips]
    assert ids == sorted(set(ids))
    for clip in listing.clips:
        assert clip.path.startswith(f"{tmp_path}/{clip.clip_id}.")
        assert Path(clip.path).is_file()
        assert clip.corpus == name
        assert clip.emotion in WORDS
        assert from_row(to_row(clip)) == clip
    used = {clip.path for clip in listing.clips}
    unused = {str(tmp_path / remark.path) for remark in listing.left_out}
    assert used | unused == {str(path) for path in tmp_path.rglob("*") if path.is_file()}
    assert not used & unused


def test_only_the_synthetic_corpus_is_made_here() -> None:
    assert [name for name, corpus in CORPORA.items() if is_made(corpus.settings())] == ["synthetic"]


def test_a_file_whose_name_is_not_utf_8_is_left_out(tmp_path: Path) -> None:
    plant(tmp_path, ["s1/an1.avi"])
    folder = os.fsencode(tmp_path / "s1")
    os.link(folder + b"/an1.avi", folder + b"/an2\xff.avi")
    listing = read_corpus(RmlConfig(root=str(tmp_path)))
    assert [clip.clip_id for clip in listing.clips] == ["s1/an1"]
    assert reasons(listing.left_out) == {"s1/an2�.avi": "its name is not UTF-8: rename it"}


def test_an_address_of_object_storage_stays_what_it_is_in_a_row() -> None:
    clip = read_corpus(CORPORA["synthetic"].settings()).clips[0]
    row = to_row(clip)
    assert Path(row["path"]).is_absolute()
    assert from_row({**row, "path": "s3://bucket/a.avi"}).path == "s3://bucket/a.avi"


def test_settings_of_no_corpus_are_refused() -> None:
    with pytest.raises(UsageError, match="is none of: crema_d, csv_manifest, "):
        read_corpus(object())
