"""Compares this project with figures made by the published programs.

    python -m tests.reference_check FILE.npz …

Each file holds inputs, weights and results of the published SEDD or WavTokenizer, of any size, or
of an embedding's program.
Prints the largest error of every quantity beside its bound; exits with 0 only if all hold.
"""

import sys

from tests.reference_rows import BadReference, Reference, Row


def check(path: str) -> list[Row]:
    """Rows of one file. Raises BadReference when it is of no known format."""
    reference = Reference(path)
    # One half needs torch and the other JAX, so only the half that is asked for is imported.
    if "embedding" in reference:
        from tests import reference_embeddings as half
    elif "state_dict" in reference:
        from tests import reference_forward as half
    elif "salt" in reference:
        from tests import reference_wavtokenizer as half
    elif "forward/x" in reference:
        from tests import reference_sedd as half
    else:
        raise BadReference("no reference file of SEDD, a WavTokenizer or an embedding")
    return half.check(reference)


def main(paths: list[str]) -> int:
    if not paths or "--help" in paths:
        print("usage: python -m tests.reference_check FILE.npz …", file=sys.stderr)
        return 0 if paths else 2
    failed = 0
    for path in paths:
        print(path)
        try:
            rows = check(path)
        except BadReference as error:
            print(f"error: {path}: {error}", file=sys.stderr)
            failed += 1
            continue
        for row in rows:
            verdict = f"ok {row.note}" if row.ok else f"FAILED {row.note}"
            print(
                f"  {row.quantity:<36} {row.error:>10.2e}  ≤ {row.bound:<6.0e} {verdict}".rstrip()
            )
        failed += not all(row.ok for row in rows)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
