"""Predictions of another system, read from a CSV file and checked against a plan."""

from __future__ import annotations

import csv
import difflib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.plan import Plan, Split
from pipelines.errors import UsageError, require
from pipelines.records import Clip, Prediction

CLIP_COLUMNS = ("clip_id", "path")
MOST_OFF = 1e-3
"""By which probabilities may miss a sum of 1: they were printed with few digits."""


@dataclass(frozen=True)
class PredictionFile:
    """What the file holds, checked."""

    predictions: tuple[Prediction, ...]
    remarks: tuple[str, ...]
    """What a reader of the figures must know of it."""


class _Reader:
    """Turns the lines of one file into predictions; every refusal names the line."""

    def __init__(
        self, path: Path, plan: Plan, clips: Mapping[str, Clip], root: str, classes: Sequence[str]
    ) -> None:
        self.path, self.clips, self.classes = path, clips, classes
        self.ids = {_relative(clip.path, root): clip_id for clip_id, clip in clips.items()}
        self.ids |= {clip_id: clip_id for clip_id in clips}
        self.tested_by: defaultdict[str, dict[str, Split]] = defaultdict(dict)
        for split in plan.splits:
            for clip_id in split.test:
                self.tested_by[clip_id][split.split_id] = split
        self.split_ids = {split.split_id for split in plan.splits}
        self.seen: dict[tuple[str, str], int] = {}
        self.unlikely: list[int] = []
        """Lines whose label is not the most probable one."""

    def columns(self, header: Sequence[str]) -> list[str]:
        """Check the header; return the columns that are of no use here."""
        twice = sorted({name for name in header if header.count(name) > 1})
        require(not twice, f"{self.path} line 1: the column {', '.join(twice)} stands twice")
        named = [name for name in CLIP_COLUMNS if name in header]
        require(
            len(named) == 1 and "predicted" in header,
            f"{self.path} line 1: the columns are {', '.join(header) or 'none'}; needed are "
            "clip_id (or path, relative to the corpus root) and predicted, separated by commas; "
            "split_id and p_<emotion> may follow",
        )
        chances = [name for name in header if name.startswith("p_")]
        wanted = [f"p_{label}" for label in self.classes]
        strange = sorted(set(chances) - set(wanted))
        require(
            not strange,
            f"{self.path} line 1: {', '.join(strange)} is of no emotion of the corpus "
            f"({', '.join(self.classes)})",
        )
        missing = sorted(set(wanted) - set(chances)) if chances else []
        require(
            not missing,
            f"{self.path} line 1: there are probabilities, but no {', '.join(missing)}: give all "
            "of them or none",
        )
        self.clip_column, self.chances = named[0], bool(chances)
        used = {*named, "predicted", "split_id", *wanted}
        return [name for name in header if name not in used]

    def prediction(self, line: int, cells: Mapping[str, str]) -> Prediction:
        """Return the prediction of one line."""
        used = [self.clip_column, "predicted", *(["split_id"] if "split_id" in cells else [])]
        for name in used:
            require(bool(cells[name]), f"{self.path} line {line}: {name} is empty")
        clip_id = self._clip_id(line, cells[self.clip_column])
        split = self._split(line, clip_id, cells.get("split_id"))
        first = self.seen.setdefault((clip_id, split.split_id), line)
        require(
            first == line,
            f"{self.path} line {line}: {clip_id} stands there a second time (it is in line {first} "
            f"too) for split {split.split_id}: keep one",
        )
        label = cells["predicted"]
        require(
            label in self.classes,
            f"{self.path} line {line}: predicted ({label}) must be one of: "
            f"{', '.join(self.classes)}",
        )
        chances = self._probabilities(line, cells) if self.chances else {}
        best = max(self.classes, key=chances.__getitem__) if chances else ""
        if chances and chances[label] < chances[best]:
            self.unlikely.append(line)
        clip = self.clips[clip_id]
        return Prediction(
            split_id=split.split_id,
            repeat=split.repeat,
            seed_index=split.seed_index,
            seed=split.seed,
            clip_id=clip_id,
            subject=clip.subject,
            emotion=clip.emotion,
            predicted=label,
            predicted_by_mean=best,
            tie=False,
            probabilities=chances,
        )

    def _clip_id(self, line: int, name: str) -> str:
        clip_id = self.ids.get(name.replace("\\", "/"))
        if clip_id is None:
            near = difflib.get_close_matches(name, self.ids, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else f"one is {min(self.clips)}"
            raise UsageError(
                f"{self.path} line {line}: {self.clip_column} ({name}) is no clip of the corpus: "
                f"{hint}"
            )
        require(
            clip_id in self.tested_by,
            f"{self.path} line {line}: {self.clip_column} ({name}) is a clip that the plan does "
            "not test: leave it out",
        )
        return clip_id

    def _split(self, line: int, clip_id: str, named: str | None) -> Split:
        tested_by = self.tested_by[clip_id]
        if named is None:
            require(
                len(tested_by) == 1,
                f"{self.path} line {line}: {clip_id} is tested by {len(tested_by)} splits "
                f"({', '.join(sorted(tested_by)[:3])}, ...): a column split_id must say by which",
            )
            return next(iter(tested_by.values()))
        require(
            named in self.split_ids,
            f"{self.path} line {line}: split_id ({named}) is no split of the plan: one is "
            f"{min(self.split_ids)}",
        )
        require(
            named in tested_by,
            f"{self.path} line {line}: split_id ({named}) does not test {clip_id}, which "
            f"{', '.join(sorted(tested_by)[:3])} does: its prediction would be of a model that may "
            "have been trained on it",
        )
        return tested_by[named]

    def _probabilities(self, line: int, cells: Mapping[str, str]) -> dict[str, float]:
        chances: dict[str, float] = {}
        for label in self.classes:
            name = f"p_{label}"
            require(bool(cells[name]), f"{self.path} line {line}: {name} is empty")
            try:
                chances[label] = float(cells[name])
            except ValueError:
                chances[label] = math.nan
            require(
                0.0 <= chances[label] <= 1.0,
                f"{self.path} line {line}: {name} ({cells[name]}) must be a number from 0 to 1",
            )
        total = sum(chances.values())
        require(
            abs(total - 1.0) <= MOST_OFF,
            f"{self.path} line {line}: the probabilities sum to {total:.6g}, not to 1",
        )
        return chances


def read_prediction_file(
    path: Path, plan: Plan, clips: Mapping[str, Clip], root: str, classes: Sequence[str]
) -> PredictionFile:
    """Read a CSV file with one line a prediction.

    Columns: `clip_id` (or `path`, relative to the corpus root), `predicted`; `split_id` where a
    clip is tested several times; `p_<emotion>` for all emotions or for none.

    Args:
        path: the file, in UTF-8.
        plan: says which clips are tested by which splits.
        clips: all clips of the corpus by id.
        root: of the corpus.
        classes: all labels, in order.

    Raises:
        UsageError: naming the line and the value.
    """
    reader = _Reader(path, plan, clips, root, classes)
    predictions: list[Prediction] = []
    try:
        # A byte order mark is what spreadsheets write.
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            header = [name.strip() for name in next(lines, [])]
            unused = reader.columns(header)
            for cells in lines:
                if not any(cell.strip() for cell in cells):
                    continue
                require(
                    len(cells) == len(header),
                    f"{path} line {lines.line_num}: {len(cells)} values, and {len(header)} columns",
                )
                row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
                predictions.append(reader.prediction(lines.line_num, row))
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} can't be read as CSV in UTF-8: {error}") from error
    require(bool(predictions), f"{path} holds no prediction")
    remarks = []
    if reader.unlikely:
        remarks.append(
            f"in {len(reader.unlikely)} lines predicted is not the emotion with the highest "
            f"probability (line {reader.unlikely[0]} is the first): predicted counts"
        )
    if unused:
        remarks.append(f"not used: the columns {', '.join(unused)} of the predictions")
    ordered = sorted(predictions, key=lambda row: (row.split_id, row.clip_id))
    return PredictionFile(tuple(ordered), tuple(remarks))


def _relative(path: str, root: str) -> str:
    return path.removeprefix(root.rstrip("/") + "/")
