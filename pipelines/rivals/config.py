"""Which rival stands in the place of stage 2, or of all networks, and its sizes."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.errors import require, require_one_of

NONE = "none"
POOLING, CFA, KCFA, KCCA, ANOVA = "average_pooling_svm", "cfa", "kcfa", "kcca", "anova_mlp"
FUNCTIONALS, HOG, LBP = "functionals_svm", "hog_svm", "lbp_svm"
FUNCTIONALS_HOG = "functionals_hog_svm"

ON_FEATURES = (POOLING, CFA, KCFA, KCCA, ANOVA)
"""Stand in the place of stage 2, on what the frozen networks of stage 1 make of segments."""
CLASSICAL = (FUNCTIONALS, HOG, LBP, FUNCTIONALS_HOG)
"""Have no network at all."""
KINDS = (NONE, *ON_FEATURES, *CLASSICAL)
FACE_SIZE = 64
"""Side of the face crops that the classical kinds see, in pixels."""
LEAST_COEFFICIENTS = 13
"""Of the MFCC, that functionals are taken of."""
RIVALS_VERSION = 2
"""Raised whenever the same clips and settings would give other predictions than before."""


@dataclass
class RivalConfig:
    """A published rival in place of our networks."""

    kind: str = NONE
    """`none`; in place of stage 2, on stage 1's vectors: `average_pooling_svm`, `cfa`, `kcfa`,
    `kcca`, `anova_mlp`; without any network: `functionals_svm`, `hog_svm`, `lbp_svm`,
    `functionals_hog_svm`."""
    components: int = 16
    """Pairs of factors that both modalities are projected on (`cfa`, `kcfa`, `kcca`)."""
    regularisation: float = 0.1
    """Of `kcca`: how far each covariance in the kernels' feature spaces is shrunk towards the
    identity, above 0, up to 1."""
    kernel_width: float = 1.0
    """Of RBF kernels, as a multiple of the median distance between training rows."""
    kernel_rows: int = 2000
    """Training segments that kernel matrices hold at most (`kcfa`, `kcca`), drawn by the split's
    seed."""
    features: int = 100
    """Entries of the vectors that an analysis of variance keeps (`anova_mlp`)."""
    networks: int = 5
    """Perceptrons that vote (`anova_mlp`)."""
    hidden: int = 32
    """Hidden units of each (`anova_mlp`)."""

    def __post_init__(self) -> None:
        require_one_of("rival.kind", self.kind, KINDS)
        for name in ("components", "features", "networks", "hidden"):
            value = getattr(self, name)
            require(value >= 1, f"rival.{name} ({value}) must be at least 1")
        require(self.kernel_rows >= 2, f"rival.kernel_rows ({self.kernel_rows}) must be at least 2")
        require(
            0 < self.regularisation <= 1,
            f"rival.regularisation ({self.regularisation}) must be above 0 and at most 1",
        )
        require(
            0 < self.kernel_width < float("inf"),
            f"rival.kernel_width ({self.kernel_width}) must be above 0 and finite",
        )

    @property
    def is_set(self) -> bool:
        """Whether there is one."""
        return self.kind != NONE

    @property
    def classical(self) -> bool:
        """Whether it has no network at all."""
        return self.kind in CLASSICAL

    @property
    def per_clip(self) -> bool:
        """Whether it predicts a clip as a whole, and not segments that vote."""
        return self.kind == POOLING or self.classical

    @property
    def hears(self) -> bool:
        """Whether a classical kind takes functionals of the voice."""
        return self.kind in (FUNCTIONALS, FUNCTIONALS_HOG)

    @property
    def inputs(self) -> tuple[str, ...]:
        """What a classical kind reads of a clip, as `ClipPlaces.modalities` names it."""
        heard = ("audio", "prosody") if self.hears else ()
        return heard if self.kind == FUNCTIONALS else (*heard, "visual")
