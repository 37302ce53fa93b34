#!/bin/sh
# Record traces/olmoe-mini.parquet again: MODEL_DIR=/path/to/olmoe-mini sh traces/record-olmoe-mini.sh
# The same versions (see traces/README.md), two threads and float32 on the CPU give the same file.
set -eu
cd "$(dirname "$0")"
rm -f new.parquet
OMP_NUM_THREADS=2 ${MOESIM:-moesim} trace record --model "${MODEL_DIR:?folder of the model}" \
    --prompts olmoe-mini.prompts.jsonl -o new.parquet \
    --decode 208 --predict 3 --temperature 0.8 --top-p 0.95 --seed 0 --batch 20 --mantissa-bits 4 --keep-text \
    --prompt-source "20 prompts written for moesim: definitions, documentation, prose, code (traces/olmoe-mini.prompts.jsonl)" \
    --licence Apache-2.0 \
    --notes "Routing of a small model (27.4 M parameters) that has the shape of OLMoE-1B-7B, 16 layers x 64 experts x top-8; it is not OLMoE-1B-7B. Its text was sampled, none left out"
mv new.parquet olmoe-mini.parquet
