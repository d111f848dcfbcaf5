#!/usr/bin/env bash
# The commands of launch/tpu_vm.sh on each worker of a TPU slice, below the synced project:
#
#   setup [BUCKET]        Python 3.11, the packages, and the bucket mounted as /bucket
#   start KEY COMMAND…    starts COMMAND, detached from the ssh session, unless it runs already
#   status KEY            status=idle, running, the exit code, or busy: with a COMMAND of another KEY
#   follow LINES          the log from its last LINES lines on, until COMMAND ends
#   stop                  kills what is left of COMMAND
set -euo pipefail
# shellcheck source=launch/usage.sh
source "$(dirname "${BASH_SOURCE[0]}")/usage.sh"
usage_if_asked "${BASH_SOURCE[0]}" "${1:-}"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
state=run # key, boot (the machine's), pid, exit and log of COMMAND
bucket_directory=/bucket

# A machine that was restarted gives the pid to another program.
is_running() {
  if [ ! -s $state/pid ] || [ -s $state/exit ]; then return 1; fi
  if [ -s $state/boot ] && [ "$(cat $state/boot)" != "$(this_boot)" ]; then return 1; fi
  kill -0 "$(cat $state/pid)" 2>/dev/null
}

this_boot() {
  cat /proc/sys/kernel/random/boot_id 2>/dev/null || true
}

mount_bucket() {
  if ! command -v gcsfuse >/dev/null; then
    local key=/usr/share/keyrings/cloud.google.asc i
    curl -fsS --max-time 60 https://packages.cloud.google.com/apt/doc/apt-key.gpg | sudo tee $key >/dev/null
    echo "deb [signed-by=$key] https://packages.cloud.google.com/apt gcsfuse-$(lsb_release -cs) main" |
      sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
    # A new machine installs updates of its own at first, and holds apt's locks meanwhile.
    for ((i = 0; i < 30; i++)); do
      if sudo apt-get update -qq && sudo apt-get install -qq -y gcsfuse; then break; fi
      sleep 10
    done
  fi
  if ! mountpoint -q $bucket_directory || [ "$(cat .bucket 2>/dev/null)" != "$1" ]; then
    # What a gcsfuse that has died left there, or another bucket of an earlier start.
    sudo umount --lazy $bucket_directory 2>/dev/null || true
    sudo mkdir -p $bucket_directory
    sudo chown "$(id -u)" $bucket_directory
    # Checkpoints are finished by renaming a directory.
    gcsfuse --implicit-dirs --rename-dir-limit=100000 "$1" $bucket_directory
    echo "$1" > .bucket
  fi
}

case ${1:-} in
  setup)
    python3 -m pip install --quiet --user uv==0.13.9
    export PATH=$HOME/.local/bin:$PATH
    [ -x .venv/bin/python ] || uv venv --quiet --python 3.11 .venv
    # Nothing that trains imports PyTorch, and its CUDA libraries are 5 GB.
    grep -vE '^torch(audio)?==' requirements.txt > .requirements.txt
    uv pip install --quiet --python .venv/bin/python \
      --requirement .requirements.txt --requirement launch/requirements-tpu.txt
    if [ -n "${2:-}" ]; then mount_bucket "$2"; fi
    ;;
  start)
    if is_running; then exit 0; fi
    mkdir -p $state
    rm -f $state/exit $state/pid
    echo "$2" > $state/key
    this_boot > $state/boot
    shift 2
    # shellcheck disable=SC2016  # expanded by the inner shell, which gets the command as arguments
    setsid nohup bash -c 'echo $$ > "$0/pid"; "$@" >> "$0/log" 2>&1 && code=0 || code=$?
      echo $code > "$0/exit"' $state "$@" < /dev/null > /dev/null 2>&1 &
    until [ -s $state/pid ]; do sleep 0.1; done
    ;;
  status)
    if [ "$(cat $state/key 2>/dev/null)" != "$2" ]; then
      if is_running; then echo status=busy; else echo status=idle; fi
    elif is_running; then
      echo status=running
    elif [ -s $state/exit ]; then
      echo "status=$(cat $state/exit)"
    elif [ -s $state/pid ]; then
      echo status=137 # ended without having written its exit code: the machine was restarted
    else
      echo status=idle
    fi
    ;;
  follow)
    if is_running; then tail -n "$2" --pid "$(cat $state/pid)" -F $state/log; fi
    ;;
  stop)
    if is_running; then kill -KILL -- "-$(cat $state/pid)"; fi
    ;;
  *)
    echo "error: tpu_vm_worker.sh: setup, start, status, follow or stop, not '${1:-}'" >&2
    exit 1
    ;;
esac
