"""A report as Markdown."""

from collections.abc import Mapping

from tokenizer_bridge.reporting.table import (
    markdown,
    measurement_table,
    paper_table,
    published_table,
    settings_table,
    title,
)
from tokenizer_bridge.reporting.verdict import headlines


def as_markdown(report: Mapping) -> str:
    generated = report["generated"]
    parts = [
        "# Fréchet audio distances",
        f"{generated['n_files']:,} generated files in `{generated['directory']}`.",
    ]
    parts += [f"**{line}**" for line in headlines(report)]
    parts += ["## Beside the paper's Table 2", markdown(paper_table(report))]
    for m in report["measurements"]:
        parts += [f"## {title(m)}"]
        parts += [markdown(measurement_table(m)), markdown(settings_table(report, m))]
    if report["warnings"]:
        parts += ["## Warnings", "\n".join(f"- {line}" for line in report["warnings"])]
    if (elsewhere := published_table(report)) is not None:
        parts += ["## Published elsewhere", markdown(elsewhere)]
    if report["unusable"]:
        parts += ["## Left out", f"Could not be used ({len(report['unusable']):,}):"]
        parts += [
            "\n".join(f"- `{u['path']}` ({u['set']}): {u['reason']}" for u in report["unusable"])
        ]
    return "\n\n".join(parts) + "\n"
