#compdef syncropy
# zsh completion for syncropy(1): verbs and options as --help has them, names of datasets, and the paths in them.

_syncropy() {
  local current=${(Q)words[CURRENT]} word help
  local -a verb config operands valued offered folders
  integer i
  for ((i = 2; i < CURRENT; i++)); do
    word=${(Q)words[i]}
    case $word in
    (-c | --cfg) config=(-c "${(Q)words[++i]}") ;;
    (-*) ((! ${valued[(Ie)$word]})) || ((i++)) ;;
    (*)
      if [[ -n $verb && $verb != ca ]]; then operands+=("$word"); continue; fi
      verb+=("$word")  # `ca` has verbs of its own
      help="$(syncropy $verb --help 2>/dev/null)"
      valued=(${(f)"$(sed -nE 's/^ +(-[[:alnum:]],)?(--[a-z-]+) [A-Z].*/\2/p' <<<$help)"})
      ;;
    esac
  done
  case ${words[CURRENT - 1]} in
  (-c | --cfg) _files; return ;;
  (--local | --from) _files -/; return ;;
  esac
  [[ -n $verb ]] || help="$(syncropy --help 2>/dev/null)"
  if [[ -z $verb || $verb == ca && $current != -* ]]; then
    offered=(${(f)"$(sed -nE '/^Subcommands:/,$s/^  ([a-z-]+) +(.*)/\1:\2/p' <<<$help)"})
    _describe -t commands verb offered
  fi
  if [[ -z $verb || $current == -* ]]; then
    offered=(${(f)"$(sed -nE 's/^ +(-[[:alnum:]],)?(--[a-z-]+).*/\2/p' <<<$help)"})
    compadd -- $offered
    return
  fi
  case $verb[1] in
  (list | ls | restore | export | cat | verify)
    offered=(${(f)"$(syncropy $config complete -- $operands "$current" 2>/dev/null)"})
    folders=(${(M)offered:#*/})
    compadd -S '' -- $folders
    compadd -- ${offered:|folders}
    ;;
  (enroll) compadd -- ${(f)"$(syncropy $config complete -- "$current" 2>/dev/null)"} ;;
  (check-config | backup-catalog) _files ;;
  esac
}
_syncropy "$@"
