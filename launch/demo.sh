#!/usr/bin/env bash
# The demo: train a small spiking network on scikit-learn's handwritten digits with two processes, once on the full data
# and once with pruning at a ratio of 0.5, and compare both runs.
#
#   VENV     the virtual environment                                  (default .venv)
#   NPROC    processes                                                (default 2)
#   RUNS     folder of the runs                                       (default runs)
set -euo pipefail
cd "$(dirname "$0")/.."

VENV=${VENV:-.venv}
NPROC=${NPROC:-2}
RUNS=${RUNS:-runs}
bin=$(realpath "$VENV")/bin
# Without this, torchrun gives each process one thread and prints a long warning.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(( $(nproc) > NPROC ? $(nproc) / NPROC : 1 ))}
# With fewer GPUs than processes, the demo uses the CPU.
gpus=$("$bin/python" -c 'import torch; print(torch.cuda.device_count())')
if [ "$gpus" -lt "$NPROC" ]; then export CUDA_VISIBLE_DEVICES=; fi

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { printf '$ %s\n' "$*"; PATH="$bin:$PATH" "$@"; }

if [ ! -e data/digits/test.beton ]; then
  step "1. Write the digits as images and as .beton files"
  run python examples/digits_images.py data/digits/images
  run sadp-dist beton data/digits/images data/digits/train.beton --split train
  run sadp-dist beton data/digits/images data/digits/test.beton --split test
fi

train() {  # on a free port, so that two demos do not connect to each other
  run torchrun --nproc-per-node "$NPROC" --rdzv-backend c10d --rdzv-endpoint localhost:0 -m sadp_dist train \
    configs/digits.yaml --overwrite "$@"
}
step "2. Train on the full data"
train name=digits-full output="$RUNS/{name}" pruning.method=full
step "3. Train with pruning at r = 0.5, on half of the examples"
train name=digits-pruned output="$RUNS/{name}"

step "4. Compare both runs"
run sadp-dist report "$RUNS/digits-full" "$RUNS/digits-pruned"
cat <<TEXT

The runs (config.yaml, metrics.jsonl, checkpoints, TensorBoard logs) are in $RUNS/digits-full and $RUNS/digits-pruned.
Next, run source $VENV/bin/activate and try:
  sadp-dist stats --store $RUNS/digits-pruned
  sadp-dist top --store $RUNS/digits-pruned -k 50 --images data/digits/images --split train --out hardest.png
  sadp-dist train configs/digits.yaml name=digits-random pruning.method=random
  sadp-dist dashboard --store $RUNS --images data/digits/images --split train
  tensorboard --logdir $RUNS
TEXT
