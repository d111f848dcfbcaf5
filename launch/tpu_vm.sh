#!/usr/bin/env bash
# Trains on a TPU VM, a pod slice or several slices, through gcloud.
#
#   bash launch/tpu_vm.sh --name=NAME --zone=ZONE --topology=v5e:4x4 --config=configs/music_small.py \
#       --tokens=/bucket/tokens --workdir=/bucket/runs/small --bucket=BUCKET --create [--dry_run] \
#       [-- --config.training.batch_size=256 …]
#
# Makes the TPU if wanted, copies the project to all workers, installs, starts
# `python -m sedd_jax.train --distributed …` on all of them and follows worker 0's log. Training goes
# on when this script or its connection ends; the same command finds it again. When the program was
# preempted, lost a process or crashed (exit codes 143, 75, and others from 128) it is started again,
# on a new TPU where the old one is gone; any other exit code but 0 is an error that a restart would
# only repeat, and ends the script.
#
# --name=NAME             of the TPU; those of several slices are NAME-0, NAME-1, …
# --zone=ZONE             e.g. us-west4-a
# --topology=v5e:4x4      TPU version and shape of a slice; launch/targets/tpu_topology.py lists them
# --num_slices=N          slices of that shape, 1 by default; several need --queued
# --config=FILE           in the project, e.g. configs/music_small.py
# --tokens=PATH           token dataset; a path that all workers see
# --workdir=PATH          directory of the run; a path that all workers see
# --bucket=BUCKET         mounted as /bucket on all workers
# --project=PROJECT       Google Cloud project, gcloud's default one if not given
# --version=RUNTIME       TPU software version; by default the topology's own
# --create                make the TPU when it is not there, and anew when it was preempted
# --queued                ask for it as a queued resource
# --spot                  ask for spot capacity
# --delete                delete the TPU when training is complete
# --max_restarts=N        100 by default
# --poll_s=S              seconds between two looks at a TPU or job that is not ready, 30 by default
# --dry_run               print the commands and run none
# -- FLAG…                arguments of sedd_jax.train
set -euo pipefail
# shellcheck source=launch/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

flag=([name]='' [zone]='' [topology]='' [num_slices]=1 [config]='' [tokens]='' [workdir]='' [bucket]=''
  [project]='' [version]='' [max_restarts]=100 [poll_s]=30)
parse_flags "create queued spot delete" "$@"

need name "the TPU's name"
need_match name '[a-z]([-a-z0-9]{0,40}[a-z0-9])?' "small letters, digits and dashes"
need zone "the TPU's zone, e.g. us-west4-a"
need_match zone '[a-z]+-[a-z]+[0-9]+-[a-z]' "a zone such as us-west4-a"
need topology "e.g. v5e:4x4"
need_count num_slices
need_count max_restarts
need_count poll_s
need_match bucket '([a-z0-9][-_.a-z0-9]+[a-z0-9])?' "a bucket's name, without gs://"
need_match project '([a-z][-a-z0-9:.]+)?' "a project's id"
need_match version '[-a-z0-9.]*' "a runtime version such as v2-alpha-tpuv6e"
need_config
need_absolute tokens "a token dataset, e.g. /bucket/tokens"
need_absolute workdir "the directory of the run, e.g. /bucket/runs/small"
[ "${flag[num_slices]}" = 1 ] || [ -n "${flag[queued]}" ] ||
  fail "--num_slices=${flag[num_slices]} needs --queued: slices are only made together as a queued resource"
pythons=(python3 python3.11 python)
[ -z "${PYTHON:-}" ] || pythons=("$PYTHON")
for python in "${pythons[@]}"; do
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2> /dev/null; then break; fi
  python=
done
[ -n "$python" ] || fail "Python 3.8 or newer is needed; name it with PYTHON=/path/to/python3"
line=$("$python" -I "$project/launch/targets/tpu_topology.py" "${flag[topology]}") || exit 1
read -r accelerator_type runtime chips hosts <<< "$line"
[ -n "${flag[dry_run]}" ] || command -v gcloud > /dev/null || fail "gcloud is not installed"

where=(--zone="${flag[zone]}")
[ -z "${flag[project]}" ] || where+=(--project="${flag[project]}")
nodes=("${flag[name]}")
if [ "${flag[num_slices]}" != 1 ]; then
  nodes=()
  for ((i = 0; i < flag[num_slices]; i++)); do nodes+=("${flag[name]}-$i"); done
fi
worker="bash sedd-music/launch/tpu_vm_worker.sh"
train=(bash launch/xla_flags.sh tpu .venv/bin/python -m sedd_jax.train --distributed
  --config="${flag[config]}" --tokens="${flag[tokens]}" --workdir="${flag[workdir]}"
  "${extra[@]}")
key=$(quoted "${train[@]}" | sha256 | cut -c1-12)

# A connection to a machine that has gone ends by these within a minute.
alive=(-oConnectTimeout=30 -oServerAliveInterval=15 -oServerAliveCountMax=4)

# on NODE WORKER COMMAND: in that worker's shell ("all" for all of a slice).
on() {
  run gcloud compute tpus tpu-vm ssh "$1" "${where[@]}" --worker="$2" --command="$3" \
    "${alive[@]/#/--ssh-flag=}"
}

on_all() {
  local node
  for node in "${nodes[@]}"; do on "$node" all "$1" || return; done
}

# ask COMMAND…: the state that gcloud answers, MISSING where there is no such thing, or what it says in
# error, which is no word in capitals.
ask() {
  local said value
  if said=$(gcloud compute tpus "$@" "${where[@]}" 2>&1); then
    value=$(grep -xE '[A-Z_]+' <<< "$said" | tail -n 1) || true # among warnings
    echo "${value:-no state}"
  elif [[ $said == *NOT_FOUND* ]]; then
    echo MISSING
  else
    grep -m 1 '^ERROR: ' <<< "$said" || echo "no answer: ${said##*$'\n'}"
  fi
}

# The state of the TPU; of several slices the first one's that is not READY.
state() {
  local node found
  for node in "${nodes[@]}"; do
    found=$(ask tpu-vm describe "$node" --format='value(state)')
    if [ "$found" != READY ]; then break; fi
  done
  echo "$found"
}

# The state of the queued resource; MISSING when there is none, or none was wanted.
queue_state() {
  if [ -n "${flag[queued]}" ]; then
    ask queued-resources describe "${flag[name]}" --format='value(state.state)'
  else
    echo MISSING
  fi
}

create() {
  local options=()
  [ -z "${flag[spot]}" ] || options=(--spot)
  say "making ${flag[num_slices]} × $accelerator_type: $chips chips on $hosts hosts each"
  if [ -z "${flag[queued]}" ]; then
    run gcloud compute tpus tpu-vm create "${flag[name]}" "${where[@]}" \
      --accelerator-type="$accelerator_type" --version="${flag[version]:-$runtime}" "${options[@]}"
    return
  fi
  if [ "${flag[num_slices]}" = 1 ]; then
    options+=(--node-id="${flag[name]}")
  else
    options+=(--node-count="${flag[num_slices]}" --node-prefix="${flag[name]}")
  fi
  run gcloud compute tpus queued-resources create "${flag[name]}" "${where[@]}" \
    --accelerator-type="$accelerator_type" --runtime-version="${flag[version]:-$runtime}" \
    "${options[@]}"
}

delete() {
  if [ -n "${flag[queued]}" ]; then
    run gcloud compute tpus queued-resources delete "${flag[name]}" "${where[@]}" --force --quiet
  else
    run gcloud compute tpus tpu-vm delete "${flag[name]}" "${where[@]}" --quiet
  fi
}

# Returns when all nodes are READY, making the TPU where it is missing and --create was given. What
# gcloud could not do is tried again, 20 times in a row at most: capacity may take days to come.
ensure_tpu() {
  local found queue failures=0 before made=
  while found=$(state) && [ "$found" != READY ]; do
    before=$failures
    case $found in
      MISSING)
        queue=$(queue_state)
        case $queue in
          MISSING)
            [ -n "${flag[create]}" ] || fail "there is no TPU ${flag[name]}; --create makes it"
            # A first TPU that cannot be had is an error; after a preemption, capacity comes back.
            create || [ -n "$had_tpu" ] || fail "the TPU could not be made"
            made=yes
            ;;
          FAILED | SUSPENDED)
            [ -n "${flag[create]}" ] || fail "the queued resource is $queue; --create makes it anew"
            # One that was only just asked for would fail again and again.
            [ "$queue,$made,$had_tpu" != FAILED,yes, ] || fail "the queued resource ${flag[name]} has FAILED"
            delete || failures=$((failures + 1))
            ;;
          *[!A-Z_]*)
            failures=$((failures + 1))
            found=$queue
            say "gcloud: $found"
            ;;
          *) say "queued: $queue" ;;
        esac
        ;;
      PREEMPTED | TERMINATED | STOPPED)
        [ -n "${flag[create]}" ] || fail "TPU ${flag[name]} is $found; --create makes it anew"
        if delete; then continue; fi
        failures=$((failures + 1))
        ;;
      *[!A-Z_]*)
        failures=$((failures + 1))
        say "gcloud: $found"
        ;;
      *) say "TPU ${flag[name]} is $found" ;;
    esac
    [ $failures -gt $before ] || failures=0
    [ $failures -le 20 ] || fail "gcloud failed 20 times; TPU ${flag[name]}: $found"
    sleep "${flag[poll_s]}"
  done
  had_tpu=yes
}

# Copies the project to all workers, installs and starts the program; false when that failed.
start() {
  local archive=$scratch/sedd-music.tgz code=(sedd_jax tokenizer_bridge configs launch) node
  mkdir -p "$scratch" # temporary folders are tidied up after days
  # By name: data sets and runs may lie beside the code.
  run tar -czf "$archive" -C "$project" --exclude=tokenizer_bridge/assets --exclude=__pycache__ \
    README.md LICENSE pyproject.toml requirements.txt "${code[@]}" || return
  for node in "${nodes[@]}"; do
    run gcloud compute tpus tpu-vm scp "$archive" "$node:sedd-music.tgz" "${where[@]}" --worker=all \
      "${alive[@]/#/--scp-flag=}" || return
  done
  # Not over the code of an earlier start: a file that is no more may hide another.
  on_all "mkdir -p sedd-music && cd sedd-music && rm -rf ${code[*]} && tar -xzf ../sedd-music.tgz" &&
    on_all "$worker setup ${flag[bucket]}" &&
    on_all "$worker start $key $(quoted "${train[@]}")"
}

# What all workers say of the program: running, idle, busy, an exit code, ending (some have ended), or
# lost (some cannot be asked).
job_status() {
  local answers answer code
  answers=$(on_all "$worker status $key 2> /dev/null || echo status=idle") || answers=
  answers=$(sed -n 's/.*status=\([a-z0-9]*\).*/\1/p' <<< "$answers")
  if [ "$(wc -w <<< "$answers")" != $((hosts * flag[num_slices])) ]; then
    echo lost
  elif grep -qx busy <<< "$answers"; then
    echo busy
  elif grep -qx running <<< "$answers"; then
    if grep -qvx running <<< "$answers"; then echo ending; else echo running; fi
  elif grep -qx idle <<< "$answers"; then
    echo idle
  else
    code=$(sort -n <<< "$answers" | tail -1)
    for answer in $answers; do # one that was stopped takes the others with it
      if goes_on "$answer"; then code=$answer; fi
    done
    echo "$code"
  fi
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

if [ -n "${flag[dry_run]}" ]; then
  if [ -n "${flag[create]}" ]; then
    create
    say "every ${flag[poll_s]} s until READY:"
    for node in "${nodes[@]}"; do
      run gcloud compute tpus tpu-vm describe "$node" "${where[@]}" --format='value(state)'
    done
  fi
  start
  on "${nodes[0]}" 0 "$worker follow 20"
  on_all "$worker status $key 2> /dev/null || echo status=idle"
  say "exit code 75 or from 128 on, or a TPU that is gone: all of this again"
  if [ -n "${flag[delete]}" ]; then delete; fi
  exit 0
fi

had_tpu=
started=   # only then does an exit code tell of this attempt
restarts=0
lost=0
ending=0
unstarted=0
attempts=3 # to start the program; more when it has run: then it will again
while true; do
  ensure_tpu
  status=$(job_status)
  [[ -n $started || ! $status =~ ^[0-9]+$ ]] || status=idle
  say "program: $status"
  [ "$status" = lost ] || lost=0
  [ "$status" = ending ] || ending=0
  case $status in
    running)
      started=yes
      attempts=20
      on "${nodes[0]}" 0 "$worker follow 20" || say "the connection was lost"
      sleep 2 # the others end within a moment of worker 0
      ;;
    ending)
      ending=$((ending + 1))
      [ $ending -le 30 ] || fail "the program on ${flag[name]} cannot be stopped"
      [ $ending -le 20 ] || on_all "$worker stop" || say "not all could be stopped"
      sleep "${flag[poll_s]}"
      ;;
    lost)
      lost=$((lost + 1))
      [ $lost -le 20 ] || fail "the workers of ${flag[name]} cannot be reached"
      sleep "${flag[poll_s]}"
      ;;
    busy) fail "another program runs on ${flag[name]}; to end it: $(flag[dry_run]=yes on "${nodes[0]}" all "$worker stop")" ;;
    0)
      say "training is complete"
      if [ -z "${flag[delete]}" ]; then
        say "the TPU is still there, and paid for"
        exit 0
      fi
      for ((i = 0; i < 20; i++)); do
        if delete || [ "$(state) $(queue_state)" = "MISSING MISSING" ]; then exit 0; fi
        sleep "${flag[poll_s]}"
      done
      fail "the TPU ${flag[name]} could not be deleted: it may still be there, and paid for"
      ;;
    *)
      if [ "$status" != idle ] && ! goes_on "$status"; then
        on "${nodes[0]}" 0 "tail -n 20 sedd-music/run/log" >&2 || true
        # No mistake where the machine was being taken away.
        sleep "${flag[poll_s]}"
        [ "$(state)" = READY ] || continue
        fail "training ended with exit code $status; the TPU ${flag[name]} is still there, and paid for"
      fi
      if [ -n "$started" ]; then
        restarts=$((restarts + 1))
        [ $restarts -le "${flag[max_restarts]}" ] || fail "gave up after ${flag[max_restarts]} restarts"
      fi
      # A machine that is taken away tells the program before its own state changes.
      if start; then
        started=yes
        attempts=20
        unstarted=0
      else
        started=
        unstarted=$((unstarted + 1))
        [ $unstarted -le $attempts ] || fail "the program could not be started on ${flag[name]}"
        say "the program could not be started"
        sleep "${flag[poll_s]}"
      fi
      ;;
  esac
done
