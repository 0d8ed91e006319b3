"""Search over settings, nested in the protocol or plain: `python -m harness.search`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from harness.config import refuse_rival
from harness.leakage import LeakError
from harness.plan import CLIP, Plan, Split
from harness.predictions import predictions_of
from harness.preparation import Preparations
from harness.protocols import KFOLD
from harness.searching.config import SearchStudyConfig
from harness.searching.figures import draw_search
from harness.searching.inner import everything
from harness.searching.report import NO_TEST, print_nested, print_plain
from harness.searching.results import Choice, choice_of, gap_of, plain, stability_of
from harness.searching.rounds import open_searches, run_searches
from harness.searching.space import as_told, space_of, with_settings
from harness.searching.split_search import LOST, SplitSearch, score_of
from harness.study import ARTIFACTS, Study
from harness.study_command import ALL_DONE, SOME_FAILED
from harness.study_run import Chosen, Outcome, opened, run_study, stage_seconds
from harness.terminal import print_summary
from pipelines.command_line import run_command
from pipelines.config import compose_config, describe_settings
from pipelines.errors import require
from pipelines.progress import Reporter
from pipelines.storage import write_json


class NestedSearch:
    """A search for each outer split of a study: see `harness.study_run.Search`."""

    def __init__(self, config: SearchStudyConfig) -> None:
        self.config = config
        self._searches: list[SplitSearch] = []

    def choose(self, study: Study, plan: Plan, preparations: Preparations) -> Mapping[str, Chosen]:
        """Run the searches; return what each outer split is trained with.

        Raises:
            UsageError: the plan can't be searched, or a search leaks.
            StoppedError: a trial failed, and not by its settings.
        """
        require(plan.unit == CLIP, _NO_SEGMENTS)
        apart = self.config.protocol.keeps_subjects_apart
        self._searches = open_searches(study, plan.splits, self.config, apart=apart)
        run_searches(self._searches, preparations)
        found: dict[str, Chosen] = {}
        for search in self._searches:
            if search.best is not None:
                settings = search.best.params
                config = with_settings(self.config, settings)
                found[search.outer.split_id] = Chosen(config, settings)
                continue
            errors = {str(trial.user_attrs.get("error", "")) for trial in search.trials}
            study.ledger.clear(search.outer.split_id, study.digest)
            study.ledger.record_failure(
                search.outer.split_id,
                f"no trial of its search came to an end: {max(errors, default='')}",
                study.digest,
            )
        return found

    def section(self, study: Study, plan: Plan) -> dict[str, Any]:
        """Return the section of the summary, its pictures drawn."""
        choices = [
            choice_of(search, _outer_score(study, search.outer, self.config.search.metric))
            for search in self._searches
        ]
        return {**_section(self.config, study, self._searches, choices), "kind": "nested"}


def run_nested(config: SearchStudyConfig, reporter: Reporter, *, verbose: bool) -> Outcome:
    """Search within each outer split, and test each once with what its search found.

    Raises:
        UsageError: the request itself is wrong; nothing has been trained.
    """
    space_of(config)
    protocol = config.protocol
    require(not (protocol.kind == KFOLD and protocol.unit == "segment"), _NO_SEGMENTS)
    return run_study(config, reporter, verbose=verbose, search=NestedSearch(config))


def run_plain(config: SearchStudyConfig, reporter: Reporter, *, verbose: bool) -> Outcome:
    """Search once, over inner splits of all subjects; nothing is tested.

    Raises:
        UsageError: the request itself is wrong; nothing has been trained.
    """
    space_of(config)
    with opened(config, reporter, verbose=verbose) as (study, preparations):
        study.claim_folder([NO_TEST])
        tracker = study.tracker([NO_TEST])
        tracker.start()
        try:
            learned = [c for c in study.data.usable if c.clip_id not in study.data.other_corpus]
            searches = open_searches(study, [everything(learned)], config, apart=True)
            run_searches(searches, preparations)
        except LeakError as error:
            tracker.fail(str(error))
            raise
    choices = [choice_of(search) for search in searches]
    section = {
        **_section(config, study, searches, choices),
        "kind": "plain",
        "figures_are": NO_TEST,
    }
    summary = {
        "protocol": f"plain search ({NO_TEST})",
        "corpus": study.data.corpus,
        "complete": choices[0].trial is not None,
        "warnings": [NO_TEST, SEEN, *study.data.warnings],
        **study.digests,
        "seconds": stage_seconds(study.folder, reporter),
        "search": section,
    }
    write_json(study.folder / "summary.json", summary)
    tracker.finish(summary, [study.folder / name for name in ARTIFACTS])
    return Outcome(study.folder, summary, tracker)


SEEN = (
    "all subjects took part in the choice: a study on them with these settings is not of people "
    "that the choice has not seen; search.nested=true is"
)
_NO_SEGMENTS = (
    "protocol.unit (segment) divides clips, and a search divides people: use another unit, or "
    "search.nested=false"
)


def _section(
    config: SearchStudyConfig,
    study: Study,
    searches: Sequence[SplitSearch],
    choices: Sequence[Choice],
) -> dict[str, Any]:
    search = config.search
    histories = [each.trials for each in searches]
    complete = all(choice.trial is not None for choice in choices)
    return {
        "metric": search.metric,
        "trials": search.trials,
        "inner_splits": search.inner_splits,
        "space": {name: how for name, how in search.space.items() if how is not None},
        "splits": [plain(choice) for choice in choices],
        "stability": stability_of(choices, space_of(config)),
        **gap_of(choices, complete),
        "figures": draw_search(histories, search.metric, study.folder / "figures"),
    }


def _outer_score(study: Study, split: Split, metric: str) -> float | None:
    """Return the metric over the clips that an outer split tests; None where it is not done."""
    if not study.ledger.is_done(split.split_id, study.digest):
        return None
    segments = study.ledger.segments([split.split_id])
    voted = predictions_of(segments, study.data.clips, study.classes)
    found = {row.clip_id: row.predicted for row in voted}
    true = [study.data.clips[clip_id].emotion for clip_id in split.test]
    return score_of(metric, true, [found.get(clip_id, LOST) for clip_id in split.test])


def main(arguments: Sequence[str] | None = None) -> int:
    """Search over settings, and say what they came to on people that the search never saw."""

    def run(options: argparse.Namespace, reporter: Reporter) -> int:
        config = compose_config("search", SearchStudyConfig, options.overrides)
        config = as_told(config, options.overrides)
        refuse_rival(config, "harness.search")
        nested = config.search.nested
        outcome = (run_nested if nested else run_plain)(config, reporter, verbose=options.verbose)
        if outcome.tracker.problem:
            reporter.warn(outcome.tracker.problem)
        if options.json:
            print(json.dumps(outcome.summary, sort_keys=True))
        elif nested:
            print_nested(outcome.summary["search"])
            print_summary(outcome.summary, outcome.folder, outcome.tracker)
        else:
            print_plain(outcome.summary, outcome.folder, outcome.tracker)
        return ALL_DONE if outcome.summary["complete"] else SOME_FAILED

    return run_command(
        "python -m harness.search",
        "Search over settings. Nested: for each outer split among its development subjects only, "
        "so that what comes out is a test score of the whole procedure.",
        [
            "python -m harness.search",
            "python -m harness.search profile=fast search=default corpus=rml "
            "corpus.root=/data/RML cluster.trial_gpus=0.25",
            "python -m harness.search search.trials=16 "
            "'search.space={fusion.attend_over: {choices: [modalities, concat]}}'",
            "python -m harness.search search.nested=false",
            "python -m harness.search protocol=kfold protocol.unit=subject protocol.folds=3",
        ],
        run,
        arguments,
        lambda: describe_settings("search", SearchStudyConfig),
        on_ray=True,
    )


if __name__ == "__main__":
    sys.exit(main())
