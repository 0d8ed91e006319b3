"""Credentials as people have them in their environment, each with a mark that can be looked for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

MARK = "planted-secret"
SECRETS = {
    "AWS_ACCESS_KEY_ID": f"{MARK}-id",
    "AWS_SECRET_ACCESS_KEY": f"{MARK}-key",
    "MLFLOW_TRACKING_USERNAME": "researcher",
    "MLFLOW_TRACKING_PASSWORD": f"{MARK}-password",
    "HF_TOKEN": f"{MARK}-token",
}

SECRET_FILES = (
    *(".env", ".env.local", "prod.env", ".envrc", ".netrc", ".pgpass", ".git-credentials"),
    *(".pypirc", ".databrickscfg", ".aws/credentials", ".azure/msal_token_cache.json"),
    *(".config/gcloud/credentials.db", ".docker/config.json", ".gnupg/secring.gpg", ".kube/config"),
    *(".mlflow/credentials", ".ray/auth_token", ".ssh/config", "key.pem", "server.key", "me.p12"),
    *("me.pfx", "id_rsa", "id_github", "my-service-account-1a2b.json", "credentials"),
    *("credentials.json", "aws_credentials.csv", "venv/pyvenv.cfg", "env/pyvenv.cfg"),
)
"""Where tools keep credentials in a folder, and environments, which are large."""


def plant(folder: Path) -> None:
    """Write all of these files into a folder, each with the mark."""
    for name in SECRET_FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{MARK}\n")


def files_with(words: Iterable[str], *folders: Path) -> dict[str, list[Path]]:
    """Return, for each of these words, the files in or below folders that have it."""
    searched = list(words)
    found: dict[str, list[Path]] = {word: [] for word in searched}
    for folder in folders:
        for path in folder.rglob("*"):
            # Sockets, and links to what is looked at anyway.
            if path.is_symlink() or not path.is_file():
                continue
            content = path.read_bytes()
            for word in searched:
                if word.encode() in content:
                    found[word].append(path)
    return found
