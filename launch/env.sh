# shellcheck shell=bash
# A virtual environment with everything in requirements.txt; sourced by the other scripts.
# VENV names its folder (default: .venv beside the project); PYTHON the interpreter to build it with.

project=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$(realpath -m -- "${VENV:-$project/.venv}") # scripts change directory

fail() {
  echo "error: $*" >&2
  exit 1
}

find_python() {
  local candidate candidates=(python3.11 python3 python)
  [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
  for candidate in "${candidates[@]}"; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  fail "Python 3.11 is needed; name it with PYTHON=/path/to/python3.11"
}

ensure_environment() {
  local wanted stamp python
  [ "$(uname -s)" = Linux ] || fail "these scripts are for Linux; on another system use docker"
  wanted=$(sha256sum < "$project/requirements.txt")
  stamp=$VENV/.requirements.sha256
  if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    python=$(find_python)
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
      > "$compilers/lib/python3.11/site-packages/base.pth"
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
