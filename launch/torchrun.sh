#!/usr/bin/env bash
# Train with torchrun on this node, alone or with other nodes. All arguments go to `sadp-dist train`:
#
#   launch/torchrun.sh configs/digits.yaml                                               only this machine
#   NNODES=2 MASTER_ADDR=node0 launch/torchrun.sh CONFIG.yaml store.url=redis://scores   the same line on two nodes
#   NNODES=2 MASTER_ADDR=node0 NODE_RANK=1 launch/torchrun.sh CONFIG.yaml                static: you number the nodes
#   NNODES=1:4 MASTER_ADDR=node0 launch/torchrun.sh CONFIG.yaml                          elastic: nodes may die, leave and join
#
#   NPROC            processes on this node                       (default: one per GPU; without a GPU 1)
#   NNODES           nodes: a number, or MIN:MAX                  (default 1)
#   MASTER_ADDR      where the nodes meet: name or address of a node, which then has to stay, or of a machine
#                    that runs `sadp-dist rendezvous --port MASTER_PORT`
#   MASTER_PORT      a free port there                            (default 29400)
#   NODE_RANK        number of this node, 0 on MASTER_ADDR        (default: the nodes number themselves)
#   JOB_ID           the same on all nodes of a job, different for each job at MASTER_ADDR  (default sadp-dist)
#   MAX_RESTARTS     how often the ranks are restarted when one dies; more than 0 adds --resume and needs runs/
#                    on storage that all nodes share              (default 0; with MIN:MAX 10)
#   ADDRESS          this node's address for the other nodes      (default: the one it reaches MASTER_ADDR from)
#   INTERFACE        the network interface that gloo and NCCL use (default: gloo uses that of ADDRESS, NCCL chooses);
#                    GLOO_* and NCCL_* set more, such as NCCL_IB_HCA and NCCL_DEBUG=INFO
#   RDZV_CONF        more for torchrun's --rdzv-conf, such as last_call_timeout=5: seconds that MIN nodes wait for others
#   TORCH_CPP_LOG_LEVEL  log level of torch's network code    (default ERROR; its warnings are long and harmless)
#   VENV             the virtual environment                      (default: this project's .venv if it exists, else the PATH)
#   OMP_NUM_THREADS  threads per process                          (default: its share of the cores)
#   DRY_RUN          1: only print the command
set -euo pipefail

fail() { echo "torchrun.sh: $*" >&2; exit 2; }
number() {  # check that the variable is a number of at least $2
  if ! [[ "${!1}" =~ ^[0-9]+$ ]] || [ "${!1}" -lt "$2" ]; then fail "$1=${!1} must be a number of at least $2"; fi
}
given() {  # whether an option is among the arguments
  local option=$1 argument
  shift
  for argument; do if [ "$argument" = "$option" ]; then return 0; fi; done
  return 1
}

[ $# -gt 0 ] || fail "CONFIG.yaml is missing; usage: launch/torchrun.sh CONFIG.yaml [section.key=value ...]"
project=$(dirname "$(dirname "$(realpath "${BASH_SOURCE[0]}")")")
if [ -n "${VENV:-}" ] || [ -e "$project/.venv/bin/torchrun" ]; then
  PATH=$(realpath -m "${VENV:-$project/.venv}")/bin:$PATH
fi
command -v torchrun >/dev/null || fail "torchrun is not on the PATH${VENV:+ with VENV=$VENV}; install it with: launch/setup.sh"

NNODES=${NNODES:-1}
if ! [[ "$NNODES" =~ ^[1-9][0-9]*(:[1-9][0-9]*)?$ ]] || [ "${NNODES%:*}" -gt "${NNODES#*:}" ]; then
  fail "NNODES=$NNODES must be a number of nodes, such as 4, or MIN:MAX, such as 1:4"
fi
if [[ "$NNODES" == *:* ]]; then MAX_RESTARTS=${MAX_RESTARTS:-10}; fi
MAX_RESTARTS=${MAX_RESTARTS:-0}
number MAX_RESTARTS 0
NPROC=${NPROC:-$(python -c 'import torch; print(max(torch.cuda.device_count(), 1))')}
number NPROC 1
cores=$(nproc)
OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > NPROC ? cores / NPROC : 1))}
number OMP_NUM_THREADS 1

if [ "$MAX_RESTARTS" != 0 ]; then
  if given --overwrite "$@"; then
    fail "--overwrite needs MAX_RESTARTS=0, because every restart would delete the run; or remove the run directory first"
  fi
  given --resume "$@" || set -- "$@" --resume
fi

# torch 2.15 else hands ranks that are started again the addresses of those before; docs/reliability.md.
variables=("OMP_NUM_THREADS=$OMP_NUM_THREADS" TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
  "TORCH_CPP_LOG_LEVEL=${TORCH_CPP_LOG_LEVEL:-ERROR}")
if [ -n "${INTERFACE:-}" ]; then
  variables+=("GLOO_SOCKET_IFNAME=$INTERFACE" "NCCL_SOCKET_IFNAME=$INTERFACE")
fi
options=(--nnodes "$NNODES" --nproc-per-node "$NPROC" --max-restarts "$MAX_RESTARTS")

way_to_master() {  # this node's address towards MASTER_ADDR, and whether it is free to open the port there; sends nothing
  python - "$MASTER_ADDR" "$MASTER_PORT" <<'PYTHON'
import socket, sys

host, port = sys.argv[1], int(sys.argv[2])
try:
    family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as way:
        way.connect(place)
        address = way.getsockname()[0]
except OSError as error:
    sys.exit(f"torchrun.sh: MASTER_ADDR={host} cannot be reached ({error.strerror}); set it to the address of a node")
try:
    socket.create_server(place[:2], family=family).close()
    print(address, "true")
except OSError:
    print(address, "false")
PYTHON
}

own_address() {  # Debian lets a machine's own name be 127.0.1.1; where it has one other address, that is meant
  local addresses
  read -r -a addresses <<<"$(hostname -I | tr ' ' '\n' | grep -F . | tr '\n' ' ')"
  if [ "${#addresses[@]}" != 1 ]; then
    fail "MASTER_ADDR=$MASTER_ADDR is $1 on this machine, which other nodes cannot reach; set ADDRESS to one of: ${addresses[*]}"
  fi
  echo "${addresses[0]}"
}

if [ "$NNODES" = 1 ]; then
  options+=(--standalone)
else
  [ -n "${MASTER_ADDR:-}" ] || fail "NNODES=$NNODES needs MASTER_ADDR; set it to the name or address of the node where all nodes meet"
  MASTER_PORT=${MASTER_PORT:-29400}
  number MASTER_PORT 1
  [ "$MASTER_PORT" -le 65535 ] || fail "MASTER_PORT=$MASTER_PORT must be at most 65535"
  way=$(way_to_master) || exit 2
  if [[ "$way" =~ ^(127\.|::1) ]]; then ADDRESS=${ADDRESS:-$(own_address "${way% *}")}; fi
  ADDRESS=${ADDRESS:-${way% *}}
  if [ -z "${INTERFACE:-}" ] && command -v ip >/dev/null; then
    interface=$(ip -oneline address show to "$ADDRESS" | awk '{ print $2; exit }')
    if [ -n "$interface" ]; then variables+=("GLOO_SOCKET_IFNAME=${GLOO_SOCKET_IFNAME:-$interface}"); fi
  fi
  if [ -n "${NODE_RANK:-}" ]; then
    if [[ "$NNODES" == *:* ]] || [ "$MAX_RESTARTS" != 0 ]; then
      fail "NODE_RANK=$NODE_RANK needs a fixed NNODES and MAX_RESTARTS=0; set these, or leave NODE_RANK out"
    fi
    number NODE_RANK 0
    [ "$NODE_RANK" -lt "$NNODES" ] || fail "NODE_RANK=$NODE_RANK must be below NNODES=$NNODES"
    options+=(--node-rank "$NODE_RANK" --master-addr "$MASTER_ADDR" --master-port "$MASTER_PORT")
  else
    options+=(--rdzv-backend c10d --rdzv-endpoint "$MASTER_ADDR:$MASTER_PORT" --rdzv-id "${JOB_ID:-sadp-dist}")
    options+=(--rdzv-conf "is_host=${way#* },read_timeout=600${RDZV_CONF:+,$RDZV_CONF}" --local-addr "$ADDRESS")
  fi
fi

command=(env "${variables[@]}" torchrun "${options[@]}" -m sadp_dist train "$@")
{ printf '$'; printf ' %q' "${command[@]}"; echo; } | sed -E 's#(rediss?://)[^ ]*@#\1***@#g'
if [ "${DRY_RUN:-0}" = 1 ]; then exit; fi
python -m sadp_dist check "$@" --nnodes "$NNODES" --nproc-per-node "$NPROC"
if [ "$NNODES" != 1 ]; then echo "waiting for the nodes ($NNODES) at $MASTER_ADDR:$MASTER_PORT"; fi
exec "${command[@]}"
