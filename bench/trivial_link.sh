#!/bin/bash
# The least that our supervisor calls a worker: it speaks the link's protocol and does no work.
#
#   bash trivial_link.sh MOOD BEAT_S BEAT_US
#
# `rest` beats as a worker without a job does, `work` as one in the middle of a recording,
# `recycle` asks for a successor as soon as it is ready. A shell, and not a Python, because its
# own end must take no longer than that of the `sleep` which the peers keep alive.
link=$REM_LINK_FD
printf '{"is":"Up","detail":"trivial","facts":{}}\n{"is":"Room","free":1}\n' >&"$link"
[ "$1" = recycle ] && exit 73 # Exit.RECYCLE
moves=0
wait_s=$2
every_us=$3
while :; do
    if [ "$1" = work ]; then
        moves=$((moves + 1))
        job="{\"job_id\":\"bench\",\"phase\":\"transcribing\",\"done_s\":$moves.5,\"audio_s\":600.0}"
        printf '{"is":"Beat","phase":"working","moves":%d,"jobs":[%s]}\n' "$moves" "$job" >&"$link"
    else
        printf '{"is":"Beat","phase":"idle","moves":1,"jobs":[]}\n' >&"$link"
        # As workerproc/jobs/worker.py: all idle workers of a host beat at the same moments.
        wait_us=$((every_us - ${EPOCHREALTIME//[.,]/} % every_us))
        wait_s=$((wait_us / 1000000)).$(printf %06d $((wait_us % 1000000)))
    fi
    if read -r -t "$wait_s" -u "$link" line; then
        case $line in *'"Drain"'*) exit 0 ;; esac
    elif [ $? -le 128 ]; then
        exit 0 # the end of the link: the supervisor is gone
    fi
done
