#!/bin/sh
# Writes the files that runtime.yaml reads as secrets to secrets/, where they are missing. What nobody but
# you can know gets a placeholder and is named.
set -eu
cd "$(dirname "$0")"
# The folder is closed to others; the files are open, since each service reads them as a user of its own.
mkdir -p secrets
chmod 0700 secrets
umask 022

put() { # put NAME TEXT
    [ -e "secrets/$1" ] || printf '%s\n' "$2" >"secrets/$1"
}
random() { od -An -N 24 -tx1 /dev/urandom | tr -d ' \n'; }

for name in push_token grafana_admin_password mongo_root_password mongo_runtime_password \
    mongo_exporter_password; do
    put "$name" "$(random)"
done
put exporter_mongo_uri "mongodb://exporter:$(cat secrets/mongo_exporter_password)@mongodb:27017/MozaiksAI"
put runtime.env "MONGO_URI=mongodb://runtime:$(cat secrets/mongo_runtime_password)@mongodb:27017/MozaiksAI
OPENAI_API_KEY=replace-me"
chmod 0600 secrets/runtime.env
for name in mozaiks_token alertmanager_smtp_password alertmanager_slack_url alertmanager_webhook_token \
    alertmanager_watchdog_token; do
    put "$name" replace-me
done
if grep -l replace-me secrets/*; then
    echo "secrets.sh: write what is right into the files above, where you use it" >&2
fi
