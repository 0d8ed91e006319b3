"""Passwords and keys in addresses: none gets into what is written down or shown.

Settings are written into the folder of a study, into MLflow and, on a cluster, into a job's
metadata. An address that carries a secret is refused there, and is shown without it elsewhere.
"""

from __future__ import annotations

import re

from pipelines.errors import require

# A password may hold slashes and at signs: it reaches to the last of these. What stands there like
# a port is one, but in the address of a database, whose libraries would take it for a password.
_PASSWORD = (
    r"(?:(?:postgres\w*|mysql|mariadb|mssql|oracle)(?:\+\w+)?://[^\s/@:\"'\[]*:[^\s\"']*@"
    r"|\w+://[^\s/@:\"'\[]*:(?!\d+(?:[/?#]|$))[^\s\"']*@)"
)
_NAME = r"://[^\s/@\"']+@"
_USER = re.compile(rf"{_PASSWORD}|\w+{_NAME}")
_SECRET_USER = re.compile(rf"{_PASSWORD}|https?{_NAME}")
_SECRET_QUERY = re.compile(
    r"(://\S*?[?&][\w-]*(?:key|token|secret|sig|signature|passw(?:or)?d|pwd|auth)=)"
    r"((?!\*\*\*)[^&\s]+)",
    re.IGNORECASE,
)
# An address, which may have `=` behind its password, is none.
_SETTING = re.compile(r"[+~-]*[\w.-]+(?:[/@][\w.-]+)*")


def has_credential(text: str) -> bool:
    """Whether an address in a text carries a password, a key or a signature.

    A name alone before the host is one with https, where tokens stand there, and none with sftp.
    """
    return bool(_SECRET_USER.search(text) or _SECRET_QUERY.search(text))


def without_credentials(text: str) -> str:
    """Return a text with `***` in its addresses for who stands before the host, and for secrets."""
    hidden, left = _USER.sub(lambda user: f"{user[0].partition('://')[0]}://***@", text), ""
    # Of several in one address, the first is replaced each time.
    while hidden != left:
        left, hidden = hidden, _SECRET_QUERY.sub(_hide, hidden)
    return hidden


def _hide(found: re.Match[str]) -> str:
    return f"{found[1]}***"


def refuse_credential_in(argument: str) -> None:
    """Refuse an argument of a command line that carries one, written as a setting or otherwise.

    Raises:
        UsageError: it does; named by what stands before `=`, unless that is no name.
    """
    name = argument.partition("=")[0]
    refuse_credential(name if _SETTING.fullmatch(name) else "a setting", argument)


def refuse_credential(name: str, value: str) -> None:
    """Refuse a setting whose value carries one, without repeating it.

    Raises:
        UsageError: it does.
    """
    require(
        not has_credential(value),
        f"{name} carries a password or a key, and settings are written down: leave it out, and set "
        "it in the environment as the server's or store's own tools have it (MLFLOW_TRACKING_URI, "
        "MLFLOW_TRACKING_PASSWORD, AWS_PROFILE, ...)",
    )
