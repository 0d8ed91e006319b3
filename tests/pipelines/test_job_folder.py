"""What of the working folder goes along with a job: Ray's own packing of it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from zipfile import ZipFile

import pytest
from planted_secrets import SECRET_FILES, plant
from ray._private.runtime_env.packaging import create_package

from pipelines.jobs.client import LEFT_HERE

PROJECT = Path(__file__).parents[2]


def packed(folder: Path, package: Path) -> set[str]:
    """Return the files that Ray packs of a folder."""
    create_package(str(folder), package, include_gitignore=True, excludes=LEFT_HERE)
    with ZipFile(package) as made:
        return {name for name in made.namelist() if not name.endswith("/")}


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """Return the files of the project, or skip where it is no checkout."""
    listed = subprocess.run(
        ["git", "-C", str(PROJECT), "ls-files", "-z"], capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip(f"the project is no checkout here: {listed.stderr.strip()}")
    return listed.stdout.split("\0")[:-1]


def test_the_project_goes_along_and_no_secret_beside_it(tracked: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "project"
    for name in tracked:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # What they hold does not matter, but for what is to be ignored.
        path.write_bytes((PROJECT / name).read_bytes() if path.name == ".gitignore" else b"")
    plant(folder)
    plant(folder / "conf" / "below")
    assert "pipelines/credentials.py" in tracked
    assert packed(folder, tmp_path / "package.zip") == set(tracked)


@pytest.mark.parametrize("name", SECRET_FILES)
def test_each_of_them_stays_by_itself(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).touch()
    (folder / "id_network.py").touch()
    assert packed(folder, tmp_path / "package.zip") == {"id_network.py"}
