#!/bin/bash

#SBATCH -J bpd-0a1b2c3d-1-x
#SBATCH -n 1
#SBATCH --cpus-per-task=1
#SBATCH --mem=1G
#SBATCH -t 00:10:00
#SBATCH -N 1
#SBATCH --no-requeue
#SBATCH --export=NONE
#SBATCH --open-mode=append
#SBATCH -o /campaign/jobs/%x-%j.out
export BPD_DEADLINE=$(( ${SLURM_JOB_END_TIME:-$(( $(date +%s) + 600 ))} - 10 ))
export BPD_JOB_ID=$SLURM_JOB_ID
export BPD_LANE=single
export BPD_NODES=1
export BPD_LAUNCHER='[]'
export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=True
export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False
export DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__GIL__ENABLED=False
export SLURM_EXPORT_ENV=ALL
BPD_SCRATCH=$(mktemp -d "/tmp/bpd-XXXXXXXXXX") || exit 1
trap 'rm -rf "$BPD_SCRATCH"' EXIT
cd "$BPD_SCRATCH"
/opt/bp/bin/python -m distributed.cli.dask_worker tls://10.0.0.1:8786 --name "$BPD_JOB_ID" --nthreads 1 --memory-limit 0 --nanny --death-timeout 60 --local-directory "$BPD_SCRATCH" --resources lane-single=1 --no-dashboard --dashboard-address 127.0.0.1:0 --tls-ca-file /campaign/tls/1/ca.pem --tls-cert /campaign/tls/1/certificate.pem --tls-key /campaign/tls/1/key.pem --interface lo --protocol tls
