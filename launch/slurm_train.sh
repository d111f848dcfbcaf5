#!/usr/bin/env bash
# Trains on several nodes with several GPUs each, under SLURM.
#
#   bash launch/slurm_train.sh --nodes=2 --gpus_per_node=8 --config=configs/music_medium.py \
#       --tokens=/shared/tokens --workdir=/shared/runs/medium --time=24:00:00 [--dry_run] [-- FLAG…]
#
# Submits itself with sbatch; in the job, srun starts one process a GPU (or --processes_per_node),
# which find each other through SLURM's environment. Before the time limit, and when the job is
# preempted, the program gets SIGTERM, saves and exits with 143; the job then goes back into the queue
# and on from there, as after a lost process (75) or a crash (from 128 on). Other exit codes end it.
#
# --nodes=N               1 by default
# --gpus_per_node=N       8 by default; 0 trains on CPUs
# --processes_per_node=N  as many as GPUs by default; 1 gives one process all GPUs of its node
# --config=FILE           in the project, e.g. configs/music_small.py
# --tokens=PATH           token dataset, on a disk that all nodes share
# --workdir=PATH          directory of the run, on a disk that all nodes share; logs go to its logs/
# --save_s=S              SIGTERM comes S seconds before the time limit, 120 by default
# --job_name=NAME         by default that of the workdir
# --partition= --account= --time= --mem= --cpus_per_task=   as sbatch's; others: SBATCH_… variables
# --max_restarts=N        100 by default
# --python=PATH           the environment's, .venv/bin/python by default
# --dry_run               print the command and the job's srun, and run nothing
# -- FLAG…                arguments of sedd_jax.train
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

flag+=([nodes]=1 [gpus_per_node]=8 [processes_per_node]='' [config]='' [tokens]='' [workdir]=''
  [save_s]=120)
parse_flags "" "$@"
expand_homes tokens workdir python

need_count nodes
need_count save_s
need_match gpus_per_node '[0-9]{1,2}' "a number of GPUs"
gpus=${flag[gpus_per_node]}
processes=${flag[processes_per_node]:-$((gpus > 0 ? gpus : 1))}
flag[processes_per_node]=$processes
need_count processes_per_node
[ "$gpus" = 0 ] || [ "$processes" = "$gpus" ] || [ "$processes" = 1 ] ||
  fail "--processes_per_node=$processes: with $gpus GPUs a node it must be $gpus or 1"
need_config
need_path tokens "a token dataset"
need_path workdir "the directory of the run"
[ -n "${flag[job_name]}" ] || flag[job_name]=$(basename "${flag[workdir]}" | tr -c 'A-Za-z0-9_.\n-' _)
common_options
logs=${flag[workdir]}/logs
options+=(--nodes="${flag[nodes]}" --ntasks-per-node="$processes" --signal="B:TERM@${flag[save_s]}"
  --output="$logs/slurm-%j.log")
[ "$gpus" = 0 ] || options+=(--gpus-per-node="$gpus")

platform=gpu
# Every process must see all GPUs of its node: it takes its own by its local rank.
steps=(srun --gpu-bind=none)
if [ "$gpus" = 0 ]; then
  platform=cpu
  steps=(srun)
elif [ "$processes" = 1 ]; then
  steps=(env JAX_LOCAL_DEVICE_IDS="$(seq -s, 0 $((gpus - 1)))" "${steps[@]}")
fi
[ -z "${flag[cpus_per_task]}" ] || steps+=(--cpus-per-task="${flag[cpus_per_task]}")
# A lost process ends the others by itself; --wait is the net below that.
steps+=(--kill-on-bad-exit=0 --wait=300 --output="$logs/rank-%t.log" --open-mode=append)
train=(bash launch/xla_flags.sh "$platform" "${flag[python]}" -m sedd_jax.train --distributed
  --config="${flag[config]}" --tokens="${flag[tokens]}" --workdir="${flag[workdir]}"
  "${extra[@]}")

if [ -n "$in_job" ]; then
  run_in_job "${steps[@]}" "${train[@]}"
fi
run mkdir -p "$logs"
submit slurm_train.sh "${arguments[@]}"
if [ -n "${flag[dry_run]}" ]; then
  say "in the job:"
  run "${steps[@]}" "${train[@]}"
fi
