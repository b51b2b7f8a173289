#!/usr/bin/env bash
# Train in a Ray cluster, from any machine that reaches its dashboard. `ray job submit` sends this project's files and runs
# launch/ray_train.py there. All arguments go to `sadp-dist train`:
#
#   RAY_API_SERVER_ADDRESS=http://head:8265 WORKERS=8 GPU=1 launch/ray_job.sh CONFIG.yaml [section.key=value ...]
#
# The machines of the cluster need `pip install 'sadp_dist[ffcv,ray]'` and the data.
#
#   RAY_API_SERVER_ADDRESS  the cluster's dashboard              (default http://127.0.0.1:8265)
#   WORKERS        processes: a number, or MIN:MAX               (default 1)
#   CPUS           CPU cores per process                         (default 1)
#   GPU            1: one GPU per process                        (default 0)
#   MAX_RESTARTS   how often dead workers are restarted; more than 0 adds --resume  (default 0)
#   FOLDER         a folder that all machines share, with data/ and runs/
#                                                                (default: this project's, for a cluster on this machine)
#   RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH  the cluster's token, if it has one  (default: the one in ~/.ray/auth_token)
#   INTERFACE      the network interface that gloo and NCCL use  (default: they choose); see also GLOO_* and NCCL_*
#   NO_WAIT        1: do not wait until the job ends             (default 0)
#   VENV           the virtual environment of this machine       (default: .venv if it exists, else the PATH)
#   DRY_RUN        1: only print the command
#
# For scores in Redis, the script passes on SADP_DIST_REDIS_USERNAME and SADP_DIST_REDIS_PASSWORD_FILE, a path on the
# cluster. It does not pass on a password, because Ray's dashboard shows a job's variables to everyone.
set -euo pipefail

fail() { echo "ray_job.sh: $*" >&2; exit 2; }

[ $# -gt 0 ] || fail "CONFIG.yaml is missing; usage: launch/ray_job.sh CONFIG.yaml [section.key=value ...]"
cd "$(dirname "$0")/.."
if [ -n "${VENV:-}" ] || [ -e .venv/bin/ray ]; then PATH=$(realpath -m "${VENV:-.venv}")/bin:$PATH; fi
command -v ray >/dev/null || fail "ray is not on the PATH${VENV:+ with VENV=$VENV}; install it with: pip install 'sadp_dist[ray]'"

export RAY_API_SERVER_ADDRESS=${RAY_API_SERVER_ADDRESS:-http://127.0.0.1:8265}
# `ray start` makes a token; `ray job submit` sends it only in this mode.
if [ -n "${RAY_AUTH_TOKEN:-}${RAY_AUTH_TOKEN_PATH:-}" ] || [ -e ~/.ray/auth_token ]; then
  export RAY_AUTH_MODE=${RAY_AUTH_MODE:-token}
fi
options=(--workers "${WORKERS:-1}" --cpus "${CPUS:-1}" --folder "${FOLDER:-$PWD}" --max-restarts "${MAX_RESTARTS:-0}")
case "${GPU:-0}" in
  0) ;;
  1) options+=(--gpu) ;;
  *) fail "GPU=$GPU must be 0 or 1" ;;
esac

handed_on=()
for name in SADP_DIST_REDIS_USERNAME SADP_DIST_REDIS_PASSWORD_FILE ${!GLOO_*} ${!NCCL_*}; do
  if [ -n "${!name:-}" ]; then handed_on+=("$name" "${!name}"); fi
done
if [ -n "${INTERFACE:-}" ]; then handed_on+=(GLOO_SOCKET_IFNAME "$INTERFACE" NCCL_SOCKET_IFNAME "$INTERFACE"); fi
environment=$(python - "${handed_on[@]}" <<'PYTHON'
import json, sys

names_and_values = sys.argv[1:]
print(json.dumps({
    "env_vars": dict(zip(names_and_values[::2], names_and_values[1::2])),
    "excludes": [".git", ".venv", ".hypothesis", ".*_cache", "/data", "/runs", "/docs", "/tests"],
}))
PYTHON
)
command=(ray job submit --working-dir . --runtime-env-json "$environment")
if [ "${NO_WAIT:-0}" = 1 ]; then command+=(--no-wait); fi
command+=(-- python launch/ray_train.py "${options[@]}" "$@")
{ printf '$'; printf ' %q' "${command[@]}"; echo; } | sed -E 's#(rediss?://)[^ ]*@#\1***@#g'
if [ "${DRY_RUN:-0}" = 1 ]; then exit; fi
exec "${command[@]}"
