"""A cluster that begins with no CPU for work, and grows nodes as they are wanted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cluster_study import check_same
from conftest import SMALL, clean_environment, run_module

pytestmark = [pytest.mark.cluster, pytest.mark.long]

MOST = 3
"""Nodes of one CPU each."""
STUDY = (*SMALL, f"corpus.subjects={30 * (MOST - 1) // 6 + 1}", "training.audio_epochs=1")
"""Of so many clips (6 for each subject) that they are worth that many nodes from the start."""
ALONE = ("unshare", "--pid", "--fork", "--mount-proc", "--mount", "--kill-child")


@pytest.mark.usefixtures("hosts")
def test_preprocessing_and_trials_take_nodes_that_were_not_there(tmp_path: Path) -> None:
    script = Path(__file__).with_name("growing.py")
    ran = subprocess.run(
        [*ALONE, sys.executable, str(script), str(MOST), "harness.loso", *STUDY, "name=grown"],
        cwd=tmp_path,
        env=clean_environment(PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=900,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stderr.splitlines()[-1])
    assert told["status"] == 0, told["stderr"]
    assert "0 CPUs" in told["stderr"]
    assert told["at_once"] == {"sandbox_child": MOST, "ImplicitFunc": MOST}
    here = run_module("harness.loso", *STUDY, "name=here", "paths.data=here", cwd=tmp_path)
    assert here.status == 0, here.stderr
    check_same(tmp_path / "runs" / "grown", tmp_path / "runs" / "here")
