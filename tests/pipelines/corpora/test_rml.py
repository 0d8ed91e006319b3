"""RML: people by folder, languages below them, names that repeat, copies that nest."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest
from corpus_trees import SIX, by_id, counts, plant, reasons, rml_paths, spoil

from pipelines.corpora.listing import read_corpus
from pipelines.corpora.rml import RmlConfig
from pipelines.corpora.tree import CorpusListing
from pipelines.errors import UsageError


def read(root: Path | str) -> CorpusListing:
    return read_corpus(RmlConfig(root=str(root)))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus as it was published, and what lies about in it."""
    root = plant(tmp_path_factory.mktemp("corpora") / "RML", rml_paths())
    spoil(root, ["Thumbs.db", "rml-1/s2/Thumbs.db", "rml-1/s2/._an1.avi", "__MACOSX/s1/an1.avi"])
    return root


def test_the_published_corpus_has_720_clips_of_8_people_120_of_each_emotion(whole: Path) -> None:
    listing = read(whole)
    assert len(listing.clips) == 720
    assert set(counts(listing.clips, "subject")) == {f"s{n}" for n in range(1, 9)}
    assert counts(listing.clips, "emotion") == dict.fromkeys(SIX.values(), 120)
    assert (listing.left_out, listing.irregular) == ((), ())


def test_the_id_is_the_path_because_names_repeat(whole: Path) -> None:
    listing = read(whole)
    clips = by_id(listing)
    assert len({Path(clip.path).name for clip in listing.clips}) < 160
    clip = clips["rml-1/s3/Urdu/an2"]
    assert clip.path == str(whole / "rml-1/s3/Urdu/an2.avi")
    assert (clip.subject, clip.emotion, clip.take, clip.sentence) == ("s3", "anger", "2", None)
    assert clip.corpus == "rml"


def test_the_folder_below_the_subject_is_the_language(whole: Path) -> None:
    clips = by_id(read(whole))
    assert clips["rml-1/s1/Mandarin/fe1"].attributes == {"language": "Mandarin"}
    assert clips["rml-2/s6/fe1"].attributes == {}


@pytest.mark.parametrize(
    "around",
    ["", "RML Database/", "data/rml/"],
)
def test_folders_around_the_corpus_change_nothing_but_the_ids(around: str, tmp_path: Path) -> None:
    paths = ["rml-1/s1/English/an1.avi", "rml-1/s2/an1.avi", "rml-2/s8/su12.avi"]
    listing = read(plant(tmp_path, [around + path for path in paths]))
    assert [(c.subject, c.emotion, c.attributes.get("language")) for c in listing.clips] == [
        ("s1", "anger", "English"),
        ("s2", "anger", None),
        ("s8", "surprise", None),
    ]
    assert [c.clip_id for c in listing.clips] == [around + path[:-4] for path in paths]


def test_the_subjects_folders_may_lie_in_the_root_itself_and_be_written_otherwise(
    tmp_path: Path,
) -> None:
    plant(tmp_path, ["S1/english/AN1.AVI", "s02/di 3.mp4", "S3/fe_4.mkv"])
    assert [(c.subject, c.emotion, c.take, dict(c.attributes)) for c in read(tmp_path).clips] == [
        ("s1", "anger", "1", {"language": "English"}),
        ("s3", "fear", "4", {}),
        ("s2", "disgust", "3", {}),
    ]


def test_folders_of_languages_may_lie_above_the_subjects(tmp_path: Path) -> None:
    listing = read(plant(tmp_path, ["Urdu/s1/an1.avi", "persian/s1/an1.avi"]))
    assert {clip.clip_id: clip.attributes["language"] for clip in listing.clips} == {
        "Urdu/s1/an1": "Urdu",
        "persian/s1/an1": "Persian",
    }
    assert listing.left_out == ()


@pytest.mark.parametrize("folder", ["s2_Urdu", "s2 (urdu)", "s2/Urdu/Urdu", "s2/Copy of Urdu"])
def test_a_language_is_known_however_its_folder_is_written(folder: str, tmp_path: Path) -> None:
    (clip,) = read(plant(tmp_path, [f"{folder}/an1.avi"])).clips
    assert (clip.subject, clip.attributes) == ("s2", {"language": "Urdu"})


def test_a_folder_that_is_no_language_is_kept_and_said(tmp_path: Path) -> None:
    listing = read(plant(tmp_path, ["s1/anger/an9.avi"]))
    assert listing.clips[0].attributes == {"language": "anger"}
    (what,) = [remark.what for remark in listing.irregular if remark.path]
    assert what == "its folder (anger) has the name of no language of the corpus: kept so"


def test_a_copied_folder_and_a_padded_number_are_the_same_recording(tmp_path: Path) -> None:
    twice = ["s2/English/an1.avi", "s2/Copy of English/an1.avi", "s2/English/an01.avi"]
    listing = read(plant(tmp_path, twice))
    assert len(listing.clips) == 1
    assert len(listing.left_out) == 2


def test_a_half_of_the_corpus_is_read_and_said_to_be_one(whole: Path) -> None:
    listing = read(whole / "rml-1")
    assert len(listing.clips) == 407
    corpus, emotions = listing.irregular
    assert corpus.what == (
        "720 clips of 8 subjects were published: 407 of 5 are here, none of s6, s7, s8"
    )
    assert emotions.what.startswith("clips by emotion: anger 66 instead of 120, disgust 67 ")


def test_the_copy_that_nests_each_subject_in_itself_is_the_same_corpus(tmp_path: Path) -> None:
    nested = [path.replace("/s", "/s{0}/s", 1) for path in rml_paths()]
    nested = [path.format(path.split("/")[2][1:]) for path in nested]
    assert "rml-1/s3/s3/Urdu/an1.avi" in nested
    listing = read(plant(tmp_path, nested))
    assert len(listing.clips) == 720
    assert by_id(listing)["rml-1/s3/s3/Urdu/an1"].attributes == {"language": "Urdu"}
    assert len(listing.irregular) == 720
    assert {remark.what for remark in listing.irregular} == {
        "in a subject's folder that is nested in itself: read as one"
    }


def test_a_clip_that_is_there_twice_is_one_clip(tmp_path: Path) -> None:
    plant(tmp_path, ["s1/an1.avi", "s1/s1/an1.avi", "copy/s1/an1.avi", "s2/an1.avi"])
    listing = read(tmp_path)
    assert list(by_id(listing)) == ["s1/an1", "s2/an1"]
    for remark in listing.left_out:
        assert remark.what == "a second copy: a file of the same name and size is used"
        assert remark.detail == "s1/an1.avi"
    assert set(reasons(listing.left_out)) == {"s1/s1/an1.avi", "copy/s1/an1.avi"}


def test_two_files_of_one_name_and_another_size_count_once_and_are_both_named(
    tmp_path: Path,
) -> None:
    plant(tmp_path, ["s1/an1.avi", "s2/s2/an1.avi"])
    spoil(tmp_path, ["s1/s1/an1.avi"])
    (tmp_path / "s2/an1.avi").touch()
    listing = read(tmp_path)
    # Nearest to the root, but never an empty one.
    assert list(by_id(listing)) == ["s1/an1", "s2/s2/an1"]
    said = reasons(listing.left_out)
    assert set(said) == {"s1/s1/an1.avi", "s2/an1.avi"}
    assert set(said.values()) == {
        "a second file of the same recording, of another size: one is used"
    }
    odd = [remark for remark in listing.irregular if "differs in size" in remark.what]
    assert [remark.path for remark in odd] == ["s1/an1.avi", "s2/s2/an1.avi"]
    assert odd[0].detail.endswith("bytes, s1/s1/an1.avi has 7")


def test_a_copy_in_another_container_is_left_out(tmp_path: Path) -> None:
    listing = read(plant(tmp_path, ["s1/an1.avi", "s1/an1.mp4"]))
    assert list(by_id(listing)) == ["s1/an1"]
    (remark,) = listing.left_out
    assert remark.what == "the same recording in another container is used"


def test_each_file_that_is_no_clip_is_left_out_with_its_reason(tmp_path: Path) -> None:
    plant(tmp_path, ["s1/an1.avi", "s1/xx1.avi", "s1/an.avi", "an1.avi", "s1/s2/an1.avi"])
    spoil(tmp_path, ["s1/an1.wav", "s1/Thumbs.db", "readme.txt"])
    listing = read(tmp_path)
    assert list(by_id(listing)) == ["s1/an1"]
    code = "its name begins with no emotion's code (an, di, fe, ha, sa, su) and a number"
    assert reasons(listing.left_out) == {
        "an1.avi": "in no subject's folder (s1 to s8)",
        "s1/an.avi": code,
        "s1/an1.wav": "sound alone: clips are read from video files",
        "s1/s2/an1.avi": "in the folders of two subjects, one inside the other",
        "s1/xx1.avi": code,
    }


def test_a_subject_more_than_published_is_kept_and_said(whole: Path, tmp_path: Path) -> None:
    plant(tmp_path, rml_paths())
    plant(tmp_path, ["rml-2/s9/an1.avi", "rml-2/s9/di1.avi"])
    listing = read(tmp_path)
    assert counts(listing.clips, "subject")["s9"] == 2
    assert "subject s9 is none of those published: its 2 clips are kept" in [
        remark.what for remark in listing.irregular
    ]


def test_a_tree_without_a_clip_says_what_was_expected_and_what_is_there(tmp_path: Path) -> None:
    spoil(tmp_path, ["rml-1.zip", "rml-2.zip", "readme.txt"])
    with pytest.raises(UsageError) as raised:
        read(tmp_path)
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith(f"corpus.root ({tmp_path}) holds no clip of rml: expected a folder ")
    assert message.endswith("found 2 .zip, 1 .txt, readme.txt first")
    plant(tmp_path, ["clip.avi"])
    with pytest.raises(UsageError, match=r"1 \.avi.*; clip\.avi: in no subject's folder"):
        read(tmp_path)


def test_no_root_and_no_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"corpus\.root is not set: give .* s1 to s8"):
        read("")
    with pytest.raises(UsageError, match=r"corpus\.root \(.*gone\) does not exist: give "):
        read(tmp_path / "gone")
    spoil(tmp_path, ["file.zip"])
    with pytest.raises(UsageError, match=r"corpus\.root \(.*file\.zip\) is no folder: give "):
        read(tmp_path / "file.zip")


def test_a_corpus_in_object_storage_is_read_as_a_local_one_is(whole: Path) -> None:
    files = fsspec.filesystem("memory")
    for path in rml_paths():
        files.pipe(f"/shelf/RML/{path}", b"a clip")
    stored, local = read("memory://shelf/RML"), read(whole)
    assert [(c.clip_id, c.subject, c.emotion, c.attributes) for c in stored.clips] == [
        (c.clip_id, c.subject, c.emotion, c.attributes) for c in local.clips
    ]
    path = by_id(stored)["rml-1/s3/Urdu/an2"].path
    assert path.startswith("memory://")
    assert files.cat(path) == b"a clip"
