#!/usr/bin/env bash
# What only a GPU can say, in stages of some minutes that run alone and keep each row as it comes:
#
#   benchmarks/gpu.sh                      every stage, in the order of `stages` below
#   benchmarks/gpu.sh tests profile        these
#   DEVICE=cpu benchmarks/gpu.sh           a rehearsal on a CPU, tiny: that it runs, nothing more
#
# Needs torch, numpy and yaml; convnas is not installed. Results go to $OUT, else benchmarks/results.
#
# What to look at first
#   1 tests     Any failure or "no CUDA graph": nothing below counts until it is green. Each test of
#               tests/evaluators/test_gpu.py says what it is about. A test that hangs: a wait inside a
#               capture. "a replay's loss is ...": what the graph reads is not where it was recorded.
#   2 profile   share_in_kernels of a warm training: aim .80. Below, the host is too slow (is it one
#               replay a step? `calls` of the first kernels by steps says it) or the batch too small.
#               A kernel that takes a fifth and could be fused is a reason for one of our own.
#   3 rivals    convnas against "resident loop" (aim: a fifth of its time), then "process a trial" (a
#               twentieth, where a trial takes a second). Accuracies must agree between the ways.
#   4 switches  A way below 1 is faster than the default: the default is wrong there. "without
#               cuda_graph" tells what recording is worth, "with benchmark" whether it pays, cold and warm.
#   5 at-once   trainings_an_hour for 1, 2, 4, 8 processes: where it stops growing, `workers: auto` stops.
#   6 batch     the largest batch whose tau is that of 64 within its noise, and its trainings_an_hour.
#   7 operators the graph files, not the eager ones: grouped HetConv above 1 there, in bfloat16, speaks
#               against the rule "dense on a GPU"; octave below 1 is what users of it report.
#   8 latency   the latency tests, and pieces' times against whole networks'.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2
stages=(tests profile rivals switches at-once batch operators latency)
python=${PYTHON:-python3}
out=${OUT:-benchmarks/results}
device=${DEVICE:-cuda}
link=$(mktemp -d)
trap 'rm -rf "$link"' EXIT
# The repository's root is the package, whatever its folder is called.
ln -s "$PWD" "$link/convnas"
# cuBLAS reads its setting once, so it is there before anything starts.
export PYTHONPATH=$link${PYTHONPATH:+:$PYTHONPATH} OMP_NUM_THREADS=1 CUBLAS_WORKSPACE_CONFIG=:4096:8
limit=${LIMIT:-540} # seconds a stage

evaluator=(--device "$device" --out "$out" --trials "${TRIALS:-8}")
operators=(--device "${device%%:*}" --out "$out" --rounds "${ROUNDS:-15}")
if [ "$device" = cpu ]; then
  evaluator=(--device cpu --out "$out" --trials 2 --epochs 1 --images 200 --batch 32
    --batches 16 32 --at-once 1 2)
  operators=(--device cpu --out "$out" --rounds 2 --only octave)
fi

run() {
  case $1 in
    tests)
      if "$python" -c 'import pytest, hypothesis' 2>/dev/null; then
        local marked=(-m gpu)
        # Without a GPU: the stand-in's tests, which are what can be rehearsed.
        [ "$device" = cpu ] && marked=(tests/evaluators/training/test_capture.py -k 'filled or same_batch')
        timeout "$limit" "$python" -m pytest -q -p no:cacheprovider "${marked[@]}" \
          tests/search_space/layers/test_gpu.py tests/evaluators/test_gpu.py
        local code=$?
        [ "$code" = 5 ] && code=0 # nothing selected
        return "$code"
      fi
      echo "pytest or hypothesis is not there: the GPU tests are left out"
      ;;
    profile | rivals | switches | at-once | batch)
      timeout "$limit" "$python" -m convnas.benchmarks.evaluator_gpu "$1" "${evaluator[@]}"
      ;;
    operators)
      local failed=0
      for dtype in bfloat16 float32; do
        for how in --graphs ""; do
          timeout "$limit" "$python" -m convnas.benchmarks.operators "${operators[@]}" \
            --dtype "$dtype" ${how:+"$how"} || failed=1
        done
      done
      return "$failed"
      ;;
    latency)
      local where=cuda
      [ "$device" = cpu ] && where='not cuda'
      if "$python" -c 'import pytest, hypothesis' 2>/dev/null; then
        timeout "$limit" "$python" -m pytest -q -p no:cacheprovider tests/evaluators/latency -k "$where"
        local code=$?
        [ "$code" = 5 ] && code=0
        return "$code"
      fi
      ;;
    *)
      echo "no stage $1; choose from: ${stages[*]}" >&2
      return 2
      ;;
  esac
}

[ $# -gt 0 ] && stages=("$@")
failed=0
for stage in "${stages[@]}"; do
  echo "== $stage, $(date +%H:%M:%S)"
  run "$stage" || { echo "== $stage failed"; failed=1; }
done
exit "$failed"
