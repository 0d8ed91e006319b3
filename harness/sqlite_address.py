"""Addresses of stores that are one sqlite file, as SQLAlchemy reads them: for MLflow and Optuna."""

from __future__ import annotations

from pathlib import Path

# SQLAlchemy itself is imported where it is used: it takes a fifth of a second.


def address_of(file: Path) -> str:
    """Return the address of a file: in it a percent sign and a question mark have a meaning."""
    name = str(file.absolute()).replace("%", "%25").replace("?", "%3F")
    return f"sqlite:///{name}"


def file_of(address: str) -> Path | None:
    """Return the file of an address; None where it is of another kind.

    SQLite's own addresses (file:...) and its memory are left to it.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(address)
    # A port that is no number is a ValueError of Python's own.
    except (ArgumentError, ValueError):
        return None
    name = url.database if url.get_backend_name() == "sqlite" else None
    return Path(name) if name and not name.startswith(("file:", ":")) else None


def moved(address: str, file: Path) -> str:
    """Return an address with another file in it, its options as they are."""
    from sqlalchemy.engine import make_url

    return make_url(address).set(database=str(file)).render_as_string(hide_password=False)
