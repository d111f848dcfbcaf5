#!/usr/bin/env bash
# From music to new music:  bash launch/quickstart.sh [FOLDER_OF_MUSIC]
#
# Makes the environment, encodes the music (by default the clips that come with the project), trains
# a small model, measures it on held-out music, draws 8 new pieces, decodes them and writes a page
# to look at and listen to. Everything goes to RUN (default: runs/quickstart, or runs/<folder>);
# the same command goes on where it was stopped.
set -euo pipefail
# shellcheck source=launch/usage.sh
source "$(dirname "${BASH_SOURCE[0]}")/usage.sh"
usage_if_asked "${BASH_SOURCE[0]}" "$@"
[ $# -le 1 ] || { echo "usage: bash launch/quickstart.sh [FOLDER_OF_MUSIC]" >&2; exit 2; }
music=${1:-}
if [ -n "$music" ]; then
  [ -d "$music" ] || { echo "error: $music: no such folder" >&2; exit 1; }
  music=$(realpath -s -- "$music")
fi
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$project"

run=${RUN:-runs/$(if [ -n "$music" ]; then basename -- "$music"; else echo quickstart; fi)}
music=${music:-tokenizer_bridge/assets/clips}
mkdir -p "$run"

say() { printf '\n== %s (%d:%02d so far)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }

say "1/6 encode $music"
"$PY" -m tokenizer_bridge.encode --source=folder --audio="$music" --codec=demo \
  --output="$run/tokens" --num_workers="$(nproc)"
say "2/6 train"
"$PY" -m sedd_jax.train --config=configs/quickstart.py --tokens="$run/tokens" \
  --workdir="$run/model"
say "3/6 measure on held-out music"
split=validation # a single track is not split
[ -n "$(find "$run/tokens" -maxdepth 1 -name 'validation-*' -print -quit)" ] || split=train
"$PY" -m sedd_jax.evaluate --workdir="$run/model" --split="$split"
say "4/6 sample"
"$PY" -m sedd_jax.sample --workdir="$run/model" --num_samples=8 --output="$run/new"
say "5/6 decode"
"$PY" -m tokenizer_bridge.decode --tokens="$run/new" --output="$run/wavs"
say "6/6 page"
# Ends with one sentence: what was reached against unigrams and a bigram.
"$PY" -m launch.page --workdir="$run/model" --music="$music"
