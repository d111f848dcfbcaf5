"""The texts of compile_check: a report, and a line of a ranking."""

from launch.aot import explain
from launch.aot.compiled import Report


def _gb(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:10.3f} GB"


def _line(name: str, value: str, note: str = "") -> str:
    return f"  {name:<22}{value}{'  ' + note if note else ''}"


def mesh_text(report: Report) -> str:
    return " × ".join(f"{axis} {size}" for axis, size in report.mesh.items())


def head(name: str, report: Report) -> str:
    return "\n".join(
        (
            f"{name}: {report.program} on {report.topology}, compiled in {report.compile_s:.0f} s",
            _line("mesh", mesh_text(report)),
            _line(
                "batch",
                f"{report.batch} rows",
                f"accumulation {report.accumulation}, remat {report.remat}, "
                f"{report.compute_dtype}, attention {report.attention}",
            ),
            _line("parameters", f"{report.num_parameters:,}"),
        )
    )


def memory(report: Report) -> str:
    m = report.memory
    verdict = "fits" if report.fits else "DOES NOT FIT"
    return "\n".join(
        (
            "memory per device",
            _line("arguments", _gb(m.arguments)),
            _line("outputs", _gb(m.outputs), f"{_gb(m.aliased).strip()} in place of arguments"),
            _line("temporaries", _gb(m.temporaries)),
            _line("program", _gb(m.program)),
            _line("all at once", _gb(m.needed), f"of {m.available / 1e9:.1f} GB: {verdict}"),
        )
    )


def speed(report: Report) -> str:
    r = report.roofline
    model_share = report.model_flops / report.num_devices / r.flops if r.flops else 0.0
    lines = [
        "work per device and step, counted in the compiled program, loops by their trip counts",
        _line(
            "matrix products",
            f"{r.flops / 1e12:10.3f} TFLOP",
            f"{r.compute_s * 1e3:.2f} ms at the peak; model FLOPs are {model_share:.0%} of them",
        ),
        _line("memory traffic", _gb(r.hbm_bytes), f"{r.hbm_s * 1e3:.2f} ms at its rate"),
        _line("instructions", f"{r.instructions_s * 1e3:10.2f} ms", "each bound by one of the two"),
        "collectives: count, bytes that a device sends, time at the links' rate",
    ]
    for row in r.traffic:
        name = f"{row.kind} over {' × '.join(row.axes) or 'one device'}"
        lines.append(
            f"  {name:<44}{row.network:<7}{row.count:>6}{_gb(row.num_bytes)}"
            f"{row.seconds * 1e3:10.2f} ms"
        )
    if not r.traffic:
        lines.append("  none")
    for network in r.networks:
        lines.append(_line(f"all over {network}", f"{r.network_s(network) * 1e3:10.2f} ms"))
    lines += [
        "roofline",
        _line("step time, at least", f"{r.overlapped_s * 1e3:10.2f} ms", "all overlapped"),
        _line("", f"{r.serial_s * 1e3:10.2f} ms", "nothing overlapped"),
        _line("MFU, at most", f"{report.mfu_bound:10.1%}"),
        _line("tokens/s, at most", f"{report.tokens_per_s:10,.0f}"),
    ]
    if r.num_unknown_loops:
        lines.append(f"  {r.num_unknown_loops} loops of unknown length are counted once")
    if r.num_conditionals:
        lines.append(f"  {r.num_conditionals} conditionals are counted with all their branches")
    if r.unknown_kernels:
        lines.append(f"  not counted: the FLOPs of {', '.join(r.unknown_kernels)}")
    return "\n".join(lines)


def full(name: str, report: Report) -> str:
    if report.memory is None:
        return f"{head(name, report)}\nDOES NOT FIT: {report.refusal}"
    parts = [head(name, report), memory(report), speed(report)]
    if report.lines:
        parts.append(f"instructions\n{explain.table(report.lines)}")
    return "\n".join(parts)


RANKING_HEAD = (
    f"{'mesh':<32}{'remat':<8}{'accum.':>6}{'GB/device':>11}"
    f"{'step, ms':>10}{'MFU':>8}{'tokens/s':>13}"
)


def ranking_line(report: Report) -> str:
    start = f"{mesh_text(report):<32}{report.remat:<8}{report.accumulation:>6}"
    if report.memory is None:
        return f"{start}  {report.refusal}"
    line = f"{start}{report.memory.needed / 1e9:>11.2f}{report.roofline.overlapped_s * 1e3:>10.2f}"
    line += f"{report.mfu_bound:>8.1%}{report.tokens_per_s:>13,.0f}"
    return line if report.fits else f"{line}  does not fit"
