#!/usr/bin/env bash
# Kills a small training run at random moments and checks that nothing is lost:
#   bash launch/soak.sh [--kills=30 | --hours=8] [--seed=0] [--workdir=DIR] [--tokens=TOKENS]
# `python -m launch.soak --help` says more. Exit code 1 when anything was lost.
set -euo pipefail
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$project"

exec "$PY" -m launch.soak "$@"
