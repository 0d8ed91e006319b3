"""eNTERFACE'05: the folders are believed, whatever the names say."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from corpus_trees import SIX, by_id, counts, enterface_paths, plant, reasons, spoil

from pipelines.corpora.enterface05 import Enterface05Config
from pipelines.corpora.listing import read_corpus
from pipelines.corpora.tree import CorpusListing
from pipelines.errors import UsageError

NOT_WRITTEN_SO = "its name is not written as sN_an_K: the folders are believed"


def read(root: Path) -> CorpusListing:
    return read_corpus(Enterface05Config(root=str(root)))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus as it was published, wrong names and all."""
    paths = list(enterface_paths())
    assert len(paths) == 1293
    root = plant(tmp_path_factory.mktemp("corpora") / "eNTERFACE", paths)
    spoil(root, ["enterface database/subject 1/Thumbs.db", "enterface database/.DS_Store"])
    return root


def test_1287_of_the_1293_files_are_clips_of_43_people(whole: Path) -> None:
    listing = read(whole)
    assert len(listing.clips) == 1287
    people = counts(listing.clips, "subject")
    assert people == {f"s{n}": 27 if n == 23 else 30 for n in range(1, 45) if n != 6}
    emotions = counts(listing.clips, "emotion")
    assert emotions == {e: 212 if e == "happiness" else 215 for e in SIX.values()}
    sentences = counts(listing.clips, "sentence")
    expected = {f"{e}/{k}": 43 for e in SIX.values() for k in range(1, 6)}
    assert sentences == {**expected, **{f"happiness/{k}": 42 for k in (1, 2, 3)}}


def test_subject_6_is_left_out_with_its_reason(whole: Path) -> None:
    assert reasons(read(whole).left_out) == {
        f"enterface database/subject 6/{emotion}/s6_{code}.avi": (
            "subject 6's long file of a whole emotion: it has no level of sentences"
        )
        for code, emotion in SIX.items()
    }


def test_wrong_names_are_said_and_the_folders_believed(whole: Path) -> None:
    listing = read(whole)
    said = reasons(listing.irregular)
    assert Counter(said.values()) == {
        "named s12 in the folder of subject 11: the folder is believed": 30,
        NOT_WRITTEN_SO: 16 + 1,
        "named sentence 2 in the folder of sentence 1: the folder is believed": 1,
        "named sentence 1 in the folder of sentence 2: the folder is believed": 1,
    }
    base = "enterface database"
    assert said[f"{base}/subject 16/surprise/sentence 3/s16_su_3avi.avi"] == NOT_WRITTEN_SO
    assert said[f"{base}/subject 3/anger/sentence 1/s_3_an_1.avi"] == NOT_WRITTEN_SO
    clips = by_id(listing)
    eleven = clips[f"{base}/subject 11/fear/sentence 4/s12_fe_4"]
    assert (eleven.subject, eleven.emotion, eleven.sentence) == ("s11", "fear", "fear/4")
    swapped = clips[f"{base}/subject 2/anger/sentence 1/s2_an_2"]
    assert (swapped.subject, swapped.sentence) == ("s2", "anger/1")


@pytest.mark.parametrize(
    "path",
    [
        "subject 2/fear/sentence 4/s2_fe_4.avi",
        "enterface05/enterface database/subject 2/fear/sentence 4/s2_fe_4.avi",
        "Subject 2/Fear/Sentence 4/S2_FE_4.AVI",
        "subject-2/fear/sentence-4/s2_fe_4.mp4",
        "subject_02/fear/sentence04/s2_fe_4.mkv",
        "subject 2/subject 2/fear/sentence 4/s2_fe_4.avi",
        "subject 2/fear/sentence 4/recording/s2_fe_4.avi",
    ],
)
def test_trees_of_other_shapes_say_the_same(path: str, tmp_path: Path) -> None:
    (clip,) = read(plant(tmp_path, [path])).clips
    assert (clip.subject, clip.emotion, clip.sentence) == ("s2", "fear", "fear/4")
    assert clip.clip_id == path.rpartition(".")[0]


@pytest.mark.parametrize("copy", ["s8_an_1 (copy).avi", "s8_an_1_conv.avi", "other.mp4"])
def test_a_sentence_is_one_clip_whatever_lies_in_its_folder(copy: str, tmp_path: Path) -> None:
    folder = "subject 8/anger/sentence 1"
    listing = read(plant(tmp_path, [f"{folder}/s8_an_1.avi", f"{folder}/{copy}"]))
    assert [Path(clip.path).name for clip in listing.clips] == ["s8_an_1.avi"]
    assert [remark.path for remark in listing.left_out] == [f"{folder}/{copy}"]


def test_a_name_of_another_person_or_emotion_is_said(tmp_path: Path) -> None:
    listing = read(plant(tmp_path, ["subject 7/fear/sentence 1/s8_sa_1.avi"]))
    assert [remark.what for remark in listing.irregular if remark.path] == [
        "named s8 in the folder of subject 7: the folder is believed",
        "named sadness in the folder of fear: the folder is believed",
    ]


def test_each_file_that_is_no_clip_is_left_out_with_its_reason(tmp_path: Path) -> None:
    good = "subject 1/anger/sentence 1/s1_an_1.avi"
    emotion = f"not in one folder of an emotion ({', '.join(SIX.values())}) and a sentence"
    wrong = {
        "s1_an_1.avi": "in no subject's folder (subject 1 to subject 44)",
        "subject 1/anger/s1_an_2.avi": "in no sentence's folder (sentence 1 to sentence 5)",
        "subject 1/boredom/sentence 1/s1_bo_1.avi": emotion,
        "subject 1/anger/fear/sentence 1/s1_an_1.avi": emotion,
        "subject 1/anger/sentence 2/sentence 3/s1_an_2.avi": emotion,
        "subject 1/subject 2/anger/sentence 1/s2_an_1.avi": (
            "in the folders of two subjects, one inside the other"
        ),
        "copy/subject 1/anger/sentence 1/s1_an_1.avi": (
            "a second copy: a file of the same name and size is used"
        ),
    }
    listing = read(plant(tmp_path, [good, *wrong]))
    assert list(by_id(listing)) == [good[:-4]]
    assert reasons(listing.left_out) == wrong


def test_a_tree_without_a_clip_says_what_was_expected(tmp_path: Path) -> None:
    plant(tmp_path, ["anger/s1_an_1.avi"])
    with pytest.raises(UsageError, match=r"expected subject 1/anger/sentence 1/s1_an_1\.avi and"):
        read(tmp_path)
