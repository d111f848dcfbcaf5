# shellcheck shell=bash
# Sourced by the SLURM launchers, in the place of lib.sh. Each of them is two programs in one: as the user calls
# it, it submits itself with sbatch; called as `SCRIPT job FLAGS…` in the job, it does the work.

# shellcheck source=launch/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

declare -a options=() # sbatch's

# Flags that all SLURM launchers have, and their checks.
flag+=([job_name]='' [partition]='' [account]='' [time]='' [mem]='' [cpus_per_task]=''
  [max_restarts]=100 [python]="$project/.venv/bin/python")

# expand_homes NAME…: ~ in these flags is the user's home, which the nodes are taken to share.
expand_homes() {
  local name
  for name in "$@"; do flag[$name]=$(from_home "${flag[$name]}"); done
}

# need_path NAME WHAT: absolute, and with nothing in it that SLURM would replace in a file name.
need_path() {
  need_absolute "$1" "$2"
  [[ ${flag[$1]} != *[%\\[:cntrl:]]* ]] ||
    fail "--$1=${flag[$1]}: SLURM would not take %, \\ and control characters in it literally"
}

# Fills `options` from the common flags.
common_options() {
  local name
  need_match job_name '[-_.A-Za-z0-9]+' "letters, digits, dashes, dots"
  need_match partition '[-_.,A-Za-z0-9]*' "a partition's name"
  need_match account '[-_.A-Za-z0-9]*' "an account's name"
  need_match time '([0-9]+-)?[0-9:]*' "SLURM's notation, as in 24:00:00 or 2-00:00:00"
  need_match mem '([0-9]+[KMGT]?)?' "SLURM's notation, as in 64G"
  need_match cpus_per_task '([1-9][0-9]*)?' "a whole number"
  need_count max_restarts
  options=(--job-name="${flag[job_name]}" --chdir="$project" --requeue --open-mode=append)
  for name in partition account time mem; do
    [ -z "${flag[$name]}" ] || options+=(--"$name=${flag[$name]}")
  done
  [ -z "${flag[cpus_per_task]}" ] || options+=(--cpus-per-task="${flag[cpus_per_task]}")
}

# submit SCRIPT ARGUMENT…: sbatch of SCRIPT as a job; the arguments are the user's own.
submit() {
  if [ -z "${flag[dry_run]}" ]; then
    command -v sbatch > /dev/null || fail "sbatch is not installed"
    [ -x "${flag[python]}" ] || fail "--python=${flag[python]}: no such program; bash launch/test.sh makes it"
  fi
  run sbatch "${options[@]}" "$project/launch/$1" job "${@:2}"
}

# This job as SLURM's commands take it: an array's task is not to be mistaken for the array.
job_id() {
  local task=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
  echo "${task:-$SLURM_JOB_ID}"
}

# insist COMMAND…: runs it again while it fails, 60 times in ten minutes or more: SLURM's controller may
# be away for a while. False when it has failed to the end.
insist() {
  local i
  for ((i = 0; i < 60; i++)); do
    if "$@"; then return; fi
    sleep 10
  done
  return 1
}

# run_in_job COMMAND…: runs it with srun, passes SIGTERM on to it, and ends the job as end_job does.
run_in_job() {
  local code signalled='' pid='' job
  job=$(job_id)
  # To the processes and not to srun, which would kill them.
  trap 'signalled=yes
    until scancel --quiet --signal=TERM "$job" || ! kill -0 "$pid" 2> /dev/null; do sleep 2; done' TERM
  "$@" &
  pid=$!
  while true; do
    code=0
    wait "$pid" || code=$?
    if [ -z "$signalled" ]; then break; fi
    signalled='' # that was the trap, and COMMAND is still saving
  done
  end_job $code
}

# end_job CODE: ends the job with a program's exit code, or puts the job back into the queue after a
# preemption or a crash.
end_job() {
  local code=$1 job state
  goes_on "$code" || exit "$code"
  trap '' TERM # the warning before the time limit may come now
  job=$(job_id)
  state=$(insist squeue --noheader --jobs="$job" --format=%T) || fail "exit code $code; SLURM does not answer"
  # Not one that the user has cancelled, nor one that SLURM itself is putting back. Before a preemption
  # a running job is signalled.
  [[ $state =~ ^(RUNNING|SIGNALING)$ ]] || exit "$code"
  [ "${SLURM_RESTART_COUNT:-0}" -lt "${flag[max_restarts]}" ] ||
    fail "exit code $code; gave up after ${flag[max_restarts]} restarts"
  echo "exit code $code: back into the queue"
  insist scontrol requeue "$job" || fail "exit code $code; SLURM did not put the job back"
  trap - TERM
  sleep 60 # until SLURM ends the script
  exit "$code"
}
