#!/usr/bin/env bash
# The searches behind docs/results/live.md. Start it again to go on where it stopped.
# Usage: sweep.sh TASKS SEEDS, such as: sweep.sh cox2,bzr 0,1,2,3,4
set -euo pipefail
python=${PYTHON:-python}
for seed in ${2//,/ }; do
  search=("$python" -m atjax.search -m "task=$1" "seed=$seed" search.resume=true)
  "${search[@]}" search.prior=transfer search.trials=3 prior=product
  "${search[@]}" search.prior=transfer search.trials=3 prior=calibrated
  "${search[@]}" search.prior=uniform search.trials=10
done
