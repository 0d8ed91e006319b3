"""Anybody's own corpus: a folder of clips and a CSV file that says who shows what in each.

Columns: `path` (relative to the corpus root), `subject`, `label`; optional: `sentence`. Any other
column becomes an attribute of the clip, for tables by subgroup.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from pipelines.corpora.clip_ids import clip_ids
from pipelines.corpora.folder import CorpusFile, CorpusFolder, printable
from pipelines.corpora.tree import CorpusListing, CorpusSettings, Remark, not_looked_into
from pipelines.errors import UsageError, require
from pipelines.records import Clip

REQUIRED = ("path", "subject", "label")


@dataclass
class CsvManifestConfig(CorpusSettings):
    """A corpus listed in a CSV file; the manifest's paths start from the root."""

    name: str = "csv_manifest"
    manifest: str = "manifest.csv"
    """The CSV file, relative to the root or absolute."""


def read(config: CsvManifestConfig) -> CorpusListing:
    """Read the manifest.

    Raises:
        UsageError: no such folder or file, a column is missing, a row is incomplete, leaves the
            root or stands twice (the message names the row), or none of the files is there.
    """
    folder = CorpusFolder.open(
        config.root,
        f"your clips and a manifest.csv with the columns {', '.join(REQUIRED)}",
        outside_links=config.outside_links,
    )
    manifest, text = _open_manifest(folder, config.manifest)
    rows = _read_rows(manifest, text)
    paths = [_checked_path(row, manifest, folder) for row in rows]
    clips = [
        _clip(row, clip_id, folder.address(str(path)), config)
        for row, clip_id, path in zip(rows, clip_ids(paths), paths, strict=True)
    ]
    for clip_id, count in Counter(clip.clip_id for clip in clips).items():
        require(count == 1, f"corpus.manifest ({manifest}) lists {clip_id} {count} times: keep one")
    files = folder.files()
    missing = _missing(folder, files, [str(path) for path in paths])
    require(
        len(missing) < len(paths) or not paths,
        f"none of the {len(paths)} files in corpus.manifest ({manifest}) is in corpus.root "
        f"({config.root}), {missing[0] if missing else ''} first: its paths must start from there",
    )
    listed = {str(path) for path in paths}
    return CorpusListing(
        name=config.name,
        root=config.root,
        clips=tuple(sorted(clips, key=lambda clip: clip.clip_id)),
        left_out=tuple(
            Remark(printable(file.path), "not in the manifest")
            for file in files
            if file.is_media and file.path not in listed
        ),
        irregular=(
            *not_looked_into(folder),
            *(
                Remark(path, "in the manifest but not in the folder: its outcome will say so")
                for path in missing
            ),
        ),
    )


def _missing(folder: CorpusFolder, files: Sequence[CorpusFile], paths: Sequence[str]) -> list[str]:
    there = {file.path for file in files}
    # What is not listed may be there all the same: a hidden file, or a name in another case.
    return [path for path in sorted(paths) if path not in there and not folder.exists(path)]


def _open_manifest(folder: CorpusFolder, named: str) -> tuple[str, str]:
    """Return where the manifest is, and its text."""
    if "://" in named or Path(named).is_absolute():
        parent, _, path = named.rpartition("/")
        folder = CorpusFolder(parent or "/")
    else:
        path = named
    manifest = folder.address(path)
    require(
        folder.exists(path),
        f"corpus.manifest ({manifest}) does not exist: write a CSV file with the columns "
        f"{', '.join(REQUIRED)}",
    )
    require(
        not folder.is_folder(path),
        f"corpus.manifest ({manifest}) is no file: name the CSV file",
    )
    try:
        return manifest, folder.read_text(path)
    except UnicodeDecodeError as error:
        raise _not_csv(manifest, error) from error


@dataclass(frozen=True)
class _Row:
    line: int
    cells: dict[str, str]


def _read_rows(manifest: str, text: str) -> list[_Row]:
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""))
        columns = [(name or "").strip() for name in reader.fieldnames or ()]
        missing = [name for name in REQUIRED if name not in columns]
        require(
            not missing,
            f"corpus.manifest ({manifest}) has no column {', '.join(missing)}: it needs "
            f"{', '.join(REQUIRED)}, separated by commas; it has {', '.join(columns) or 'none'}",
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
    except csv.Error as error:
        raise _not_csv(manifest, error) from error


def _not_csv(manifest: str, error: Exception) -> UsageError:
    return UsageError(f"corpus.manifest ({manifest}) can't be read as CSV in UTF-8: {error}")


def _checked_path(row: _Row, manifest: str, folder: CorpusFolder) -> PurePosixPath:
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
    require(
        not folder.leads_out(str(path)),
        f"{where}: path ({written}) leads out of corpus.root through a link: put the file there, "
        "or allow such links with corpus.outside_links=true",
    )
    return path


def _clip(row: _Row, clip_id: str, path: str, config: CsvManifestConfig) -> Clip:
    known = (*REQUIRED, "sentence")
    return Clip(
        clip_id=clip_id,
        path=path,
        subject=row.cells["subject"],
        emotion=row.cells["label"],
        sentence=row.cells.get("sentence") or None,
        attributes={key: value for key, value in row.cells.items() if key not in known and value},
        corpus=config.name,
    )
