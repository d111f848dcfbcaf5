"""The tables of a report as rows of text, for Markdown and for the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokenizer_bridge.reporting.published import NOT_COMPARABLE, reference_key

NONE = "–"
CONTROL_NAMES = {
    "real_vs_real": "real against real",
    "codec_floor": "real through the codec",
    "shuffled_tokens": "shuffled tokens",
    "white_noise": "white noise",
    "silence": "silence",
}
CONTROL_NOTES = {
    "codec_floor": (
        "one half encoded and decoded: what the codec alone costs; a model of its tokens is not "
        "expected to come nearer"
    ),
    "shuffled_tokens": "codes as frequent as in real music, in no order",
    "white_noise": "as loud as each real clip",
    "silence": "nothing at all",
}
_HALVES_NOTES = {
    "artists": "two halves of the reference that share no artist",
    "known artists": "two halves of the reference that share no artist that is known",
    "files": "two halves of the reference that share no file, but may share artists",
}
_FLATTENED = (
    "Flattened: components of all vectors pooled into one mean and one variance, as a common "
    "program does for PANNs. That is no Fréchet distance of the embeddings."
)
_HOW_TO_READ = (
    "FAD grows as files get fewer; FAD∞ is extrapolated to infinitely many, and may fall below 0 "
    "by chance, as KAD may (100 × MMD² under a Gaussian kernel, unbiased). Figures compare only "
    "where embedding, reference, clips and controls are the same."
)


@dataclass(frozen=True)
class Table:
    """Text in cells; the first column holds words, the others numbers, or words as well."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    numbers: bool = True


def paper_table(report: Mapping) -> Table:
    """The paper's Table 2, of what was measured here: models down, embeddings and references
    across; ours, and what was published beside it."""
    keys = _published_keys(report)
    plain, extrapolated = {}, {}
    for m in report["measurements"]:
        embedding, reference = m["embedding"]["name"], m["reference"]["name"]
        plain[embedding, reference, "fad"] = number(m["fad"])
        extrapolated[embedding, reference, "fad"] = interval(m["fad_infinity"])
        if m["paper_compat"] is not None:
            plain[embedding, reference, "flattened"] = number(m["paper_compat"])
    rows = [("this run, FAD", *(plain[column] for column in keys))]
    rows.append(("this run, FAD∞ (95%)", *(extrapolated.get(column, NONE) for column in keys)))
    for model in dict.fromkeys(p["model"] for p in report["published"]):
        figures = {_key(p): f"{number(p['value'])} †" for p in report["published"]
                   if p["model"] == model}  # fmt: skip
        cells = [figures.get(key, NONE) for key in keys.values()]
        if any(cell != NONE for cell in cells):
            rows.append((f"{model} †", *cells))
    notes = [f"† {NOT_COMPARABLE}."] * (len(rows) > 2)
    if any(column[2] == "flattened" for column in keys):
        notes.append(_FLATTENED)
    notes.append(_HOW_TO_READ)
    return Table(("model", *map(_heading, keys)), tuple(rows), tuple(notes))


def published_table(report: Mapping) -> Table | None:
    """Published figures that nothing measured here stands beside; None where there are none."""
    beside = set(_published_keys(report).values())
    rows = [
        (f"{p['model']}, {_heading(_key(p))}", number(p["value"]))
        for p in report["published"]
        if _key(p) not in beside
    ]
    notes = [f"{NOT_COMPARABLE.capitalize()}."]
    if any(p["kind"] == "flattened" and _key(p) not in beside for p in report["published"]):
        notes.append(_FLATTENED)
    return (
        Table(("model, embedding, reference", "figure"), tuple(rows), tuple(notes))
        if rows
        else None
    )


def _published_keys(report: Mapping) -> dict[tuple, tuple]:
    """Columns (embedding, reference, kind) of what was measured → as PUBLISHED calls them."""
    keys = {}
    for m in report["measurements"]:
        embedding, reference = m["embedding"]["name"], m["reference"]["name"]
        keys[embedding, reference, "fad"] = (embedding, reference_key(m["reference"]), "fad")
        if m["paper_compat"] is not None:
            keys[embedding, reference, "flattened"] = ("cnn14", None, "flattened")
    return keys


def _key(published: Mapping) -> tuple:
    return published["embedding"], published["reference"], published["kind"]


def measurement_table(measurement: Mapping) -> Table:
    """One embedding against one reference: generated music and every control."""
    flattened = measurement["paper_compat"] is not None
    rows = [_row("generated", measurement, flattened)]
    rows += [
        _row(CONTROL_NAMES.get(name, name), control, flattened)
        for name, control in measurement["controls"].items()
    ]
    head = ("against real music", "FAD∞ (95%)", "FAD", "KAD (95%)", "clips", "of the reference")
    of_controls = CONTROL_NOTES | {
        "real_vs_real": f"{_HALVES_NOTES.get(measurement['halves'])}: as near as real music is"
    }
    notes = [
        f"{CONTROL_NAMES[name]}: {of_controls[name]}."
        for name in measurement["controls"]
        if name in CONTROL_NAMES
    ]
    return Table(head + ("flattened",) * flattened, tuple(rows), tuple(notes))


def settings_table(report: Mapping, measurement: Mapping) -> Table:
    """Everything that the figures of one measurement depend on."""
    embedding, reference = measurement["embedding"], measurement["reference"]
    window = (
        "one vector a clip"
        if embedding["window_s"] is None
        else f"windows of {embedding['window_s']:g} s every {embedding['hop_s']:g} s"
    )
    count, heard_s = windows(measurement)
    rows = [
        ("embedding", f"{embedding['name']}, {embedding['dim']} dimensions"),
        (f"weights ({embedding['weights']}), SHA-256", embedding["weights_sha256"]),
        ("audio", f"{embedding['sample_rate']:,} Hz mono, {window}"),
        ("clips", f"{measurement['clip_s']:g} s; {_clips_per_file(measurement)} a file"),
        ("windows a clip", f"{count}: {heard_s:.4g} s heard of {measurement['clip_s']:g} s"),
        ("resampler", measurement["resampler"]),
        ("loudness", measurement["loudness"]),
        ("generated", _amount(measurement["generated"])),
        ("reference", f"{reference['name']} ({reference['source']}): {_amount(reference)}"),
        ("tracks drawn from it, by the seed", str(reference["drawn"])),
        ("seed", str(measurement["seed"])),
    ]
    rows += [(key.replace("_", " "), str(value)) for key, value in report["settings"].items()]
    return Table(("setting", "value"), tuple(rows), numbers=False)


def windows(measurement: Mapping) -> tuple[int, float]:
    """Windows of a clip, and how many of its seconds lie in one."""
    generated, window_s = measurement["generated"], measurement["embedding"]["window_s"]
    if window_s is None:
        return 1, measurement["clip_s"]
    count = generated["n_vectors"] // generated["n_clips"]
    overlapped_s = (count - 1) * measurement["embedding"]["hop_s"] + window_s
    return count, min(overlapped_s, measurement["clip_s"])


def number(value: float) -> str:
    """Three significant digits; tiny numbers with an exponent."""
    if value != 0 and abs(value) < 1e-3:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:#.3g}".rstrip(".")


def interval(estimate: Mapping | None) -> str:
    """Value and interval of an estimate."""
    if estimate is None:
        return NONE
    value, low, high = (number(estimate[key]) for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def markdown(table: Table) -> str:
    """A pipe table, its notes below."""
    rule = "---:" if table.numbers else "---"
    lines = [table.head, ("---", *(rule for _ in table.head[1:])), *table.rows]
    text = "\n".join("| " + " | ".join(map(_escape, line)) + " |" for line in lines)
    return f"{text}\n\n{' '.join(table.notes)}".rstrip()


def title(measurement: Mapping) -> str:
    """The title of a measurement: what is compared with what."""
    return f"{measurement['embedding']['name']} against {measurement['reference']['name']}"


def text(table: Table) -> str:
    """Aligned columns for a terminal, a line for each note below."""
    lines = [table.head, *table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = [
        "  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])])
        for first, *rest in lines
    ]
    return "\n".join([*aligned, *table.notes])


def _row(name: str, figures: Mapping, flattened: bool) -> tuple[str, ...]:
    cells = [name, interval(figures["fad_infinity"]), number(figures["fad"])]
    cells += [interval(figures["kad"])]
    cells += [f"{figures[side]['n_clips']:,}" for side in ("generated", "reference")]
    if flattened:
        cells.append(number(figures["paper_compat"]))
    return tuple(cells)


def _heading(column: Sequence[str | None]) -> str:
    embedding, reference, kind = column
    text = f"{embedding}, {reference}" if reference else embedding
    return text if kind == "fad" else f"{text}, {kind}"


def _amount(side: Mapping) -> str:
    """Sizes; and what files are worth where artists make them fewer."""
    sizes = f"{side['n_files']:,} files, {side['n_clips']:,} clips, {side['n_vectors']:,} vectors"
    artists = side.get("n_artists", 0)
    if not artists:
        return sizes
    return (
        f"{sizes}; {artists:,} known artists, {side['n_effective']:,} independent files' worth; "
        f"{side['drawn']} are drawn"
    )


def _clips_per_file(measurement: Mapping) -> str:
    per_file = measurement["clips_per_file"]
    if isinstance(per_file, Mapping):
        return ", ".join(f"{value} ({name})" for name, value in per_file.items())
    return str(per_file)


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|")
