#!/usr/bin/env bash
# Everything that needs a GPU, on a machine with torch, numpy and yaml where convnas is not installed:
# the GPU tests (where pytest is there), then the operators benchmark in float32 and bfloat16.
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
  "$python" -m pytest -q -m gpu tests/search_space/test_gpu.py || failed=1
else
  echo "pytest or hypothesis is not there: the GPU tests are left out"
fi
for dtype in float32 bfloat16; do
  "$python" -m convnas.benchmarks.operators --device cuda --dtype "$dtype" --rounds "${ROUNDS:-15}" \
    --out "$out" || failed=1
done
exit "$failed"
