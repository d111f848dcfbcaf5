# shellcheck shell=bash
# Makes the virtual environment of the project:  [EXTRAS=cuda] bash launch/env.sh
#
# The other scripts do so by themselves. It gets what is in requirements.txt, JAX and PyTorch among it,
# and the command sedd-music: some 6 GB on disk. Once made, it is left alone until a pin changes.
#
#   EXTRAS=cuda,dev   more, with commas between: cuda (JAX on NVIDIA GPUs), tpu (JAX on TPUs), demo (the
#                     scores of render_scores), app (the page of launch/app.py), wandb and dev (what
#                     launch/test.sh runs)
#   TORCH=cpu         PyTorch without CUDA, from its own index (download.pytorch.org): 4 GB less on disk,
#                     where the environment is made anew on Linux; macOS has no other
#   VENV=DIR          the environment's folder (default: .venv beside the project)
#   PYTHON=PROGRAM    the Python that it is made with, 3.11 to 3.14

# shellcheck source=launch/usage.sh
source "$(dirname "${BASH_SOURCE[0]}")/usage.sh"
usage_if_asked "$0" "$@" # of the script that sources this, before anything is installed
# shellcheck source=launch/portable.sh
source "$(dirname "${BASH_SOURCE[0]}")/portable.sh"
project=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$(absolute "${VENV:-$project/.venv}") # scripts change directory

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

# install PYTHON ARGUMENT…: pip install, which shows the large packages as they come.
install() {
  local python=$1 line
  shift
  "$python" -m pip install --disable-pip-version-check --progress-bar=off "$@" |
    while IFS= read -r line; do
      case $line in
        *Downloading*' MB)'* | *'Using cached'*' MB)'*) echo "  ${line#"${line%%[! ]*}"}" ;;
        'Installing collected packages:'*)
          line=${line//[!,]/}
          echo "  unpacking $((${#line} + 1)) packages"
          ;;
      esac
    done
  return "${PIPESTATUS[0]}"
}

say_what_is_made() {
  echo "installing $* into $VENV"
  [ ! -e "$VENV/.requirements.sha256" ] || return 0
  echo "  the Python packages of both sides, JAX and PyTorch among them: some minutes"
  if [ "$(uname -s)" = Linux ] && [ "${TORCH:-}" != cpu ]; then
    echo "  6 GB on disk, 4 of them PyTorch's libraries for NVIDIA GPUs; without those: TORCH=cpu bash $0"
  fi
}

install_torch_for_cpus() {
  local wanted
  wanted=$(grep -E '^torch(audio)?==' "$project/requirements.txt")
  # shellcheck disable=SC2086  # two words
  install "$VENV/bin/python" --index-url=https://download.pytorch.org/whl/cpu $wanted ||
    fail "pip could not install PyTorch from download.pytorch.org"
}

# take_turn PYTHON: waits until no other script installs here. It and pip hold the lock as long as
# they live, or until let_go.
take_turn() {
  mkdir -p "$VENV" 2>/dev/null || fail "could not make $VENV"
  exec 9> "$VENV/.lock" || fail "could not write to $VENV"
  VENV=$VENV "$1" -c '
import fcntl, os, signal
signal.signal(signal.SIGINT, signal.SIG_DFL)
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("waiting for another script, which installs into", os.environ["VENV"], flush=True)
    fcntl.flock(9, fcntl.LOCK_EX)
except OSError:
    pass  # a disk that knows no locks
' || exit
}

let_go() {
  exec 9>&-
}

# is_made FILE…: is what these files pin in the environment?
is_made() {
  local file
  for file in "$@"; do
    [ "$(cat "$(stamp_of "$file")" 2>/dev/null)" = "$(sha256 < "$project/$file")" ] || return 1
  done
}

make_environment() {
  local python=$1 file
  shift
  say_what_is_made "$@"
  # What pip is interrupted in is neither what was there before nor what is wanted.
  for file in "$@"; do rm -f "$(stamp_of "$file")"; done
  "$python" -m venv "$VENV" || fail "could not make $VENV; on Debian: apt-get install python3-venv"
  if [ "${TORCH:-}" = cpu ] && [ "$(uname -s)" = Linux ]; then install_torch_for_cpus; fi
  install "$VENV/bin/python" "${@/#/--requirement=$project/}" || fail "pip could not install $*"
  install "$VENV/bin/python" --quiet --no-deps --editable "$project" ||
    fail "pip could not install the command sedd-music"
  for file in "$@"; do sha256 < "$project/$file" > "$(stamp_of "$file")"; done
}

ensure_environment() {
  local name names=() file files=() python
  case $(uname -s) in
    Linux | Darwin) ;;
    *) fail "these scripts are for Linux and macOS; on another system use docker" ;;
  esac
  case ${TORCH:-} in '' | cpu) ;; *) fail "TORCH=$TORCH: must be cpu" ;; esac
  IFS=, read -r -a names <<< "${EXTRAS:-}"
  for name in '' ${names[@]+"${names[@]}"}; do
    case $name in
      '') file=requirements.txt ;;
      cuda | tpu | demo | app | dev | wandb) file=launch/requirements-$name.txt ;;
      *) fail "EXTRAS=$EXTRAS: there is no $name; there are cuda, tpu, demo, app, dev and wandb" ;;
    esac
    files+=("$file")
  done
  if ! is_made "${files[@]}"; then
    python=$(find_python) || exit 1 # which has said why
    take_turn "$python"
    is_made "${files[@]}" || make_environment "$python" "${files[@]}"
    let_go
  fi
  if command -v nvidia-smi >/dev/null && [ ! -e "$(stamp_of launch/requirements-cuda.txt)" ]; then
    echo "this machine has an NVIDIA card: EXTRAS=cuda bash launch/env.sh lets JAX use it" >&2
  fi
  export PYTHONPATH=$project${PYTHONPATH:+:$PYTHONPATH}
}

# stamp_of FILE: where the environment keeps the hash of the pins that it was made from.
stamp_of() {
  local name=${1##*/}
  echo "$VENV/.${name%.txt}.sha256"
}

# A second environment on top of the first, with the compilers for TPUs and GPUs (about 2 GB). Apart,
# since JAX tries every plugin that it finds and tells of those without hardware at length.
ensure_compilers() {
  local wanted stamp compilers=$VENV-compilers requirements=()
  requirements=("$project"/launch/requirements-{tpu,cuda}.txt)
  wanted=$(cat "$project"/{requirements,launch/requirements-dev}.txt "${requirements[@]}" | sha256)
  stamp=$compilers/.requirements.sha256
  if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    take_turn "$VENV/bin/python"
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] || make_compilers
    let_go
  fi
  PY=$compilers/bin/python
}

# With the names of ensure_compilers.
make_compilers() {
  local tool
  echo "installing launch/requirements-tpu.txt and -cuda.txt into $compilers (about 2 GB on disk)"
  "$VENV/bin/python" -m venv --clear "$compilers" || fail "could not make $compilers"
  "$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
    > "$(echo "$compilers"/lib/python3.*/site-packages)/base.pth"
  install "$compilers/bin/python" "${requirements[@]/#/--requirement=}" ||
    fail "pip could not install ${requirements[*]}"
  # The tools of the first (ruff, shellcheck) by name, too; the second's own stay.
  for tool in "$VENV"/bin/*; do
    [ -d "$tool" ] || [ -e "$compilers/bin/${tool##*/}" ] || ln -s "$tool" "$compilers/bin/"
  done
  echo "$wanted" > "$stamp"
}

ensure_environment
# shellcheck disable=SC2034  # used by the scripts that source this file
PY=$VENV/bin/python
