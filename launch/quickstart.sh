#!/usr/bin/env bash
# Draws new pieces, then runs the whole chain:  bash launch/quickstart.sh [--demo_only] [MUSIC]
#
# Makes the environment and, first, eight pieces of the model that comes with the project: within a
# minute they can be heard on a page, whose address is printed. Then the chain in small: encodes
# tunes on a banjo, which the model has never heard, trains it on with them for some two minutes,
# measures it on held-out tunes, draws 8 new pieces of it and adds all this to the page. With MUSIC of
# your own, a folder or a file, the chain alone, on that. At the end a sentence says what was reached,
# against unigrams and a bigram, and what it would take to get further.
#
#   --demo_only          only the first eight pieces
#   --steps=400          training steps, instead of some minutes of them, and as many again whenever
#                        MUSIC has grown; more than before trains on
#   --codec=demo-scores  for a folder of tunes like those, on a piano, harp, guitar …: trains on from
#                        the model that comes with the project. Without it a small model is trained
#                        from nothing with the codec demo, which suits music of all kinds.
#
# Everything goes to the folder that the environment variable RUN names (default: runs/quickstart, or
# runs/<name of MUSIC>); the same command goes on where it was stopped, and when files were added to
# MUSIC it encodes those and trains on, on all.
set -euo pipefail
# shellcheck source=launch/usage.sh
source "$(dirname "${BASH_SOURCE[0]}")/usage.sh"
usage_if_asked "${BASH_SOURCE[0]}" "$@"
usage="usage: bash launch/quickstart.sh [--demo_only] [--steps=N] [--codec=CODEC] [MUSIC]"
refuse() {
  echo "$*" >&2
  exit 2
}
chain=yes steps='' codec=''
while [ $# -gt 0 ]; do
  [ ! -e "$1" ] || break # a folder may be called -x
  case $1 in
    --demo_only | --demo-only) chain=no ;;
    --steps=*) steps=${1#*=} ;;
    --codec=*) codec=${1#*=} ;;
    -*) refuse "error: there is no option $1; $usage" ;;
    *) break ;;
  esac
  shift
done
[ $# -le 1 ] || refuse "$usage"
music=${1:-}
[ -z "$music" ] || [ $chain = yes ] || refuse "$usage: one or the other"
case $steps in
  0* | *[!0-9]* | ????????*) refuse "error: --steps=$steps: must be a whole number of at least 1" ;;
esac
[ -n "$music" ] || [ -z "$codec" ] || refuse "error: --codec=$codec is for music of your own; $usage"
[ -n "$music" ] || codec=demo-scores
case ${codec:=demo} in
  demo-scores) training=(--config=configs/quickstart_tuned.py --init_from=demo) usual_steps=160 ;;
  demo) training=(--config=configs/quickstart.py) usual_steps=200 ;;
  *) refuse "error: --codec=$codec: must be demo or demo-scores" ;;
esac
if [ -n "$music" ]; then
  [ -e "$music" ] || { echo "error: $music: no such file or folder" >&2; exit 1; }
fi
# shellcheck source=launch/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
[ -z "$music" ] || music=$(absolute "$music")
cd "$project"

run=${RUN:-runs/$(if [ -n "$music" ]; then basename -- "$music"; else echo quickstart; fi)}
mkdir -p "$run/model"
page=$run/model/index.html

# Seconds of each stage on two cores that do nothing else. How long the music of a folder takes to
# encode depends on how much it is: the bar of that stage tells.
encoding=10
expected() {
  case $1 in
    draw) echo 30 ;;
    encode) echo $encoding ;;
    train) echo $((120 * ${steps:-$usual_steps} / usual_steps)) ;;
    measure | page) echo 15 ;;
    sample) echo 20 ;;
    *) echo 10 ;;
  esac
}
chain_stages=(encode train measure sample decode page)
if [ -n "$music" ]; then
  stages=("${chain_stages[@]}") encoding=0
elif [ $chain = no ]; then
  stages=(draw hear look)
else
  stages=(draw hear look "${chain_stages[@]}")
fi
number=0 left=0
for name in "${stages[@]}"; do left=$((left + $(expected "$name"))); done

minutes() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

# stage NAME WHAT: a heading with the time that is left.
stage() {
  local own
  own=$(expected "$1")
  number=$((number + 1))
  left=$((left - own))
  printf '\n== %d/%d %s (%s so far; to expect: %s and then %s)\n' $number ${#stages[@]} "$2" \
    "$(minutes $SECONDS)" "$(if [ "$own" -gt 0 ]; then minutes "$own"; else echo "what its bar says"; fi)" \
    "$(minutes $left)"
}

others=()
if [ -z "$music" ]; then
  stage draw "eight pieces of the model that comes with the project"
  if grep -qs '"sampler": "euler"' "$run/demo/dataset.json"; then # an earlier version's
    rm -rf "$run/demo" "$run/demo_wavs"
  fi
  "$PY" -m sedd_jax.sample --workdir=demo --num_samples=8 --tags_file=launch/demo_tags.txt \
    --guidance=3 --length=512 --output="$run/demo"
  stage hear "their sound"
  "$PY" -m tokenizer_bridge.decode --tokens="$run/demo" --output="$run/demo_wavs"
  others=(--other_tokens="$run/demo")
  stage look "a page"
  if [ $chain = no ] || [ ! -e "$page" ]; then
    "$PY" -m launch.page --tokens="$run/demo" --audio="$run/demo_wavs" --output="$page"
  fi
  echo "listen: $(file_url "$run/model/index.html")"
  [ $chain = yes ] || exit 0
fi
tags=()
if [ -z "$music" ]; then
  music=tokenizer_bridge/assets/tunes
  tags=(--tags="$music/tags.csv") # which says what is one tune
fi

tokens_as_they_are() {
  [ ! -e "$run/tokens/dataset.json" ] || sha256 < "$run/tokens/dataset.json"
}
# How often there was other music, the first included: as often the steps are made. Behind it, of
# which tokens it speaks, since the encoding may be stopped when they are there.
rounds='' counted=''
if [ -s "$run/rounds" ]; then read -r rounds counted < "$run/rounds"; fi
: "${rounds:=1}" "${counted:=$(tokens_as_they_are)}"
stage encode "encode $music"
"$PY" -m tokenizer_bridge.encode --source=folder --audio="$music" --codec="$codec" \
  --output="$run/tokens" --num_workers="$(count_cpus)" ${tags[@]+"${tags[@]}"}
tokens=$(tokens_as_they_are)
if [ -n "$counted" ] && [ "$counted" != "$tokens" ]; then rounds=$((rounds + 1)); fi
echo "$rounds $tokens" > "$run/rounds.partial"
mv "$run/rounds.partial" "$run/rounds"
if [ "$rounds" -gt 1 ]; then
  training+=(--allow_change=data.path)
  steps=$((rounds * ${steps:-$usual_steps}))
fi
new=$run/new${steps:+_$steps} wavs=$run/wavs${steps:+_$steps}
stage train "train"
"$PY" -m sedd_jax.train "${training[@]}" --tokens="$run/tokens" --workdir="$run/model" \
  ${steps:+--config.training.num_steps="$steps"}
stage measure "measure on held-out music"
split=validation # a single track is not split
[ -n "$(find "$run/tokens" -maxdepth 1 -name 'validation-*' -print -quit)" ] || split=train
"$PY" -m sedd_jax.evaluate --workdir="$run/model" --split="$split"
stage sample "sample"
"$PY" -m sedd_jax.sample --workdir="$run/model" --num_samples=8 --output="$new"
stage decode "decode"
"$PY" -m tokenizer_bridge.decode --tokens="$new" --output="$wavs"
stage page "the page, with all this"
# Ends with what was reached against unigrams and a bigram, and what it would take to get further.
[ -d "$music" ] || music=$(dirname -- "$music")
"$PY" -m launch.page --workdir="$run/model" --tokens="$new" --audio="$wavs" --music="$music" \
  ${others[@]+"${others[@]}"}
"$PY" -m launch.files_used --tokens="$run/tokens"
echo "open $(file_url "$run/model/index.html")"
