# shellcheck shell=bash
# Sourced by the scripts: what Linux and macOS have under different names, or macOS' bash 3.2 lacks.

fail() {
  echo "error: $*" >&2
  exit 1
}

# absolute PATH: from the root on, links kept; it need not exist.
absolute() {
  local path=$1
  case $path in /*) ;; *) path=$PWD/$path ;; esac
  if [ -d "$path" ]; then path=$(CDPATH='' cd -- "$path" && pwd); fi
  printf '%s\n' "$path"
}

# The SHA-256 of stdin, and a dash.
sha256() {
  if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi
}

# How many CPUs may be used.
count_cpus() {
  nproc 2>/dev/null || getconf _NPROCESSORS_ONLN
}
