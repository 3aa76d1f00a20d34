# bash completion for syncropy(1): verbs, options, names of datasets and of the paths in them.

_syncropy() {
  local current=${COMP_WORDS[COMP_CWORD]} verb='' config=() words=() options='' word i
  local IFS=$'\n'
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    case $word in
    -c | --cfg) config=(-c "${COMP_WORDS[++i]}") ;;
    --from | --to | --target | --local | --include | --exclude | --map-owner | --map-group | --sample | --name | --server | --valid | --ca | --keys | --owner) ((i++)) ;;
    -*) ;;
    *) if [[ -z $verb ]]; then verb=$word; else words+=("$word"); fi ;;
    esac
  done
  case ${COMP_WORDS[COMP_CWORD - 1]} in
  -c | --cfg) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
  --local | --from) mapfile -t COMPREPLY < <(compgen -d -- "$current"); return ;;
  esac
  if [[ -z $verb ]]; then
    mapfile -t COMPREPLY < <(compgen -W $'init\nlist\nls\nrestore\nexport\ncat\ncheck-config\nsql\nverify\nempty-trash\nrebuild-catalog\nbackup-catalog\nca\nenroll\n--cfg\n--help\n--version' -- "$current")
    return
  fi
  if [[ $current == -* ]]; then
    case $verb in
    restore) options=$'--from\n--to\n--target\n--local\n--existing=\n--delete\n--dry-run\n--include\n--exclude\n--map-owner\n--map-group\n--numeric\n--json\n--verbose' ;;
    export) options=$'--from\n--include\n--exclude\n--numeric' ;;
    cat) options=--from ;;
    ls) options=--recursive ;;
    list) options=--json ;;
    ca) options=$'--keys\n--force\n--json' ;;
    enroll) options=$'--name\n--server\n--valid\n--quiet' ;;
    verify) options=$'--no-catalog\n--sample\n--idle\n--json' ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
    [[ ${COMPREPLY[*]} != *= ]] || compopt -o nospace
    return
  fi
  case $verb in
  list | ls | restore | export | cat | verify)
    mapfile -t COMPREPLY < <(syncropy "${config[@]}" complete -- "${words[@]}" "$current" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -gt 0 && ${#words[@]} -gt 0 ]]; then mapfile -t COMPREPLY < <(printf '%q\n' "${COMPREPLY[@]}"); fi
    [[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != */ ]] || compopt -o nospace
    ;;
  ca) mapfile -t COMPREPLY < <(compgen -W $'init\nlist\nrenew\nrevoke' -- "$current") ;;
  enroll) mapfile -t COMPREPLY < <(syncropy "${config[@]}" complete -- "$current" 2>/dev/null) ;;
  check-config | backup-catalog) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
  esac
}
complete -F _syncropy syncropy
