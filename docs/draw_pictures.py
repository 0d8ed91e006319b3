"""Draws the pictures of docs/audio_images.md from synthetic voices: `python docs/draw_pictures.py`.

Each of the three ways of rescaling on the same four segments: two clips of one speaker, loud and
calm, as a network is shown them. Prints the figures that the page names.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure

from pipelines.corpora.synthetic import SyntheticConfig, clips, role_of
from pipelines.inputs import ClipTensors, to_tensors
from pipelines.mfcc import RESCALINGS, MfccConfig, audio_images
from pipelines.records import ClipArrays
from pipelines.standardise import fit_standardiser
from pipelines.synthesis.performance import perform
from pipelines.vad import VadConfig, detect_voice

PICTURES = Path(__file__).parent / "pictures"
CORPUS = SyntheticConfig(root="unused", subjects=4, takes=2)
SHOWN = {"s01/anger_1": "anger", "s01/sadness_1": "sadness"}
"""Both of a subject that the standardiser is not fitted on."""
SEGMENTS = (1, 4)
CHANNELS = ("static", "delta", "delta-delta")


def stored(clip_id: str) -> ClipArrays:
    """What the shards hold of the sound of a synthetic clip."""
    clip = next(clip for clip in clips(CORPUS) if clip.clip_id == clip_id)
    sound = perform(role_of(CORPUS, clip)).sound()
    mfcc = MfccConfig()
    voice = detect_voice(sound, mfcc.rate, VadConfig())
    first, last = round(voice.start_s * mfcc.rate), round(voice.end_s * mfcc.rate)
    _, images = audio_images(sound[first:last], mfcc)
    return ClipArrays(
        clip_id=clip_id,
        crops=np.zeros((1, 227, 227, 3), np.uint8),
        mfcc=images,
        frame_indices=np.zeros((len(images), 20), np.int32),
    )


def rescaled(rescaling: str) -> dict[str, npt.NDArray[np.uint8]]:
    """Audio images [segments, 3, 64, 64] of the clips shown."""

    def read(clip_id: str) -> ClipTensors:
        return to_tensors(stored(clip_id), face_size=None, rescaling=rescaling)

    shown = {clip_id: read(clip_id) for clip_id in SHOWN}
    if rescaling == "standardised":
        others = [clip.clip_id for clip in clips(CORPUS) if clip.subject != "s01"]
        standardise = fit_standardiser(read(clip_id) for clip_id in others)
        shown = {clip_id: standardise(clip) for clip_id, clip in shown.items()}
    assert all(clip.audio.dtype == torch.uint8 for clip in shown.values())
    return {clip_id: clip.audio.numpy() for clip_id, clip in shown.items()}


def draw(rescaling: str) -> Figure:
    """Draw the channels of each segment shown, one segment a column."""
    columns = [
        (f"{SHOWN[clip_id]}, segment {index}", images[index])
        for clip_id, images in rescaled(rescaling).items()
        for index in SEGMENTS
    ]
    figure = Figure(figsize=(9.6, 7.2), dpi=100, layout="constrained")
    grid = figure.subplots(len(CHANNELS), len(columns), sharex=True, sharey=True)
    for column, (title, image) in enumerate(columns):
        grid[0, column].set_title(title, fontsize=10)
        grid[-1, column].set_xlabel("window (10 ms each)", fontsize=9)
        for row, channel in enumerate(CHANNELS):
            shown = grid[row, column].imshow(
                image[row], origin="lower", cmap="magma", vmin=0, vmax=255
            )
            if column == 0:
                grid[row, 0].set_ylabel(f"{channel}\ncoefficient", fontsize=9)
            grid[row, column].tick_params(labelsize=8)
    bar = figure.colorbar(shown, ax=grid, shrink=0.6, pad=0.02, ticks=[0, 128, 255])
    bar.ax.tick_params(labelsize=8)
    figure.suptitle(f"training.rescaling={rescaling}", fontsize=12)
    return figure


def figures(rescaling: str) -> str:
    """Say what is left of detail and of level, in static channels."""
    static = {SHOWN[clip_id]: images[:, 0] for clip_id, images in rescaled(rescaling).items()}
    fine = np.concatenate(list(static.values()))[:, 13:]
    steps = np.median([len(np.unique(row)) for image in fine for row in image])
    levels = [f"{emotion} {images[:, 0].mean():.0f}" for emotion, images in static.items()]
    return f"steps in a row from 13 on: {steps:.0f}; mean of coefficient 0: {', '.join(levels)}"


def main() -> None:
    """Draw them all."""
    PICTURES.mkdir(exist_ok=True)
    for rescaling in RESCALINGS:
        print(rescaling, figures(rescaling))
        figure = draw(rescaling)
        figure.savefig(PICTURES / f"rescaling_{rescaling}.png", metadata={"Software": ""})


if __name__ == "__main__":
    main()
