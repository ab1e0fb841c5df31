#!/bin/bash

#$ -N bpd-0a1b2c3d-1-x
#$ -q all.q
#$ -P glass
#$ -l h_rt=01:30:00
#$ -cwd
#$ -j y
#$ -r n
#$ -S /bin/bash
#$ -o /campaign/jobs/
#$ -pe smp 4
export BPD_DEADLINE=$(( $(( $(date +%s) + 5400 )) - 120 ))
export BPD_JOB_ID=$JOB_ID
export BPD_LANE=quench
export BPD_NODES=1
export BPD_LAUNCHER='[]'
export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=True
export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False
export DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__GIL__ENABLED=False
BPD_SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/bpd-XXXXXXXXXX") || exit 1
trap 'rm -rf "$BPD_SCRATCH"' EXIT
cd "$BPD_SCRATCH"
/opt/bp/bin/python -m distributed.cli.dask_worker tls://10.0.0.1:8786 --name "$BPD_JOB_ID" --nthreads 1 --memory-limit 0 --nworkers 4 --nanny --death-timeout 300 --local-directory "$BPD_SCRATCH" --resources lane-quench=1 --no-dashboard --dashboard-address 127.0.0.1:0 --tls-ca-file /campaign/tls/1/ca.pem --tls-cert /campaign/tls/1/certificate.pem --tls-key /campaign/tls/1/key.pem --interface ib0 --protocol tls
