#!/usr/bin/env bash
# Encodes a large collection of audio files as a SLURM array.
#
#   bash launch/slurm_encode.sh --num_shards=64 --audio=/shared/audio --output=/shared/tokens \
#       --codec=demo --time=04:00:00 [--dry_run] [-- FLAG…]
#
# Task i runs `python -m tokenizer_bridge.encode --shard=i/64`; the last to finish writes
# dataset.json. A task that runs out of time, is preempted or crashes goes back into the queue and on
# where it stopped; the same command, once more, makes up for shards that failed.
#
# --num_shards=N          into how many parts the work is cut
# --parallel=N            tasks at a time; all by default
# --audio=PATH            folder of audio files, on a disk that all nodes share
# --output=PATH           directory of the token dataset, on a disk that all nodes share
# --codec=NAME            demo, or a published codec
# --gpu                   give each task one GPU
# --job_name= --partition= --account= --time= --mem= --cpus_per_task=   as sbatch's
# --max_restarts=N        of a task, 100 by default
# --python=PATH           the environment's, .venv/bin/python by default
# --dry_run               print the command and what a task runs, and run nothing
# -- FLAG…                flags for tokenizer_bridge.encode
set -euo pipefail
if [ "${1:-}" = job ]; then
  here=launch # sbatch runs a copy of this file, with the project as its directory
  shift
  in_job=yes
else
  here=$(dirname "${BASH_SOURCE[0]}")
  in_job=''
fi
# shellcheck source=launch/slurm_lib.sh
source "$here/slurm_lib.sh"

flag+=([num_shards]='' [parallel]='' [audio]='' [output]='' [codec]='')
flag[job_name]=encode
parse_flags "gpu" "$@"
expand_homes audio output python

need num_shards "into how many parts the work is cut"
need_count num_shards
[ -n "${flag[parallel]}" ] || flag[parallel]=${flag[num_shards]}
need_count parallel
need_absolute audio "a folder of audio files"
need_path output "the directory of the token dataset"
need codec "demo, or a published codec"
for word in "${extra[@]}"; do
  [[ $word != --shard* ]] || fail "$word: the array's own; --num_shards says how many"
done
common_options
logs=${flag[output]}-logs
options+=(--array="0-$((flag[num_shards] - 1))%${flag[parallel]}" --ntasks=1 --signal=B:TERM@30
  --output="$logs/shard-%a.log")
device=cpu
if [ -n "${flag[gpu]}" ]; then
  options+=(--gpus=1)
  device=cuda
fi
shard=${SLURM_ARRAY_TASK_ID:-i}/${flag[num_shards]}
# srun does not take over sbatch's number of CPUs (from SLURM 22.05 on).
encode=(srun ${flag[cpus_per_task]:+--cpus-per-task="${flag[cpus_per_task]}"}
  env OMP_NUM_THREADS="${flag[cpus_per_task]:-1}" "${flag[python]}" -m tokenizer_bridge.encode
  --audio="${flag[audio]}" --output="${flag[output]}" --codec="${flag[codec]}" --device="$device"
  "${extra[@]}" --shard="$shard")

if [ -n "$in_job" ]; then
  run_in_job "${encode[@]}"
fi
run mkdir -p "$logs"
submit slurm_encode.sh "${arguments[@]}"
if [ -n "${flag[dry_run]}" ]; then
  say "in task i:"
  run "${encode[@]}"
fi
