# shellcheck shell=bash
# Sourced by the launchers: flags written --name=value, refusals in one line, dry runs.

# shellcheck source=launch/usage.sh
source "$(dirname "${BASH_SOURCE[0]}")/usage.sh"
# shellcheck source=launch/portable.sh
source "$(dirname "${BASH_SOURCE[0]}")/portable.sh"
# Associative arrays, and empty arrays under `set -u`.
[ "${BASH_VERSINFO[0]}${BASH_VERSINFO[1]}" -ge 44 ] ||
  fail "bash $BASH_VERSION is too old, 4.4 is needed; on macOS: brew install bash"
project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
script=$0
declare -A flag=()      # name → value; a launcher sets the defaults, parse_flags the rest
declare -a arguments=() # what the launcher was called with, but for --dry_run
declare -a extra=()     # what follows `--`: flags for the Python program

# Exit codes after which the same command goes on: 75 (another process of the job was lost), and from
# 128 on, where a signal ended the program, or stopped it after a last checkpoint (143).
goes_on() {
  [[ $1 =~ ^(75|12[89]|1[3-9][0-9]|2[0-9][0-9])$ ]]
}

# One line that a shell reads back as exactly these words.
quoted() {
  local line
  printf -v line '%q ' "$@"
  echo "${line% }"
}

# Runs a command, or prints it under --dry_run.
run() {
  if [ -n "${flag[dry_run]}" ]; then quoted "$@"; else "$@"; fi
}

# A remark among the commands that a dry run prints, or progress in a real one.
say() {
  if [ -n "${flag[dry_run]}" ]; then echo "# $*"; else echo "== $*" >&2; fi
}

# parse_flags "SWITCH…" ARGUMENT…: fills `flag`, `arguments` and `extra`; switches take no value.
parse_flags() {
  local switches=" $1 dry_run " name
  shift
  usage_if_asked "$script" "$@"
  for name in $switches; do flag[$name]=; done
  arguments=()
  while [ $# -gt 0 ]; do
    [ "$1" = --dry_run ] || arguments+=("$1")
    case $1 in
      --)
        shift
        extra=("$@")
        arguments+=("$@")
        break
        ;;
      --*=*)
        name=${1%%=*}
        name=${name#--}
        [[ $name =~ ^[a-z_]+$ && -v flag[$name] && $switches != *" $name "* ]] ||
          fail "${1%%=*}=…: no such flag; bash $script --help lists them"
        flag[$name]=${1#*=}
        ;;
      --*)
        name=${1#--}
        [[ $name =~ ^[a-z_]+$ ]] || fail "$1: no such flag; bash $script --help lists them"
        [[ ! -v flag[$name] || $switches == *" $name "* ]] || fail "$1 needs a value: $1=…"
        [[ $switches == *" $name "* ]] || fail "$1: no such flag; bash $script --help lists them"
        flag[$name]=yes
        ;;
      *) fail "unexpected argument '$1': flags are written --name=value" ;;
    esac
    shift
  done
  for name in "${extra[@]}"; do
    [[ $name == --* ]] || fail "unexpected argument '$name' after --: flags are written --name=value"
  done
}

# need NAME WHAT: refuses when --NAME was not given.
need() {
  [ -n "${flag[$1]}" ] || fail "--$1=… is needed: $2"
}

# need_match NAME PATTERN WHAT: refuses a value that is not wholly of the pattern.
need_match() {
  [[ ${flag[$1]} =~ ^($2)$ ]] || fail "--$1=${flag[$1]}: must be $3"
}

need_count() {
  need_match "$1" '[1-9][0-9]{0,5}' "a whole number of at least 1"
}

need_config() {
  need config "a config file, e.g. configs/music_small.py"
  [[ ${flag[config]} != /* ]] || fail "--config=${flag[config]}: must lie inside the project"
  [ -f "$project/${flag[config]%%:*}" ] || fail "--config=${flag[config]}: no such file in $project"
}

need_absolute() {
  need "$1" "$2"
  [[ ${flag[$1]} == /* ]] || fail "--$1=${flag[$1]}: must be an absolute path that all hosts see"
}
