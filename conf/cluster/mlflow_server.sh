#!/usr/bin/env bash
# MLflow's server on the head, on loopback, its store on the head's disk and the files that runs
# bring on the shared one. Does nothing where it answers already.
set -eu
source "$HOME/.harness_environment"
if python - <<'CHECK'
import sys, urllib.request
try:
    urllib.request.urlopen("http://127.0.0.1:5000/health", timeout=5)
except OSError:
    sys.exit(1)
CHECK
then
    exit 0
fi
mkdir -p "$HOME/mlflow" "$HARNESS_RUNS"
# Its store is whole or not there: MLflow takes none that has some of its tables.
cd "$HOME/harness"
python - "sqlite:///$HOME/mlflow/mlflow.db" "$HOME/mlflow" <<'MAKE'
import sys
from pathlib import Path
from harness.mlflow_store import made_store
uri, folder = sys.argv[1:]
# The files of whoever names no experiment too are brought to the server.
with made_store(uri, Path(folder), "mlflow-artifacts:/"):
    pass
MAKE
# Without its seven processes for jobs, which no study asks for: 230 MiB each on the head.
MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false nohup mlflow server --host 127.0.0.1 --port 5000 \
    --backend-store-uri "sqlite:///$HOME/mlflow/mlflow.db" \
    --artifacts-destination "$HARNESS_RUNS/mlartifacts" \
    > "$HOME/mlflow/server.log" 2>&1 < /dev/null &
