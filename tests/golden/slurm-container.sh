#!/bin/bash

#SBATCH -J bpd-0a1b2c3d-1-x
#SBATCH -p standard
#SBATCH -A e999-glass
#SBATCH -n 1
#SBATCH --cpus-per-task=128
#SBATCH --mem=224G
#SBATCH -t 24:00:00
#SBATCH -N 1
#SBATCH --no-requeue
#SBATCH --export=NONE
#SBATCH --open-mode=append
#SBATCH -o /campaign/jobs/%x-%j.out
#SBATCH --qos=standard
#SBATCH --exclusive
#SBATCH --hint=nomultithread
export BPD_DEADLINE=$(( ${SLURM_JOB_END_TIME:-$(( $(date +%s) + 86400 ))} - 120 ))
export BPD_JOB_ID=$SLURM_JOB_ID
export BPD_LANE=quench
export BPD_NODES=1
export BPD_LAUNCHER='[]'
export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=True
export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False
export DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__GIL__ENABLED=False
export SLURM_EXPORT_ENV=ALL
export APPTAINERENV_BPD_DEADLINE="$BPD_DEADLINE"
export APPTAINERENV_BPD_JOB_ID="$BPD_JOB_ID"
export APPTAINERENV_BPD_LANE="$BPD_LANE"
export APPTAINERENV_BPD_NODES="$BPD_NODES"
export APPTAINERENV_BPD_LAUNCHER="$BPD_LAUNCHER"
export APPTAINERENV_DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION="$DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"
export APPTAINERENV_DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED="$DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED"
export APPTAINERENV_DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__GIL__ENABLED="$DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__GIL__ENABLED"
module load apptainer
BPD_SCRATCH=$(mktemp -d "/tmp/bpd-XXXXXXXXXX") || exit 1
trap 'rm -rf "$BPD_SCRATCH"' EXIT
cd "$BPD_SCRATCH"
apptainer exec --cleanenv --bind /campaign --bind "$BPD_SCRATCH" /work/e999/shared/bp_distributed.sif /opt/bp/bin/python -m distributed.cli.dask_worker tls://10.0.0.1:8786 --name "$BPD_JOB_ID" --nthreads 1 --memory-limit 0 --nworkers 128 --nanny --death-timeout 300 --local-directory "$BPD_SCRATCH" --resources lane-quench=1 --no-dashboard --dashboard-address 127.0.0.1:0 --tls-ca-file /campaign/tls/1/ca.pem --tls-cert /campaign/tls/1/certificate.pem --tls-key /campaign/tls/1/key.pem --interface hsn0 --protocol tls
