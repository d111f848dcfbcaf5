"""A report as one HTML page, complete in itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tokenizer_bridge.pages.pictures import player, spectrogram
from tokenizer_bridge.pages.template import render
from tokenizer_bridge.reporting import plots
from tokenizer_bridge.reporting.table import (
    measurement_table,
    paper_table,
    published_table,
    settings_table,
    title,
)
from tokenizer_bridge.reporting.verdict import headlines
from tokenizer_bridge.token_dataset.files import safe_file_stems


@dataclass(frozen=True)
class ExampleFile:
    """A generated file to look at and to listen to."""

    rank: str  # best, median, worst
    id: str
    fad: float
    audio_T: np.ndarray
    sample_rate: int


@dataclass(frozen=True)
class Examples:
    """The examples of a section of the page, beside the figures of its measurement.

    vectors: (N, D) by set, one vector a clip: "reference", "generated" and controls.
    """

    vectors: Mapping[str, np.ndarray]
    heard: Sequence[ExampleFile]


def as_page(report: Mapping, shown: Sequence[Examples]) -> str:
    """The page of a report. shown: the examples of each of its measurements."""
    sections = []
    for measurement, show in zip(report["measurements"], shown, strict=True):
        marked = {heard.rank: heard.fad for heard in show.heard}
        stems = safe_file_stems([heard.id for heard in show.heard])
        sections.append(
            {
                "title": title(measurement),
                "table": measurement_table(measurement),
                "settings": settings_table(report, measurement),
                "distances": plots.distances(measurement),
                "per_file": plots.per_file(measurement, marked),
                "projection": plots.projection(measurement, show.vectors),
                "heard": [
                    {
                        "title": f"{heard.rank.capitalize()}: {heard.id}",
                        "file": f"{heard.rank}-{stem}.flac",
                        "fad": heard.fad,
                        "player": player(heard.audio_T, heard.sample_rate),
                        "spectrogram": spectrogram(
                            heard.audio_T,
                            heard.sample_rate,
                            f"Spectrogram of {heard.id}, {heard.rank} of {title(measurement)}",
                        ),
                    }
                    for heard, stem in zip(show.heard, stems, strict=True)
                ],
            }
        )
    return render(
        Path(__file__).parent / "page.html.j2",
        report=report,
        headlines=headlines(report),
        paper=paper_table(report),
        elsewhere=published_table(report),
        sections=sections,
    )
