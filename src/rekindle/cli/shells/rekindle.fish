# Completion of rekindle for fish 3.4 or newer: `rekindle completion fish` prints this file.

function __rekindle_complete
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    # sh ignores Ctrl-C for the program, and drops its errors from its first moment on
    set -l run 'trap "" INT; _REKINDLE_COMPLETE=fish; export _REKINDLE_COMPLETE; exec "$@" 2>/dev/null'
    set -l answer (sh -c $run sh $program $words "$typed")
    set -l head (string split -m 1 \t -- $answer[1])
    set -l rest (string sub -s (math 1 + (string length -- "$head[2]")) -- "$typed")
    switch "$head[1]"
        case files
            printf "$head[2]%s\n" (__fish_complete_path "$rest")
        case folders
            printf "$head[2]%s\n" (__fish_complete_directories "$rest")
        case words
            for line in $answer[2..-1]
                printf '%s%s\n' "$head[2]" $line
            end
    end
end

complete -c rekindle -f -a '(__rekindle_complete)'
