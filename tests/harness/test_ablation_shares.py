"""Rows with the same stage 1 train it once, and rows with another one never take it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from test_trial import TRIAL

from harness.ablating.config import WHOLE, AblateConfig
from harness.ablating.rows import Row, rows_of
from harness.ablating.shared import SharedStage1
from harness.trial import Trial
from pipelines.config import compose_config
from pipelines.split_task import SplitTask

BOTH = {"audio", "visual"}


def rows(*overrides: str) -> list[Row]:
    return rows_of(compose_config("ablate", AblateConfig, overrides), overrides)


def test_rows_share_what_stands_below_their_change(tmp_path: Path) -> None:
    found = {row.name: row for row in rows("profile=demo_ablation")}
    shared = SharedStage1(tmp_path, list(found.values()))
    whole = shared.of(found[WHOLE])
    assert set(whole) == BOTH
    on_top = ("concat", "over_timesteps", "over_features", "over_segments", "frozen_trunk")
    rivals = ("cfa", "kcfa", "kcca", "anova_mlp", "average_pooling_svm", "random_trunk")
    for name in (*on_top, *rivals):
        assert shared.of(found[name]) == whole, name
    # Audio alone, and what changes the visual network alone, have the whole's audio network.
    assert shared.of(found["audio"]) == {"audio": whole["audio"]}
    assert shared.of(found["visual"]) == {"visual": whole["visual"]}
    for name in ("mean_over_time", "last_frame"):
        assert shared.of(found[name]) == {"audio": whole["audio"]}, name
    # Other clips, another trunk or training, no stage 1 at all: they share with nobody.
    others = ("no_vad", "fine_tuned_trunk", "one_stage", "zhang_2016", "functionals_svm")
    for name in (*others, "imagenet_trunk", "late_mean", "mean_vote"):
        assert shared.of(found[name]) == {}, name


def test_networks_go_when_no_row_needs_them_any_more(tmp_path: Path) -> None:
    found = {row.name: row for row in rows("ablation.only=[concat,mean_over_time]")}
    shared = SharedStage1(tmp_path, list(found.values()))
    places = shared.of(found[WHOLE])
    for place in (*places.values(), tmp_path / "stage1" / "of an earlier run"):
        place.mkdir(parents=True)
    shared.end(found[WHOLE])
    assert all(place.exists() for place in places.values())
    shared.end(found["concat"])
    assert [name for name, place in places.items() if place.exists()] == ["audio"]
    shared.end(found["mean_over_time"])
    assert not any(place.exists() for place in places.values())
    shared.close()
    assert not (tmp_path / "stage1").exists()


def trial_of(task: SplitTask, keys: dict[str, str]) -> Trial:
    return replace(TRIAL, task=task, keys=keys)


def test_the_key_of_a_split_is_of_what_it_learns_from_and_of_nothing_it_is_tested_on() -> None:
    task = SplitTask(
        split_id="s",
        repeat=0,
        seed=1,
        classes=("anger", "fear"),
        train=(("a", 0), ("b", 1)),
        validation=(("c", 0),),
        test=("d",),
        pieces={"train": {"a": (0, 1)}, "test": {"d": (0,)}},
    )
    keys = {"a": "ka", "b": "kb", "c": "kc", "d": "kd"}
    key = trial_of(task, keys).stage1_key
    others = [
        replace(task, train=(("a", 1), ("b", 1))),
        replace(task, train=(("a", 0),)),
        replace(task, validation=(("c", 1),)),
        replace(task, validation=()),
        replace(task, seed=2),
        replace(task, classes=("fear", "anger")),
        replace(task, pieces={"train": {"a": (0,)}, "test": {"d": (0,)}}),
    ]
    found = [trial_of(other, keys).stage1_key for other in others]
    # Another content of a clip: its key in the shards.
    found.append(trial_of(task, {**keys, "c": "other"}).stage1_key)
    assert len({key, *found}) == len(found) + 1
    assert trial_of(replace(task, test=("e",)), {**keys, "e": "ke"}).stage1_key == key
    assert trial_of(task, {**keys, "d": "other"}).stage1_key == key
