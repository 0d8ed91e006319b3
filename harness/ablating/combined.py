"""Rows that train nothing: predictions of other rows, combined segment by segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from harness.ablating.config import MEAN_VOTE, PRODUCT
from harness.aggregate import Judged, summarise
from harness.ledger import ATTENTION_COLUMNS
from harness.plan import SEGMENT
from harness.plan_file import write_plan
from harness.predictions import predictions_of
from pipelines.storage import write_table

KEYS = ["split_id", "repeat", "seed_index", "seed", "clip_id", "segment_index"]
NEVER = 1e-300
"""A probability of nothing, whose product would leave a segment without any class."""


def combine_rows(folder: Path, study: Judged, sources: Sequence[Path], how: str) -> dict[str, Any]:
    """Write the run folder of predictions that are combined of others on the same splits.

    Args:
        folder: of the row.
        study: what the predictions are of.
        sources: run folders of complete rows.
        how: `product` or `mean` of probabilities, or `mean_vote`.

    Returns:
        The summary.
    """
    tables = [pd.read_parquet(each / "segment_predictions.parquet") for each in sources]
    segments = _as_segments(combined(tables, study.classes, how))
    predictions = predictions_of(
        segments, study.clips, study.classes, divided=study.plan.unit == SEGMENT
    )
    if how == MEAN_VOTE:
        predictions = [
            replace(row, predicted=row.predicted_by_mean, tie=False) for row in predictions
        ]
    write_plan(folder / "plan.json", study.plan)
    write_table(folder / "segment_predictions.parquet", segments)
    return summarise(folder, study, predictions, segments, len(study.plan.splits), [])


def combined(tables: Sequence[pd.DataFrame], classes: Sequence[str], how: str) -> pd.DataFrame:
    """Return probabilities of the segments that all tables have, each row summing to one.

    Kittler et al. 1998: the product rule takes the modalities for independent given the emotion and
    the classes for equally likely beforehand, the sum rule averages.

    Args:
        tables: columns of segment_predictions.parquet.
        classes: all labels, in order.
        how: `product`, else their mean; of one table its own probabilities.
    """
    columns = [f"p_{label}" for label in classes]
    indexed = [table.set_index(KEYS)[columns] for table in tables]
    shared = indexed[0].index
    for other in indexed[1:]:
        shared = shared.intersection(other.index)
    shared = shared.sort_values()
    each = np.stack([table.loc[shared].to_numpy(np.float64) for table in indexed])
    if how == PRODUCT:
        logs = np.log(np.maximum(each, NEVER)).sum(axis=0)
        scores = np.exp(logs - logs.max(axis=1, keepdims=True))
    else:
        scores = each.mean(axis=0)
    scores /= scores.sum(axis=1, keepdims=True)
    found = pd.DataFrame(scores, index=shared, columns=columns).reset_index()
    whole_numbers = dict.fromkeys(("repeat", "seed_index", "segment_index"), np.int32)
    return found.astype(whole_numbers)


def _as_segments(found: pd.DataFrame) -> pa.Table:
    """Return the columns of segment_predictions.parquet: nothing was attended to."""
    table = pa.Table.from_pandas(found, preserve_index=False).replace_schema_metadata(None)
    for name, kind in ATTENTION_COLUMNS.items():
        table = table.append_column(name, pa.nulls(len(table), kind))
    return table
