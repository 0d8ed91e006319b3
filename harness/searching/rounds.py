"""Searches round by round: what is to be tried for all outer splits goes into one Tune run."""

from __future__ import annotations

from collections.abc import Sequence

import optuna

from harness.plan import Split
from harness.plan_file import write_plan
from harness.preparation import Preparations
from harness.scheduling import Job, run_jobs
from harness.searching.config import SearchStudyConfig
from harness.searching.guard import check_inner_plan
from harness.searching.inner import inner_plan
from harness.searching.space import space_of, with_settings
from harness.searching.split_search import Proposal, SplitSearch, name_of
from harness.searching.trials import MAXIMIZE, open_storage
from harness.study import Study
from pipelines.progress import Stage

STAGE = "search"


def open_searches(
    study: Study, outers: Sequence[Split], config: SearchStudyConfig, *, apart: bool
) -> list[SplitSearch]:
    """Plan the searches of some outer splits, and see that none of them leaks.

    Raises:
        UsageError: there are too few subjects, or the plan leaks.
    """
    space = space_of(config)
    subjects = {clip_id: clip.subject for clip_id, clip in study.data.clips.items()}
    count, clips = config.search.inner_splits, study.data.clips
    plans = [inner_plan(outer, clips, count, config.seed) for outer in outers]
    for outer, inner in zip(outers, plans, strict=True):
        check_inner_plan(
            outer, inner, subjects, study.shards.contents, study.same_sounds, apart=apart
        )
    storage = open_storage(study.folder / "search" / "optuna.db")
    searches = []
    for outer, inner in zip(outers, plans, strict=True):
        tried = optuna.create_study(
            storage=storage, study_name=outer.split_id, direction=MAXIMIZE, load_if_exists=True
        )
        searches.append(SplitSearch(outer, inner, study, config, space, tried))
        write_plan(searches[-1].folder / "plan.json", inner)
    return searches


def run_searches(searches: Sequence[SplitSearch], preparations: Preparations) -> None:
    """Bring all searches to their end, from wherever they are.

    Raises:
        LeakError: a trial read what its outer split tests.
        StoppedError: a trial failed, and not by its settings.
    """
    search = searches[0].config.search
    for each in searches:
        for trial in each.trials:
            each.check_reads(name_of(trial))
    total = search.trials * len(searches)
    done = sum(len(each.trials) for each in searches)
    if done == total:
        preparations.reporter.line(f"{STAGE}: {total} trials were done before")
        return
    first = min(len(each.trials) for each in searches) // search.round
    # Here, and not under the live line of the search, what it takes is seen.
    for each in searches:
        for proposal in each.round(first):
            preparations.of(with_settings(each.config, proposal.values))
    with preparations.reporter.stage(STAGE, total) as stage:
        for _ in range(done):
            stage.advance()
        for number in range(first, search.rounds):
            stage.say(f"trials, round {number + 1} of {search.rounds}")
            _run_round(searches, number, preparations, stage)
        stage.say("trials")


def _run_round(
    searches: Sequence[SplitSearch], number: int, preparations: Preparations, stage: Stage
) -> None:
    start = number * searches[0].config.search.round
    todo: list[tuple[SplitSearch, Proposal]] = []
    jobs: dict[str, Job] = {}
    waiting: dict[str, int] = {}
    for each in searches:
        proposals = each.round(number)
        left = proposals[max(0, len(each.trials) - start) :]
        rungs = each.rungs(number) if left else {}
        told = {name_of(trial) for trial in each.trials}
        for proposal in left:
            todo.append((each, proposal))
            name = f"{each.outer.split_id}-{proposal.name}"
            if name not in jobs and proposal.name not in told:
                job = each.job(proposal, preparations, rungs)
                if not _is_settled(job):
                    jobs[name] = job
            if name in jobs:
                waiting[name] = waiting.get(name, 0) + 1
            else:
                stage.advance()

    def on_done(name: str) -> None:
        for _ in range(waiting[name]):
            stage.advance()

    if jobs:
        run_jobs(
            list(jobs.values()),
            classes=searches[0].study.classes,
            folder=searches[0].study.folder,
            on_done=on_done,
            on_epochs=lambda name, rows: None,
            say=preparations.reporter.warn,
        )
    for each, proposal in todo:
        each.check_reads(proposal.name)
        each.tell(proposal)


def _is_settled(job: Job) -> bool:
    """Whether a trial has been trained, and it is only to be told."""
    for split in job.splits:
        if job.ledger.is_halted(split.split_id, job.digest):
            return True
        if not job.ledger.is_done(split.split_id, job.digest):
            return False
    return True
