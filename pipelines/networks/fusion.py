"""Attention fusion of the two modalities (section 3.4, equations 5-7), and concatenation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipelines.errors import require, require_one_of


@dataclass
class FusionConfig:
    """The network of stage 2."""

    attend_over: str = "modalities"
    """`modalities` (attention between the audio and the visual vector) or `concat` (none)."""
    attention_size: int = 64
    """Rows of W_h in equation 5."""
    common_size: int = 0
    """Both modalities are projected to this size; 0 projects only where their sizes differ, and
    then to the smaller one."""
    dropout: float = 0.5
    """On the features that enter and on q before the softmax."""

    def __post_init__(self) -> None:
        require_one_of("fusion.attend_over", self.attend_over, ("modalities", "concat"))
        require(
            self.attention_size >= 1,
            f"fusion.attention_size ({self.attention_size}) must be at least 1",
        )
        require(self.common_size >= 0, f"fusion.common_size ({self.common_size}) must be 0 or more")
        require(
            0.0 <= self.dropout < 1.0, f"fusion.dropout ({self.dropout}) must be in [0, 1): try 0.5"
        )


class Attention(nn.Module):
    """Equations 5-7: h_t = tanh(W_h c_t + b_h), beta = softmax_t(h_t . context), q = sum beta c.

    The bars of equation 6 are read as brackets: the score is signed. The context vector is
    initialised at random and trained jointly with the rest.
    """

    def __init__(self, feature_size: int, attention_size: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(feature_size, attention_size)
        self.context = nn.Parameter(torch.randn(attention_size) / attention_size**0.5)

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return q [n, feature_size] and beta [n, t] of vectors c [n, t, feature_size]."""
        hidden = torch.tanh(self.hidden(vectors))
        beta = torch.softmax(hidden @ self.context, dim=1)
        return torch.einsum("nt,ntf->nf", beta, vectors), beta


class FusionNetwork(nn.Module):
    """Stage 2: audio and visual features of a segment -> class scores and attention weights."""

    def __init__(
        self, audio_size: int, visual_size: int, classes: int, config: FusionConfig
    ) -> None:
        super().__init__()
        self.attend_over = config.attend_over
        common = config.common_size or min(audio_size, visual_size)
        project = config.common_size > 0 or audio_size != visual_size
        self.audio_projection = nn.Linear(audio_size, common) if project else nn.Identity()
        self.visual_projection = nn.Linear(visual_size, common) if project else nn.Identity()
        self.attention: Attention | None = None
        fused_size = 2 * common
        if config.attend_over == "modalities":
            self.attention = Attention(common, config.attention_size)
            fused_size = common
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(fused_size, classes)

    def forward(self, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor | None]:
        """Fuse audio [n, audio_size] and visual [n, visual_size].

        Returns:
            Class scores before the softmax [n, classes], and beta [n, 2] for audio and visual
            (None for concatenation).
        """
        audio = self.audio_projection(self.dropout(audio))
        visual = self.visual_projection(self.dropout(visual))
        if self.attention is None:
            return self.output(self.dropout(torch.cat([audio, visual], dim=1))), None
        fused, beta = self.attention(torch.stack([audio, visual], dim=1))
        return self.output(self.dropout(fused)), beta
