"""Which addresses carry a secret, and how they are shown."""

from __future__ import annotations

import pytest

from pipelines.credentials import (
    has_credential,
    refuse_credential,
    refuse_credential_in,
    without_credentials,
)
from pipelines.errors import UsageError


@pytest.mark.parametrize(
    "text",
    [
        "https://researcher:word@mlflow.example.org",
        "https://token@mlflow.example.org/path",
        "tracking.uri=postgresql+psycopg2://me:word@db:5432/mlflow",
        "s3://id:key@bucket/data",
        "s3://bucket/data?access_key=1&secret_key=2",
        "https://store/clip.mp4?X-Amz-Signature=abc",
        "postgresql://me:wo/rd@db/mlflow",
        "postgresql://me:12/34@db/mlflow",
        "mysql://me:w@rd@db/mlflow",
        "http://me:wo/rd@127.0.0.1:5000",
        "mssql://db/mlflow?user=me&pwd=word",
        "https://account.blob.core.windows.net/box?sv=2024&sig=abc",
    ],
)
def test_a_secret_is_seen_and_refused(text: str) -> None:
    assert has_credential(text)
    with pytest.raises(UsageError, match=r"^x carries a password or a key, and settings are"):
        refuse_credential("x", text)


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:5000",
        "http://[::1]:5000/path?page=2",
        "http://127.0.0.1:5000/me@home",
        "http://[::1]:5000/me@home",
        "sftp://me@host/corpus",
        "s3://bucket/data",
        "s3://bucket/a@b:c",
        "sqlite:////home/me/mlflow.db",
        "/data/me@home/RML",
        "databricks://profile",
        "package.module:Class",
        "runs:/0123/model",
        "",
    ],
)
def test_what_is_none_is_left_alone(text: str) -> None:
    assert not has_credential(text)
    refuse_credential("x", text)


@pytest.mark.parametrize(
    ("argument", "name"),
    [
        ("tracking.uri=http://me:word@h", "tracking.uri"),
        ("+tracking.uri=http://me:word@h", "+tracking.uri"),
        ("--model=http://me:word@h", "--model"),
        ("db/one@other=http://me:word@h", "db/one@other"),
        ("http://me:word@h/x", "a setting"),
        ("http://me:word@h/x?a=1", "a setting"),
        ("https://h/x?password=word", "a setting"),
        ("=http://me:word@h", "a setting"),
        ("'tracking.uri=http://me:word@h", "a setting"),
    ],
)
def test_an_argument_is_named_by_its_setting_and_never_by_an_address(
    argument: str, name: str
) -> None:
    with pytest.raises(UsageError) as refused:
        refuse_credential_in(argument)
    assert str(refused.value).startswith(f"{name} carries a password or a key, ")


def test_who_stands_before_the_host_is_shown_as_stars() -> None:
    told = "request to https://me:word@a.org:5000/api and mysql://x@b failed, mail c@d.org"
    assert without_credentials(told) == (
        "request to https://***@a.org:5000/api and mysql://***@b failed, mail c@d.org"
    )
    told = "mysql+pymysql://me:w@r/d@db:3306/m and http://a:5000/b@c"
    assert without_credentials(told) == "mysql+pymysql://***@db:3306/m and http://a:5000/b@c"
    told = "postgresql://db/m?user=me&password=word&sslkey=k and http://a/?page=2&access_token=t"
    assert without_credentials(told) == (
        "postgresql://db/m?user=me&password=***&sslkey=*** and http://a/?page=2&access_token=***"
    )
