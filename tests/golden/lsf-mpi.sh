#!/bin/bash

#BSUB -J bpd-0a1b2c3d-1-x
#BSUB -n 8
#BSUB -W 01:30
#BSUB -R "span[ptile=4]"
#BSUB -M 8GB
#BSUB -env none
#BSUB -rn
#BSUB -o /campaign/jobs/%J.out
export BPD_DEADLINE=$(( $(( $(date +%s) + 5400 )) - 120 ))
export BPD_JOB_ID=$LSB_JOBID
export BPD_LANE=quench
export BPD_NODES=2
export BPD_LAUNCHER='["mpirun", "-n", "{n}", "{cmd}"]'
export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=True
export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False
export DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__GIL__ENABLED=False
BPD_SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/bpd-XXXXXXXXXX") || exit 1
trap 'rm -rf "$BPD_SCRATCH"' EXIT
cd "$BPD_SCRATCH"
/opt/bp/bin/python -m distributed.cli.dask_worker tls://10.0.0.1:8786 --name "$BPD_JOB_ID" --nthreads 1 --memory-limit 0 --nanny --death-timeout 300 --local-directory "$BPD_SCRATCH" --resources lane-quench=1 --no-dashboard --dashboard-address 127.0.0.1:0 --tls-ca-file /campaign/tls/1/ca.pem --tls-cert /campaign/tls/1/certificate.pem --tls-key /campaign/tls/1/key.pem --interface ib0 --protocol tls
