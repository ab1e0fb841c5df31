#!/bin/bash

#PBS -N bpd-0a1b2c3d-1-x
#PBS -q normal
#PBS -A GlassPhysics
#PBS -l select=4:ncpus=104:mpiprocs=104:mem=480gb
#PBS -l walltime=06:00:00
#PBS -r n
#PBS -S /bin/bash
#PBS -j oe
#PBS -o /campaign/jobs/
#PBS -l place=scatter
#PBS -l filesystems=home:grand
export BPD_DEADLINE=$(( $(( $(date +%s) + 21600 )) - 120 ))
export BPD_JOB_ID=$PBS_JOBID
export BPD_LANE=mpi
export BPD_NODES=4
export BPD_LAUNCHER='["mpiexec", "-n", "{n}", "--depth", "{threads}", "--cpu-bind", "depth", "{cmd}"]'
export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=True
export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False
export DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__GIL__ENABLED=False
module use /soft/modulefiles
module load cray-python cray-mpich
BPD_SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/bpd-XXXXXXXXXX") || exit 1
trap 'rm -rf "$BPD_SCRATCH"' EXIT
cd "$BPD_SCRATCH"
/opt/bp/bin/python -m distributed.cli.dask_worker tls://10.0.0.1:8786 --name "$BPD_JOB_ID" --nthreads 1 --memory-limit 0 --nanny --death-timeout 300 --local-directory "$BPD_SCRATCH" --resources lane-mpi=1 --no-dashboard --dashboard-address 127.0.0.1:0 --tls-ca-file /campaign/tls/1/ca.pem --tls-cert /campaign/tls/1/certificate.pem --tls-key /campaign/tls/1/key.pem --interface ib0 --protocol tls
