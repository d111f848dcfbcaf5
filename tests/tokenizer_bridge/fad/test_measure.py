"""A whole measurement on vectors with known distances; what is refused and what is warned of."""

import dataclasses
import json
import re

import numpy as np
import pytest

from tokenizer_bridge.fad import kernel
from tokenizer_bridge.fad.embed import EmbeddingSet
from tokenizer_bridge.fad.embeddings import EmbeddingInfo
from tokenizer_bridge.fad.frechet import fad
from tokenizer_bridge.fad.measure import FEW_FILES, ControlSets, Settings, measure
from tokenizer_bridge.fad.measured_set import MIN_FILES
from tokenizer_bridge.fad.paper_compat import flattened_distance
from tokenizer_bridge.token_dataset.errors import UserError

INFO = EmbeddingInfo("musicnn", "ab" * 32, 4, 16000, 3.0, 3.0)
SETTINGS = Settings(clip_s=10.0, clips_per_file=1, loudness="none", resampler="sinc", seed=3)


def vectors(num_files, *, seed, shift=0.0, windows=3, clips_per_file=1, info=INFO, artists=None):
    """Clips of unit Gaussian windows around `shift`. artists: of each file."""
    rng = np.random.default_rng(seed)
    num_clips = num_files * clips_per_file
    return EmbeddingSet(
        info=info,
        vectors_NxD=(shift + rng.standard_normal((num_clips * windows, info.dim))).astype("f4"),
        clip_of_N=np.repeat(np.arange(num_clips), windows),
        clips=tuple(f"file {i // clips_per_file}" for i in range(num_clips)),
        artists=tuple(np.repeat(artists or [None] * num_files, clips_per_file)),
    )


def test_the_whole_map():
    generated, reference = vectors(120, seed=0, shift=1.0), vectors(200, seed=1)
    controls = ControlSets(
        other_half=vectors(100, seed=2),
        by_name={"real_vs_real": vectors(100, seed=3), "silence": vectors(100, seed=4, shift=9)},
        halves="files",
        warnings=("of the halves",),
    )
    found = measure(generated, reference, controls, SETTINGS, "jamendo").as_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["embedding"] == dataclasses.asdict(INFO)
    assert {key: found[key] for key in dataclasses.asdict(SETTINGS)} == dataclasses.asdict(SETTINGS)
    counts = {"name": "jamendo", "n_files": 200, "n_clips": 200, "n_vectors": 600}
    counts |= {"n_artists": 0, "n_effective": 200, "drawn": "files"}
    assert found["reference"] == counts
    assert found["generated"]["n_vectors"] == 360
    assert found["fad"] == fad(generated.vectors_NxD, reference.vectors_NxD)
    assert found["fad_infinity"]["low"] < 4.0 < found["fad_infinity"]["high"]
    assert found["kad"]["low"] > 1
    assert found["paper_compat"] is None
    assert found["warnings"] == ["jamendo: of the halves"]
    assert found["halves"] == "files"
    real, silence = (found["controls"][name] for name in ("real_vs_real", "silence"))
    assert real["fad_infinity"]["low"] < 0 < real["fad_infinity"]["high"]
    assert real["kad"]["low"] < 0 < real["kad"]["high"]
    assert real["reference"]["name"] == "half of jamendo"
    assert silence["fad"] == pytest.approx(4 * 81, rel=0.05)


def test_the_file_that_is_unlike_the_others_stands_out():
    generated = vectors(30, seed=0, clips_per_file=2)
    generated.vectors_NxD[generated.clip_of_N == 14] += 5
    per_file = measure(generated, vectors(40, seed=1), None, SETTINGS).per_file
    assert [entry.id for entry in per_file] == [f"file {i}" for i in range(30)]
    assert max(per_file, key=lambda entry: entry.fad).id == "file 7"


def test_a_file_with_one_window():
    """|x − μ|² + tr Σ."""
    generated, reference = vectors(20, seed=0, windows=1), vectors(40, seed=1, windows=1)
    entry = measure(generated, reference, None, SETTINGS).per_file[0]
    y = reference.vectors_NxD.astype("f8")
    expected = np.square(generated.vectors_NxD[0] - y.mean(0)).sum() + y.var(0, ddof=1).sum()
    assert entry.fad == pytest.approx(expected, rel=1e-9)


def test_the_flattened_figure_is_given_for_panns_alone():
    info = dataclasses.replace(INFO, name="cnn14-16k")
    x, y = (vectors(30, seed=s, windows=1, shift=s, info=info) for s in (0, 1))
    found = measure(x, y, None, SETTINGS).comparison.paper_compat
    flat_x, flat_y = (z.vectors_NxD.astype("f8").reshape(-1, 1) for z in (x, y))
    assert found == pytest.approx(fad(flat_x, flat_y), rel=1e-9)
    assert found == flattened_distance(x.vectors_NxD, y.vectors_NxD)


def test_far_fewer_files_than_dimensions_have_no_fad_infinity():
    """Two samples of one distribution: KAD knows, where FAD is all bias."""
    info = dataclasses.replace(INFO, dim=700)
    x, y = (vectors(FEW_FILES, seed=s, windows=1, info=info) for s in (0, 1))
    found = measure(x, y, None, SETTINGS)
    assert found.comparison.fad_infinity is None
    assert found.comparison.fad > 0.9 * 700
    assert found.comparison.kad.low < 0 < found.comparison.kad.high
    (line,) = found.warnings
    assert in_order(line, "100 files", "700 dimensions", "no FAD∞ below 105", "use KAD")


def test_warnings_of_few_files():
    info = dataclasses.replace(INFO, dim=67)
    few, enough = (vectors(n, seed=n, windows=1, info=info) for n in (FEW_FILES - 1, 120))
    found = measure(few, enough, None, SETTINGS, "nlakh")
    assert found.comparison.fad_infinity is not None
    wide, bias = found.warnings
    assert in_order(wide, "generated", "99 files", "below 100", "wide")
    assert in_order(bias, "generated against nlakh", "99 files", "67 dim", "below 101", "use KAD")
    controls = ControlSets(few, {"real_vs_real": few})
    wide, wide_half, bias = measure(enough, enough, controls, SETTINGS, "nlakh").warnings
    assert in_order(wide, "controls of nlakh", "99 files", "wide")
    assert in_order(wide_half, "half of nlakh", "99 files", "wide")
    assert in_order(bias, "controls of nlakh against half of nlakh", "67 dim", "below 101")
    assert "use KAD" not in bias  # controls have what files there are
    info = dataclasses.replace(INFO, dim=66)
    x, y = (vectors(FEW_FILES, seed=s, windows=1, info=info) for s in (0, 1))
    assert measure(x, y, None, SETTINGS).warnings == []


def in_order(line, *fragments):
    """Does a line hold all of these, one after the other?"""
    return re.search(".*".join(map(re.escape, fragments)), line) is not None


def not_finite():
    broken = vectors(20, seed=0)
    broken.vectors_NxD[7, 2] = np.nan
    return broken


@pytest.mark.parametrize(
    ("generated", "message"),
    [
        (vectors(MIN_FILES - 1, seed=0), "generated: 15 files; distances need at least 16"),
        (not_finite(), "generated: file 2: its musicnn vectors are not finite"),
        (vectors(20, seed=0, windows=2), "clips have from 2 to 3 vectors"),
        (
            vectors(20, seed=0, info=dataclasses.replace(INFO, weights_sha256="cd" * 32)),
            "embedded differently .musicnn, 4 dimensions, weights cdcdcdcdcdcd; musicnn, 4 dim",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(generated, message):
    with pytest.raises(UserError, match=message) as refused:
        measure(generated, vectors(20, seed=1), None, SETTINGS)
    assert "\n" not in str(refused.value)


def test_a_reference_without_any_variety_is_refused():
    reference = vectors(20, seed=1)
    reference.vectors_NxD[:] = 1
    with pytest.raises(UserError, match="jamendo: most of the reference's vectors are equal"):
        measure(vectors(20, seed=0), reference, None, SETTINGS, "jamendo")


def test_controls_of_too_small_a_half_are_refused():
    controls = ControlSets(vectors(10, seed=2), {"real_vs_real": vectors(10, seed=3)})
    with pytest.raises(UserError, match="real_vs_real: 10 files; distances need at least 16"):
        measure(vectors(20, seed=0), vectors(20, seed=1), controls, SETTINGS)


def by_artists(sizes, *, seed, unknown=0):
    """Files by artists of these sizes, who share most of the variance, and by unknown ones."""
    artists = [f"{seed}/{i}" for i, size in enumerate(sizes) for _ in range(size)]
    made = vectors(
        len(artists) + unknown, seed=seed, clips_per_file=2, artists=artists + [None] * unknown
    )
    of_artist = np.random.default_rng(seed + 1000).standard_normal((len(sizes), 4))
    own = of_artist[np.repeat(range(len(sizes)), 6 * np.array(sizes))]
    made.vectors_NxD[: len(own)] += 2 * own
    return made


def test_artists_are_drawn_and_files_count_for_less():
    reference = by_artists([5] * 24, seed=1, unknown=6)
    generated = vectors(120, seed=0, shift=1.0, clips_per_file=2)
    found = measure(generated, reference, None, SETTINGS, "jamendo")
    counts = found.comparison.reference
    assert (counts.n_files, counts.n_artists, counts.drawn) == (126, 24, "artists")
    worth = counts.n_effective
    assert 30 <= worth < 60
    assert found.comparison.generated.n_effective == 120
    assert found.comparison.generated.drawn == "files"
    (line,) = found.warnings
    assert in_order(line, "jamendo: 126 files (24 known artists)", f"as {worth};", "wide")
    by_file = dataclasses.replace(reference, artists=(None,) * len(reference.clips))
    right = found.comparison
    wrong = measure(generated, by_file, None, SETTINGS, "jamendo").comparison
    assert width(right.fad_infinity) > 1.4 * width(wrong.fad_infinity)
    assert width(right.kad) > 1.4 * width(wrong.kad)
    assert right.kad.value != wrong.kad.value  # pairs within artists are left out
    assert right.fad == wrong.fad


def width(estimate):
    return estimate.high - estimate.low


@pytest.mark.parametrize(
    ("sizes", "drawn"),
    [([20], "files"), ([90, 5, 5], "files"), ([14, 6, 6, 6], "files"), ([8] * 4, "artists")],
)
def test_too_few_artists_are_not_drawn_and_a_warning_says_so(sizes, drawn):
    found = measure(vectors(120, seed=0), by_artists(sizes, seed=1), None, SETTINGS, "mine")
    assert found.comparison.reference.drawn == drawn
    told = [line for line in found.warnings if "artists only" in line]
    if drawn == "artists":
        assert not told and found.comparison.reference.n_effective < sum(sizes)
        return
    assert found.comparison.reference.n_effective == sum(sizes)
    (line,) = told
    assert in_order(line, "mine: too few artists", f"{len(sizes)} known", "4 are needed")


def test_effective_files_are_what_dimensions_need():
    """100 files by 20 artists count as some 25: for 200 dimensions, fewer than the 30 of FAD∞."""
    info = dataclasses.replace(INFO, dim=200)
    artists = [str(i // 5) for i in range(100)]
    alike = vectors(100, seed=1, info=info, artists=artists)
    alike.vectors_NxD[:] += 2 * np.repeat(
        np.random.default_rng(2).standard_normal((20, 200)), 15, axis=0
    )
    found = measure(vectors(120, seed=0, info=info), alike, None, SETTINGS, "jamendo")
    worth = found.comparison.reference.n_effective
    assert 20 <= worth < 30
    assert found.comparison.fad_infinity is None
    assert in_order(
        found.warnings[1], "100 files (20 known artists)", f"as {worth} for", "no FAD∞ below 30"
    )


def test_controls_are_drawn_by_the_artists_that_they_were_made_of():
    halves = by_artists([4] * 10, seed=1), by_artists([4] * 10, seed=2)
    found = measure(
        vectors(40, seed=0), vectors(80, seed=3),
        ControlSets(halves[1], {"real_vs_real": halves[0]}), SETTINGS, "mine",
    )  # fmt: skip
    real = found.controls["real_vs_real"]
    assert real.generated.drawn == real.reference.drawn == "artists"
    made, half = [line for line in found.warnings if "known" in line][:2]
    assert in_order(made, "controls of mine", "40 files (10 known artists)")
    assert in_order(half, "half of mine", "40 files (10 known artists)")


def test_kad_of_a_large_set_is_estimated_on_a_part_of_it(monkeypatch):
    monkeypatch.setattr(kernel, "MAX_VECTORS", 300)
    generated, reference = vectors(100, seed=0, shift=1.0), vectors(400, seed=1)
    found = measure(generated, reference, None, SETTINGS, "nlakh")
    (line,) = found.warnings
    assert in_order(line, "nlakh: KAD", "100 of its 400 files")
    monkeypatch.undo()
    of_all = measure(generated, reference, None, SETTINGS, "nlakh")
    assert not of_all.warnings
    assert found.comparison.kad.value == pytest.approx(of_all.comparison.kad.value, rel=0.1)
    assert width(found.comparison.kad) > width(of_all.comparison.kad)
