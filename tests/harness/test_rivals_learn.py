"""Rivals learn what is known to be in the clips, and nothing where nothing is.

Each signal is one corpus of 48 clips and one ablation, so that all rivals stand on the same clips,
splits and stage 1. Right at chance is 1 to 17 of 48, by the exact 99.9 % interval (`Finding`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import run_module
from findings import CHANCE, Finding, hits_of

OF_VOICES, OF_FACES = ("functionals_svm",), ("hog_svm", "lbp_svm")
OF_EITHER = ("functionals_hog_svm", "average_pooling_svm", "anova_mlp", "dense_fusion")
OF_BOTH = ("cfa", "kcfa", "kcca")
"""What they look for is what the modalities have in common: where one tells nothing, there is
nothing to find, and what they then come to is not known beforehand."""
RIVALS = (*OF_VOICES, *OF_FACES, *OF_EITHER, *OF_BOTH)
BEATS = {
    "audio": (*OF_VOICES, *OF_EITHER),
    "visual": (*OF_FACES, *OF_EITHER),
    "both": RIVALS,
    "none": (),
}
AT_CHANCE = {"audio": OF_FACES, "visual": OF_VOICES, "both": (), "none": RIVALS}
SEEDS = {"audio": 41, "visual": 42, "both": 43, "none": 44}
STUDY = (
    "corpus.subjects=8",
    "corpus.takes=1",
    "corpus.difficulty=0",
    "protocol=kfold",
    "protocol.unit=subject",
    "protocol.folds=3",
    # Stage 1 as the demo trains it: what stands on it can be no better than its networks.
    "training=demo",
    "tracking.enabled=false",
    # Zhang et al.'s fusion on the demo's small networks: AlexNets from scratch want more clips.
    "ablation.rows={dense_fusion: {kind: rival, changes: "
    '["model.temporal=mean", "fusion.attend_over=concat", "fusion.hidden=[64,64]"]}}',
    f"ablation.only=[{','.join(RIVALS)}]",
)


@pytest.mark.long
@pytest.mark.parametrize(
    "signal", [pytest.param(each, marks=pytest.mark.xdist_group(each)) for each in SEEDS]
)
def test_a_rival_beats_chance_where_its_modality_tells_and_nowhere_else(
    signal: str, tmp_path: Path
) -> None:
    seed = SEEDS[signal]
    settings = (f"corpus.signal={signal}", f"corpus.seed={seed}", f"seed={seed}", "name=rivals")
    done = run_module("harness.ablate", *STUDY, *settings, "--json", cwd=tmp_path)
    assert done.status == 0, done.stderr
    rows: dict[str, Any] = {row["row"]: row for row in json.loads(done.stdout)["rows"]}
    assert {rows[name]["status"] for name in RIVALS} == {"done"}
    found = {name: Finding(hits_of(tmp_path / "runs" / "rivals" / name, seed)) for name in RIVALS}
    for name, finding in found.items():
        print(f"signal {signal}, {name}: {finding}")
        assert len(finding.hits) == 48
    for name in BEATS[signal]:
        assert found[name].interval[0] > CHANCE, f"{name}: {found[name]}"
    for name in AT_CHANCE[signal]:
        assert found[name].is_at_chance, f"{name}: {found[name]}"
