#!/bin/sh
# Makes demo.gguf again: make.sh NINE_TUI STORIES TEACHER WORK [MINUTES]
#
#   NINE_TUI  the program, built with --release
#   STORIES   tinystories.txt, the real stories
#   TEACHER   stories260K.bin, with tokenizer.bin beside it
#   WORK      a folder for texts and checkpoints; a stopped run goes on from what lies there
#   MINUTES   of training, 100 unless told
#
# Needs the packages of requirements.txt in PYTHON (python3 unless set), and a C++ compiler.
set -eu
nine_tui=$1 real=$2 teacher=$3 work=$4 minutes=${5:-100}
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
# Freed memory is kept: giving it back and faulting it in again costs half the time of a step.
export MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=8000000000 MALLOC_TOP_PAD_=268435456
mkdir -p "$work"
"$python" "$here/sample.py" "$teacher" "$work/sampled.jsonl" --nine-tui "$nine_tui"
[ -e "$work/tokenizer.json" ] || "$python" "$here/tokenizer.py" --real "$real" \
    --sampled "$work/sampled.jsonl" --out "$work/tokenizer.json"
"$python" "$here/train.py" --real "$real" --sampled "$work/sampled.jsonl" \
    --tokenizer "$work/tokenizer.json" --out "$work/model.pt" --minutes "$minutes"
"$python" "$here/export.py" "$work/model.pt" "$here/demo.gguf" --tokenizer "$work/tokenizer.json"
"$python" "$here/eval.py" "$here/demo.gguf" --real "$real" --teacher "$teacher" --held "$work/held.txt"
