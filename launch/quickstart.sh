#!/usr/bin/env bash
# Draws new pieces, then runs the whole chain:  bash launch/quickstart.sh [--demo_only] [FOLDER_OF_MUSIC]
#
# Makes the environment and, first, eight pieces of the model that comes with the project: within a
# minute they can be heard on a page, whose address is printed. Then the chain in small: encodes the
# music (by default the clips that come with the project), trains a small model, measures it on
# held-out music, draws 8 new pieces of it and adds all this to the page. --demo_only leaves the
# chain out; with a folder of music of your own, the first eight pieces are left out.
# Everything goes to RUN (default: runs/quickstart, or runs/<folder>); the same command goes on
# where it was stopped.
set -euo pipefail
# shellcheck source=launch/usage.sh
source "$(dirname "${BASH_SOURCE[0]}")/usage.sh"
usage_if_asked "${BASH_SOURCE[0]}" "$@"
chain=yes
case ${1:-} in --demo_only | --demo-only) chain=no && shift ;; esac
usage="usage: bash launch/quickstart.sh [--demo_only] [FOLDER_OF_MUSIC]"
case ${1:-} in # a folder may be called -x
  -*) [ -d "$1" ] || { echo "error: there is no option $1; $usage" >&2; exit 2; } ;;
esac
[ $# -le 1 ] || { echo "$usage" >&2; exit 2; }
music=${1:-}
[ -z "$music" ] || [ $chain = yes ] || { echo "$usage: one or the other" >&2; exit 2; }
if [ -n "$music" ]; then
  [ -d "$music" ] || { echo "error: $music: no such folder" >&2; exit 1; }
  music=$(realpath -s -- "$music")
fi
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$project"

run=${RUN:-runs/$(if [ -n "$music" ]; then basename -- "$music"; else echo quickstart; fi)}
mkdir -p "$run/model"
page=$run/model/index.html

say() { printf '\n== %s (%d:%02d so far)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }

others=()
if [ -z "$music" ]; then
  say "eight pieces of the model that comes with the project"
  "$PY" -m sedd_jax.sample --workdir=demo --num_samples=8 --tags_file=launch/demo_tags.txt \
    --guidance=6 --guidance_schedule=falling --length=512 --steps=32 --output="$run/demo"
  "$PY" -m tokenizer_bridge.decode --tokens="$run/demo" --output="$run/demo_wavs"
  others=(--other_tokens="$run/demo")
  if [ $chain = no ] || [ ! -e "$page" ]; then
    "$PY" -m launch.page --tokens="$run/demo" --audio="$run/demo_wavs" --output="$page"
  fi
  echo "listen: file://$(cd "$run/model" && pwd)/index.html"
  [ $chain = yes ] || exit 0
fi
music=${music:-tokenizer_bridge/assets/clips}

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
"$PY" -m launch.page --workdir="$run/model" --music="$music" ${others[@]+"${others[@]}"}
echo "listen: file://$(cd "$run/model" && pwd)/index.html"
