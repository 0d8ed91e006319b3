"""Corpus and shards in an object store: a local S3 server, real requests."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SmallStudy, run_module
from moto.server import ThreadedMotoServer
from upath import UPath

from pipelines import locks
from pipelines.clip_files import ClipFiles, content_digests
from pipelines.errors import UsageError
from pipelines.feature_store import FeatureFolder
from pipelines.host_copies import host_copy
from pipelines.locks import hold
from pipelines.records import Clip
from pipelines.shards import open_shards
from pipelines.storage import location_of, names_in, read_whole, require_folder, write_json

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Yield the address of an S3 server on this machine, with an empty bucket `lab`."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    address = f"http://{host}:{port}"
    before = dict(os.environ)
    os.environ.update(CREDENTIALS, AWS_ENDPOINT_URL=address)
    bucket("").fs.mkdir("lab")
    yield address
    os.environ.clear()
    os.environ.update(before)
    moto.stop()


def bucket(path: str) -> UPath:
    folder = location_of(f"s3://lab/{path}")
    assert not isinstance(folder, Path)
    return folder


pytestmark = pytest.mark.usefixtures("server")


def test_what_is_put_is_read_whole_and_what_is_not_there_is_left_out() -> None:
    folder = bucket("tables")
    write_json(folder / "a.json", {"one": 1})
    write_json(folder / "b.json", [2])
    found = read_whole([folder / "a.json", folder / "b.json", folder / "c.json"])
    assert found == {"a.json": b'{\n "one": 1\n}\n', "b.json": b"[\n 2\n]\n"}
    assert sorted(names_in(folder)) == ["a.json", "b.json"]
    assert names_in(bucket("nothing")) == []


def test_a_lock_lets_one_in_at_a_time_and_tells_the_other_for_whom_it_waits() -> None:
    folder = bucket("locked")
    order: list[str] = []
    told: list[str] = []

    def second() -> None:
        with hold(folder, told.append):
            order.append("second in")

    with hold(folder, told.append):
        other = threading.Thread(target=second)
        other.start()
        time.sleep(1.0)
        order.append("first out")
    other.join(timeout=20)
    assert order == ["first out", "second in"]
    (line,) = told
    assert f"process {os.getpid()} on " in line
    assert names_in(folder) == []


def test_a_lock_whose_holder_is_dead_is_taken_and_one_that_is_renewed_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(locks, "STALE_SECONDS", 1.5)
    monkeypatch.setattr(locks, "RENEW_SECONDS", 0.3)
    folder = bucket("stale")
    (folder / ".lock").write_bytes(b'{"host": "gone", "process": 1}')
    told: list[str] = []
    began = time.monotonic()
    with hold(folder, told.append):
        assert time.monotonic() - began > 1.5
        assert told == [f"process 1 on gone is working on {folder}: waiting for it to end"]
        entered = threading.Event()

        def other() -> None:
            with hold(folder, told.append):
                entered.set()

        waiting = threading.Thread(target=other)
        waiting.start()
        assert not entered.wait(3.0)  # twice as long as a dead holder's lock would stand
    waiting.join(timeout=20)
    assert entered.is_set()


def put_clips(count: int, size: int) -> list[Clip]:
    clips = []
    for index in range(count):
        place = bucket("corpus") / f"clip {index}.avi"
        place.write_bytes(bytes([index]) * size)
        clips.append(Clip(clip_id=f"{index}", path=str(place), subject="s", emotion="fear"))
    return clips


def test_copies_of_clips_are_kept_within_bounds_the_latest_used_longest(tmp_path: Path) -> None:
    clips = put_clips(4, 1000)
    files = ClipFiles(tmp_path / "copies", limit_bytes=3500)
    for clip in [*clips[:3], clips[0]]:
        with files.local(clip.path) as path:
            assert path.read_bytes() == bytes([int(clip.clip_id)]) * 1000
            assert path.suffix == ".avi"
        time.sleep(0.01)
    with files.local(clips[3].path):
        kept = sorted(path.read_bytes()[0] for path in (tmp_path / "copies").iterdir())
        assert kept == [0, 2, 3]


def test_a_copy_in_use_is_never_removed_and_a_changed_clip_is_fetched_again(
    tmp_path: Path,
) -> None:
    clips = put_clips(3, 1000)
    files = ClipFiles(tmp_path, limit_bytes=1)
    with files.local(clips[0].path) as first:
        with files.local(clips[1].path) as second:
            assert first.read_bytes()[0] == 0
            assert second.read_bytes()[0] == 1
        with files.local(clips[2].path):
            assert first.exists()
            assert not second.exists()
    location_of(clips[0].path).write_bytes(b"new")
    with files.local(clips[0].path) as again:
        assert again.read_bytes() == b"new"
    with pytest.raises(FileNotFoundError), files.local("s3://lab/corpus/none.avi"):
        pass


def test_what_is_fetched_at_one_time_is_within_bounds_when_none_of_it_is_in_use(
    tmp_path: Path,
) -> None:
    clips = put_clips(2, 1000)
    files = ClipFiles(tmp_path, limit_bytes=1500)
    with files.local(clips[0].path), files.local(clips[1].path):
        assert len(list(tmp_path.iterdir())) == 2
    assert len(list(tmp_path.iterdir())) == 1


def test_an_object_is_known_by_what_its_store_says_of_its_content() -> None:
    clips = put_clips(3, 10)
    root = str(bucket("corpus"))
    before = content_digests(clips, root)
    assert len(set(before.values())) == 3
    location_of(clips[1].path).write_bytes(bytes([0]) * 10)
    location_of(clips[2].path).unlink()
    after = content_digests(clips, root)
    assert after == {"0": before["0"], "1": before["0"], "2": "unreadable"}


def test_a_place_that_cannot_be_written_to_is_refused_in_a_line() -> None:
    for place, words in (
        ("s3://no-such-bucket/data", "bucket"),
        ("nonsense://lab/data", "nonsense"),
    ):
        with pytest.raises(UsageError, match=rf"paths\.data.*{words}") as refused:
            require_folder("paths.data", place)
        assert "\n" not in str(refused.value)
    require_folder("paths.data", "s3://lab/data")
    assert names_in(bucket("data")) == []


def test_features_are_fetched_once_a_host_and_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "copies"))
    folder = FeatureFolder(bucket("features/of-one-trunk"))
    told = torch.arange(12.0).reshape(3, 4)
    folder.write("a", told)
    assert torch.equal(folder.read("a"), told)
    (copy,) = [path for path in (tmp_path / "copies").rglob("*.*") if path.suffix]
    assert (tmp_path / "copies").stat().st_mode & 0o077 == 0
    # Another store's object of the same name is another one.
    other = FeatureFolder(bucket("features/of-another"))
    other.write("a", -told)
    assert torch.equal(other.read("a"), -told)
    # Not from the store, which has lost it; and all of it from the mapped file.
    bucket("features/of-one-trunk").fs.rm("lab/features/of-one-trunk", recursive=True)
    held = folder.read("a")
    assert torch.equal(held, told)
    assert str(copy) in Path("/proc/self/maps").read_text()
    copy.unlink()
    with pytest.raises(FileNotFoundError):
        folder.read("a")


def test_trials_that_begin_together_fetch_a_clip_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "copies"))
    address = bucket("together.bin")
    address.write_bytes(b"features")
    fetched = []
    read = type(address).read_bytes

    def slowly(path: UPath) -> bytes:
        fetched.append(path)
        time.sleep(0.5)
        return bytes(read(path))

    monkeypatch.setattr(type(address), "read_bytes", slowly)
    with ThreadPoolExecutor(4) as trials:
        copies = set(trials.map(host_copy, [address] * 4))
    (copy,) = copies
    assert copy is not None
    assert copy.read_bytes() == b"features"
    assert len(fetched) == 1


def test_a_host_without_room_for_copies_reads_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder can be made below this")
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "file" / "copies"))
    folder = FeatureFolder(bucket("features/no-room"))
    told = torch.arange(6.0).reshape(2, 3)
    folder.write("a", told)
    assert torch.equal(folder.read("a"), told)


@pytest.mark.long
def test_a_study_runs_on_a_corpus_and_shards_that_lie_in_a_store(
    small_study: SmallStudy, tmp_path: Path
) -> None:
    (made,) = (small_study.cwd / "data" / "corpora").iterdir()
    clips = [f"s{s:02d}/{emotion}_1" for s in (1, 2, 3) for emotion in ("anger", "happiness")]
    store = bucket("recordings")
    lines = ["path,subject,label"]
    for clip in clips:
        (store / f"{clip}.avi").write_bytes((made / f"{clip}.avi").read_bytes())
        lines.append(f"{clip}.avi,{clip[:3]},{clip[4:-2]}")
    lines.append("s01/gone.avi,s01,anger")
    (store / "manifest.csv").write_text("\n".join(lines))
    arguments = [
        "corpus=csv_manifest",
        "corpus.root=s3://lab/recordings",
        "paths.data=s3://lab/kept",
        f"paths.cache={tmp_path / 'cache'}",
        "preprocess.cache_mb=1",
        "training.trunk=frozen",
        "training.audio_epochs=1",
        "training.visual_epochs=1",
        "training.fusion_epochs=1",
        "--json",
    ]
    cluster = {key: os.environ[key] for key in (*CREDENTIALS, "AWS_ENDPOINT_URL")}
    done = run_module("harness.loso", *arguments, cwd=tmp_path, **cluster)
    assert done.status == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["splits_done"], summary["clips"], summary["coverage"]) == (3, 7, 6 / 7)
    assert "s01/gone: failed: missing_file" in done.stderr

    (digest,) = names_in(bucket("kept/shards"))
    stored = open_shards(bucket("kept/shards") / digest)
    local = open_shards(small_study.shards)
    for outcome in stored.usable:
        clip_id = outcome.clip_id
        here = local.folder.read(local.keys[clip_id], clip_id)
        there = stored.folder.read(stored.keys[clip_id], clip_id)
        assert np.array_equal(here.crops, there.crops)
        assert here.mfcc.tobytes() == there.mfcc.tobytes()
        assert np.array_equal(here.frame_indices, there.frame_indices)
    features = [
        FeatureFolder(bucket("kept/features") / n) for n in names_in(bucket("kept/features"))
    ]
    keys = {stored.keys[outcome.clip_id] for outcome in stored.usable}
    assert [folder.held() for folder in features] == [keys, keys]
    assert all(folder.read(min(keys)).shape[1] == 128 for folder in features)
    held = bucket("kept").fs.find("lab/kept", detail=True)
    copies = list((tmp_path / "cache").iterdir())
    assert sum(path.stat().st_size for path in copies) <= 2**20

    # Nothing is done, fetched or put a second time.
    arguments[-4:] = ["--json"]
    again = run_module("pipelines.preprocess", *arguments, cwd=tmp_path, **cluster)
    assert again.status == 0, again.stderr
    assert json.loads(again.stdout)["shards"] == f"s3://lab/kept/shards/{digest}"
    assert "clips were done before" in again.stderr
    assert bucket("kept").fs.find("lab/kept", detail=True) == held
