#!/usr/bin/env bash
# The tests that need a GPU and the benchmarks, on one GPU within 5 minutes.
#
#   tools/benchmarks/cuda.sh [FOLDER]
#
# FOLDER, work_dirs/benchmarks_cuda by default, keeps what they print
# (tests.txt, benchmarks.txt) and the figures (benchmarks.json). PYTHON is the
# interpreter, python by default. The exit status is that of the tests.
set -uo pipefail
cd "$(dirname "$0")/../.."
folder="${1:-work_dirs/benchmarks_cuda}"
python="${PYTHON:-python}"
mkdir -p "$folder"

"$python" -c "import torch; assert torch.cuda.is_available(), 'no CUDA device'
import importlib.util
assert importlib.util.find_spec('triton'), 'Triton is not installed'
print(torch.cuda.get_device_name(), 'torch', torch.__version__)" || exit 1

# Their kernels are run by the device here, not by the interpreter.
timeout 130 "$python" -m pytest -q -rs \
    tests/test_mwam/test_mwam_triton.py tests/test_mwam/test_frm_triton.py \
    tests/test_mwam/test_frm.py -k 'not interpreter' 2>&1 \
    | tee "$folder/tests.txt"
status=${PIPESTATUS[0]}

timeout 160 "$python" tools/benchmarks/run.py --quick --parts a b c d \
    --out "$folder/benchmarks.json" 2>&1 | tee "$folder/benchmarks.txt"
if [ "${PIPESTATUS[0]}" -ne 0 ]; then
    echo "$0: the benchmarks did not end, see $folder/benchmarks.txt" >&2
    exit 1
fi
exit "$status"
