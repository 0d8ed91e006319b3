"""Studies on an MLflow server of this machine, looked at in a browser."""

from __future__ import annotations

import html
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import clean_environment, run_module
from made_study import check_sent, runs_in, write_study

from harness.mlflow_pages import studies_address

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path / "runs")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}"]
    command += ["--artifacts-destination", str(tmp_path / "artifacts"), "--workers", "1"]
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=clean_environment(), stdout=log, stderr=log)
    uri = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{uri}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, (tmp_path / "server.log").read_text()[-2000:]
                time.sleep(1)
        yield uri
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.long
def test_a_server_gets_42_splits_and_shows_studies_by_accuracy(
    study: Path, server: str, tmp_path: Path
) -> None:
    for _ in range(2):
        sent = run_module("harness.track", str(study), cwd=tmp_path, MLFLOW_TRACKING_URI=server)
        assert sent.status == 0, sent.stderr
        assert sent.stdout == f"{study} is in MLflow at {server}\n"
    check_sent(server)
    if CHROMIUM is None:
        pytest.skip("Chromium is not on this machine: the pages were not looked at")
    parent, _, _ = runs_in(server)
    better = write_study(study.parent, "better", always_right=True)
    sent = run_module("harness.track", str(better), cwd=tmp_path, MLFLOW_TRACKING_URI=server)
    assert sent.status == 0, sent.stderr
    listing = page(studies_address(server, "1"), tmp_path, "experiment")
    # The studies alone, the most accurate first.
    assert listing.index("better") < listing.index("made")
    assert "loso-s" not in listing
    for shown in ("clip_accuracy", "ci95_low", "splits_done", "2 matching runs"):
        assert shown in listing
    one = page(f"{server}/#/experiments/1/runs/{parent.info.run_id}", tmp_path, "study")
    for shown in ("50.0 % of a person's clips", "clip_accuracy", "uar", "ci95_low", "splits_done"):
        assert shown in one
    assert "loso-s41" in one


def page(address: str, folder: Path, name: str) -> str:
    """Return the text of a page as a browser has it, and keep a picture of it."""
    options = (*QUIET, f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=30000")
    picture = f"--screenshot={folder / name}.png"
    subprocess.run(
        [str(CHROMIUM), *options, "--window-size=1400,900", picture, address],
        check=True,
        capture_output=True,
        timeout=180,
    )
    done = subprocess.run(
        [str(CHROMIUM), *options, "--dump-dom", address],
        check=True,
        capture_output=True,
        text=True,
        timeout=180,
    )
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", done.stdout)).split())
