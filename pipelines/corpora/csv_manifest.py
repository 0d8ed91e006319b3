"""Anybody's own corpus: a folder of clips and a CSV file that says who shows what in each.

Columns: `path` (relative to the corpus root), `subject`, `label`; optional: `sentence`. Any other
column becomes an attribute of the clip, for tables by subgroup.
"""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

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
        root.exists(),
        f"corpus.root ({config.root}) does not exist: give the folder that the manifest's paths "
        "start from",
    )
    require(root.is_dir(), f"corpus.root ({config.root}) is no folder: give the one of the clips")
    manifest = root / config.manifest
    require(
        manifest.exists(),
        f"corpus.manifest ({manifest}) does not exist: write a CSV file with the columns "
        f"{', '.join(REQUIRED)}",
    )
    require(manifest.is_file(), f"corpus.manifest ({manifest}) is no file: name the CSV file")
    rows = _read_rows(manifest)
    paths = [_checked_path(row, manifest) for row in rows]
    # Two files that differ in the suffix alone keep it, so that each has its own id.
    taken = Counter(str(path.with_suffix("")) for path in paths)
    taken.update(str(path) for path in set(paths))
    listed = []
    for row, path in zip(rows, paths, strict=True):
        stem = str(path.with_suffix(""))
        alone = taken[stem] == (2 if stem == str(path) else 1)
        listed.append(_clip(row, stem if alone else str(path), root / path, config))
    for clip_id, count in Counter(clip.clip_id for clip in listed).items():
        require(count == 1, f"corpus.manifest ({manifest}) lists {clip_id} {count} times: keep one")
    return sorted(listed, key=lambda clip: clip.clip_id)


@dataclass(frozen=True)
class _Row:
    line: int
    cells: dict[str, str]


def _read_rows(manifest: Path) -> list[_Row]:
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [(name or "").strip() for name in reader.fieldnames or ()]
            missing = [name for name in REQUIRED if name not in columns]
            require(
                not missing,
                f"corpus.manifest ({manifest}) has no column {', '.join(missing)}: it needs "
                f"{', '.join(REQUIRED)}, separated by commas; it has "
                f"{', '.join(columns) or 'none'}",
            )
            rows = []
            for row in reader:
                require(
                    None not in row,
                    f"corpus.manifest ({manifest}) line {reader.line_num} has more cells than the "
                    "header: put text that holds a comma in quotes",
                )
                cells = {k.strip(): v.strip() for k, v in row.items() if k and isinstance(v, str)}
                if any(cells.values()):
                    rows.append(_Row(reader.line_num, cells))
            return rows
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"corpus.manifest ({manifest}) can't be read as CSV in UTF-8: {error}"
        ) from error


def _checked_path(row: _Row, manifest: Path) -> PurePosixPath:
    """Return the path of a row, which names a file inside the corpus root."""
    where = f"corpus.manifest ({manifest}) line {row.line}"
    for column in REQUIRED:
        require(bool(row.cells.get(column)), f"{where}: {column} is empty")
    written = row.cells["path"]
    path = PurePosixPath(written.replace("\\", "/"))
    require(
        not path.is_absolute() and not PureWindowsPath(written).drive and ".." not in path.parts,
        f"{where}: path ({written}) must stay inside corpus.root: give it relative to that folder",
    )
    require(bool(path.name), f"{where}: path ({written}) names no file")
    return path


def _clip(row: _Row, clip_id: str, path: Path, config: CsvManifestConfig) -> Clip:
    known = (*REQUIRED, "sentence")
    return Clip(
        clip_id=clip_id,
        path=str(path),
        subject=row.cells["subject"],
        emotion=row.cells["label"],
        sentence=row.cells.get("sentence") or None,
        attributes={key: value for key, value in row.cells.items() if key not in known and value},
        corpus=config.name,
    )
