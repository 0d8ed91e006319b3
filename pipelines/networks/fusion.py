"""The network of stage 2: vectors of both modalities -> class scores (section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from torch import Tensor, nn

from pipelines.errors import require, require_one_of
from pipelines.networks.attention import COMBINATIONS
from pipelines.split_task import AttentionWeights


@dataclass
class FusionConfig:
    """The network of stage 2."""

    attend_over: str = "modalities"
    """What attention chooses among: the two `modalities`, the `timesteps` of the frames, the
    `features` (entries of both vectors) or the `segments` of a clip (then one prediction a clip,
    and no vote); `concat` has no attention."""
    attention_size: int = 64
    """Rows of W_h in equation 5."""
    common_size: int = 0
    """Both modalities are projected to this size; 0 projects only where their sizes differ, and
    then to the smaller one."""
    dropout: float = 0.5
    """On the features that enter, on q, and on what each hidden layer makes of it."""
    hidden: list[int] = field(default_factory=list)
    """Widths of fully connected layers between q and the output; empty: there are none. Two of them
    and `concat` are the fusion network of Zhang et al. 2016."""

    def __post_init__(self) -> None:
        require_one_of("fusion.attend_over", self.attend_over, tuple(COMBINATIONS))
        require(
            self.attention_size >= 1,
            f"fusion.attention_size ({self.attention_size}) must be at least 1",
        )
        require(self.common_size >= 0, f"fusion.common_size ({self.common_size}) must be 0 or more")
        require(
            0.0 <= self.dropout < 1.0, f"fusion.dropout ({self.dropout}) must be in [0, 1): try 0.5"
        )
        require(
            all(width >= 1 for width in self.hidden),
            f"fusion.hidden ({self.hidden}) must be widths of layers, each at least 1, as in "
            "fusion.hidden=[512,128]",
        )

    @property
    def predicts(self) -> str:
        """What has one prediction: a `segment`, and a vote makes it the clip's, or a `clip`."""
        return "clip" if COMBINATIONS[self.attend_over].per_clip else "segment"


@dataclass(frozen=True)
class SegmentVectors:
    """What stage 1 gives stage 2: s segments, those of a clip together."""

    audio: Tensor
    """[s, audio_size]."""
    visual: Tensor
    """[s, visual_size]; [s, 20, visual_size], one a frame, for attention over time steps."""
    clip: Tensor
    """int64 [s]: 0, 0, 0, 1, 1, 2, ...: which clip of this batch each segment is of."""


@dataclass(frozen=True)
class Fused:
    """What stage 2 makes of it."""

    scores: Tensor
    """[m, classes] before the softmax: one row a segment, or one a clip in the order of `clip`."""
    attention: dict[str, Tensor]
    """Weights of each segment under the name of what was chosen among: [s], or [s, 20]."""

    def attention_of_segments(self) -> list[AttentionWeights]:
        """Return the weights as numbers, one dictionary a segment."""
        columns = [weights.double().cpu().tolist() for weights in self.attention.values()]
        segments = len(columns[0]) if columns else len(self.scores)
        return [
            {
                name: tuple(column[row]) if isinstance(column[row], list) else column[row]
                for name, column in zip(self.attention, columns, strict=True)
            }
            for row in range(segments)
        ]


class FusionNetwork(nn.Module):
    """Both vectors to one size, their combination by attention, dropout, dense layers.

    With d dropout and q [rows, fused_size] the combination, the layers of `fusion.hidden` make

        h_0 = d(q);  h_i = d(max(0, W_i h_(i-1) + b_i)), i = 1 ... n;  scores = W h_n + b

    where W_i has `fusion.hidden[i - 1]` rows; without any, scores = W d(q) + b.
    """

    def __init__(
        self, audio_size: int, visual_size: int, classes: int, config: FusionConfig
    ) -> None:
        super().__init__()
        common = config.common_size or min(audio_size, visual_size)
        project = config.common_size > 0 or audio_size != visual_size
        self.audio_projection = nn.Linear(audio_size, common) if project else nn.Identity()
        self.visual_projection = nn.Linear(visual_size, common) if project else nn.Identity()
        self.combination = COMBINATIONS[config.attend_over](common, config.attention_size)
        self.per_clip = self.combination.per_clip
        self.of_states = config.attend_over == "timesteps"
        self.dropout = nn.Dropout(config.dropout)
        sizes = [self.combination.fused_size, *config.hidden]
        # None draws no numbers and holds no tensors: it is as if these were not there.
        self.hidden = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(before, after), nn.ReLU(), nn.Dropout(config.dropout))
                for before, after in pairwise(sizes)
            )
        )
        self.output = nn.Linear(sizes[-1], classes)

    def forward(self, vectors: SegmentVectors) -> Fused:
        """Fuse the vectors of segments of one or more clips."""
        audio = self.audio_projection(self.dropout(vectors.audio))
        visual = self.visual_projection(self.dropout(vectors.visual))
        q, attention = self.combination(audio, visual, vectors.clip)
        return Fused(self.output(self.hidden(self.dropout(q))), attention)
