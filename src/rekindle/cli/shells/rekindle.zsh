#compdef rekindle
# Completion of rekindle for zsh: `rekindle completion zsh` prints this file.

_rekindle() {
    local -a answer whole whole_shown begun begun_shown
    local line word remark before
    answer=("${(@f)$(_REKINDLE_COMPLETE=zsh ${~${(Q)words[1]}} "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    before=${answer[1]#*$'\t'}
    [[ -z $before ]] || compset -P "${(b)before}" || compset -P "${(b)${(q)before}}"
    case ${answer[1]%%$'\t'*} in
        files) _files ;;
        folders) _files -/ ;;
        words)
            for line in "${(@)answer[2,-1]}"; do
                word=${line%%$'\t'*} remark=${line#*$'\t'}
                remark=${word}${remark:+"  -- $remark"}
                if [[ $word == *[=.] ]]; then
                    begun+=("$word") begun_shown+=("$remark")
                else
                    whole+=("$word") whole_shown+=("$remark")
                fi
            done
            (( $#whole )) && compadd -V rekindle -l -d whole_shown -a whole
            (( $#begun )) && compadd -V rekindle -l -S '' -d begun_shown -a begun
            (( $#whole + $#begun ))
            ;;
    esac
}

if [[ $funcstack[1] == _rekindle ]]; then
    _rekindle "$@"
else
    compdef _rekindle rekindle
fi
