"""The study of a system that was trained elsewhere: its predictions, under a protocol of ours."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from harness.aggregate import Judged, summarise
from harness.comparing.run_results import few
from harness.config import StudyConfig
from harness.corpora import StudyCorpora
from harness.divisions import check_divisible
from harness.leakage import check_plan
from harness.plan import SEGMENT, Plan
from harness.plan_file import write_plan
from harness.predictions import CONTENTS
from harness.protocols import CROSS, KFOLD
from harness.scoring.prediction_file import PredictionFile, read_prediction_file
from harness.sentences import sentence_overlap
from harness.splits import plan_splits
from pipelines.clip_files import content_digests
from pipelines.config import to_plain, to_yaml
from pipelines.errors import UsageError, require
from pipelines.records import Clip, Prediction
from pipelines.storage import (
    UNREADABLE,
    claim,
    content_digest,
    digest_of,
    require_folder,
    write_json,
    write_text,
)

EXTERNAL = "external"
NOT_KNOWN = "an external system: what it was trained on is not known here"
EMPTY = hashlib.sha256(b"").hexdigest()
"""Content of a file without bytes: two of them are no copies of each other."""


@dataclass(frozen=True)
class Scored:
    """What the predictions came to."""

    folder: Path
    summary: dict[str, Any]


def score(path: Path, config: StudyConfig) -> Scored:
    """Check a file of predictions against the plan and write a study's folder with its figures.

    Nothing is preprocessed, and no clip is decoded: all clips that the corpus lists are to be
    predicted.

    Args:
        path: the CSV file; see `read_prediction_file`.
        config: corpus, protocol and name.

    Raises:
        UsageError: the file does not fit the plan, the plan leaks, or the folder holds something
            else.
    """
    require(path.is_file(), f"{path} is no file: name the CSV file with the predictions")
    protocol = config.protocol
    require(
        protocol.kind != CROSS,
        "protocol=cross trains on one corpus and tests on another: score predictions on the corpus "
        "tested, under protocol=loso or a protocol.plan",
    )
    by_segment = protocol.kind == KFOLD and protocol.unit == "segment" and protocol.plan is None
    require(
        not by_segment,
        "protocol.unit (segment) divides clips into segments, which are not known of another "
        "system: use clip, subject or sentence",
    )
    require_folder("paths.runs", config.paths.runs)
    corpora = StudyCorpora(config)
    check_divisible(corpora.clips, protocol)
    clips = {clip.clip_id: clip for clip in corpora.clips}
    plan = plan_splits(corpora.clips, dict.fromkeys(clips, 1), protocol, config.seed)
    require(
        plan.unit != SEGMENT,
        f"protocol.plan ({protocol.plan}) divides clips into segments, which are not known of "
        "another system",
    )
    root = corpora.plan.config.corpus.root
    contents = content_digests(corpora.clips, root)
    remarks = _check(plan, config, clips, contents)
    classes = sorted({clip.emotion for clip in corpora.clips})
    file = read_prediction_file(path, plan, clips, root, classes)
    digests = {
        "config_digest": _config_digest(config),
        "data_digest": digest_of([[c, clips[c].subject, clips[c].emotion] for c in sorted(clips)]),
        "predictions_digest": content_digest(path)[:16],
    }
    study = Judged(
        plan=plan,
        protocol=protocol.label,
        corpus=corpora.plan.listing.name,
        clips=clips,
        classes=classes,
        predicts="clip",
        digests=digests,
        warnings=[*plan.warnings(clips), *plan.untested(clips), NOT_KNOWN, *remarks, *file.remarks],
        sentence_overlap=sentence_overlap(plan, {c: clip.sentence for c, clip in clips.items()}),
        system=EXTERNAL,
    )
    name = config.name or f"{_file_name(path.stem)}-{protocol.kind}-{digest_of(digests)[:8]}"
    folder = Path(config.paths.runs).absolute() / name
    return Scored(folder, _write(folder, name, config, study, file, contents))


def _write(
    folder: Path,
    name: str,
    config: StudyConfig,
    study: Judged,
    file: PredictionFile,
    contents: Mapping[str, str],
) -> dict[str, Any]:
    with claim_folder(folder, name, study.digests):
        write_text(folder / "config.yaml", to_yaml(config))
        write_plan(folder / "plan.json", study.plan)
        known = {c: v for c, v in sorted(contents.items()) if v not in (UNREADABLE, EMPTY)}
        write_json(folder / CONTENTS, known)
        failed = unpredicted(study.plan, file.predictions)
        done = len(study.plan.splits) - len(failed)
        return summarise(folder, study, file.predictions, None, done, failed)


def claim_folder(folder: Path, name: str, digests: Mapping[str, str]) -> IO[bytes]:
    """Take a run folder that is new, or holds this very study, until the result is closed.

    Raises:
        UsageError: it holds another one, or somebody is at work in it.
    """
    _require_ours(folder, name, digests)
    held = claim(folder / ".lock")
    if held is None:
        raise UsageError(
            f"name ({name}) is being worked on by another process: wait for it, or choose another "
            "name"
        )
    # Another process may have been quicker.
    _require_ours(folder, name, digests)
    write_json(folder / "study.json", {"name": name, **digests})
    return held


def _require_ours(folder: Path, name: str, digests: Mapping[str, str]) -> None:
    if not any(path.name != ".lock" for path in folder.glob("*")):
        return
    mark = folder / "study.json"
    held = json.loads(mark.read_text()) if mark.exists() else {}
    require(
        all(held.get(key) == digest for key, digest in digests.items()),
        f"name ({name}) is taken: {folder} holds another study, or another file's predictions; "
        "choose another name, or remove that folder",
    )


def unpredicted(plan: Plan, predictions: Sequence[Prediction]) -> list[dict[str, str]]:
    """Return the splits that are not fully predicted, and what they lack."""
    predicted: defaultdict[str, set[str]] = defaultdict(set)
    for row in predictions:
        predicted[row.split_id].add(row.clip_id)
    failed = []
    for split in plan.splits:
        missing = sorted(set(split.test) - predicted[split.split_id])
        if missing:
            error = f"no prediction for {few(missing)} of its {len(split.test)}"
            failed.append({"split_id": split.split_id, "error": error})
    return failed


def _check(
    plan: Plan, config: StudyConfig, clips: Mapping[str, Clip], contents: Mapping[str, str]
) -> list[str]:
    """Check the plan as a study's; return what could not be checked."""
    unread = sorted(c for c, content in contents.items() if content in (UNREADABLE, EMPTY))
    check_plan(
        plan,
        config.protocol,
        {clip_id: clip.subject for clip_id, clip in clips.items()},
        {**contents, **{clip_id: f"{UNREADABLE} {clip_id}" for clip_id in unread}},
    )
    if not unread:
        return []
    return [f"{few(unread)} can't be read: whether two are the same recording was not checked"]


def _config_digest(config: StudyConfig) -> str:
    """Return a digest of what settles the plan."""
    protocol = to_plain(config.protocol)
    if config.protocol.plan is not None:
        protocol["plan"] = content_digest(Path(config.protocol.plan))
    return digest_of({"external": True, "protocol": protocol, "seed": config.seed})


def _file_name(stem: str) -> str:
    name = re.sub(r"[^\w.=+-]+", "_", stem)
    return name if re.match(r"\w", name) else f"predictions{name}"
