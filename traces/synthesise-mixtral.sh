#!/bin/sh
# Draws traces/mixtral-stand-in.parquet: a synthetic trace with the published statistics of Mixtral-8x7B's routing.
# The same version of moesim gives the same file.
set -eu
cd "$(dirname "$0")/.."
${PYTHON:-python} -m simulator.cli trace synth -o traces/mixtral-stand-in.parquet --like-statistics mixtral-8x7b \
    --sequences 4 --prefill 128 --decode 128 --seed 0
rm -f traces/mixtral-stand-in.fit.csv traces/mixtral-stand-in.params.yaml
