#!/usr/bin/env bash
# Install what the project needs and is not there yet; the second time nothing.
#
#   VENV     the virtual environment, made if it is missing           (default .venv)
#   PYTHON   the Python that makes it, 3.11 or later                  (default: the newest one on the PATH)
#   EXTRAS   the extras of pyproject.toml to install                  (default dev)
#   NO_APT   1: never call apt-get, only say which packages are missing
set -euo pipefail
cd "$(dirname "$0")/.."

VENV=${VENV:-.venv}
EXTRAS=${EXTRAS:-dev}

newest_python() {
  local name
  for name in ${PYTHON:+"$PYTHON"} python3.13 python3.12 python3.11 python3; do
    if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
}

missing_packages() {  # what FFCV is built from, and what makes a virtual environment
  local python=$1
  command -v g++ >/dev/null || echo g++
  command -v pkg-config >/dev/null || echo pkg-config
  pkg-config --exists opencv4 2>/dev/null || echo libopencv-dev
  pkg-config --exists libturbojpeg 2>/dev/null || echo libturbojpeg0-dev
  if [ -z "$python" ]; then
    echo python3 python3-dev python3-venv
  else
    "$python" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    "$python" -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null || echo python3-dev
  fi
}

install_packages() {
  local apt=(apt-get)
  if [ "$(id -u)" != 0 ]; then apt=(sudo -n apt-get); fi
  if [ "${NO_APT:-0}" = 1 ] || ! command -v apt-get >/dev/null || { [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; }; then
    echo "setup: missing system packages; install them and run this again: sudo apt-get install $*" >&2
    exit 2
  fi
  echo "setup: installing system packages: $*"
  export DEBIAN_FRONTEND=noninteractive
  "${apt[@]}" update -qq
  "${apt[@]}" install -y -qq --no-install-recommends "$@" >/dev/null
}

# What was installed is remembered by what it was made from, so a change of pyproject.toml installs again.
wanted() { { echo "$PWD $EXTRAS"; cat pyproject.toml constraints.txt; } | sha256sum | cut -d ' ' -f 1; }
stamp="$VENV/.sadp_dist-$(wanted)"
if [ -e "$stamp" ]; then exit 0; fi

python=$(newest_python)
mapfile -t packages < <(missing_packages "$python" | tr ' ' '\n')
if [ "${#packages[@]}" -gt 0 ]; then
  install_packages "${packages[@]}"
  python=$(newest_python)
fi
if [ -z "$python" ]; then
  echo "setup: Python 3.11 or later is needed; set PYTHON to one" >&2
  exit 2
fi

if [ ! -x "$VENV/bin/python" ]; then
  echo "setup: making the virtual environment $VENV with $python"
  "$python" -m venv "$VENV"
fi
echo "setup: installing the Python packages (a minute or two; several GB the first time)"
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[$EXTRAS]"
rm -f "$VENV"/.sadp_dist-*
touch "$stamp"
echo "setup: done; activate it with: source $VENV/bin/activate"
