#!/bin/sh
# The worker that every tool of the benchmark keeps alive: its first statement says that it
# runs, into the FIFO named first; then it becomes the program named after that, which rests.
echo $$ > "$1"
shift
exec "$@"
