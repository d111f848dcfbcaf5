#!/usr/bin/env bash
# Checks lint, formatting and types, and runs all tests:  bash launch/test.sh [pytest arguments]
#
# Makes the environment where there is none (launch/env.sh), and another with the compilers for TPUs
# and GPUs, then runs ruff, mypy and pytest with as many workers as there are cores. The arguments go to
# pytest: bash launch/test.sh tests/launch -k page; `.venv/bin/python -m pytest --help` lists them.
set -euo pipefail
EXTRAS=${EXTRAS:+$EXTRAS,}dev
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$project"

"$PY" -m ruff check .
"$PY" -m ruff format --check .
"$PY" -m mypy
if [ "$(uname -s)" = Linux ]; then ensure_compilers; fi # which are for Linux only
export JAX_PLATFORMS=cpu
# Two workers on two cores; a file's tests stay together, since they share compiled programs. Tests of
# several processes may fail on a crowded machine: three that failed run once more, and are named as such.
OMP_NUM_THREADS=1 "$PY" -m pytest -n "$(count_cpus)" --dist loadfile --durations 15 \
  --reruns 1 --max-suite-reruns 3 --rerun-show-tracebacks "$@"
