#!/usr/bin/env bash
# The searches behind docs/results/live.md. Start it again to go on where it stopped.
# Usage: sweep.sh TASKS SEEDS [SETTING=VALUE ...], such as: sweep.sh cox2,bzr 0,1,2,3,4
#   or: PRIORS="frugal" sweep.sh links 0,1 task.dataset=cora,actor 'task.split_seed=${seed}'
set -euo pipefail
python=${PYTHON:-python}
for seed in ${2//,/ }; do
  for prior in ${PRIORS:-product calibrated uniform}; do
    case $prior in
      uniform) settings=(search.prior=uniform search.trials=10) ;;
      *) settings=(search.prior=transfer search.trials=3 "prior=$prior") ;;
    esac
    "$python" -m atjax.search -m "task=$1" "seed=$seed" search.resume=true "${settings[@]}" "${@:3}"
  done
done
