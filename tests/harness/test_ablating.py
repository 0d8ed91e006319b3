"""An ablation's rows change what they name alone, and its conclusions are recounted by hand."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from compared_runs import SUBJECTS, made, write_run
from conftest import ForkedCommands, run_module
from page_reader import Page

from harness.ablating.combined import combined
from harness.ablating.config import RIVAL, WHOLE, AblateConfig, RowConfig
from harness.ablating.declared import declare
from harness.ablating.page import write_ablation_page
from harness.ablating.results import conclusion, told_rows
from harness.ablating.row_result import DONE_ROW, NOT_RUN, RowResult
from harness.ablating.rows import Row, check_named, rows_of
from harness.ablating.table import ablation_table
from pipelines.config import compose_config
from pipelines.errors import UsageError

FAMILY = ("no_vad", "mean_over_time", "concat")


@cache
def composed(*overrides: str) -> list[Row]:
    return rows_of(compose_config("ablate", AblateConfig, overrides), overrides)


def test_each_row_of_the_paper_changes_what_it_names_and_nothing_else() -> None:
    rows = {row.name: row for row in composed()}
    assert rows["no_vad"].changed == {"vad.enabled": (True, False)}
    assert rows["mean_over_time"].changed == {"model.temporal": ("lstm", "mean")}
    assert rows["concat"].changed == {"fusion.attend_over": ("modalities", "concat")}
    assert rows["visual"].changed == {"model.modalities": ("both", "visual")}
    assert rows["over_modalities"].changed == {}
    for row in rows.values():
        # A group that is named, as `model`, brings all of its settings.
        named = [change.partition("=")[0] for change in row.told.changes]
        for key in row.changed:
            assert any(key == each or key.startswith(f"{each}.") for each in named), (row.name, key)
    assert rows["one_stage"].changed == {"training.stages": ("two", "one")}
    assert rows["last_frame"].changed == {"model.temporal": ("lstm", "last")}
    for name in ("timesteps", "features", "segments"):
        changed = {"fusion.attend_over": ("modalities", name)}
        assert rows[f"over_{name}"].changed == changed
    rivals = [n for n, row in rows.items() if row.told.kind == "rival" and n != "zhang_2016"]
    assert len(rivals) == 9
    for name in rivals:
        assert rows[name].changed == {"rival.kind": ("none", name)}
    # Those whose weights are the whole system's already, and the training that the demo has.
    assert rows["random_trunk"].changed == rows["frozen_trunk"].changed == {}


def test_rows_of_ones_own_are_added() -> None:
    rows = composed('ablation.rows={mine: {title: mine, changes: ["model.dropout=0.9"]}}')
    assert rows[-1].changed == {"model.dropout": (0.2, 0.9)}
    assert len(rows) > 10


def test_the_commands_settings_hold_in_every_row() -> None:
    rows = composed("seed=7", "model.lstm_hidden=16", "protocol.seeds=2")
    for row in rows:
        if row.config is not None:
            assert (row.config.seed, row.config.model.lstm_hidden) == (7, 16)
            assert row.config.protocol.seeds == 2


def test_a_row_that_changes_more_than_it_names_is_refused() -> None:
    changed = {"vad.enabled": (True, False), "seed": (0, 1)}
    check_named("x", changed, ["vad=off", "seed=1"])
    with pytest.raises(UsageError, match=r"ablation\.rows\.x changes seed too"):
        check_named("x", changed, ["vad.enabled=false"])


def test_a_system_that_cannot_be_is_a_row_that_says_why() -> None:
    row = next(row for row in composed() if row.name == "imagenet_trunk")
    assert row.config is None
    assert "model.weights (imagenet) does not exist for model.backbone (small)" in row.problem


def test_rows_that_are_asked_for_bring_what_they_are_made_of_and_what_is_done() -> None:
    override = "ablation.only=[late_mean,concat]"
    names = [row.name for row in composed(override)]
    assert names == [WHOLE, "concat", "audio", "visual", "late_mean"]
    config = compose_config("ablate", AblateConfig, [override])
    names = [row.name for row in rows_of(config, [override], ["cfa", "no_vad"])]
    assert names == [WHOLE, "no_vad", "concat", "audio", "visual", "late_mean", "cfa"]


def test_a_family_that_is_declared_anew_is_said_to_be(tmp_path: Path) -> None:
    assert declare(tmp_path, ["no_vad", "concat"]) == []
    assert declare(tmp_path, ["concat", "no_vad"]) == []
    (said,) = declare(tmp_path, ["audio"])
    assert said.startswith("the family was declared as no_vad, concat on 20")
    assert "and is audio now, after rows had been run" in said


def test_weights_of_a_file_are_the_rows_of_alexnet_s_only_where_they_are_named(
    tmp_path: Path,
) -> None:
    weights = []
    for name in ("vgg", "alexnet"):
        weights.append(tmp_path / f"{name}.pth")
        weights[-1].write_bytes(b"")
    overrides = ["model=vgg19", f"model.weights={weights[0]}", f"model.weights_sha256='{'0' * 64}'"]
    named = f"ablation.alexnet_weights={weights[1]}"
    found = {row.name: row for row in composed(*overrides, named)}
    digest = found["zhang_2016"].changed["model.weights"]
    assert digest == (str(weights[0]), str(weights[1]))
    assert found["random_trunk"].changed["model.weights"] == (str(weights[0]), "none")
    assert not found["imagenet_trunk"].problem


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("ablation.only=[nothing]", "ablation.only (nothing) is no row"),
        ("ablation.family=[vad]", "ablation.family (vad) is no row"),
        ('ablation.rows={aB: {changes: ["model=small"]}}', "ablation.rows (aB) must be named"),
        ('ablation.rows={stage1: {changes: ["model=small"]}}', "and not whole or stage1 or"),
        ('ablation.rows={a: {changes: ["seed=1"]}}', "ablation.rows.a changes seed, which all"),
        ('ablation.rows={a: {changes: ["corpus.takes=1"]}}', "changes corpus.takes, which all"),
        ('ablation.rows={a: {changes: ["protocol=kfold"]}}', "changes protocol, which all"),
        ('ablation.rows={a: {changes: ["model.lstm_hiden=3"]}}', "ablation.rows.a: model.lstm_hid"),
        ('ablation.rows={a: {changes: ["training.patience=x"]}}', "ablation.rows.a: training.pat"),
        ("ablation.rows={a: {of: [b, whole], combine: mean}, b: {}}", "a.of (b) is no row"),
        ("ablation.rows={a: {of: [a], combine: mean_vote}}", "a.of (a) is no row"),
        ("ablation.rows={a: {of: [b], combine: mean}}", "mean_vote is of one row"),
    ],
)
def test_rows_that_make_no_sense_are_refused(
    override: str, said: str, tmp_path: Path, forked_commands: ForkedCommands
) -> None:
    result = forked_commands.run("harness.ablate", override, cwd=tmp_path)
    assert result.status == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def segments(rows: Mapping[tuple[str, int], tuple[float, float]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "split_id": "s",
                "repeat": 0,
                "seed_index": 0,
                "seed": 3,
                "clip_id": clip,
                "segment_index": number,
                "p_a": p[0],
                "p_b": p[1],
            }
            for (clip, number), p in rows.items()
        ]
    )


def test_late_fusion_worked_by_hand() -> None:
    one = segments({("x", 0): (0.8, 0.2), ("x", 1): (0.5, 0.5), ("y", 0): (1.0, 0.0)})
    other = segments({("x", 1): (0.1, 0.9), ("x", 0): (0.4, 0.6), ("y", 0): (0.0, 1.0)})
    product = combined([one, other], ["a", "b"], "product")
    assert product[["clip_id", "segment_index"]].to_numpy().tolist() == [
        ["x", 0],
        ["x", 1],
        ["y", 0],
    ]
    # 0.8 * 0.4 : 0.2 * 0.6 = 8 : 3; what excludes each other leaves both.
    expected = [[8 / 11, 3 / 11], [0.1, 0.9], [0.5, 0.5]]
    np.testing.assert_allclose(product[["p_a", "p_b"]], expected, atol=1e-12)
    mean = combined([one, other], ["a", "b"], "mean")
    np.testing.assert_allclose(mean[["p_a", "p_b"]], [[0.6, 0.4], [0.3, 0.7], [0.5, 0.5]])


@pytest.fixture
def results(tmp_path: Path) -> list[RowResult]:
    """A whole system, two rows of the family, one beside it, and one that was not run."""
    found = []
    for name, seed, share in (
        (WHOLE, 0, 0.9),
        ("no_vad", 1, 0.4),
        ("mean_over_time", 2, 0.85),
        ("visual", 3, 0.3),
    ):
        folder = tmp_path / name
        write_run(folder, made(seed, share), clip_accuracy_subject_mean=share, ci95_low=None)
        found.append(
            RowResult(
                row=Row(name=name, told=RowConfig(title=name), config=None),
                status=DONE_ROW,
                folder=folder,
                summary=json.loads((folder / "summary.json").read_text()),
                parameters=10,
                seconds=2.0,
            )
        )
    lost = Row(name="concat", told=RowConfig(title="concat"), config=None)
    return [*found, RowResult(row=lost, status=NOT_RUN, reason="no weights")]


def shares(folder: Path) -> list[float]:
    rows = pd.read_parquet(folder / "predictions.parquet")
    right = rows.predicted == rows.emotion
    return [float(right[rows.subject == subject].mean()) for subject in SUBJECTS]


def permutation_p(a: list[float], b: list[float]) -> float:
    differences = np.subtract(a, b)
    sums = [np.dot(signs, differences) for signs in itertools.product((1, -1), repeat=len(a))]
    return float(np.mean(np.abs(sums) >= abs(differences.sum()) - 1e-9))


def test_differences_and_holm_are_recounted_by_hand(
    results: list[RowResult], tmp_path: Path
) -> None:
    rows = {row["row"]: row for row in told_rows(results, FAMILY, 0)}
    whole = shares(tmp_path / WHOLE)
    p = {}
    for name in ("no_vad", "mean_over_time", "visual"):
        own = shares(tmp_path / name)
        assert rows[name]["difference"]["value"] == pytest.approx(np.mean(own) - np.mean(whole))
        p[name] = permutation_p(own, whole)
        assert rows[name]["p"] == pytest.approx(p[name])
    # Three were declared: the one that was not run stays in the family, as its weakest.
    least, most = sorted((p["no_vad"], p["mean_over_time"]))
    by_hand = {least: min(1.0, 3 * least), most: min(1.0, max(3 * least, 2 * most))}
    for name in ("no_vad", "mean_over_time"):
        assert rows[name]["p_holm"] == pytest.approx(by_hand[p[name]])
        assert rows[name]["family_size"] == 3
    # Alone in the exploratory family.
    assert rows["visual"]["p_holm"] == pytest.approx(p["visual"])
    assert rows["concat"]["p"] is None


def test_a_conclusion_says_no_more_than_the_numbers(results: list[RowResult]) -> None:
    rows = {row["row"]: row for row in told_rows(results, FAMILY, 0)}
    # Five people: the smallest p is 1/16, which nothing corrects to less than 0.05.
    assert "corrected for its family that is not shown" in rows["no_vad"]["conclusion"]
    assert "So few people could show none" in rows["no_vad"]["conclusion"]
    assert "the smallest p possible is 0.0625" in rows["no_vad"]["conclusion"]
    assert "a hint, to be tested anew" in rows["visual"]["conclusion"]
    assert "a hint" not in rows["no_vad"]["conclusion"]
    assert rows["concat"]["conclusion"] == "Nothing: not run (no weights)."


def told(p: float, size: int, *, smallest: float, warnings: tuple[str, ...] = ()) -> str:
    """Return the conclusion of a row that is lower by 40 to 50 points for 8 of 8 people."""
    return conclusion(
        {
            "row": "cfa",
            "status": DONE_ROW,
            "same_as": "",
            "reason": "",
            "family": "rivals",
            "difference": {"value": -0.45, "low": -0.5, "high": -0.4},
            "subjects_compared": 8,
            "better_for": 0,
            "worse_for": 8,
            "p_holm": p,
            "family_size": size,
            "smallest_p": smallest,
            "left_out": "",
            "protocol_warnings": warnings,
        }
    )


def test_what_many_rows_hide_is_not_called_a_matter_of_few_people() -> None:
    assert told(0.0078, 1, smallest=0.0078) == (
        "On new people like these 8 its accuracy is lower than the whole system's "
        "(-50.0 to -40.0 points, Holm's p 0.0078 among 1)."
    )
    hidden = told(0.078, 10, smallest=0.0078)
    assert "Its accuracy is lower for 8 of 8 people, and the interval by itself excl" in hidden
    assert "corrected for its family that is not shown (Holm's p 0.078 among 10)" in hidden
    assert "8 people could show none among so many rows: the smallest p possible" in hidden
    assert "So few people could show none" in told(0.25, 1, smallest=0.25)


def test_under_a_protocol_that_mixes_people_nothing_is_said_of_new_ones() -> None:
    said = told(0.0078, 1, smallest=0.0078, warnings=("subject-dependent: x",))
    assert said.startswith("Under this protocol, of these very people, its accuracy is lower")
    assert "new people" not in said


def test_rivals_are_a_family_of_their_own_run_or_not(results: list[RowResult]) -> None:
    for number, result in enumerate(results):
        if result.row.name == "visual":
            rival = replace(result.row, told=RowConfig(title="visual", kind=RIVAL))
            results[number] = replace(result, row=rival)
    rows = {row["row"]: row for row in told_rows(results, FAMILY, 4)}
    assert rows["visual"]["family"] == "rivals"
    assert rows["visual"]["family_size"] == 4
    assert rows["visual"]["p_holm"] == pytest.approx(min(1.0, 4 * rows["visual"]["p"]))
    assert rows["no_vad"]["family_size"] == 3


def test_the_table_has_the_papers_order_and_quotes_its_numbers(results: list[RowResult]) -> None:
    rows = told_rows(results, FAMILY, 0)
    systems = [row[0] for row in ablation_table(rows, corpus="rml", kind="loso").rows]
    ours = systems.index(WHOLE)
    assert systems[:3] == [
        "Sarvestani et al., quoted, on rml",
        "Zhang et al., quoted, on rml",
        "Priyasad et al. 2019, quoted, on rml",
    ]
    assert ours == 3
    assert systems[-3:-1] == ["Wang et al., quoted, on rml", "Seng et al., quoted, on rml"]
    by_folds = [row[0] for row in ablation_table(rows, corpus="rml", kind="kfold").rows]
    assert by_folds.index(WHOLE) == 6


def test_the_page_and_its_files_hold_every_row(results: list[RowResult], tmp_path: Path) -> None:
    rows = told_rows(results, FAMILY, 0)
    result: dict[str, Any] = {
        "name": "x",
        "reader": "rml",
        "protocol_kind": "loso",
        "several_seeds": False,
        "complete": True,
        "family": list(FAMILY),
        "warnings": [],
        "rows": rows,
    }
    page = Page(write_ablation_page(tmp_path / "page", result).read_text())
    assert [row[0] for row in page.tables["conclusions"][1:]] == [row["title"] for row in rows]
    table = pd.read_csv(tmp_path / "page" / "tables" / "ablation.csv")
    assert len(table) == 6 + len(rows)
    assert (tmp_path / "page" / "tables" / "ablation.tex").read_text().count(r"\\") == len(
        table
    ) + 1
    assert (tmp_path / "page" / "figures" / "differences.pdf").exists()
    assert "trained once in each split" in page.text


SMALL = (
    "corpus.subjects=3",
    "corpus.takes=1",
    "training.audio_epochs=4",
    "training.visual_epochs=3",
    "training.fusion_epochs=3",
    "name=small",
)


@pytest.mark.long
def test_an_ablation_runs_repeats_only_what_changes_and_goes_on(tmp_path: Path) -> None:
    only = "ablation.only=[no_vad,concat,over_modalities,late_product,mean_vote,imagenet_trunk]"
    done = run_module("harness.ablate", *SMALL, only, "--json", cwd=tmp_path)
    assert done.status == 0, done.stderr
    rows = {row["row"]: row for row in json.loads(done.stdout)["rows"]}
    assert list(rows) == [
        WHOLE,
        "no_vad",
        "concat",
        "over_modalities",
        "audio",
        "visual",
        "late_product",
        "mean_vote",
        "imagenet_trunk",
    ]
    assert rows["over_modalities"]["same_as"] == WHOLE
    assert rows["imagenet_trunk"]["status"] == "not run"
    # Preprocessed twice, with VAD and without; features likewise, for whatever stands on them.
    assert done.stderr.count("preprocess: 18 of 18") == 2
    assert done.stderr.count("features: 18 of 18") == 2
    folder = tmp_path / "runs" / "small"
    # Stage 1 is trained once, for all rows that have the same one.
    for name, taken in (
        (WHOLE, []),
        ("no_vad", []),
        ("concat", ["audio", "visual"]),
        ("audio", ["audio"]),
        ("visual", ["visual"]),
    ):
        entries = [json.loads(e.read_text()) for e in (folder / name / "splits").glob("*.json")]
        assert [entry["taken"] for entry in entries] == [taken] * 3
    assert not (folder / "stage1").exists()
    alone = run_module(
        "harness.loso",
        *(each for each in SMALL if not each.startswith("name=")),
        "training=demo_frozen",
        "fusion.attend_over=concat",
        "name=alone",
        cwd=tmp_path,
    )
    assert alone.status == 0, alone.stderr
    told, by_itself = (
        pd.read_parquet(tmp_path / "runs" / name / "segment_predictions.parquet")
        for name in ("small/concat", "alone")
    )
    pd.testing.assert_frame_equal(told, by_itself, check_exact=True)
    fused = pd.read_parquet(folder / "late_product" / "segment_predictions.parquet")
    audio, visual = (
        pd.read_parquet(folder / name / "segment_predictions.parquet")
        for name in ("audio", "visual")
    )
    columns = [name for name in fused if name.startswith("p_")]
    product = audio[columns].to_numpy() * visual[columns].to_numpy()
    product /= product.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fused[columns].to_numpy(), product, rtol=1e-9)
    plans = {(folder / name / "plan.json").read_text() for name in rows if (folder / name).exists()}
    assert len(plans) == 1
    again = run_module("harness.ablate", *SMALL, only, "--json", cwd=tmp_path)
    assert json.loads(again.stdout)["rows"] == json.loads(done.stdout)["rows"]
    assert "train: 3 splits were done before" in again.stderr
    assert "train: 3 of 3" not in again.stderr
