"""A corpus of one's own: read as it was written, or refused in one line that says what to do."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from pipelines.corpora.csv_manifest import CsvManifestConfig
from pipelines.corpora.listing import read_corpus
from pipelines.errors import UsageError
from pipelines.records import Clip


def listed(root: Path, text: str | bytes, *, there: str = "") -> list[Clip]:
    """Read a manifest; of its files the one named `there` is in the folder."""
    content = text.encode() if isinstance(text, str) else text
    if there:
        put(root / there)
    (root / "manifest.csv").write_bytes(content)
    return list(read_corpus(CsvManifestConfig(root=str(root))).clips)


def put(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"a clip")


def refusal(root: Path, text: str | bytes) -> str:
    with pytest.raises(UsageError) as raised:
        listed(root, text)
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_clips_are_what_the_rows_say_sorted_by_id(tmp_path: Path) -> None:
    clips = listed(
        tmp_path,
        "path,subject,label,sentence,language,sex\n"
        "b/two.mp4,s2,joy,7,Urdu,f\n"
        "a/one.avi,s1,fear,,English,\n",
        there="a/one.avi",
    )
    assert clips == [
        Clip(
            clip_id="a/one",
            path=str(tmp_path / "a/one.avi"),
            subject="s1",
            emotion="fear",
            sentence=None,
            attributes={"language": "English"},
            corpus="csv_manifest",
        ),
        Clip(
            clip_id="b/two",
            path=str(tmp_path / "b/two.mp4"),
            subject="s2",
            emotion="joy",
            sentence="7",
            attributes={"language": "Urdu", "sex": "f"},
            corpus="csv_manifest",
        ),
    ]


def test_columns_may_stand_in_any_order_with_spaces_around(tmp_path: Path) -> None:
    (clip,) = listed(tmp_path, " label , path ,subject\n fear , a.avi , s1 \n", there="a.avi")
    assert (clip.clip_id, clip.subject, clip.emotion) == ("a", "s1", "fear")
    assert clip.path == str(tmp_path / "a.avi")
    assert clip.attributes == {}


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_it(tmp_path: Path) -> None:
    (clip,) = listed(
        tmp_path, b"\xef\xbb\xbfpath,subject,label\r\na.avi,s1,fear\r\n", there="a.avi"
    )
    assert (clip.clip_id, clip.emotion) == ("a", "fear")


def test_blank_lines_are_no_clips(tmp_path: Path) -> None:
    clips = listed(
        tmp_path, "path,subject,label\n\na.avi,s1,fear\n,,\n  ,\nb.avi,s2,joy\n\n", there="b.avi"
    )
    assert [clip.clip_id for clip in clips] == ["a", "b"]


def test_quoted_cells_keep_their_commas(tmp_path: Path) -> None:
    (clip,) = listed(
        tmp_path, 'path,subject,label,sentence\n"a, 1.avi",s1,fear,"oh, no"\n', there="a, 1.avi"
    )
    assert (clip.clip_id, clip.sentence) == ("a, 1", "oh, no")


def test_names_beyond_ascii_are_read_as_utf_8(tmp_path: Path) -> None:
    (clip,) = listed(
        tmp_path, "path,subject,label\nJörg/Übung 1.avi,Jörg,Freude\n", there="Jörg/Übung 1.avi"
    )
    assert (clip.clip_id, clip.subject) == ("Jörg/Übung 1", "Jörg")


def test_files_that_differ_in_the_suffix_alone_keep_it(tmp_path: Path) -> None:
    clips = listed(
        tmp_path,
        "path,subject,label\nx/a.avi,s1,fear\nx/a.mp4,s1,joy\ny/a.avi,s1,joy\n",
        there="y/a.avi",
    )
    assert [clip.clip_id for clip in clips] == ["x/a.avi", "x/a.mp4", "y/a"]


def test_only_the_last_suffix_is_left_out(tmp_path: Path) -> None:
    clips = listed(
        tmp_path, "path,subject,label\na.1.avi,s1,fear\na.2.avi,s1,joy\n", there="a.2.avi"
    )
    assert [clip.clip_id for clip in clips] == ["a.1", "a.2"]


def test_back_slashes_of_windows_lead_into_folders(tmp_path: Path) -> None:
    (clip,) = listed(tmp_path, "path,subject,label\nx\\a.avi,s1,fear\n", there="x/a.avi")
    assert (clip.clip_id, clip.path) == ("x/a", str(tmp_path / "x" / "a.avi"))


def test_the_manifest_may_have_another_name_and_place(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "clips", tmp_path / "lists" / "mine.csv"
    put(root / "a.avi")
    elsewhere.parent.mkdir()
    elsewhere.write_text("path,subject,label\na.avi,s1,fear\n")
    config = CsvManifestConfig(name="mine", root=str(root), manifest=str(elsewhere))
    (clip,) = read_corpus(config).clips
    assert (clip.path, clip.corpus) == (str(root / "a.avi"), "mine")


@pytest.mark.parametrize(
    "path",
    [
        "../a.avi",
        "x/../../a.avi",
        "/etc/a.avi",
        "..\\a.avi",
        "x\\..\\..\\a.avi",
        "\\\\server\\a.avi",
        "C:\\clips\\a.avi",
    ],
)
def test_paths_that_leave_the_root_are_refused_by_line(path: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, f"path,subject,label\nok.avi,s1,fear\n{path},s1,fear\n")
    assert "corpus.manifest" in message
    assert f"line 3: path ({path})" in message
    assert "relative" in message


@pytest.mark.parametrize("path", ["a.avi", "sub/b.avi", ".hidden/b.avi"])
def test_paths_that_leave_the_root_by_a_link_are_refused_unless_allowed(
    path: str, tmp_path: Path
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for name in ("a.avi", "b.avi"):
        put(outside / name)
    put(root / "ok.avi")
    (root / "a.avi").symlink_to(outside / "a.avi")
    for name in ("sub", ".hidden"):
        (root / name).symlink_to(outside)
    text = f"path,subject,label\nok.avi,s1,fear\n{path},s1,fear\n"
    message = refusal(root, text)
    assert f"line 3: path ({path}) leads out of corpus.root through a link" in message
    allowed = CsvManifestConfig(root=str(root), outside_links=True)
    assert {clip.path for clip in read_corpus(allowed).clips} == {
        str(root / "ok.avi"),
        str(root / path),
    }


@pytest.mark.parametrize("path", [".", "/", "./"])
def test_a_path_that_is_no_file_name_is_refused_by_line(path: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, f"path,subject,label\n{path},s1,fear\n")
    assert "line 2: path" in message


@pytest.mark.parametrize("column", ["path", "subject", "label"])
def test_an_empty_cell_is_refused_by_line_and_column(column: str, tmp_path: Path) -> None:
    cells = {"path": "a.avi", "subject": "s1", "label": "fear", column: " "}
    row = f"{cells['path']},{cells['subject']},{cells['label']},x"
    message = refusal(tmp_path, f"path,subject,label,sex\nok.avi,s1,fear,f\n{row}\n")
    assert "corpus.manifest" in message
    assert f"line 3: {column} is empty" in message


@pytest.mark.parametrize("order", ["path,subject,label", "subject,label,path"])
def test_a_row_that_is_too_short_is_refused_by_line(order: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, f"{order}\nx\n")
    assert "line 2: " in message
    assert "is empty" in message


def test_the_line_is_that_of_the_file_blank_ones_counted(tmp_path: Path) -> None:
    message = refusal(tmp_path, "path,subject,label\n\nok.avi,s1,fear\n,,\n\na.avi,,fear\n")
    assert "line 6: subject is empty" in message


@pytest.mark.parametrize("second", ["a.avi", "./a.avi", ".\\a.avi"])
def test_a_file_that_is_listed_twice_is_refused(second: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, f"path,subject,label\na.avi,s1,fear\n{second},s1,joy\n")
    assert "a.avi 2 times: keep one" in message


def test_three_names_that_share_stems_are_three_clips(tmp_path: Path) -> None:
    clips = listed(
        tmp_path, "path,subject,label\na.b.avi,s1,fear\na.b,s1,joy\na.c,s1,joy\n", there="a.c"
    )
    assert len({clip.clip_id for clip in clips}) == 3


@pytest.mark.parametrize(
    ("header", "missing"),
    [("path,subject", "label"), ("file,person,emotion", "path, subject, label")],
)
def test_missing_columns_are_named_beside_those_that_are_there(
    header: str, missing: str, tmp_path: Path
) -> None:
    message = refusal(tmp_path, f"{header}\na.avi,s1,fear\n")
    assert f"has no column {missing}: it needs path, subject, label" in message
    assert message.endswith("it has " + ", ".join(header.split(",")))


def test_an_empty_file_has_no_columns(tmp_path: Path) -> None:
    assert "it has none" in refusal(tmp_path, "")


def test_a_manifest_without_rows_is_an_empty_corpus(tmp_path: Path) -> None:
    message = refusal(tmp_path, "path,subject,label\n")
    assert "corpus csv_manifest is empty" in message
    assert str(tmp_path) in message


@pytest.mark.parametrize("content", [b"path,subject,label\na.avi,J\xf6rg,fear\n", b"\xff\xfe\x00p"])
def test_what_is_not_utf_8_is_refused(content: bytes, tmp_path: Path) -> None:
    assert "can't be read as CSV in UTF-8" in refusal(tmp_path, content)


def test_a_folder_in_place_of_the_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").mkdir()
    with pytest.raises(UsageError, match=r"corpus\.manifest .* is no file"):
        read_corpus(CsvManifestConfig(root=str(tmp_path)))


def test_no_root_no_folder_and_no_manifest_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"corpus\.root is not set: give corpus\.root="):
        read_corpus(CsvManifestConfig())
    with pytest.raises(UsageError, match=r"corpus\.root \(.*gone\) does not exist: give"):
        read_corpus(CsvManifestConfig(root=str(tmp_path / "gone")))
    with pytest.raises(UsageError, match=r"corpus\.manifest .*manifest\.csv\) does not exist"):
        read_corpus(CsvManifestConfig(root=str(tmp_path)))


@pytest.mark.parametrize("name", ["", "a/b"])
def test_a_corpus_name_must_do_for_a_folder(name: str) -> None:
    with pytest.raises(UsageError, match=r"corpus\.name"):
        CsvManifestConfig(name=name)


def test_files_that_are_not_there_stay_clips_and_are_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text(
        "path,subject,label\ngone.avi,s1,fear\na.avi,s1,fear\n.hidden/b.avi,s2,joy\n"
    )
    put(tmp_path / "a.avi")
    put(tmp_path / ".hidden" / "b.avi")
    listing = read_corpus(CsvManifestConfig(root=str(tmp_path)))
    assert [clip.clip_id for clip in listing.clips] == [".hidden/b", "a", "gone"]
    (remark,) = listing.irregular
    assert (remark.path, "not in the folder" in remark.what) == ("gone.avi", True)


def test_a_manifest_of_which_no_file_is_there_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "clips" / "a.avi")
    message = refusal(tmp_path, "path,subject,label\nb.avi,s1,fear\na.avi,s1,fear\n")
    assert "none of the 2 files in corpus.manifest" in message
    assert f"corpus.root ({tmp_path}), a.avi first" in message


def test_media_files_that_no_row_names_are_left_out(tmp_path: Path) -> None:
    for name in ("x/a.avi", "x/b.MP4", "sound.wav", "notes.txt", "x/Thumbs.db"):
        put(tmp_path / name)
    (tmp_path / "manifest.csv").write_text("path,subject,label\nx/a.avi,s1,fear\n")
    listing = read_corpus(CsvManifestConfig(root=str(tmp_path)))
    assert {remark.path: remark.what for remark in listing.left_out} == {
        "sound.wav": "not in the manifest",
        "x/b.MP4": "not in the manifest",
    }


def test_a_manifest_in_object_storage_is_read_as_a_local_one_is() -> None:
    files = fsspec.filesystem("memory")
    files.pipe("/own/x/a.avi", b"a clip")
    files.pipe("/own/manifest.csv", b"\xef\xbb\xbfpath,subject,label\nx/a.avi,s1,fear\n")
    (clip,) = read_corpus(CsvManifestConfig(root="memory://own")).clips
    assert (clip.clip_id, clip.subject, clip.emotion) == ("x/a", "s1", "fear")
    assert files.cat(clip.path) == b"a clip"
    with pytest.raises(UsageError, match=r"corpus\.manifest .*other\.csv\) does not exist"):
        read_corpus(CsvManifestConfig(root="memory://own", manifest="other.csv"))
