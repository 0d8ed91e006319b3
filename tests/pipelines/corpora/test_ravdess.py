"""RAVDESS: the name says all; takes without sound or picture are never mixed in."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from corpus_trees import by_id, counts, plant, ravdess_paths, reasons

from pipelines.corpora.listing import read_corpus
from pipelines.corpora.ravdess import RavdessConfig
from pipelines.corpora.tree import CorpusListing
from pipelines.errors import UsageError

EMOTIONS = ["neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust", "surprise"]


def read(root: Path, **settings: Any) -> CorpusListing:
    return read_corpus(RavdessConfig(root=str(root), **settings))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Speech and song, each with its modalities."""
    root = tmp_path_factory.mktemp("corpora") / "RAVDESS"
    for modality in ("01", "02", "03"):
        for channel in ("01", "02"):
            plant(root, ravdess_paths(modality, channel))
    return root


def test_speech_alone_is_read_unless_song_is_asked_for(whole: Path) -> None:
    listing = read(whole)
    assert len(listing.clips) == 1440
    assert counts(listing.clips, "subject") == {f"{n:02d}": 60 for n in range(1, 25)}
    spoken = {e: 96 if e == "neutral" else 192 for e in EMOTIONS}
    assert counts(listing.clips, "emotion") == spoken
    assert listing.irregular == ()
    song = read(whole, vocal_channel="song")
    assert counts(song.clips, "subject") == {f"{n:02d}": 44 for n in range(1, 25) if n != 18}
    sung = {e: 92 if e == "neutral" else 184 for e in EMOTIONS[:6]}
    assert counts(song.clips, "emotion") == sung
    assert song.irregular == ()
    both = read(whole, vocal_channel="both")
    assert len(both.clips) == 1440 + 1012
    assert both.irregular == ()


def test_what_is_left_out_has_a_reason_for_each_of_its_files(whole: Path) -> None:
    listing = read(whole)
    assert Counter(reasons(listing.left_out).values()) == {
        "song: corpus.vocal_channel is speech": 1012,
        "video alone (modality 02): the same takes as the audio-video files": 1440 + 1012,
        "sound alone: clips are read from video files": 1440 + 1012,
    }


def test_people_behind_links_that_lead_out_are_not_missing_unseen(tmp_path: Path) -> None:
    plant(tmp_path / "disk", ravdess_paths("01", "01"))
    root = tmp_path / "RAVDESS"
    root.mkdir()
    actors = sorted((tmp_path / "disk").rglob("Actor_*"))
    for actor in actors[:20]:
        actor.rename(root / actor.name)
    for actor in actors[20:]:
        (root / actor.name).symlink_to(actor)
    named = ", ".join(actor.name for actor in actors[20:])
    with pytest.raises(UsageError, match=rf"^links lead out of corpus\.root .*: {named}; follow"):
        read(root)
    assert len(read(root, outside_links=True).clips) == 1440


def test_a_name_says_all_of_a_clip(whole: Path) -> None:
    clip = by_id(read(whole))["Actor_12/01-01-06-01-02-01-12"]
    assert (clip.subject, clip.emotion, clip.sentence, clip.take) == ("12", "fear", "02", "01")
    assert clip.attributes == {"sex": "female", "level": "normal", "vocal_channel": "speech"}
    clip = by_id(read(whole))["Actor_11/01-01-02-02-01-02-11"]
    assert (clip.emotion, clip.sentence, clip.take) == ("calm", "01", "02")
    assert clip.attributes == {"sex": "male", "level": "strong", "vocal_channel": "speech"}


@pytest.mark.parametrize(
    "folder", ["", "actor_05/", "Video_Speech_Actor_05/Actor_05/", "RAVDESS/ACTOR 5/"]
)
def test_the_folders_around_do_not_matter(folder: str, tmp_path: Path) -> None:
    listing = read(plant(tmp_path, [f"{folder}01-01-03-02-01-01-05.mp4"]))
    ((clip_id, clip),) = by_id(listing).items()
    assert clip_id == f"{folder}01-01-03-02-01-01-05"
    assert (clip.subject, clip.emotion) == ("05", "happiness")
    assert not [remark for remark in listing.irregular if remark.path]


def test_a_clip_in_the_folder_of_another_actor_is_said_and_its_name_believed(
    tmp_path: Path,
) -> None:
    listing = read(plant(tmp_path, ["Actor_05/01-01-03-02-01-01-06.mp4"]))
    assert listing.clips[0].subject == "06"
    (remark,) = [remark for remark in listing.irregular if remark.path]
    assert remark.what == "named for actor 06 in the folder of actor 05: the name is believed"


def test_unknown_codes_and_names_are_left_out_and_copies_counted_once(tmp_path: Path) -> None:
    good = "Actor_01/01-01-03-01-01-01-01.mp4"
    unknown = "its name holds an unknown modality, channel or emotion"
    wrong = {
        "Actor_01/01-01-09-01-01-01-01.mp4": unknown,
        "Actor_01/01-03-03-01-01-01-01.mp4": unknown,
        "Actor_01/04-01-03-01-01-01-01.mp4": unknown,
        "Actor_01/03-01-03-01-01-01-01.mp4": (
            "sound alone (modality 03): the same takes as the audio-video files"
        ),
        "Actor_01/01-01-03-01-01-01.mp4": "its name is not of seven numbers (01-01-01-01-01-01-01)",
        "Video_Speech_Actor_01/Actor_01/01-01-03-01-01-01-01.mp4": (
            "a second copy: a file of the same name and size is used"
        ),
    }
    listing = read(plant(tmp_path, [good, *wrong]))
    assert list(by_id(listing)) == [good[:-4]]
    assert reasons(listing.left_out) == wrong


def test_a_tree_of_sound_alone_is_refused_with_what_is_there(tmp_path: Path) -> None:
    plant(tmp_path, ["Actor_01/03-01-03-01-01-01-01.wav"])
    with pytest.raises(UsageError, match=r"found 1 \.wav; Actor_01/.*: sound alone"):
        read(tmp_path)
