# shellcheck shell=bash
# A virtual environment with everything in requirements.txt; sourced by the other scripts.
# VENV names its folder (default: .venv beside the project); PYTHON the interpreter to build it with.

# shellcheck source=launch/usage.sh
source "$(dirname "${BASH_SOURCE[0]}")/usage.sh"
usage_if_asked "$0" "$@" # of the script that sources this, before anything is installed
project=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$(realpath -m -- "${VENV:-$project/.venv}") # scripts change directory

fail() {
  echo "error: $*" >&2
  exit 1
}

# Is PYTHON one that all pinned packages are made for?
is_supported() {
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null
}

find_python() {
  local candidate version
  if [ -n "${PYTHON:-}" ]; then
    version=$("$PYTHON" --version 2>/dev/null) || fail "PYTHON=$PYTHON: no such program, or none that runs"
    is_supported "$PYTHON" || fail "PYTHON=$PYTHON is $version: Python 3.11 to 3.14 is needed"
    echo "$PYTHON"
    return
  fi
  for candidate in python3.11 python3.12 python3.13 python3.14 python3 python; do
    if is_supported "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  fail "Python 3.11 to 3.14 is needed; name it with PYTHON=/path/to/python"
}

ensure_environment() {
  local wanted stamp python
  [ "$(uname -s)" = Linux ] || fail "these scripts are for Linux; on another system use docker"
  wanted=$(sha256sum < "$project/requirements.txt")
  stamp=$VENV/.requirements.sha256
  if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    python=$(find_python) || exit 1 # which has said why
    echo "installing requirements.txt into $VENV: about 6 GB on disk, some minutes without a word"
    "$python" -m venv "$VENV" || fail "could not make $VENV; on Debian: apt-get install python3-venv"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
      --requirement "$project/requirements.txt" || fail "pip could not install requirements.txt"
    echo "$wanted" > "$stamp"
  fi
  export PYTHONPATH=$project${PYTHONPATH:+:$PYTHONPATH}
}

# A second environment on top of the first, with the compilers for TPUs and GPUs (about 2 GB). Apart,
# since JAX tries every plugin that it finds and tells of those without hardware at length.
ensure_compilers() {
  local wanted stamp tool compilers=$VENV-compilers requirements=()
  requirements=("$project"/launch/requirements-{tpu,cuda}.txt)
  wanted=$(cat "$project/requirements.txt" "${requirements[@]}" | sha256sum)
  stamp=$compilers/.requirements.sha256
  if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    echo "installing launch/requirements-tpu.txt and -cuda.txt into $compilers (about 2 GB on disk)"
    "$VENV/bin/python" -m venv --clear "$compilers" || fail "could not make $compilers"
    "$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
      > "$(echo "$compilers"/lib/python3.*/site-packages)/base.pth"
    "$compilers/bin/python" -m pip install --quiet --disable-pip-version-check \
      "${requirements[@]/#/--requirement=}" || fail "pip could not install ${requirements[*]}"
    # The tools of the first (ruff, shellcheck) by name, too; the second's own stay.
    for tool in "$VENV"/bin/*; do
      [ -d "$tool" ] || [ -e "$compilers/bin/${tool##*/}" ] || ln -s "$tool" "$compilers/bin/"
    done
    echo "$wanted" > "$stamp"
  fi
  PY=$compilers/bin/python
}

ensure_environment
# shellcheck disable=SC2034  # used by the scripts that source this file
PY=$VENV/bin/python
