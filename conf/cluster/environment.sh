# What every shell and every process of Ray on a host of the cluster has: the commands, the token's
# use, and where corpora, shards, features and runs lie. For bash; conf/cluster and ray_cluster.yaml
# put it into ~/.bashrc.
export PATH="$HOME/harness/.venv/bin:$PATH"
export RAY_AUTH_MODE=token
export HARNESS_DATA="${HARNESS_DATA:-/mnt/emotion/data}"
export HARNESS_RUNS="${HARNESS_RUNS:-/mnt/emotion/runs}"
# The driver alone writes to MLflow, and it runs on the head.
export MLFLOW_TRACKING_URI="${MLFLOW_TRACKING_URI:-http://127.0.0.1:5000}"
