"""SAVEE: four men, in folders of their own or in one."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_trees import by_id, counts, plant, reasons, savee_names

from pipelines.corpora.listing import read_corpus
from pipelines.corpora.savee import SaveeConfig
from pipelines.corpora.tree import CorpusListing
from pipelines.errors import UsageError

SPEAKERS = ("DC", "JE", "JK", "KL")
EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")


def read(root: Path) -> CorpusListing:
    return read_corpus(SaveeConfig(root=str(root)))


@pytest.mark.parametrize(
    "layout",
    [
        "AudioVisualClip/{0}/{1}.avi",
        "{0}/{1}.avi",
        "{0}_{1}.avi",
        "all/{0}_{1}.mp4",
        "{0}/{0}_{1}.mkv",
    ],
)
def test_480_clips_of_4_men_in_any_layout(layout: str, tmp_path: Path) -> None:
    paths = [layout.format(speaker, name) for speaker in SPEAKERS for name in savee_names()]
    listing = read(plant(tmp_path, paths))
    assert counts(listing.clips, "subject") == dict.fromkeys(SPEAKERS, 120)
    assert counts(listing.clips, "emotion") == {**dict.fromkeys(EMOTIONS, 60), "neutral": 120}
    assert {clip.attributes["sex"] for clip in listing.clips} == {"male"}
    assert (listing.left_out, listing.irregular) == ((), ())
    clip = by_id(listing)[layout.format("JK", "sa04").rpartition(".")[0]]
    assert (clip.subject, clip.emotion, clip.sentence) == ("JK", "sadness", "sadness/04")


def test_codes_of_one_and_two_letters_are_not_confused(tmp_path: Path) -> None:
    listing = read(plant(tmp_path, [f"dc/{code}01.avi" for code in ("a", "sa", "su", "n")]))
    assert {clip.clip_id: clip.emotion for clip in listing.clips} == {
        "dc/a01": "anger",
        "dc/n01": "neutral",
        "dc/sa01": "sadness",
        "dc/su01": "surprise",
    }
    assert {clip.subject for clip in listing.clips} == {"DC"}


def test_each_file_that_is_no_clip_is_left_out_with_its_reason(tmp_path: Path) -> None:
    code = "its name is no emotion's code (a, d, f, h, n, sa, su) and a number"
    wrong = {
        "DC/s01.avi": code,
        "DC/x01.avi": code,
        "DC/a.avi": code,
        "a02.avi": "neither its name nor one folder says who speaks (DC, JE, JK, KL)",
        "XY/a02.avi": "neither its name nor one folder says who speaks (DC, JE, JK, KL)",
        "AudioData/DC/a01.wav": "sound alone: clips are read from video files",
        "copy/DC/a01.avi": "a second copy: a file of the same name and size is used",
    }
    listing = read(plant(tmp_path, ["DC/a01.avi", *wrong]))
    assert list(by_id(listing)) == ["DC/a01"]
    assert reasons(listing.left_out) == wrong


def test_a_clip_in_the_folder_of_another_man_is_said_and_its_name_believed(
    tmp_path: Path,
) -> None:
    listing = read(plant(tmp_path, ["DC/KL_h05.avi"]))
    assert listing.clips[0].subject == "KL"
    (remark,) = [remark for remark in listing.irregular if remark.path]
    assert remark.what == "named for KL in the folder of DC: the name is believed"


def test_a_tree_without_a_clip_says_what_was_expected(tmp_path: Path) -> None:
    plant(tmp_path, ["a01.avi"])
    with pytest.raises(UsageError, match="expected the speakers' folders DC, JE, JK and KL"):
        read(tmp_path)
