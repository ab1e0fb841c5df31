#!/bin/bash

#SBATCH -J bpd-0a1b2c3d-1-x
#SBATCH -p long
#SBATCH -A glass
#SBATCH -n 1
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH -t 24:00:00
#SBATCH -N 1
#SBATCH --no-requeue
#SBATCH --export=NONE
#SBATCH --open-mode=append
#SBATCH -o /campaign/jobs/%x-%j.out
export BPD_DEADLINE=$(( ${SLURM_JOB_END_TIME:-$(( $(date +%s) + 86400 ))} - 120 ))
export BPD_JOB_ID=$SLURM_JOB_ID
export BPD_LANE=quench-m2-w4
export BPD_NODES=1
export BPD_LAUNCHER='[]'
export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=True
export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False
export DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__GIL__ENABLED=False
export SLURM_EXPORT_ENV=ALL
module load gcc/12
BPD_SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/bpd-XXXXXXXXXX") || exit 1
trap 'rm -rf "$BPD_SCRATCH"' EXIT
cd "$BPD_SCRATCH"
/opt/bp/bin/python -m distributed.cli.dask_worker tls://10.0.0.1:8786 --name "$BPD_JOB_ID" --nthreads 1 --memory-limit 0 --nworkers 16 --nanny --death-timeout 300 --local-directory "$BPD_SCRATCH" --resources lane-quench-m2-w4=1 --no-dashboard --dashboard-address 127.0.0.1:0 --tls-ca-file /campaign/tls/1/ca.pem --tls-cert /campaign/tls/1/certificate.pem --tls-key /campaign/tls/1/key.pem --interface eth0 --protocol tls
