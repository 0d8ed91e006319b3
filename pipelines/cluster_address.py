"""Which Ray cluster is meant, and whether one answers there."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from pipelines.credentials import has_credential
from pipelines.errors import UsageError, require

CONNECT_SECONDS = 10
ASK_SECONDS = 2.0
LOCAL, AUTO = "local", "auto"
ADDRESS, ADDRESS_SETTING = "RAY_ADDRESS", "cluster.address"


@dataclass(frozen=True)
class NamedAddress:
    """An address, and what sets it: a message names both."""

    text: str
    source: str

    def __str__(self) -> str:
        return f"{self.source} ({self.text})"


def asked_for(setting: str | None, environment: Mapping[str, str]) -> NamedAddress:
    """Return the address that is asked for, empty for none: the setting goes before RAY_ADDRESS."""
    if setting:
        return NamedAddress(setting, ADDRESS_SETTING)
    return NamedAddress(environment.get(ADDRESS, ""), ADDRESS)


def find_cluster(setting: str | None) -> tuple[NamedAddress | None, str]:
    """Return the cluster to join, or None for a Ray of our own; and which one that stands in for.

    Args:
        setting: `cluster.address`.

    Raises:
        UsageError: one is asked for, and does not answer.
    """
    told = asked_for(setting, os.environ)
    if told.text == LOCAL:
        return None, ""
    if told.text not in ("", AUTO):
        _check_form(told)
        _check_answers(told)
        return told, ""
    left, gone = _left_on_this_node(), ""
    if left is not None:
        try:
            _check_answers(left)
        except UsageError:
            gone = f"no cluster answers at {left.text}, which `ray start` left in {left.source}"
        else:
            return left, ""
    # Nobody asked for that cluster, unless by auto.
    require(
        told.text != AUTO,
        f"no Ray cluster answers at {told}: start one with `ray start --head` or `ray up`, or "
        f"unset it or set {ADDRESS_SETTING}={LOCAL} to run on this machine"
        + (f" ({gone})" if gone else ""),
    )
    return None, gone


def refuse_password(address: NamedAddress) -> None:
    """Refuse an address with a password or a key in it, without repeating it.

    Raises:
        UsageError: it has one.
    """
    require(
        not has_credential(address.text),
        f"{address.source} carries a password or a key, and is shown and written down: leave it "
        "out. What lets you in is the cluster's token, in ~/.ray/auth_token, with "
        "RAY_AUTH_MODE=token",
    )


def _left_on_this_node() -> NamedAddress | None:
    """Return what `ray start` left on this node, running or not; never another program's Ray."""
    from ray._common.utils import get_ray_address_file
    from ray._private.services import find_bootstrap_address

    address: str | None = find_bootstrap_address(None)
    return NamedAddress(address, get_ray_address_file(None)) if address else None


def _check_form(address: NamedAddress) -> None:
    refuse_password(address)
    require(
        not address.text.startswith(("http://", "https://")),
        f"{address} is that of a job server, and this command is no job: unset it to "
        "run on this machine, or run the command on the cluster's head",
    )
    host, _, port = address.text.rpartition(":")
    require(
        bool(host) and port.isdigit() and "/" not in address.text,
        f"{address} must be host:port of a running Ray cluster, auto for that of "
        "this node, or local for a Ray of its own",
    )


def _check_answers(address: NamedAddress) -> None:
    """Refuse an address where nobody listens now, or what is no Ray: Ray would try for ever."""
    host, _, port = address.text.rpartition(":")
    try:
        place = (host.strip("[]"), int(port))
        with socket.create_connection(place, timeout=CONNECT_SECONDS) as connection:
            # A web server, such as the job server of a cluster, answers this; Ray says something
            # else, or nothing.
            connection.settimeout(ASK_SECONDS)
            connection.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
            answer = b""
            with suppress(OSError):
                answer = connection.recv(5)
    except (OSError, ValueError) as error:  # the latter where it is no name of a host
        raise no_cluster(address, error) from error
    require(
        answer != b"HTTP/",
        f"{address} is that of a web server: for the job server of a cluster write "
        f"{address.source}=http://{address.text}, to join it the port of its head, 6379",
    )


def no_cluster(address: NamedAddress, error: Exception) -> UsageError:
    """Return the error that no cluster can be joined there."""
    return UsageError(
        f"no Ray cluster answers at {address}: start it, correct the address, have its token in "
        f"~/.ray/auth_token where it wants one, or set {ADDRESS_SETTING}={LOCAL} to run on this "
        f"machine ({' '.join(str(error).split())[:200]})"
    )
