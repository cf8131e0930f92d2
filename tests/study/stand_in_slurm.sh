#!/bin/bash
# A stand-in for SLURM on this machine: one script under the names of SLURM's commands. A job runs at once, in the
# background; ID.queued is there until it is over. The state is in $STAND_IN_SLURM.
cd_to_state() { mkdir -p "$STAND_IN_SLURM" && cd "$STAND_IN_SLURM" || exit 1; }

attempt() { # the job's script, and again if it was queued again meanwhile; in ID.pid the process that signals go to
  while rm -f "$1.again"; do
    SLURM_JOB_ID=$1 SLURM_JOB_NUM_NODES=1 SLURM_JOB_NODELIST=here SLURM_NTASKS=1 SLURM_NODEID=0 SLURM_PROCID=0 \
      SLURM_LOCALID=0 CUDA_VISIBLE_DEVICES=7 bash "$PWD/$1.sh" >"$1.out" 2>&1
    echo $? >"$1.status"
    [ -e "$1.again" ] || break
  done
  rm -f "$1.queued"
}

case $(basename "$0") in
  sbatch)
    script=$(realpath "${@: -1}") here=$PWD
    cd_to_state
    if grep -q -- "--partition=full" "$script"; then
      echo "sbatch: error: Batch job submission failed: Invalid partition name specified" >&2
      exit 1
    fi
    id=$((1001 + $(ls | grep -c '\.sh$')))
    { echo "cd '$here'" && cat "$script"; } >"$id.sh"
    touch "$id.queued"
    attempt "$id" </dev/null >/dev/null 2>&1 &
    echo "Submitted batch job $id"
    ;;
  srun)
    while [[ $1 == -* ]]; do
      case $1 in --output) output=${2//%j/$SLURM_JOB_ID} && shift 2 ;; *) shift ;; esac
    done
    echo $$ >"$STAND_IN_SLURM/$SLURM_JOB_ID.pid"
    exec "$@" >>"${output//%t/0}" 2>&1
    ;;
  squeue) cd_to_state && for file in *.queued; do [ ! -e "$file" ] || echo "${file%.queued}"; done ;;
  sacct) cd_to_state && cat "${@: -1}.state" 2>/dev/null || echo UNKNOWN ;;
  scontrol) cd_to_state && touch "$2.again" ;; # requeue ID
  scancel) cd_to_state && kill -s "${3#SIG}" "$(cat "$1.pid")" ;; # ID --signal NAME
esac
