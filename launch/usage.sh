# shellcheck shell=bash
# Sourced by the scripts: each says what it is for, in the comment that it opens with.

# usage_if_asked SCRIPT ARGUMENT…: prints SCRIPT's opening comment and exits, where --help or -h is
# among the arguments (before `--`).
usage_if_asked() {
  local line word script=$1
  shift
  for word in "$@"; do
    case $word in
      --) return ;;
      -h | --help)
        while IFS= read -r line; do
          case $line in
            '#!'* | '# shellcheck '*) ;;
            '# '*) printf '%s\n' "${line#'# '}" ;;
            '#') echo ;;
            *) break ;;
          esac
        done < "$script"
        exit 0
        ;;
    esac
  done
}
