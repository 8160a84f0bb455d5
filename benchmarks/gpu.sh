#!/usr/bin/env bash
# Everything that needs a GPU, on a machine with torch, numpy and yaml where convnas is not installed:
# the GPU tests (where pytest is there), then the benchmark of the evaluator on made images (and on
# Fashion-MNIST where it lies there), and that of the operators in float32 and bfloat16.
# Results go to $OUT where it is set, else to benchmarks/results. Run from the repository's root.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
out=${OUT:-benchmarks/results}
link=$(mktemp -d)
trap 'rm -rf "$link"' EXIT
# The repository's root is the package, whatever its folder is called.
ln -s "$PWD" "$link/convnas"
export PYTHONPATH=$link${PYTHONPATH:+:$PYTHONPATH} OMP_NUM_THREADS=1
failed=0
if "$python" -c 'import pytest, hypothesis' 2>/dev/null; then
  "$python" -m pytest -q -m gpu tests/search_space/layers/test_gpu.py tests/evaluators/test_gpu.py || failed=1
else
  echo "pytest or hypothesis is not there: the GPU tests are left out"
fi
"$python" -m convnas.benchmarks.evaluator_gpu --trials "${TRIALS:-12}" --out "$out" || failed=1
if [ -d /usr/share/datasets/fashion-mnist ]; then
  "$python" -m convnas.benchmarks.evaluator_gpu --fashion-mnist --trials "${TRIALS:-12}" --out "$out" || failed=1
fi
for dtype in float32 bfloat16; do
  "$python" -m convnas.benchmarks.operators --device cuda --dtype "$dtype" --rounds "${ROUNDS:-15}" \
    --out "$out" || failed=1
done
exit "$failed"
