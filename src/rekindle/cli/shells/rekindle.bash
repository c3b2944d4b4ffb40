# Completion of rekindle for bash 4.4 or newer: `rekindle completion bash` prints this file.

_rekindle() {
    local -a answer
    mapfile -t answer < <(
        _REKINDLE_COMPLETE=bash _REKINDLE_LINE="${COMP_LINE:0:COMP_POINT}" _REKINDLE_BREAKS="$COMP_WORDBREAKS" \
            "${1/#\~/$HOME}" 2>/dev/null
    )
    COMPREPLY=()
    case ${answer[0]%%$'\t'*} in
        files) compopt -o bashdefault -o default ;;
        folders) compopt -o dirnames ;;
        words)
            COMPREPLY=("${answer[@]:1}")
            [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=.] ]] && compopt -o nospace
            ;;
    esac
    return 0
}

complete -o nosort -F _rekindle rekindle
