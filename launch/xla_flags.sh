#!/usr/bin/env bash
# XLA's and NCCL's settings for a platform, in place before JAX is imported.
#
#   bash launch/xla_flags.sh tpu|gpu|cpu COMMAND [ARGUMENT]...   runs COMMAND under them
#   bash launch/xla_flags.sh tpu|gpu|cpu                          prints them
#
# All launchers start Python through this file. What the caller's environment holds already comes
# last and so wins: XLA_FLAGS=--xla_gpu_enable_pipelined_all_gather=false bash launch/… .
# launch/README.md says what each setting does and where that is written.
set -euo pipefail
# shellcheck source=launch/usage.sh
source "$(dirname "${BASH_SOURCE[0]}")/usage.sh"
usage_if_asked "${BASH_SOURCE[0]}" "${1:-}"

declare -a xla=() libtpu=() env=()
case ${1:-} in
  tpu)
    libtpu=(
      --xla_tpu_enable_latency_hiding_scheduler=true
      --xla_enable_async_all_gather=true
      --xla_tpu_overlap_compute_collective_tc=true
      --xla_tpu_enable_data_parallel_all_reduce_opt=true
      --xla_tpu_data_parallel_opt_different_sized_ops=true
    )
    ;;
  gpu)
    xla=(
      --xla_gpu_enable_latency_hiding_scheduler=true
      --xla_gpu_enable_pipelined_all_gather=true
      --xla_gpu_enable_pipelined_all_reduce=true
      --xla_gpu_enable_while_loop_double_buffering=true
      --xla_gpu_all_gather_combine_threshold_bytes=134217728
      --xla_gpu_reduce_scatter_combine_threshold_bytes=134217728
      --xla_gpu_all_reduce_combine_threshold_bytes=134217728
    )
    env=(
      XLA_PYTHON_CLIENT_MEM_FRACTION=0.9
      NCCL_DEBUG=WARN
    )
    ;;
  cpu) ;;
  *)
    echo "error: xla_flags.sh: the first argument must be tpu, gpu or cpu, not '${1:-}'" >&2
    exit 1
    ;;
esac
shift

if [ ${#xla[@]} -gt 0 ]; then
  export XLA_FLAGS="${xla[*]}${XLA_FLAGS:+ $XLA_FLAGS}"
fi
if [ ${#libtpu[@]} -gt 0 ]; then
  export LIBTPU_INIT_ARGS="${libtpu[*]}${LIBTPU_INIT_ARGS:+ $LIBTPU_INIT_ARGS}"
fi
for setting in "${env[@]}"; do
  name=${setting%%=*}
  [ -n "${!name:-}" ] || export "${setting?}"
done

if [ $# -gt 0 ]; then
  exec "$@" # no shell in between: signals and the exit code are the command's own
fi
for name in XLA_FLAGS LIBTPU_INIT_ARGS "${env[@]%%=*}"; do
  [ -z "${!name:-}" ] || printf '%s=%q\n' "$name" "${!name}"
done
