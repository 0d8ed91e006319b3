"""Weights of a trunk: where they come from, whether they are the right ones, and their digest."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.errors import UnavailableError, UsageError, require

State = dict[str, Tensor]


def load_weights(network: nn.Module, path: str) -> None:
    """Load a state dict from a file into a network, whose every tensor it must hold.

    Raises:
        UsageError: the file can't be read, or belongs to another network.
    """
    fill(network, read_weights(path), path)


def read_weights(path: str) -> State:
    """Read a state dict; code in the file never runs.

    Raises:
        UsageError: it is no such file.
    """
    try:
        state: State = torch.load(Path(path).expanduser(), map_location="cpu", weights_only=True)
    except Exception as error:
        raise UsageError(
            f"model.weights ({path}) is not a state dict that torch can load with "
            f"weights_only=True: {type(error).__name__}"
        ) from error
    return state


def imagenet_weights(weights: Any) -> State:
    """Download ImageNet weights by torchvision's weights API, or find them in its cache.

    Args:
        weights: a member of one of torchvision's enumerations, such as VGG19_Weights.

    Raises:
        UnavailableError: they can't be had, with both ways to get them.
    """
    try:
        state: State = weights.get_state_dict(
            progress=False, check_hash=True, map_location="cpu", weights_only=True
        )
    except Exception as error:
        raise UnavailableError(
            f"model.weights (imagenet) could not be downloaded ({type(error).__name__}: {error}): "
            f"allow this machine to reach {weights.url}, or download that file elsewhere and give "
            "model.weights=/path/to/it"
        ) from error
    return state


def fill(network: nn.Module, state: State, weights: str) -> None:
    """Give a network the tensors of a state dict, in float32.

    Args:
        network: copied into; on the meta device, where nothing is allocated, it takes the tensors
            themselves.
        state: every tensor of the network by its name, and no other.
        weights: what the setting says, for the message.

    Raises:
        UnavailableError: they belong to another network.
    """
    empty = any(parameter.is_meta for parameter in network.parameters())
    try:
        network.load_state_dict(state, assign=empty)
    except (RuntimeError, TypeError, AttributeError) as error:
        # torch's first line says that there are errors, and the next one which.
        said = [line.strip() for line in str(error).splitlines()]
        first = (said[1] if len(said) > 1 else said[0])[:200]
        raise UnavailableError(
            f"model.weights ({weights}) holds no weights of this network: give the state dict of "
            f"the whole network that model.backbone names ({first})"
        ) from error
    network.float()


def require_sha256(path: str, expected: str) -> None:
    """Refuse a file of weights with another SHA-256 than expected.

    Raises:
        UsageError: naming both digests.
    """
    with Path(path).expanduser().open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    require(
        found == expected.lower(),
        f"model.weights ({path}) has SHA-256 {found}, but model.weights_sha256 is "
        f"{expected.lower()}: get the file again, or correct the digest if this file is meant",
    )


def weights_digest(backbone: nn.Module) -> str:
    """Return the SHA-256 of all that a trunk computes with, the same in every process.

    Over names, shapes, dtypes and bytes of its parameters and buffers; those that are not saved
    (the normalisation's) count too, since they decide features as much.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted({**backbone.state_dict(), **dict(backbone.named_buffers())}.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
