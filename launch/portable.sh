# shellcheck shell=bash
# Sourced by the scripts: what Linux and macOS have under different names, or macOS' bash 3.2 lacks.

fail() {
  echo "error: $*" >&2
  exit 1
}

# from_home PATH: with the user's home for ~, which no shell puts there behind --name=.
# shellcheck disable=SC2088
from_home() {
  case $1 in
    '~') printf '%s\n' "$HOME" ;;
    '~/'*) printf '%s\n' "$HOME/${1#'~/'}" ;;
    *) printf '%s\n' "$1" ;;
  esac
}

# absolute PATH: from the root on, links kept; it need not exist.
absolute() {
  local path
  path=$(from_home "$1")
  case $path in /*) ;; *) path=$PWD/$path ;; esac
  if [ -d "$path" ]; then path=$(CDPATH='' cd -- "$path" && pwd); fi
  printf '%s\n' "$path"
}

# file_url PATH: its address, to click on and to open; what a URL cannot hold is written as %XX.
file_url() {
  local LC_ALL=C path i byte url=file://
  path=$(absolute "$1")
  for ((i = 0; i < ${#path}; i++)); do
    byte=${path:i:1}
    case $byte in
      [A-Za-z0-9/._~-]) ;;
      *) byte=$(printf '%%%02X' $(($(printf '%d' "'$byte") & 255))) ;; # some shells count bytes below 0
    esac
    url=$url$byte
  done
  printf '%s\n' "$url"
}

# The SHA-256 of stdin, and a dash.
sha256() {
  if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi
}

# How many CPUs may be used.
count_cpus() {
  nproc 2>/dev/null || getconf _NPROCESSORS_ONLN
}
