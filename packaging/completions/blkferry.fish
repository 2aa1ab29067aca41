# SPDX-License-Identifier: GPL-2.0-or-later
# fish completion of blkferry, blkferry-agent and blkferry-receiver: each is asked what can come next (--complete).

function __blkferry_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in ($words[1] --complete $words[2..-1] 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end

for program in blkferry blkferry-agent blkferry-receiver
    complete -c $program -f -a '(__blkferry_complete)'
end
