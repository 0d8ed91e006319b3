"""CREMA-D: actor, sentence, emotion and level by name, the person by the authors' table."""

from __future__ import annotations

from collections import Counter
from itertools import product
from pathlib import Path

import pytest
from corpus_trees import by_id, counts, plant, reasons

from pipelines.corpora.crema_d import CremaDConfig
from pipelines.corpora.listing import read_corpus
from pipelines.corpora.tree import CorpusListing
from pipelines.errors import UsageError

EMOTIONS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
TABLE = (
    '"ActorID","Age","Sex","Race","Ethnicity"\r\n'
    '1001,51,"Male","Caucasian","Not Hispanic"\r\n'
    '1002,21,"Female","Asian","Hispanic"\r\n'
)


def read(root: Path) -> CorpusListing:
    return read_corpus(CremaDConfig(root=str(root)))


def test_each_of_91_actors_is_a_subject_whose_names_say_the_rest(tmp_path: Path) -> None:
    actors = range(1001, 1092)
    names = [f"{a}_{s}_{e}_XX" for a, s, e in product(actors, ("MTI", "DFA"), EMOTIONS)]
    names += [f"{a}_IEO_SAD_{level}" for a, level in product(actors, ("LO", "MD", "HI"))]
    listing = read(plant(tmp_path, [f"VideoFlash/{name}.flv" for name in names]))
    assert len(listing.clips) == len(names)
    assert counts(listing.clips, "subject") == {str(actor): 15 for actor in actors}
    assert set(counts(listing.clips, "emotion")) == set(EMOTIONS.values())
    assert counts(listing.clips, "sentence") == {"MTI": 546, "DFA": 546, "IEO": 273}
    assert Counter(clip.attributes["level"] for clip in listing.clips) == {
        "unspecified": 1092,
        "low": 91,
        "medium": 91,
        "high": 91,
    }
    clip = by_id(listing)["VideoFlash/1076_MTI_SAD_XX"]
    assert (clip.subject, clip.emotion, clip.sentence) == ("1076", "sadness", "MTI")
    assert listing.irregular[0].what == (
        "7442 clips of 91 subjects were published: 1365 of 91 are here"
    )


@pytest.mark.parametrize("folder", ["", "CREMA-D/"])
def test_the_authors_table_says_who_the_actors_are(folder: str, tmp_path: Path) -> None:
    plant(tmp_path, [f"{folder}VideoFlash/{n}_TIE_ANG_XX.flv" for n in (1001, 1002, 1003)])
    (tmp_path / folder / "VideoDemographics.csv").write_text(TABLE, newline="")
    first, second, third = read(tmp_path).clips
    assert first.attributes == {
        "age": "51",
        "ethnicity": "Not Hispanic",
        "race": "Caucasian",
        "sex": "male",
        "level": "unspecified",
    }
    assert second.attributes["sex"] == "female"
    assert third.attributes == {"level": "unspecified"}


def test_a_table_that_cannot_be_read_is_said_and_stops_nothing(tmp_path: Path) -> None:
    plant(tmp_path, ["1001_TIE_ANG_XX.flv"])
    for content in (b"Actor;Sex\n1001;Male\n", b"\xff\xfe", b'"ActorID","Age"\n1001\n'):
        (tmp_path / "VideoDemographics.csv").write_bytes(content)
        listing = read(tmp_path)
        assert listing.clips[0].attributes == {"level": "unspecified"}
        assert (
            "can't be read"
            in reasons([remark for remark in listing.irregular if remark.path])[
                "VideoDemographics.csv"
            ]
        )


def test_a_level_that_is_not_written_whole_is_said(tmp_path: Path) -> None:
    listing = read(plant(tmp_path, ["1040_ITH_SAD_X.flv", "1001_ABC_SAD_XX.flv"]))
    assert [clip.attributes["level"] for clip in listing.clips] == ["unspecified"] * 2
    assert reasons([remark for remark in listing.irregular if remark.path]) == {
        "1001_ABC_SAD_XX.flv": ("its sentence (ABC) is none of the twelve: kept as it is written"),
        "1040_ITH_SAD_X.flv": "its level (X) is none of LO, MD, HI, XX: taken for unspecified",
    }


def test_sound_other_names_and_converted_copies_are_left_out(tmp_path: Path) -> None:
    wrong = {
        "AudioWAV/1001_DFA_ANG_XX.wav": "sound alone: clips are read from video files",
        "AudioMP3/1001_DFA_ANG_XX.mp3": "sound alone: clips are read from video files",
        "VideoMP4/1001_DFA_ANG_XX.mp4": "the same recording in another container is used",
        "VideoFlash/1001_DFA_SUR_XX.flv": (
            "its emotion's code is none of ANG, DIS, FEA, HAP, NEU, SAD"
        ),
        "VideoFlash/intro.flv": "its name is not actor_sentence_emotion_level (1001_DFA_ANG_XX)",
    }
    listing = read(plant(tmp_path, ["VideoFlash/1001_DFA_ANG_XX.flv", *wrong]))
    assert list(by_id(listing)) == ["VideoFlash/1001_DFA_ANG_XX"]
    assert reasons(listing.left_out) == wrong


def test_a_tree_without_a_clip_says_what_was_expected(tmp_path: Path) -> None:
    plant(tmp_path, ["AudioWAV/1001_DFA_ANG_XX.wav"])
    with pytest.raises(UsageError, match=r"expected 1001_DFA_ANG_XX\.flv and so on"):
        read(tmp_path)
