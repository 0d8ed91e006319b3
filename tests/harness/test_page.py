"""The page of a study tells what its run folder holds, whole, safe and the same each time."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from conftest import SmallStudy
from page_reader import Page
from run_folders import EMOTIONS, made_study

from harness.page.attempt import draw
from harness.page.render import read_page, write_page
from harness.protocols import LEAKING, SUBJECT_DEPENDENT
from harness.published import FIGURE_4
from pipelines.errors import UsageError
from pipelines.progress import Reporter

SCRIPT = "<script>alert(1)</script>"


def page_of(folder: Path) -> Page:
    return Page(read_page(folder))


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def rewrite(folder: Path, **changes: Any) -> None:
    """Change the summary as another protocol, system or version would have left it."""
    path = folder / "summary.json"
    summary = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in summary.items() if v is not ...}))


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], Page]:
    """A study with lost clips and a warning that two splits share."""
    folder = tmp_path_factory.mktemp("runs") / "usual"
    summary = made_study(
        folder,
        networks=("audio",),
        lost=[("s01/lost_1", "no_face", "0 of 90 frames")],
        warnings=["split a: class fear is missing", "split b: class fear is missing"],
    )
    return folder, summary, Page(write_page(folder).read_text(encoding="utf-8"))


def test_the_headline_is_the_mean_over_subjects_with_its_interval(
    usual: tuple[Path, dict[str, Any], Page],
) -> None:
    _, summary, page = usual
    assert page.by_id["headline"] == f"{percent(summary['clip_accuracy_subject_mean'])} %"
    low, high = percent(summary["ci95_low"]), percent(summary["ci95_high"])
    assert page.by_id["interval"] == f"95 % interval {low} to {high} %"
    assert f"The interval: t interval, {summary['intervals'][0]['label']}." in page.text
    assert f"{percent(summary['clip_accuracy_all'])} % of all 37 clips are right" in page.text
    assert page.text.count("class fear is missing") == 1
    assert "2 splits (a, b): class fear is missing" in page.text


def test_tables_hold_the_numbers_of_the_summary(
    usual: tuple[Path, dict[str, Any], Page],
) -> None:
    _, summary, page = usual
    subjects = page.tables["per_subject"]
    assert [(row[0], row[2], row[5]) for row in subjects[1:]] == [
        (row["subject"], percent(row["clip_accuracy"]), percent(row["uar"]))
        for row in summary["per_subject"]
    ]
    confusion = page.tables["confusion"]
    assert [[int(c) for c in row[2:-1]] for row in confusion[1:]] == summary["confusion"]
    recalls = [summary["confusion_percent"][i][i] for i in range(len(EMOTIONS))]
    assert [row[-1] for row in confusion[1:]] == [f"{recall:.1f}" for recall in recalls]
    figures = {row[0]: row[1] for row in page.tables["headline"][1:]}
    for name, key in {
        "pooled accuracy": "clip_accuracy",
        "with lost clips wrong": "clip_accuracy_all",
        "UAR": "uar",
        "weighted F1": "weighted_f1",
        "segment accuracy": "segment_accuracy",
        "ties": "tie_rate",
    }.items():
        assert figures[name] == percent(summary[key]), name


def test_the_matrix_of_the_paper_stands_beside_ours_in_per_cent_of_rows(
    usual: tuple[Path, dict[str, Any], Page],
) -> None:
    _, summary, page = usual
    figures = page.by_id["confusion"]
    for row in (*FIGURE_4, *summary["confusion_percent"]):
        for share in row:
            assert f"{share:.2f}" in figures
    assert "compare the pattern only" in figures


def test_votes_are_counted_from_the_segments(usual: tuple[Path, dict[str, Any], Page]) -> None:
    folder, summary, page = usual
    segments = pd.read_parquet(folder / "segment_predictions.parquet")
    chosen = segments[[f"p_{name}" for name in EMOTIONS]].idxmax(axis=1).str.removeprefix("p_")
    unanimous = chosen.groupby(segments.clip_id).nunique() == 1
    bands = {row[0]: row for row in page.tables["votes"][1:]}
    assert int(bands["100 %"][1]) == unanimous.sum()
    assert sum(int(row[1]) for row in bands.values()) == len(unanimous)
    assert sum(int(row[2]) for row in bands.values()) == round(
        summary["clip_accuracy"] * len(unanimous)
    )
    predictions = pd.read_parquet(folder / "predictions.parquet").set_index("clip_id")
    for row in page.tables["hardest_clips"][1:]:
        votes = chosen[segments.clip_id == row[0]].tolist()
        runs = re.findall("(\\w+)(?: \N{MULTIPLICATION SIGN}(\\d+))?", row[-1])
        assert [name for name, times in runs for _ in range(int(times or 1))] == votes
        assert row[2:4] == predictions.loc[row[0], ["emotion", "predicted"]].tolist()
        assert row[4] == percent(predictions.loc[row[0], f"p_{row[2]}"])


def test_what_was_lost_is_listed_with_its_reason(
    usual: tuple[Path, dict[str, Any], Page],
) -> None:
    page = usual[2]
    assert page.tables["lost_clips"][1:] == [
        ["s01/lost_1", "s01", "anger", "dropped", "no_face", "0 of 90 frames"]
    ]
    assert ["dropped", "1", "no_face", "no face was found in any frame"] in page.tables["outcomes"]


def test_tables_and_figures_are_files_that_read_back(
    usual: tuple[Path, dict[str, Any], Page],
) -> None:
    folder, summary, page = usual
    subjects = pd.read_csv(folder / "tables" / "per_subject.csv")
    assert subjects.clip_accuracy.tolist() == [
        row["clip_accuracy"] for row in summary["per_subject"]
    ]
    for name, rows in page.tables.items():
        assert len(pd.read_csv(folder / "tables" / f"{name}.csv")) >= len(rows) - 1
        latex = (folder / "tables" / f"{name}.tex").read_text()
        assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 1
    body = (folder / "tables" / "per_subject.tex").read_text().split(r"\midrule")[1]
    cells = [line.split("&") for line in body.splitlines() if "&" in line]
    assert [[cell.strip(" \\") for cell in row] for row in cells] == page.tables["per_subject"][1:]
    names = {path.name for path in (folder / "figures").iterdir()}
    assert {f"{n}.{s}" for n in ("confusion", "subjects", "votes") for s in ("png", "pdf")} <= names
    assert (folder / "figures" / "votes.pdf").read_bytes().startswith(b"%PDF")


def test_the_page_fetches_nothing_and_runs_nothing(
    usual: tuple[Path, dict[str, Any], Page],
) -> None:
    page = usual[2]
    assert not {"script", "link", "img", "iframe", "object", "base"} & {t for t, _ in page.tags}
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "src", "xlink:href", "data", "action"):
                assert value.startswith("#"), (tag, name, value)
    assert "@import" not in page.source
    assert not re.findall(r"url\((?!#)", page.source)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_same_folder_gives_the_same_bytes(
    usual: tuple[Path, dict[str, Any], Page],
) -> None:
    folder = usual[0]

    def files() -> dict[str, bytes]:
        places = [folder / "report.html", *(folder / "figures").iterdir()]
        return {path.name: path.read_bytes() for path in places}

    before = files()
    write_page(folder)
    assert files() == before


def test_names_that_users_give_are_shown_and_never_run(tmp_path: Path) -> None:
    labels = ("$x$ $y_1$", '<b>"&', "NaN")
    corpus = f"{SCRIPT} & co"
    made_study(
        tmp_path,
        classes=labels,
        corpus=corpus,
        names={"s01/NaN_1": SCRIPT},
        lost=[(f"{SCRIPT}_2", "decode_error", "100 % of {it}")],
        warnings=[SCRIPT],
        networks=("audio",),
    )
    predictions = pd.read_parquet(tmp_path / "predictions.parquet")
    predictions.loc[predictions.clip_id == SCRIPT, "predicted"] = '<b>"&'
    predictions.to_parquet(tmp_path / "predictions.parquet")
    page = Page(write_page(tmp_path).read_text(encoding="utf-8"))
    assert SCRIPT not in page.source
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.tables["hardest_clips"][1:]
    assert SCRIPT in [row[0] for row in page.tables["hardest_clips"]]
    assert page.tables["confusion"][0][2:-1] == list(labels)
    assert f"LOSO on {corpus}" in page.text
    latex = (tmp_path / "tables" / "lost_clips.tex").read_text()
    assert r"100 \% of \{it\}" in latex
    assert pd.read_csv(tmp_path / "tables" / "lost_clips.csv").clip_id.tolist() == [f"{SCRIPT}_2"]


def test_an_incomplete_study_says_so_and_has_no_headline(tmp_path: Path) -> None:
    made_study(tmp_path, failed=["s02"], networks=("audio",))
    page = page_of(tmp_path)
    assert "Incomplete: 2 of 3 splits are done" in page.by_id["incomplete"]
    assert "loso-s02: MemoryError: out of memory" in page.text
    assert not {"headline", "interval", "confusion", "votes"} & page.by_id.keys()
    assert "headline" not in page.tables
    assert not any("this study" in row[0] for row in page.tables["published"])
    assert "no result of the study" in page.by_id["subjects"]


def test_numbers_of_an_earlier_page_do_not_stay_beside_an_incomplete_study(tmp_path: Path) -> None:
    made_study(tmp_path, networks=())
    write_page(tmp_path)
    (tmp_path / "figures" / "search_history.png").write_bytes(b"")
    assert (tmp_path / "tables" / "headline.csv").exists()
    (tmp_path / "splits" / "loso-s01.json").unlink()
    # The summary still says that all is done.
    with pytest.raises(UsageError, match=r"its ledger holds 2 of 3 splits"):
        write_page(tmp_path)
    made_study(tmp_path, failed=["s01"], networks=())
    write_page(tmp_path)
    left = {path.stem for name in ("tables", "figures") for path in (tmp_path / name).iterdir()}
    assert not {"headline", "confusion", "confusion_paper", "votes"} & left
    assert {"per_subject", "search_history"} <= left


def test_a_study_of_which_no_split_is_done_has_a_page(tmp_path: Path) -> None:
    made_study(tmp_path, failed=["s01", "s02", "s03"])
    assert "Incomplete: 0 of 3" in page_of(tmp_path).text


@pytest.mark.parametrize(
    ("caution", "short", "words"),
    [
        (SUBJECT_DEPENDENT, "subject-dependent", "the people tested were also trained on"),
        (LEAKING, "leaking: demonstration only", "demonstration only"),
    ],
)
def test_what_a_protocol_takes_away_stands_beside_the_number(
    caution: str, short: str, words: str, tmp_path: Path
) -> None:
    made_study(tmp_path, protocol="10-fold", networks=())
    rewrite(tmp_path, protocol_warnings=[caution], warnings=[caution])
    page = Page(write_page(tmp_path).read_text(encoding="utf-8"))
    headline = page.source.index('id="headline"')
    assert words in page.source[headline : headline + 600]
    assert page.text.count(caution) == 1
    # What goes into a paper without the page says it too.
    for name in ("headline", "confusion", "per_subject", "votes", "hardest_clips"):
        table = pd.read_csv(tmp_path / "tables" / f"{name}.csv")
        assert set(table["warning"]) == {short}
        assert f"[{short}]" in (tmp_path / "tables" / f"{name}.tex").read_text().splitlines()[0]
    plain = made_study(tmp_path / "plain", protocol="LOSO", networks=())
    assert plain["complete"]
    write_page(tmp_path / "plain")
    for name in ("confusion.png", "subjects.png"):
        taller, usual = (
            plt.imread(folder / "figures" / name).shape[0]
            for folder in (tmp_path, tmp_path / "plain")
        )
        assert taller > usual
    assert "were not trained on the people tested" not in page.text
    ours = page.tables["published"][1]
    assert caution.partition(":")[0] in ours[-1]


def test_predictions_of_another_system_have_neither_segments_nor_splits(tmp_path: Path) -> None:
    made_study(tmp_path)
    for name in ("segment_predictions.parquet", "config.yaml", "plan.json", "outcomes.csv"):
        (tmp_path / name).unlink()
    for path in (tmp_path / "splits").iterdir():
        path.unlink()
    rewrite(tmp_path, system="external", segment_accuracy=None)
    page = page_of(tmp_path)
    assert "what it was trained on is not known here" in page.text
    assert "were not trained on the people tested" not in page.text
    assert "of clips, not of segments" in page.by_id["votes"]
    assert page.tables["hardest_clips"][0][-1] == "of the predicted one, %"
    assert "ties" not in [row[0] for row in page.tables["headline"]]
    assert "curves" not in page.by_id


@pytest.mark.parametrize("overlap", [0.25, None, ...])
def test_how_many_sentences_were_known_is_told_where_the_corpus_knows_them(
    overlap: Any, tmp_path: Path
) -> None:
    made_study(tmp_path, networks=())
    rewrite(tmp_path, sentence_overlap=overlap)
    said = "25.0 % of the test clips say what a training clip says too"
    assert (said in page_of(tmp_path).text) == (overlap == 0.25)


def test_of_a_drawn_corpus_it_is_said_that_it_says_nothing_about_people(tmp_path: Path) -> None:
    said = "say nothing about people"
    made_study(tmp_path, networks=())
    assert said not in page_of(tmp_path).text
    rewrite(tmp_path, corpus="synthetic")
    assert said in page_of(tmp_path).text


def test_a_summary_of_an_earlier_version_has_a_page(tmp_path: Path) -> None:
    made_study(tmp_path, networks=())
    newer = ("intervals", "confusion_percent", "weighted_f1", "seeds", "subgroups", "chance")
    rewrite(tmp_path, **dict.fromkeys((*newer, "protocol_warnings", "system"), ...))
    page = page_of(tmp_path)
    names = [row[0] for row in page.tables["headline"]]
    assert names.count("pooled accuracy") == 1
    assert "weighted F1" not in names


def test_subjects_that_are_all_alike_give_no_interval(tmp_path: Path) -> None:
    summary = made_study(tmp_path, networks=())
    mean = summary["clip_accuracy_subject_mean"]
    rewrite(tmp_path, ci95_low=mean, ci95_high=mean)
    assert page_of(tmp_path).by_id["interval"] == "no interval: all subjects are alike"


def test_one_subject_has_no_interval_and_many_have_figures_that_fit_a_page(tmp_path: Path) -> None:
    made_study(tmp_path / "one", subjects=1, networks=(), classes=EMOTIONS[:2])
    page = page_of(tmp_path / "one")
    assert page.by_id["interval"] == "one subject gives no interval"
    made_study(
        tmp_path / "many", subjects=91, takes=1, networks=(), attention=None, classes=EMOTIONS[:2]
    )
    page = page_of(tmp_path / "many")
    assert [row[0] for row in page.tables["per_subject"][1:]] == [f"s{n:02}" for n in range(1, 92)]
    drawn = {a["id"].partition("-")[0] for _, a in page.tags if a.get("id", "").startswith("subj")}
    assert drawn == {"subjects", "subjects_1", "subjects_2"}


def test_a_study_leaves_its_page_and_says_where(small_study: SmallStudy) -> None:
    path = small_study.folder / "report.html"
    assert f"the page:   {path}" in small_study.result.stdout
    source = path.read_text(encoding="utf-8")
    page = Page(source)
    summary = json.loads((small_study.folder / "summary.json").read_text())
    assert page.by_id["headline"] == f"{percent(summary['clip_accuracy_subject_mean'])} %"
    assert page.tables["outcomes"][1][:2] == ["used", str(summary["clips"])]
    told = [row[0] for row in page.tables["provenance"]]
    assert {"worked on", "ran on", "driver", "versions", "trained with"} <= {*told}
    assert read_page(small_study.folder) == source


def test_a_page_that_cannot_be_made_is_said_in_one_line_and_leaves_no_older_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "summary.json").write_text("{}")
    (tmp_path / "report.html").write_text("of another time")
    draw(tmp_path, Reporter(quiet=True))
    said = capsys.readouterr().err
    assert said.startswith(f"warning: {tmp_path / 'report.html'} was not made (KeyError: ")
    assert said.count("\n") == 1
    assert not (tmp_path / "report.html").exists()
