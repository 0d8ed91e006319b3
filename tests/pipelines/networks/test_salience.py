"""Trained on vectors in which one place at random carries the class, beta finds that place.

Every other place shows the signal of a random class, so that the place has to be chosen sample by
sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from pipelines.networks.fusion import Fused, FusionConfig, FusionNetwork, SegmentVectors

pytestmark = pytest.mark.usefixtures("one_thread")

SAMPLES, STEPS, SIZE, CLASSES = 512, 20, 8, 4
MARK, SIGNAL = 0, slice(1, 1 + CLASSES)
"""Entries of a vector: the first marks the place, and one of the next tells the class there."""


@dataclass(frozen=True)
class Planted:
    """Vectors, their labels, and where the signal is."""

    vectors: SegmentVectors
    labels: Tensor
    place: Tensor


def places(count: int, generator: torch.Generator, place: Tensor, labels: Tensor) -> Tensor:
    """Return [n, count, SIZE]: marked and telling the class at `place`, misleading elsewhere."""
    at_place = torch.arange(len(place)), place
    told = torch.randint(0, CLASSES, (len(place), count), generator=generator)
    told[at_place] = labels
    vectors = 0.3 * torch.randn(len(place), count, SIZE, generator=generator)
    vectors[:, :, SIGNAL] += 2.0 * one_hot(told, CLASSES)
    vectors[at_place[0], place, MARK] += 2.0
    return vectors


def planted_modality(generator: torch.Generator) -> Planted:
    place = torch.randint(0, 2, (SAMPLES,), generator=generator)
    labels = torch.randint(0, CLASSES, (SAMPLES,), generator=generator)
    pair = places(2, generator, place, labels)
    return Planted(SegmentVectors(pair[:, 0], pair[:, 1], torch.arange(SAMPLES)), labels, place)


def planted_step(generator: torch.Generator) -> Planted:
    place = torch.randint(0, STEPS, (SAMPLES,), generator=generator)
    labels = torch.randint(0, CLASSES, (SAMPLES,), generator=generator)
    audio = torch.randn(SAMPLES, SIZE, generator=generator)
    visual = places(STEPS, generator, place, labels)
    return Planted(SegmentVectors(audio, visual, torch.arange(SAMPLES)), labels, place)


def planted_segment(generator: torch.Generator) -> Planted:
    """Clips of 2 to 7 segments; `place` counts the segments of all clips."""
    lengths = torch.randint(2, 8, (SAMPLES,), generator=generator)
    labels = torch.randint(0, CLASSES, (SAMPLES,), generator=generator)
    clip = torch.repeat_interleave(torch.arange(SAMPLES), lengths)
    within = torch.tensor(
        [int(torch.randint(0, int(length), (1,), generator=generator)) for length in lengths]
    )
    padded = places(7, generator, within, labels)
    visual = padded[torch.arange(7) < lengths.unsqueeze(1)]
    audio = torch.randn(len(clip), SIZE, generator=generator)
    place = torch.cumsum(lengths, 0) - lengths + within
    return Planted(SegmentVectors(audio, visual, clip), labels, place)


PLANTED: dict[str, Callable[[torch.Generator], Planted]] = {
    "modalities": planted_modality,
    "timesteps": planted_step,
    "features": planted_modality,
    "segments": planted_segment,
}


@dataclass(frozen=True)
class Trained:
    """A network, what it was before, and what it makes of samples that it never saw."""

    attend_over: str
    network: FusionNetwork
    before: dict[str, Tensor]
    held_out: Planted
    fused: Fused

    def beta_at_place(self) -> Tensor:
        """The weight of each sample's own place."""
        place, beta = self.held_out.place, self.fused.attention
        if self.attend_over == "segments":
            return beta["segments"][place]
        weights = beta["timesteps"] if "timesteps" in beta else torch.stack([*beta.values()], dim=1)
        return weights[torch.arange(len(place)), place]


def train(attend_over: str, seed: int = 0) -> Trained:
    torch.manual_seed(seed)
    config = FusionConfig(attend_over=attend_over, attention_size=8, dropout=0.0)
    network = FusionNetwork(SIZE, SIZE, CLASSES, config)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    training, held_out = (
        PLANTED[attend_over](torch.Generator().manual_seed(2 * seed + part)) for part in (0, 1)
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=0.05)
    for _ in range(60):
        optimiser.zero_grad()
        scores = network(training.vectors).scores
        cross_entropy(scores, training.labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    with torch.no_grad():
        return Trained(attend_over, network, before, held_out, network(held_out.vectors))


@pytest.fixture(scope="module", params=list(PLANTED))
def trained(one_thread: None, request: pytest.FixtureRequest) -> Trained:
    return train(request.param)


def test_beta_is_at_the_place_that_carries_the_class(trained: Trained) -> None:
    # Of 2 places, 20 steps and 2 to 7 segments, equal weights give 0.5, 0.05 and 0.27.
    assert trained.beta_at_place().mean().item() > 0.7


def test_beta_goes_with_the_place_from_sample_to_sample(trained: Trained) -> None:
    beta, place = trained.fused.attention, trained.held_out.place
    assert all(weights.std(0).min().item() > 0.1 for weights in beta.values())
    if trained.attend_over == "timesteps":
        found = beta["timesteps"].argmax(1)
    elif trained.attend_over == "segments":
        lengths = torch.bincount(trained.held_out.vectors.clip).tolist()
        within = torch.stack([part.argmax() for part in torch.split(beta["segments"], lengths)])
        found = within + torch.tensor([0, *lengths[:-1]]).cumsum(0)
    else:
        found = (beta["visual"] > beta["audio"]).long()
    assert (found == place).double().mean().item() > 0.9


def test_choosing_tells_the_class_of_unseen_samples(trained: Trained) -> None:
    # By chance 1 of 4. Of two places without a choice 5 of 8, of more places fewer.
    right = trained.fused.scores.argmax(1) == trained.held_out.labels
    assert right.double().mean().item() > 0.95


def test_the_context_vector_is_trained_with_the_rest(trained: Trained) -> None:
    (name,) = (name for name in trained.before if name.endswith("context"))
    context = trained.network.get_parameter(name)
    assert context.grad is not None
    assert context.grad.abs().max().item() > 0
    assert (context.detach() - trained.before[name]).norm() > 0.1 * trained.before[name].norm()


def test_entries_that_carry_the_class_get_more_than_the_rest() -> None:
    trained = train("features")
    vectors, place = trained.held_out.vectors, trained.held_out.place
    with torch.no_grad():
        q, _ = trained.network.combination(vectors.audio, vectors.visual, vectors.clip)
    entries = torch.cat([vectors.audio, vectors.visual], dim=1)
    beta = (q / entries / entries.shape[1]).view(SAMPLES, 2, SIZE)
    rows = torch.arange(SAMPLES)
    telling = beta[rows, place, SIGNAL].mean().item()
    misleading = beta[rows, 1 - place, SIGNAL].mean().item()
    empty = beta[:, :, SIGNAL.stop :].mean().item()
    assert CLASSES * telling > 0.5
    assert telling > 10 * max(misleading, empty)
