#!/usr/bin/env bash
# Environment, lint, formatting, types and all tests:  bash launch/test.sh [pytest arguments]
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$project"

"$PY" -m ruff check .
"$PY" -m ruff format --check .
"$PY" -m mypy
ensure_compilers
export JAX_PLATFORMS=cpu
# Two workers on two cores; a file's tests stay together, since they share compiled programs.
OMP_NUM_THREADS=1 "$PY" -m pytest -n "$(nproc)" --dist loadfile --durations 15 "$@"
