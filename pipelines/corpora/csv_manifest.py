"""Anybody's own corpus: a folder of clips and a CSV file that says who shows what in each.

Columns: `path` (relative to the corpus root), `subject`, `label`; optional: `sentence`. Any other
column becomes an attribute of the clip, for tables by subgroup.
"""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipelines.errors import UsageError, require
from pipelines.records import Clip

REQUIRED = ("path", "subject", "label")


@dataclass
class CsvManifestConfig:
    """A corpus listed in a CSV file."""

    name: str = "csv_manifest"
    root: str = ""
    """Folder that the manifest's paths start from."""
    manifest: str = "manifest.csv"
    """The CSV file, relative to the root or absolute."""

    def __post_init__(self) -> None:
        require(
            bool(self.name) and "/" not in self.name,
            f"corpus.name ({self.name}) must be a plain name: it names folders and MLflow tags",
        )


def clips(config: CsvManifestConfig) -> list[Clip]:
    """Read the manifest.

    Raises:
        UsageError: no such folder or file, a column is missing, a row is incomplete, leaves the
            root or stands twice; the message names the row.
    """
    require(
        bool(config.root),
        "corpus.root is not set: give corpus.root=/folder/of/your/clips with a manifest.csv in it "
        "(columns path, subject, label)",
    )
    root = Path(config.root).expanduser()
    require(
        root.is_dir(),
        f"corpus.root ({config.root}) does not exist: give the folder that the manifest's paths "
        "start from",
    )
    manifest = root / config.manifest
    require(
        manifest.is_file(),
        f"corpus.manifest ({manifest}) does not exist: write a CSV file with the columns "
        f"{', '.join(REQUIRED)}",
    )
    rows = _read_rows(manifest)
    stems = Counter(_without_suffix(row["path"]) for row in rows)
    listed = [_clip(row, number, root, stems, config) for number, row in enumerate(rows, start=2)]
    for clip_id, count in Counter(clip.clip_id for clip in listed).items():
        require(count == 1, f"corpus.manifest ({manifest}) lists {clip_id} {count} times: keep one")
    return sorted(listed, key=lambda clip: clip.clip_id)


def _read_rows(manifest: Path) -> list[dict[str, str]]:
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [(name or "").strip() for name in reader.fieldnames or ()]
            missing = [name for name in REQUIRED if name not in columns]
            require(
                not missing,
                f"corpus.manifest ({manifest}) has no column {', '.join(missing)}: it needs "
                f"{', '.join(REQUIRED)}; it has {', '.join(columns) or 'none'}",
            )
            return [
                {(k or "").strip(): (v or "").strip() for k, v in row.items() if isinstance(v, str)}
                for row in reader
                if any(isinstance(v, str) and v.strip() for v in row.values())
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"corpus.manifest ({manifest}) can't be read as CSV in UTF-8: {error}"
        ) from error


def _clip(
    row: dict[str, str], number: int, root: Path, stems: Counter[str], config: CsvManifestConfig
) -> Clip:
    for column in REQUIRED:
        require(
            bool(row.get(column)),
            f"corpus.manifest ({config.manifest}) line {number}: {column} is empty",
        )
    relative = PurePosixPath(row["path"].replace("\\", "/"))
    inside = not relative.is_absolute() and ".." not in relative.parts
    require(
        inside,
        f"corpus.manifest ({config.manifest}) line {number}: path ({row['path']}) must stay inside "
        "corpus.root: give it relative to that folder",
    )
    stem = _without_suffix(row["path"])
    return Clip(
        # Two files that differ in the suffix alone keep it, so that each has its own id.
        clip_id=str(relative) if stems[stem] > 1 else stem,
        path=str(root / relative),
        subject=row["subject"],
        emotion=row["label"],
        sentence=row.get("sentence") or None,
        attributes={k: v for k, v in row.items() if k and k not in (*REQUIRED, "sentence") and v},
        corpus=config.name,
    )


def _without_suffix(path: str) -> str:
    return str(PurePosixPath(path.replace("\\", "/")).with_suffix(""))
