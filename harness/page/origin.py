"""Where the numbers come from: configuration, digests, versions, machines, times."""

from __future__ import annotations

from collections import Counter

from harness.page.run_folder import RunFolder
from harness.page.section import Section
from harness.page.tables import COUNT, NOTE, NUMBER, Column, Table


def origin_section(run: RunFolder) -> Section:
    """What somebody needs to make these numbers again."""
    return Section(
        anchor="provenance",
        title="Where the numbers come from",
        text=[
            "The same configuration, data, versions and kind of machine give the same predictions."
        ],
        tables=[
            Table(
                name="provenance",
                caption="Provenance.",
                columns=[Column("what", "what"), Column("value", "value", NOTE)],
                rows=[[what, value] for what, value in _rows(run) if value],
            ),
            *_times(run),
        ],
        appendix=run.config,
        appendix_title="The whole configuration (config.yaml)",
    )


def _rows(run: RunFolder) -> list[tuple[str, str]]:
    rows = [
        ("digest of the configuration", run.summary.get("config_digest", "")),
        ("digest of the data", run.summary.get("data_digest", "")),
    ]
    for number, part in enumerate(parts := run.provenance.get("runs", ())):
        which = "" if len(parts) == 1 else f", part {number + 1}"
        machine = part["machine"]
        rows += [
            (f"worked on{which}", f"{part['started']} to {part['finished'] or 'an interruption'}"),
            (f"splits trained{which}", str(part["splits"])),
            (f"ran on{which}", part["place"]),
            (
                f"driver{which}",
                f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
                f"{machine['system']}",
            ),
            (f"code (git commit){which}", part["git_commit"]),
            (f"versions{which}", ", ".join(f"{k} {v}" for k, v in part["versions"].items())),
        ]
    devices = Counter(
        f"{entry.get('device') or 'unknown device'}, {entry.get('threads', 0)} threads"
        for entry in run.done
    )
    rows.append(
        ("trained with", "; ".join(f"{n} splits: {what}" for what, n in sorted(devices.items())))
    )
    sizes = run.done[0].get("parameters", {}) if run.done else {}
    rows.append(("parameters", ", ".join(f"{name} {size:,}" for name, size in sizes.items())))
    return rows


def _times(run: RunFolder) -> list[Table]:
    stages = [
        [f"stage: {name}", 1, float(seconds), float(seconds)]
        for name, seconds in run.summary.get("seconds", {}).items()
        if seconds
    ]
    of_splits: dict[str, list[float]] = {}
    for entry in run.done:
        for name, seconds in entry.get("seconds", {}).items():
            of_splits.setdefault(name, []).append(float(seconds))
    splits = [
        [f"in a split: {name}", len(times), sum(times) / len(times), sum(times)]
        for name, times in of_splits.items()
    ]
    if not stages and not splits:
        return []
    return [
        Table(
            name="times",
            caption="Seconds on the clock; splits run beside each other.",
            columns=[
                Column("what", "what"),
                Column("times", "times", COUNT),
                Column("mean_s", "mean, s", NUMBER),
                Column("total_s", "together, s", NUMBER),
            ],
            rows=[*stages, *splits],
        )
    ]
