#!/usr/bin/env bash
# The searches behind docs/results/live.md. Start it again to go on where it stopped.
# Usage: sweep.sh TASKS SEEDS [SETTING=VALUE ...], such as: sweep.sh cox2,bzr 0,1,2,3,4
#   or: sweep.sh links 0,1 task.dataset=cora,actor 'task.split_seed=${seed}'
set -euo pipefail
python=${PYTHON:-python}
for seed in ${2//,/ }; do
  search=("$python" -m atjax.search -m "task=$1" "seed=$seed" search.resume=true "${@:3}")
  "${search[@]}" search.prior=transfer search.trials=3 prior=product
  "${search[@]}" search.prior=transfer search.trials=3 prior=calibrated
  "${search[@]}" search.prior=uniform search.trials=10
done
