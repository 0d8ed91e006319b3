"""Errors that a person can act on."""

from __future__ import annotations

from collections.abc import Iterable


class UsageError(Exception):
    """The request itself is wrong; the message names the thing, its value and what to do.

    Entry points print it as one line on stderr and leave with exit status 2.
    """


class UnavailableError(UsageError):
    """What the request names can't be had here, such as weights: among several requests the others
    can go on.
    """


class StoppedError(Exception):
    """The work can't go on; what is finished is kept, and the same command goes on from there.

    Entry points print it as one line on stderr and leave with exit status 1.
    """


def require(condition: bool, message: str) -> None:
    """Raise `UsageError(message)` unless `condition` holds."""
    if not condition:
        raise UsageError(message)


def require_one_of(name: str, value: str, options: Iterable[str]) -> None:
    """Raise `UsageError` unless the setting `name` has one of the `options`."""
    listed = list(options)
    require(value in listed, f"{name} ({value}) must be one of: {', '.join(listed)}")
