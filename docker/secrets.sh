#!/usr/bin/env bash
# Make the secrets that the containers are given, those that are not there yet: redis_password, dashboard_token and
# grafana_password, one random word each.
#
#   SECRETS  the folder, which only its owner can enter                (default: secrets, beside this script)
#
# The files themselves can be read by all, because in a container they keep their mode, and its user is not their owner.
set -euo pipefail

SECRETS=${SECRETS:-$(dirname "$0")/secrets}

mkdir -p "$SECRETS"
chmod 700 "$SECRETS"
for name in redis_password dashboard_token grafana_password; do
  file="$SECRETS/$name"
  if [ -s "$file" ]; then continue; fi
  printf '$ head -c 24 /dev/urandom | base64 > %s\n' "$file"
  head -c 24 /dev/urandom | base64 > "$file"
  chmod 644 "$file"
done
