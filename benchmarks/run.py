"""Run one measurement and keep it: `python -m benchmarks.run NAME [--json FILE]`."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import (
    ablation,
    broken_files,
    coverage,
    demo,
    extraction,
    faces,
    lstm,
    preprocessing,
    rivals,
    scaling,
    scheduling,
    search,
    study_memory,
    vad,
)

BENCHMARKS: dict[str, Callable[[], dict[str, Any]]] = {
    "C1": rivals.plain_loop,
    "C1_lstm512": rivals.plain_loop_512,
    "C2": rivals.toolkit,
    "C3": lstm.run,
    "C4": scheduling.run,
    "C4_fresh": scheduling.run_fresh,
    "broken_files": broken_files.run,
    "coverage": coverage.run,
    "coverage_differences": coverage.run_differences,
    "demo": demo.run,
    "demo_ablation": ablation.run,
    "demo_search": search.run,
    "extraction": extraction.run,
    "faces": faces.run,
    "preprocessing_memory": preprocessing.memory,
    "preprocessing_ray_data": preprocessing.ray_data,
    "preprocessing_region": preprocessing.region_of_interest,
    "preprocessing_steps": preprocessing.steps,
    "scaling": scaling.run,
    "scheduler": scaling.simulate,
    "study_memory": study_memory.run,
    "vad": vad.run,
}
RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "torch",
    "torchvision",
    "ray",
    "mlflow",
    "librosa",
    "decord",
    "av",
    "opencv-python-headless",
    "numpy",
    "scikit-learn",
)


def main() -> int:
    """Measure, print and write the result with what it was measured on."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("name", choices=sorted(BENCHMARKS))
    parser.add_argument("--json", type=Path, help="default: benchmarks/results/NAME.json")
    options = parser.parse_args()
    result = {"name": options.name, **BENCHMARKS[options.name](), **provenance()}
    text = json.dumps(result, indent=1, sort_keys=True)
    target = options.json or RESULTS / f"{options.name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text + "\n")
    print(text)
    for problem in result.get("problems", ()):
        print(f"not equal: {problem}", file=sys.stderr)
    return 1 if result.get("problems") else 0


def provenance() -> dict[str, Any]:
    """Return machine, versions and commit."""
    return {
        "machine": {
            "cpu": _cpu(),
            "cores": len(_cores()),
            "memory_gib": round(_memory_bytes() / 2**30, 1),
            "system": platform.system(),
        },
        "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
        "commit": _commit(),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _cores() -> set[int]:
    import os

    return os.sched_getaffinity(0)


def _memory_bytes() -> int:
    import os

    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _commit() -> str:
    command = ["git", "-C", str(RESULTS.parent), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
