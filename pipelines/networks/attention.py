"""What the attention of section 3.4 chooses among (equations 5-7), and plain concatenation.

Equations 5-7 leave open what t runs over. Each class here is one reading: it makes the c_t out of
the two vectors of a segment, and returns their weighted sum q and the weights beta.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn


class AttentionScore(nn.Module):
    """Equation 5 and the exponent of equation 6: tanh(W_h c_t + b_h) . context.

    The bars of equation 6 are read as brackets: the score is signed. The context vector is
    initialised at random and trained jointly with the rest.
    """

    def __init__(self, vector_size: int, attention_size: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(vector_size, attention_size)
        self.context = nn.Parameter(torch.randn(attention_size) / attention_size**0.5)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the score of each vector: [..., vector_size] -> [...]."""
        return torch.tanh(self.hidden(vectors)) @ self.context


class Combination(nn.Module):
    """Audio and visual vectors of segments, brought to one size -> q, by which they are classed."""

    fused_size: int
    """Of q."""
    per_clip: ClassVar[bool] = False
    """Whether there is one q a clip; otherwise one a segment."""

    def __init__(self, size: int, attention_size: int) -> None:
        """Make a combination of vectors of `size`; `attention_size` is the rows of W_h."""
        super().__init__()
        self.fused_size = 2 * size

    def forward(
        self, audio: Tensor, visual: Tensor, clip: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Combine the vectors of s segments.

        Args:
            audio: [s, size].
            visual: [s, size], and [s, steps, size] for the attention over time steps.
            clip: int64 [s], which clip each segment is of.

        Returns:
            q [s or clips, fused_size], and beta [s, ...] under the name of what it weighs.
        """
        raise NotImplementedError


class OverModalities(Combination):
    """c_1 is the audio vector and c_2 the visual one."""

    def __init__(self, size: int, attention_size: int) -> None:
        super().__init__(size, attention_size)
        self.fused_size = size
        self.score = AttentionScore(size, attention_size)

    def forward(
        self, audio: Tensor, visual: Tensor, clip: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        vectors = torch.stack([audio, visual], dim=1)
        beta = torch.softmax(self.score(vectors), dim=1)
        return _weighted_sum(beta, vectors), {"audio": beta[:, 0], "visual": beta[:, 1]}


class OverTimesteps(Combination):
    """c_t is the audio vector beside the visual vector of frame t."""

    def __init__(self, size: int, attention_size: int) -> None:
        super().__init__(size, attention_size)
        self.score = AttentionScore(2 * size, attention_size)

    def forward(
        self, audio: Tensor, visual: Tensor, clip: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        vectors = torch.cat([audio.unsqueeze(1).expand_as(visual), visual], dim=2)
        beta = torch.softmax(self.score(vectors), dim=1)
        return _weighted_sum(beta, vectors), {"timesteps": beta}


class OverFeatures(Combination):
    """Each entry of the audio vector beside the visual one is weighed, by a context of its own.

    q = (number of entries) * beta * c, entry by entry: with equal weights q is c itself, whatever
    the size; weights that sum to one over 8192 entries would leave nothing of it.
    """

    def __init__(self, size: int, attention_size: int) -> None:
        super().__init__(size, attention_size)
        self.hidden = nn.Linear(2 * size, attention_size)
        contexts = torch.randn(2 * size, attention_size) / attention_size**0.5
        self.context = nn.Parameter(contexts)

    def forward(
        self, audio: Tensor, visual: Tensor, clip: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        entries = torch.cat([audio, visual], dim=1)
        beta = torch.softmax(torch.tanh(self.hidden(entries)) @ self.context.T, dim=1)
        of_audio, of_visual = beta.tensor_split(2, dim=1)
        weights = {"audio": of_audio.sum(1), "visual": of_visual.sum(1)}
        return entries.shape[1] * beta * entries, weights


class OverSegments(Combination):
    """c_k is the audio vector beside the visual one of the clip's segment k: one q a clip."""

    per_clip = True

    def __init__(self, size: int, attention_size: int) -> None:
        super().__init__(size, attention_size)
        self.score = AttentionScore(2 * size, attention_size)

    def forward(
        self, audio: Tensor, visual: Tensor, clip: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        vectors = torch.cat([audio, visual], dim=1)
        clips = torch.unique(clip)
        of_others = clips.unsqueeze(1) != clip
        # Products with one row a clip add in a fixed order, which scattered sums on a GPU do not.
        scores = self.score(vectors).expand(len(clips), -1).masked_fill(of_others, -torch.inf)
        beta = torch.softmax(scores, dim=1)
        return beta @ vectors, {"segments": beta.sum(0)}


class Concatenation(Combination):
    """No attention: q is the audio vector beside the visual one."""

    def forward(
        self, audio: Tensor, visual: Tensor, clip: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return torch.cat([audio, visual], dim=1), {}


COMBINATIONS: dict[str, type[Combination]] = {
    "modalities": OverModalities,
    "timesteps": OverTimesteps,
    "features": OverFeatures,
    "segments": OverSegments,
    "concat": Concatenation,
}
"""By the value of `fusion.attend_over`."""


def _weighted_sum(beta: Tensor, vectors: Tensor) -> Tensor:
    """Equation 7: beta [n, t] and c [n, t, f] -> q [n, f]."""
    return torch.einsum("nt,ntf->nf", beta, vectors)
