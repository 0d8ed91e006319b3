"""Successive halving that is the same every time: a round is measured against those before it.

The rule is ASHA's (Li et al. 2020): at a rung a trial goes on where it is among the best 1/eta of
those that got there. ASHA asks whoever got there first, which depends on timing; here the others
are the trials of earlier rounds, and what a trial must reach is settled before its round begins.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.ledger import DONE, HALTED, Entry
from harness.search_config import HalvingConfig
from harness.trial import Rung, lowest_loss


def rungs_of(earlier: Sequence[Entry], settings: HalvingConfig, ended: int) -> tuple[Rung, ...]:
    """Return where a training of one inner split is given up.

    Args:
        earlier: entries of the same inner split, of the trials of earlier rounds.
        settings: see `HalvingConfig`.
        ended: trials of earlier rounds that came to their end, in all inner splits.
    """
    if ended < settings.least:
        return ()
    rungs = []
    for network, epoch in settings.places:
        losses = [loss for e in earlier if (loss := loss_at(e, network, epoch)) is not None]
        if losses:
            most = worst_to_go_on(losses, settings.eta)
            rungs.append(Rung(network=network, epoch=epoch, most=most))
    return tuple(rungs)


def worst_to_go_on(losses: Sequence[float], eta: int) -> float:
    """Return the loss up to which one more is among the best 1/eta; at least the best one is."""
    rank = max(1, (len(losses) + 1) // eta)
    return sorted(losses)[rank - 1]


def loss_at(entry: Entry, network: str, epoch: int) -> float | None:
    """Return the lowest validation loss of a network by an epoch; None where it did not get there.

    A network that stopped by itself before counts with its best.
    """
    if entry.status not in (DONE, HALTED):
        return None
    rows = [row for row in entry.curves if row["network"] == network and row["epoch"] <= epoch]
    if not rows or (network not in entry.chosen_epochs and rows[-1]["epoch"] < epoch):
        return None
    return lowest_loss(rows)
