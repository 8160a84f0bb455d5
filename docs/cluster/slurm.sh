#!/usr/bin/env bash
# Sixteen workers on a Slurm cluster, one GPU each, for a search that `convnas launch` has begun:
#   sbatch --export=ALL,STORAGE_URL=postgresql://convnas@db.example.org/nas docs/cluster/slurm.sh
# The database's password is in ~/.pgpass (mode 600), never in the command.
#SBATCH --job-name=convnas-worker
#SBATCH --array=1-16
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=24G
#SBATCH --time=08:00:00
#SBATCH --output=convnas-worker-%A-%a.log
#SBATCH --requeue
# A minute before the end the worker is asked to stop, and gives its trials up for others to take.
#SBATCH --signal=B:TERM@60
set -euo pipefail

: "${STORAGE_URL:?the postgresql:// or grpc:// address of the study}"
export OMP_NUM_THREADS=1
# exec, so that the signal reaches the worker and not this shell.
exec "${CONVNAS:-$HOME/convnas/.venv/bin/convnas}" worker "$STORAGE_URL" --device cuda
