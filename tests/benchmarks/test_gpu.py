"""The measurements for a GPU run on a machine that has torch and NumPy alone, and agree there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_THERE = ("ray", "mlflow", "decord", "av", "librosa", "hydra", "omegaconf", "pyarrow")
NOR_THESE = ("safetensors", "cv2", "sklearn", "pandas", "fsspec", "upath")
WITHOUT = f"""
import sys
for name in {NOT_THERE + NOR_THESE}:
    sys.modules[name] = None  # an import of it raises ImportError
from benchmarks.gpu import main
sys.exit(main())
"""
NO_KERNEL = "could not create a primitive"
ROWS = ("fine_tuning", "frozen_study", "heads_at_once", "lstm_step", "study_floor")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    target = tmp_path_factory.mktemp("gpu") / "gpu.json"
    command = [sys.executable, "-c", WITHOUT, "--small", "--json", str(target), "--commit", "abc"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(target.read_text())
    assert result["commit"] == "abc"
    rows: dict[str, dict[str, object]] = result["rows"]
    return rows


def test_every_row_is_measured_without_the_projects_other_libraries(
    measured: dict[str, dict[str, object]],
) -> None:
    assert sorted(measured) == sorted(ROWS)
    assert not [name for name, row in measured.items() if "error" in row]


def test_what_is_compared_computes_the_same(measured: dict[str, dict[str, object]]) -> None:
    forms = measured["lstm_step"]["forms"]
    assert isinstance(forms, dict)
    # Not every CPU has torch's own LSTM in bfloat16.
    missing = [name for name, form in forms.items() if NO_KERNEL in form.get("error", "")]
    assert missing in ([], ["cuDNN, bfloat16"])
    compared = [f for name, f in forms.items() if "left_out" not in f and name not in missing]
    assert len(compared) >= 4
    for row in (
        *compared,
        *(measured[name] for name in ("fine_tuning", "frozen_study", "heads_at_once")),
    ):
        assert row["equal"] is True
