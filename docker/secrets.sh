#!/usr/bin/env bash
# Make the missing secrets of the containers: redis_password, dashboard_token and grafana_password, one random word each.
#
#   SECRETS  the folder; only its owner can enter it                   (default: secrets, beside this script)
#
# Everyone may read the files themselves: a container keeps their mode, and its user is not their owner.
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
