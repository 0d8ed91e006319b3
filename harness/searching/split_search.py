"""The search for one outer split: what was tried, what is next, what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from harness.ledger import FAILED, HALTED, UNSEEN, Entry, Ledger
from harness.metrics import accuracy, unweighted_average_recall
from harness.plan import Plan, Split
from harness.predictions import predictions_of
from harness.preparation import Preparations
from harness.scheduling import Job
from harness.searching.config import SearchStudyConfig
from harness.searching.guard import check_inner_reads
from harness.searching.halving import rungs_of
from harness.searching.space import Space, Value, with_settings
from harness.searching.trials import best_of, ended, propose
from harness.study import Study
from harness.trial import Rung, lowest_loss
from harness.trial_failures import OUT_OF_MEMORY
from pipelines.errors import StoppedError
from pipelines.progress import Reporter
from pipelines.split_task import seed_for
from pipelines.storage import digest_of

OF_THE_SETTINGS = ("FloatingPointError", OUT_OF_MEMORY)
"""Errors by which a trial's own settings end it: the search goes on without it."""
LOST = ""
"""Stands for the prediction of a clip that preprocessing lost: never right."""


@dataclass(frozen=True)
class Proposal:
    """One trial before it has ended."""

    number: int
    name: str
    """Of its ledger entries: that of the first trial with the same settings."""
    values: Mapping[str, Value]


@dataclass
class SplitSearch:
    """The search for one outer split: what was tried, what is next, what came of it."""

    outer: Split
    inner: Plan
    study: Study
    config: SearchStudyConfig
    space: Space
    tried: optuna.Study

    @property
    def folder(self) -> Path:
        """Holds the inner plan and the ledger of its trials."""
        return self.study.folder / "search" / self.outer.split_id

    @property
    def ledger(self) -> Ledger:
        """The inner splits of all trials."""
        return Ledger(self.folder / "splits")

    @property
    def trials(self) -> list[FrozenTrial]:
        """Those that have ended, in order."""
        return self.tried.get_trials(deepcopy=False)

    @property
    def best(self) -> FrozenTrial | None:
        """The trial that is chosen; None where none came to its end."""
        return best_of(self.trials)

    # What is next

    def round(self, number: int) -> list[Proposal]:
        """Return the trials of a round, those that have ended already included."""
        search = self.config.search
        start = number * search.round
        earlier = self.trials[:start]
        drawn = propose(
            earlier,
            self.space,
            min(search.round, search.trials - start),
            startup=search.startup,
            seed=seed_for(self.config.seed, "search", self.outer.split_id),
        )
        names = {digest_of(trial.params): name_of(trial) for trial in reversed(earlier)}
        proposals = []
        for offset, values in enumerate(drawn):
            own = f"trial{start + offset + 1:03d}"
            name = names.setdefault(digest_of(values), own)
            proposals.append(Proposal(start + offset, name, values))
        return proposals

    def rungs(self, number: int) -> dict[str, tuple[Rung, ...]]:
        """Return where the trainings of a round are given up, by inner split."""
        search = self.config.search
        earlier = self.trials[: number * search.round]
        names = dict.fromkeys(name_of(trial) for trial in earlier)
        complete = {name_of(t) for t in earlier if t.state == TrialState.COMPLETE}
        found: dict[str, tuple[Rung, ...]] = {}
        for split in self.inner.splits:
            entries = [self.ledger.entry(entry_name(name, split)) for name in names]
            there = [entry for entry in entries if entry is not None]
            found[split.split_id] = rungs_of(there, search.halving, len(complete))
        return found

    def job(
        self, proposal: Proposal, preparations: Preparations, rungs: Mapping[str, tuple[Rung, ...]]
    ) -> Job:
        """Return what trains a trial in all inner splits."""
        config = with_settings(self.config, proposal.values)
        told = {split: [vars(rung) for rung in of_split] for split, of_split in rungs.items()}
        return preparations.of(config, Reporter(quiet=True)).job(
            f"{self.outer.split_id}-{proposal.name}",
            [replace(s, split_id=entry_name(proposal.name, s)) for s in self.inner.splits],
            folder=self.folder,
            digest=digest_of([self.study.digest, dict(proposal.values), told]),
            settings=proposal.values,
            rungs={
                entry_name(proposal.name, split): rungs[split.split_id]
                for split in self.inner.splits
            },
        )

    # What came of it

    def entries(self, name: str) -> list[tuple[Split, Entry]]:
        """Return the inner splits that a trial was trained in."""
        pairs = [(split, self.ledger.entry(entry_name(name, split))) for split in self.inner.splits]
        return [(split, entry) for split, entry in pairs if entry is not None]

    def check_reads(self, name: str) -> None:
        """Refuse, as a leak, what a trial must not have read; see `check_inner_reads`."""
        for split, entry in self.entries(name):
            check_inner_reads(self.outer, split, entry)

    def tell(self, proposal: Proposal) -> None:
        """Enter a trial that has ended.

        Raises:
            StoppedError: it failed, and not by its settings.
        """
        entries = self.entries(proposal.name)
        told = {"entries": proposal.name}
        for position, (split, entry) in enumerate(entries):
            if entry.status == FAILED:
                if not entry.error.startswith(OF_THE_SETTINGS):
                    raise StoppedError(
                        f"search of {self.outer.split_id}, trial {proposal.number + 1}, "
                        f"{split.split_id}: {entry.error}; what is finished is kept: run the same "
                        "command again to go on"
                    )
                told["error"] = entry.error
                self.tried.add_trial(ended(proposal.values, self.space, told=told))
                return
            if entry.status == HALTED:
                row = entry.curves[-1]
                told["halted"] = f"{split.split_id}, {row['network']}, epoch {row['epoch']}"
                halted = self._halted(position, entry)
                trial = ended(proposal.values, self.space, halted=halted, told=told)
                self.tried.add_trial(trial)
                return
        if len(entries) < len(self.inner.splits):
            raise StoppedError(
                f"search of {self.outer.split_id}, trial {proposal.number + 1}: {UNSEEN}"
            )
        true, predicted = self.predictions(proposal.name)
        score = score_of(self.config.search.metric, true, predicted)
        self.tried.add_trial(ended(proposal.values, self.space, score=score, told=told))

    def _halted(self, position: int, entry: Entry) -> tuple[int, float]:
        places = self.config.search.halving.places
        network, epoch = (entry.curves[-1][key] for key in ("network", "epoch"))
        step = position * len(places) + places.index((network, epoch))
        return step, lowest_loss([row for row in entry.curves if row["network"] == network])

    def predictions(self, name: str) -> tuple[list[str], list[str]]:
        """Return true and predicted label of every inner held-out clip; a lost one has none."""
        clips = self.study.data.clips
        split_ids = [entry_name(name, split) for split in self.inner.splits]
        voted = predictions_of(self.ledger.segments(split_ids), clips, self.study.classes)
        found = {row.clip_id: row.predicted for row in voted}
        tested = [clip_id for split in self.inner.splits for clip_id in split.test]
        return [clips[c].emotion for c in tested], [found.get(c, LOST) for c in tested]


def entry_name(trial: str, split: Split) -> str:
    """Return the name of a trial's ledger entry for an inner split."""
    return f"{trial}-{split.split_id}"


def name_of(trial: FrozenTrial) -> str:
    """Return the name of a trial's ledger entries."""
    return str(trial.user_attrs["entries"])


def score_of(metric: str, true: Sequence[str], predicted: Sequence[str]) -> float:
    """Return `uar` or `accuracy`."""
    return (accuracy if metric == "accuracy" else unweighted_average_recall)(true, predicted)
