#!/usr/bin/env bash
# Install whatever the project needs and is missing. A second run installs nothing.
#
#   VENV     the virtual environment; made if it is missing           (default .venv)
#   PYTHON   the Python to make it with, 3.11 or later               (default: the newest one on the PATH)
#   EXTRAS   the extras of pyproject.toml to install                  (default dev)
#   NO_APT   1: never call apt-get, only list the missing packages
set -euo pipefail
cd "$(dirname "$0")/.."

VENV=${VENV:-.venv}
EXTRAS=${EXTRAS:-dev}

fail() { echo "setup: $*" >&2; exit 2; }

quietly() {  # writes a command's output to a file; if it fails, one line says why and what to do
  local advice=$1 log reason
  shift
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1; then
    reason=$(grep -m 1 -E '^(ERROR|E|error|sudo): ?' "$log" || tail -n 1 "$log")
    fail "${reason:-$1 failed}; $advice (full output: $log)"
  fi
  rm -f "$log"
}

newest_python() {
  local name
  for name in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
    if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
}

missing_packages() {  # for building FFCV, for making a virtual environment, and for the servers and networks of the tests
  local python=$1 named=python3
  command -v g++ >/dev/null || echo g++
  command -v pkg-config >/dev/null || echo pkg-config
  pkg-config --exists opencv4 2>/dev/null || echo libopencv-dev
  pkg-config --exists libturbojpeg 2>/dev/null || echo libturbojpeg0-dev
  if [[ "$EXTRAS" == *dev* ]]; then
    command -v redis-server >/dev/null || echo redis-server
    command -v openssl >/dev/null || echo openssl
    command -v ip >/dev/null || echo iproute2
    command -v chromium >/dev/null || echo chromium
  fi
  if [ -z "$python" ]; then
    printf '%s\n' python3 python3-dev python3-venv
  else  # by its version: python3-dev is of the default Python alone
    named=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    "$python" -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null || echo "$named-dev"
    "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "$named-venv"
  fi
}

install_packages() {
  local by_hand="install them, then run this script again: sudo apt-get install $*"
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get)  # sudo drops what is merely exported
  if [ "${NO_APT:-0}" = 1 ] || ! command -v apt-get >/dev/null; then
    fail "missing system packages; $by_hand"
  fi
  if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || fail "missing system packages; $by_hand"
    apt=(sudo -n "${apt[@]}")
  fi
  echo "setup: installing system packages: $*"
  quietly "$by_hand" "${apt[@]}" update -qq
  quietly "$by_hand" "${apt[@]}" install -y -qq --no-install-recommends "$@"
}

# What was installed is remembered by what it was made from, so a change of pyproject.toml installs again.
wanted() { { echo "$PWD $EXTRAS"; cat pyproject.toml constraints.txt; } | sha256sum | cut -d ' ' -f 1; }
stamp="$VENV/.sadp_dist-$(wanted)"
if [ -e "$stamp" ]; then exit 0; fi

python=$(newest_python)
if [ -z "$python" ] && [ -n "${PYTHON:-}" ]; then
  fail "PYTHON=$PYTHON is not Python 3.11 or later; set another PYTHON, or leave it out"
fi
mapfile -t packages < <(missing_packages "$python")
if [ "${#packages[@]}" -gt 0 ]; then
  install_packages "${packages[@]}"
  python=$(newest_python)
fi
if [ -z "$python" ]; then
  fail "Python 3.11 or later is required; install it (such as python3.11-dev and python3.11-venv), then run this script again"
fi

if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
  echo "setup: creating the virtual environment $VENV with $python"
  quietly "set PYTHON to another Python, or VENV to another folder" "$python" -m venv "$VENV"
fi
echo "setup: installing the Python packages (one or two minutes; downloads several GB the first time)"
quietly "check the network, then run this script again" \
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[$EXTRAS]"
rm -f "$VENV"/.sadp_dist-*
touch "$stamp"
echo "setup: done; activate it with: source $VENV/bin/activate"
