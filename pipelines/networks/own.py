"""A researcher's own network, named as `package.module:Class`: loaded, built and tried."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Sequence
from modulefinder import ModuleFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from pipelines.errors import UsageError, require

if TYPE_CHECKING:
    from pipelines.networks.backbone import Backbone

OWN_FORM = "package.module:Class"
_INSTALLED = ("stdlib", "platstdlib", "purelib", "platlib")
_PROJECT = ("pipelines", "harness")
_Class = TypeVar("_Class")


def is_own(backbone: str) -> bool:
    """Whether `model.backbone` refers to a class rather than to a name of the built-in ones."""
    return ":" in backbone


def source_digest(backbone: str) -> str:
    """Return the SHA-256 of an own network's source; empty for built-in ones.

    Over the file that defines it and, one after the other, all that this imports but for installed
    packages: a layer in a module beside it decides features as much.
    """
    if not is_own(backbone):
        return ""
    module_name = backbone.partition(":")[0]
    file = Path(inspect.getfile(load_class(backbone, object)))
    finder = _OwnModules(module_name, file)
    with contextlib.suppress(ImportError, SyntaxError):
        finder.import_hook(module_name)
    found = {name: getattr(module, "__file__", None) for name, module in finder.modules.items()}
    files = {name: Path(path) for name, path in found.items() if path}
    digest = hashlib.sha256()
    for name, path in sorted({module_name: file, **files}.items()):
        digest.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


class _OwnModules(ModuleFinder):
    """Finds what a module imports, of one's own: neither what is installed nor this project."""

    def __init__(self, module_name: str, file: Path) -> None:
        self._package = module_name.partition(".")[0]
        self._installed = tuple({sysconfig.get_path(kind) for kind in _INSTALLED})
        folder = file.parents[module_name.count(".") + (file.name == "__init__.py")]
        super().__init__(path=[str(folder), *sys.path], excludes=list(_PROJECT))

    def find_module(self, name: str, path: Any, parent: Any = None) -> Any:
        found = super().find_module(name, path, parent)
        top = parent.__name__.partition(".")[0] if parent else name
        if top != self._package and str(found[1] or "").startswith(self._installed):
            if found[0] is not None:
                found[0].close()
            raise ImportError(name)
        return found


def load_class(reference: str, base: type[_Class]) -> type[_Class]:
    """Import `package.module:Class`.

    Raises:
        UsageError: no such module or class, importing it fails, or it is no subclass of `base`.
    """
    told = f"model.backbone ({reference})"
    require(
        re.fullmatch(r"\w+(\.\w+)*:\w+", reference) is not None,
        f"{told} must be written {OWN_FORM}, e.g. my_net:Net for class Net in my_net.py",
    )
    module_name, _, class_name = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        require(
            missing is None or not f"{module_name}.".startswith(f"{missing}."),
            f"{told}: there is no module {missing}: it must be importable, so run from the folder "
            "it lies in, add that folder to PYTHONPATH, or install it",
        )
        raise UsageError(f"{told}: importing {module_name} fails: {_line(error)}") from error
    found = getattr(module, class_name, None)
    classes = [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, base) and value.__module__ == module_name
    ]
    require(
        isinstance(found, type),
        f"{told}: {module_name} ({module.__file__}) has no class {class_name}: it has "
        f"{', '.join(classes) or f'no subclass of {base.__name__} at all'}",
    )
    if not (isinstance(found, type) and issubclass(found, base)):
        raise UsageError(
            f"{told} is no {base.__name__}: let the class inherit from "
            f"{base.__module__}.{base.__name__}"
        )
    return found


def built(
    reference: str, chosen: Callable[..., Backbone], weights: str, sides: Sequence[int]
) -> Backbone:
    """Build an own network and see that it does what a trunk must, on images of each side.

    Raises:
        UsageError: it can't be built, has no feature_size, fails on an image, or its output has
            another shape.
    """
    told = f"model.backbone ({reference})"
    try:
        network = chosen(weights=weights)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            f"{told} can't be built with weights={weights!r}: {_line(error)}"
        ) from error
    training = network.training
    network.eval()
    noise = torch.Generator().manual_seed(0)
    for side in sides:
        size = (2, 3, side, side)
        images = torch.randint(0, 256, size, dtype=torch.uint8, generator=noise)
        features = _output(told, "forward", network, images, network.feature_size)
        alone = _output(told, "forward", network, images[:1], network.feature_size)
        require(
            torch.allclose(features[:1], alone, rtol=1e-3, atol=1e-5),
            f"{told}: the features of an image depend on what else is in the batch: use no "
            "statistics of the batch (group normalisation instead of batch normalisation)",
        )
        if network.pooled_size is None:
            continue
        pooled = _output(told, "convolutional", network.convolutional, images, network.pooled_size)
        again = _output(told, "connected", network.connected, pooled, network.feature_size)
        require(
            torch.allclose(features, again, rtol=1e-3, atol=1e-5),
            f"{told}: forward is not connected after convolutional: make it so, or set pooled_size "
            "to None",
        )
    require(
        network.pooled_size is None or isinstance(getattr(network, "features", None), nn.Module),
        f"{told} has pooled_size {network.pooled_size}, but no self.features: let that hold the "
        "layers of the convolutional half, or set pooled_size to None",
    )
    network.train(training)
    return network


@torch.no_grad()
def _output(
    told: str, name: str, method: Callable[[Tensor], Tensor], given: Tensor, size: int
) -> Tensor:
    shape = list(given.shape)
    try:
        output = method(given)
    except Exception as error:
        raise UsageError(f"{told}: {name} fails on a tensor {shape}: {_line(error)}") from error
    what = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
    require(
        what == [len(given), size],
        f"{told}: {name} returns {what} for a tensor {shape}: it must return {[len(given), size]}",
    )
    return output


def _line(error: Exception) -> str:
    """Say in one line what went wrong and in which line of which file, torch's own left out."""
    words = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if isinstance(error, SyntaxError):
        return words  # says where by itself
    torchs = str(Path(torch.__file__).parent)
    frames = traceback.extract_tb(error.__traceback__)
    where = [frame for frame in frames if not frame.filename.startswith(("<", torchs))][-1]
    return f"{words} ({Path(where.filename).name}, line {where.lineno})"
