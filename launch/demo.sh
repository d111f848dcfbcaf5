#!/usr/bin/env bash
# Makes everything that comes with the project again:  bash launch/demo.sh [--output=DIR] [--reduced]
#
# The corpus of rendered scores, the codec, the tokens, the model, its export, new pieces, all figures
# and a page, from nothing but the scores in the Python package music21 and a sound font, in DIR
# (default: runs/demo). Each stage says what it does, how long it took and about how long the others
# will take. Stopped anyhow, the same command goes on where it was. DIR/times.txt has the stages' times.
#
#   --reduced          the same in minutes on two CPU cores: shows that all works, makes no music
#   --hours=60         hours of music in the corpus
#   --sound_font=FILE  FluidR3_GM.sf2, where it is not in Debian's place
#   --dry_run          prints the commands, and runs and installs nothing
#
# Needs Debian's or Ubuntu's packages fluidsynth and fluid-soundfont-gm, and 10 GB in DIR (--reduced:
# 1 GB). In full it is for a machine with a large GPU, after EXTRAS=cuda bash launch/env.sh.
# launch/README.md has the times.
set -euo pipefail
# shellcheck source=launch/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
flag=([output]=$project/runs/demo [hours]=60 [sound_font]=/usr/share/sounds/sf2/FluidR3_GM.sf2)
parse_flags reduced "$@"
need_match hours '[0-9]+(\.[0-9]+)?' "a number"
case ${flag[hours]} in
  *[1-9]*) ;;
  *) fail "--hours=${flag[hours]}: must be above 0" ;;
esac
case ${flag[output]} in
  '' | *://*) fail "--output=${flag[output]}: must be a folder here" ;;
esac
out=$(absolute "${flag[output]}")
font=$(absolute "${flag[sound_font]}")

# What is checked before anything is installed or run.

has_fluidsynth() { # macOS has no ldconfig: there render_scores looks for it
  [ "$(uname -s)" = Darwin ] || [[ $(PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null) == *libfluidsynth.so* ]]
}

require_sound() {
  has_fluidsynth && [ -f "$font" ] && return
  fail "FluidSynth or the sound font $font is missing: apt-get install fluidsynth fluid-soundfont-gm" \
    "(Debian, Ubuntu; LGPL-2.1 or later, some 10 MB; MIT, 120 MB)"
}

# require_space MB: there must be so much in DIR, with what is there already.
require_space() {
  local place=$out free used=0
  while [ ! -d "$place" ]; do place=$(dirname -- "$place"); done
  free=$(df -Pm -- "$place" | awk 'END { print $(NF - 2) }')
  [ ! -d "$out" ] || used=$(du -sm -- "$out" | cut -f1)
  [ $((free + used)) -ge "$1" ] ||
    fail "$out: $1 MB are needed, and $((free + used)) MB are free or already used there"
}

if [ -z "${flag[dry_run]}" ]; then
  require_sound
  if [ -n "${flag[reduced]}" ]; then require_space 1000; else require_space 10000; fi
  EXTRAS=demo${EXTRAS:+,$EXTRAS} # music21, which has the scores
  # shellcheck source=launch/env.sh
  source "$project/launch/env.sh"
  cd "$project"
  mkdir -p "$out/done"
else
  PY=python
fi

# The two settings: arguments, and seconds to expect of each stage; launch/README.md says which of
# them were measured, all others are guesses.

cores=$(count_cpus)
codec=demo-scores-remade # another than the shipped one: tokens of one are noise to the other
card=(--license=CC-BY-4.0 --data="music rendered from scores by launch/demo.sh")
declare -A expected
if [ -n "${flag[reduced]}" ]; then
  corpus=(--hours=0.4 --num_scores=40)
  codec_training=(--num_tracks=20 --steps=30 --continuous_steps=10 --batch_size=4 --crop_s=1
    --validate_every=10)
  tiny=(--config.model.num_blocks=2 --config.model.width=64 --config.model.num_heads=2
    --config.conditioning.min_tracks=1 --config.optim.warmup_steps=5 --config.training.log_every=10
    --config.training.batch_size=8 --config.evaluation.every=20 --config.evaluation.num_batches=1
    --config.checkpoint.every=10)
  model=("${tiny[@]}" --config.model.length=128 --config.training.num_steps=40)
  short=("${tiny[@]}" --config.training.num_steps=20)
  steered=("${tiny[@]}" --config.model.length=128 --config.training.num_steps=20)
  sampling=(--num_samples=16 --steps=16)
  codec_measuring=(--num_tracks=2 --clips_per_track=1)
  reference=$out/music/train # what is held out of so little is too little
  reporting=(--no_controls --clip_s=3)
  notes=(--clip_s=3 --num_reference=4)
  judging=(--guidance=2 --num_samples=8 --length=128 --steps=8)
  expected=([corpus]=25 [codec]=20 [tokens]=15 [model]=10 [steering]=15 [bound]=5 [export]=5
    [pieces]=10 [figures]=25 [tags]=20 [page]=10)
else
  corpus=(--hours="${flag[hours]}")
  # 164 pieces are 1.8 hours.
  codec_training=(--num_tracks=164 --steps=4200 --batch_size=32 --crop_s=2 --learning_rate=1.5e-3)
  model=() short=() steered=()
  sampling=(--num_samples=64)
  codec_measuring=(--clips_per_track=1)
  reference=$out/music/held_out
  reporting=() notes=()
  judging=("--guidance=0,1,2,3,6")
  expected=([corpus]=960 [codec]=260 [tokens]=530 [model]=480 [steering]=120 [bound]=60 [export]=20
    [pieces]=120 [figures]=900 [tags]=900 [page]=60)
  nvidia-smi > /dev/null 2>&1 ||
    expected+=([codec]=9000 [model]=240000 [steering]=3600 [bound]=1800 [pieces]=1200 [tags]=3600)
fi

stage_corpus() {
  step tokenizer_bridge.render_scores --output="$out/corpus" "${corpus[@]}" --sound_font="$font" \
    --num_workers="$cores"
  step launch.split_music --music="$out/corpus" --tags="$out/corpus/tags.csv" --output="$out/music"
}

stage_codec() {
  step tokenizer_bridge.train_codec --audio="$out/music/train" --output="$out/codec" \
    --config=tokenizer_bridge/assets/demo_scores_codec/config.yaml "${codec_training[@]}"
}

stage_tokens() { # on the CPU, so that they are the same everywhere
  step tokenizer_bridge.encode --audio="$out/corpus" --tags="$out/corpus/tags.csv" --codec=$codec \
    --codec_dir="$out/codec" --output="$out/tokens" --num_workers="$cores"
}

stage_model() {
  step sedd_jax.train --config=configs/demo_scores.py --tokens="$out/tokens" --workdir="$out/model" \
    ${model[@]+"${model[@]}"}
}

stage_steering() {
  step sedd_jax.train --config=configs/demo_scores_tags.py:short --init_from="$out/model" \
    --tokens="$out/tokens" --workdir="$out/short" ${short[@]+"${short[@]}"}
  step sedd_jax.train --config=configs/demo_scores_tags.py --init_from="$out/short" \
    --tokens="$out/tokens" --workdir="$out/steered" ${steered[@]+"${steered[@]}"}
}

stage_bound() {
  step sedd_jax.evaluate --workdir="$out/steered" --split=test
}

stage_export() {
  [ -n "$printing" ] || rm -rf "$out/demo" # it is written whole, and never over another
  step sedd_jax.weights.export --workdir="$out/steered" --output="$out/demo" --dtype=float16 "${card[@]}"
}

stage_pieces() {
  step sedd_jax.sample --workdir="$out/steered" --tags_from="$out/tokens" --output="$out/new" \
    "${sampling[@]}"
  step tokenizer_bridge.decode --tokens="$out/new" --codec_dir="$out/codec" --output="$out/wavs"
}

stage_figures() {
  step tokenizer_bridge.evaluate_codec --codec=$codec --codec_dir="$out/codec" \
    --audio="$out/music/held_out" "${codec_measuring[@]}" --output="$out/codec_figures.json"
  step launch.measure_samples --tokens="$out/new" --workdir="$out/steered" \
    --output="$out/sample_figures.json"
  step tokenizer_bridge.report --audio="$out/wavs" --reference "scores=folder:$reference" \
    --codec=$codec --codec_dir="$out/codec" ${reporting[@]+"${reporting[@]}"} --output="$out/report"
  step tokenizer_bridge.measure_notes --audio="$out/wavs" --reference="$reference" \
    --codec=$codec --codec_dir="$out/codec" --tokens="$out/tokens" --generated_tokens="$out/new" \
    --notes="$out/corpus/notes.jsonl" ${notes[@]+"${notes[@]}"} --output="$out/notes.json"
}

stage_tags() {
  step launch.judge_tags --workdir="$out/steered" --tokens="$out/tokens" --codec_dir="$out/codec" \
    "${judging[@]}" --output="$out/tags"
}

stage_page() {
  step launch.page --workdir="$out/steered" --tokens="$out/new" --audio="$out/wavs" \
    --music="$out/corpus" --codec_dir="$out/codec" --output="$out/index.html"
}

# How stages are run.

printing='' # whether commands are printed instead of run
under_way='' began=0

# Runs a command of a stage, or prints it. In the background, since a signal would otherwise reach
# this script only when the command has ended by itself.
step() {
  if [ -n "$printing" ]; then
    quoted "$PY" -m "$@"
    return
  fi
  "$PY" -m "$@" &
  wait $!
}

# note STAGE WHAT SECONDS: a line of times.txt.
note() {
  printf '%s %-8s %-7s %6d s\n' "$(date '+%F %T')" "$1" "$2" "$3" >> "$out/times.txt"
}

stop() { # SIGNAL
  local child
  trap '' INT TERM
  for child in $(jobs -p); do # the command under way, even if it has only just been started
    pkill -TERM -P "$child" || true # commands that a command has started
    kill -TERM "$child" 2>/dev/null || true
    wait "$child" || true
  done
  exit $((128 + $1))
}

at_exit() {
  [ -z "$under_way" ] || {
    note "$under_way" stopped $((SECONDS - began))
    echo "stopped at $under_way; the same command goes on there" >&2
  }
}

minutes() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

all=(corpus codec tokens model steering bound export pieces figures tags page)
number=0 left=0 anew=''
for name in "${all[@]}"; do left=$((left + expected[$name])); done

# stage NAME OUTPUT WHAT: runs a stage, unless it and all before it were done with the same commands.
stage() {
  local name=$1 output=$out/$2 what=$3 commands
  number=$((number + 1))
  commands=$(printing=yes "stage_$name")
  left=$((left - expected[$name]))
  if [ -n "${flag[dry_run]}" ]; then
    printf '# %d/%d %s: %s\n%s\n' $number ${#all[@]} "$name" "$what" "$commands"
    return
  fi
  if [ -z "$anew" ] && [ -e "$output" ] && [ "$(cat "$out/done/$name" 2>/dev/null)" = "$commands" ]; then
    say "$number/${#all[@]} $name: done before"
    return
  fi
  anew=yes
  say "$number/${#all[@]} $name: $what (to expect: $(minutes "${expected[$name]}") min)"
  rm -f "$out/done/$name"
  under_way=$name began=$SECONDS
  note "$name" begun 0
  "stage_$name"
  under_way=''
  note "$name" "done" $((SECONDS - began))
  echo "$commands" > "$out/done/$name"
  say "$name took $(minutes $((SECONDS - began))) min; to expect of the rest: $(minutes $left) min"
}

trap 'stop 2' INT
trap 'stop 15' TERM
trap at_exit EXIT
stage corpus corpus/corpus.json "scores become music"
stage codec codec/model.safetensors "a codec learns to write music as tokens"
stage tokens tokens/dataset.json "all music becomes tokens"
stage model model/config.json "a model learns the tokens"
stage steering steered/config.json "the model learns to follow its tags"
stage bound steered "its bits per token on held-out pieces"
stage export demo/model.safetensors "its weights in a folder to share"
stage pieces wavs "new pieces, each with the tags of a real one"
stage figures notes.json "figures of the codec and of the new pieces"
stage tags tags/judged.json "what its tags are worth, by independent judges"
stage page index.html "a page of all this"
[ -z "${flag[dry_run]}" ] || exit 0
say "seconds of each stage, stopped ones included ($out/times.txt)"
awk '{ seconds[$3] += $5 } END { for (name in seconds) print seconds[name], name }' "$out/times.txt" |
  sort -rn
echo "listen: $(file_url "$out/index.html")"
