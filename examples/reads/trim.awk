# Cut bases of poor quality (#) off the end of each read; refuse a file that is cut off.
NR % 4 == 1 { name = $0 }
NR % 4 == 2 { bases = $0 }
NR % 4 == 0 {
    if (length($0) != length(bases)) { print name ": bases and qualities differ in length" > "/dev/stderr"; exit 1 }
    sub(/#+$/, "")
    print name "\n" substr(bases, 1, length($0)) "\n+\n" $0
}
