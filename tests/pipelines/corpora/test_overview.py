"""A corpus at a glance: every figure of the table, every remark, in 80 columns."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from corpus_trees import enterface_paths, plant, ravdess_paths, rml_paths

from pipelines.corpora.enterface05 import Enterface05Config
from pipelines.corpora.listing import read_corpus
from pipelines.corpora.overview import describe
from pipelines.corpora.ravdess import RavdessConfig
from pipelines.corpora.rml import RmlConfig
from pipelines.corpora.tree import CorpusListing, Remark
from pipelines.records import Clip


def listing_of(subjects: list[str], emotions: list[str]) -> CorpusListing:
    clips = [
        Clip(clip_id=f"{s}/{e}", path="", subject=s, emotion=e)
        for s, e in product(subjects, emotions)
    ]
    return CorpusListing(name="own", root="/own", clips=tuple(clips))


def rows(text: str) -> dict[str, list[str]]:
    """The cells of the table by the first cell of each row."""
    lines = text.split("\n\n")[1].splitlines()
    return {line.split()[0]: line.split()[1:] for line in lines}


def test_the_table_has_every_subject_and_emotion_and_their_sums() -> None:
    listing = listing_of(["s10", "s2"], ["fear", "joy"])
    text = describe(CorpusListing(name="own", root="/own", clips=listing.clips[1:]))
    assert text.startswith("own: 3 clips of 2 subjects in /own\n")
    table = rows(text)
    assert list(table) == ["subject", "s2", "s10", "all"]  # as people count
    assert table["subject"] == ["fear", "joy", "all"]
    assert table["s2"] == ["1", "1", "2"]
    assert table["s10"] == ["·", "1", "1"]
    assert table["all"] == ["1", "2", "3"]


def test_whole_corpora_are_set_beside_what_was_published_and_what_the_paper_used(
    tmp_path: Path,
) -> None:
    plant(tmp_path / "rml", rml_paths())
    text = describe(read_corpus(RmlConfig(root=str(tmp_path / "rml"))))
    assert rows(text)["all"] == ["120"] * 6 + ["720"]
    assert "published: 720 clips of 8 subjects, 120 of each emotion\n" in text
    said = " ".join(text.split())
    assert "Priyasad et al. 2019 used 500 clips of 8 subjects" in said
    assert "720 clips are used here" in said
    assert "irregular" not in text
    assert "language: not said" in text

    plant(tmp_path / "ent", enterface_paths())
    text = describe(read_corpus(Enterface05Config(root=str(tmp_path / "ent"))))
    said = " ".join(text.split())
    assert "1287 clips of 43 subjects" in said
    assert "(6 of 1293 files left out)" in said
    assert "used 1166 clips of 42 subjects" in said
    assert rows(text)["s23"] == ["5", "5", "5", "2", "5", "5", "27"]
    assert "- 30 files: named s12 in the folder of subject 11: the folder is believed" in text
    assert "subject 11/anger/sentence 1/s12_an_1.avi\n" in text
    assert "    and 27 more\n" in text
    assert "left out: 6 files" in text


def test_hundreds_of_files_of_one_case_are_counted(tmp_path: Path) -> None:
    for modality in ("01", "02"):
        plant(tmp_path, ravdess_paths(modality))
    text = describe(read_corpus(RavdessConfig(root=str(tmp_path))))
    assert "1440 files: video alone (modality 02)" in " ".join(text.split())
    assert "and 1437 more" in text
    assert "192 of each emotion (neutral 96)" in " ".join(text.split())
    assert "sex: female 720, male 720" in text or "sex: male 720, female 720" in text
    assert len(text.splitlines()) < 45


def test_every_table_fits_80_columns() -> None:
    emotions = ["anger", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"]
    people = [str(n) for n in range(1001, 1092)]
    for listing in (
        listing_of(people, emotions),
        listing_of(people[:8], [f"a long label {n}" for n in range(20)]),
    ):
        text = describe(listing)
        assert max(map(len, text.splitlines())) <= 80
        for subject in people[:8]:
            assert f"\n{subject} " in text
    assert len(describe(listing_of(people, emotions)).splitlines()) == 91 + 4
    many = describe(listing_of(people[:8], [f"a long label {n}" for n in range(20)]))
    assert all(many.count(f"a long label {n}") >= 1 for n in range(20))


def test_a_remark_says_the_file_and_its_particulars() -> None:
    listing = listing_of(["s1"], ["fear"])
    text = describe(
        CorpusListing(
            name="own",
            root="/own",
            clips=listing.clips,
            left_out=(Remark("x/b.avi", "a copy", "x/a.avi"),),
            irregular=(Remark("", "half of it is missing"),),
        )
    )
    assert text.endswith(
        "irregular:\n- half of it is missing\n\n"
        "left out: 1 file\n- 1 file: a copy\n    x/b.avi (x/a.avi)"
    )
