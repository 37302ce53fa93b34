#!/usr/bin/env bash
# Measure a GPU in at most 12 minutes: its hardware profile, PyTorch's software profiles, and a real engine beside its simulation.
#
#   benchmarks/gpu.sh FOLDER [--minutes 12] [--device cpu]
#
# Needs Python with moesim's dependencies and PyTorch; PYTHON names another than python3. Parts that are done are kept in FOLDER:
# the same line again goes on with the others. --device cpu rehearses every line without a GPU, in small sizes.
set -uo pipefail

usage() { echo "usage: benchmarks/gpu.sh FOLDER [--minutes N] [--device cpu]; $1" >&2; exit 2; }

out=${1:-}
[[ -n $out && $out != -* ]] || usage "FOLDER is missing"
shift
minutes=12 device=cuda
while (($#)); do
    case "$1 ${2:-}" in
        "--minutes "[1-9] | "--minutes "1[0-2]) minutes=$2 ;;
        "--device cpu" | "--device cuda") device=$2 ;;
        "--minutes "*) usage "--minutes is 1 to 12" ;;
        "--device "*) usage "--device is cuda or cpu" ;;
        *) usage "$1 is not known" ;;
    esac
    shift 2
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
export PYTHONPATH=$root PYTHONUNBUFFERED=1
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 2
failed=()
moesim=("$python" -m simulator.cli)

left() { echo $((60 * minutes - SECONDS)); }

# part NAME LEAST MOST COMMAND...: run it unless it is done; LEAST seconds have to be left, MOST are given.
part() {
    local name=$1 least=$2 most=$3 began=$SECONDS
    shift 3
    if [[ -e $out/done/$name ]]; then
        echo "== $name: done before"
        return
    fi
    if (($(left) < least)); then
        echo "== $name: LEFT OUT, needs $least s and $(left) s of $minutes minutes are left; run the same line again"
        failed+=("$name")
        return
    fi
    echo "== $name ($(left) s left)"
    if timeout "$((most < $(left) ? most : $(left)))" "$@" >"$out/$name.log" 2>&1; then
        mkdir -p "$out/done" && touch "$out/done/$name"
        echo "   $((SECONDS - began)) s"
    else
        echo "   FAILED with status $? (124: out of time) after $((SECONDS - began)) s; the end of $out/$name.log:"
        tail -n 5 "$out/$name.log" | sed 's/^/   | /'
        failed+=("$name")
    fi
}

echo "== environment"
environment=$("$python" - "$device" 2>&1 <<'END'
import platform
import re
import sys

import simulator.cli
import simulator.trace.parquet
from simulator.calibrate.device import cuda_device, rehearsal_device
from simulator.errors import InputError

try:
    device = cuda_device() if sys.argv[1] == "cuda" else rehearsal_device()
except InputError as error:
    sys.exit(str(error))
model = re.search(r"[A-Za-z]*\d+[A-Za-z]*", device.name)
print(f"{model[0].lower()}-measured" if device.cuda and model else "rehearsal")
print(f"{device.name}; {device.version}; Python {platform.python_version()}; moesim {simulator.__version__}")
END
) || { echo "   $(tail -n 1 <<<"$environment")" >&2; exit 2; }
name=$(head -n 1 <<<"$environment")
sed -n '2p' <<<"$environment" | sed 's/^/   /'
if [[ -e $out/device ]] && [[ $(cat "$out/device") != "$name" ]]; then
    echo "   $out holds $(cat "$out/device"), this is $name; take another folder" >&2
    exit 2
fi
echo "$name" >"$out/device"
{ echo "$environment"; nvidia-smi 2>/dev/null; } >"$out/environment.txt"

tokens=256
[[ $device == cpu ]] && tokens=8
part calibrate 120 300 "${moesim[@]}" calibrate --gpu --device "$device" --no-drive --force -o "$out/$name.yaml" \
    --software "$out/pytorch-eager.yaml" --software "$out/pytorch-hqq.yaml"
for size in 0.25 0.5 0.75; do
    part "reference-$size" 60 150 "${moesim[@]}" validate reference --gpu --device "$device" --sizes "$size" \
        --tokens "$tokens" --force -o "$out/reference-$size"
done

echo "== results"
echo "   | run | median | mean | p90 | R2 | total error | measured | hits, late: measured | predicted | within"
for size in 0.25 0.5 0.75; do
    grep -h '^| cache.*%.*| .* s |' "$out/reference-$size/validation-reference.md" 2>/dev/null
done | cut -c1-110 | sed 's/^/   /'
(cd "$out" && tar -czf results.tar.gz --exclude=results.tar.gz ./*)
if [[ $device == cpu ]]; then
    echo "   a rehearsal: no number here is a GPU's, and nothing is worth keeping"
else
    echo "   $out/results.tar.gz has all of it. To ship it, copy:"
    echo "   $name.yaml                            to hardware_profiles/"
    echo "   pytorch-eager.yaml, pytorch-hqq.yaml  to software_profiles/, after a look at what changed"
    echo "   reference-*/validation-reference.md   to docs/background/, as the comparison"
fi
((${#failed[@]} == 0)) || { echo "   not done: ${failed[*]}" >&2; exit 1; }
echo "   all done in $SECONDS s"
