# bash completion for syncropy(1): verbs and options as --help has them, names of datasets, and the paths in them.

# The long options that a help text names. With a word: those that take a value; with a choice of values they end in = otherwise.
_syncropy_options() { # HELP [with-value]
  local value='( [A-Z][^ ]*)?'
  [[ $# -eq 1 ]] || value='( [A-Z][^ ]*)'
  sed -nE "s/^ +(-[[:alnum:]],)?(--[a-z-]+)$value.*/\2\3/p" <<<"$1" | sed -E "$([[ $# -eq 2 ]] || echo 's/ [A-Z]+:\{.*/=/;')s/ .*//"
}

_syncropy() {
  local current=${COMP_WORDS[COMP_CWORD]} verb=() config=() words=() help='' valued='' word i
  local IFS=$'\n'
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    case $word in
    -c | --cfg) config=(-c "${COMP_WORDS[++i]}") ;;
    -*) if grep -qxF -e "$word" <<<"$valued"; then ((i++)); fi ;;
    *)
      if [[ -n ${verb[*]} && ${verb[*]} != ca ]]; then words+=("$word"); continue; fi
      verb+=("$word")  # `ca` has verbs of its own
      help=$(syncropy "${verb[@]}" --help 2>/dev/null)
      valued=$(_syncropy_options "$help" with-value)
      ;;
    esac
  done
  case ${COMP_WORDS[COMP_CWORD - 1]} in
  -c | --cfg) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
  --local | --from) mapfile -t COMPREPLY < <(compgen -d -- "$current"); return ;;
  esac
  [[ -n ${verb[*]} ]] || help=$(syncropy --help 2>/dev/null)
  if [[ -z ${verb[*]} || ${verb[*]} == ca && $current != -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(sed -nE '/^Subcommands:/,$s/^  ([a-z-]+) .*/\1/p' <<<"$help"; _syncropy_options "$help")" -- "$current")
    return
  fi
  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_syncropy_options "$help")" -- "$current")
    [[ ${COMPREPLY[*]} != *= ]] || compopt -o nospace
    return
  fi
  case ${verb[0]} in
  list | ls | restore | export | cat | verify)
    mapfile -t COMPREPLY < <(syncropy "${config[@]}" complete -- "${words[@]}" "$current" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -gt 0 && ${#words[@]} -gt 0 ]]; then mapfile -t COMPREPLY < <(printf '%q\n' "${COMPREPLY[@]}"); fi
    [[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != */ ]] || compopt -o nospace
    ;;
  enroll) mapfile -t COMPREPLY < <(syncropy "${config[@]}" complete -- "$current" 2>/dev/null) ;;
  check-config | backup-catalog) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
  esac
}
complete -F _syncropy syncropy
