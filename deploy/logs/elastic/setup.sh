#!/bin/sh
# Puts lifecycle, index template and Kibana's objects in place; may be run again at any time.
#   ELASTICSEARCH_URL, KIBANA_URL   default http://localhost:9200 and http://localhost:5601; empty KIBANA_URL: not there
#   ELASTICSEARCH_API_KEY_FILE      file with the API key, as Elasticsearch gave it (encoded)
#   ELASTICSEARCH_CA                file with the authority of both (PEM)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
elasticsearch=${ELASTICSEARCH_URL:-http://localhost:9200}
kibana=${KIBANA_URL-http://localhost:5601}

# The key goes by standard input: arguments can be read by everybody on the machine.
ask() {
    if [ -n "${ELASTICSEARCH_API_KEY_FILE:-}" ]; then
        printf 'header = "Authorization: ApiKey %s"\n' "$(cat "$ELASTICSEARCH_API_KEY_FILE")"
    fi | curl --config - --silent --show-error --fail-with-body --retry 5 --retry-connrefused \
        ${ELASTICSEARCH_CA:+--cacert "$ELASTICSEARCH_CA"} "$@"
    echo
}

ask -X PUT "$elasticsearch/_ilm/policy/mozaiksai" -H 'Content-Type: application/json' \
    --data-binary "@$here/lifecycle.json"
ask -X PUT "$elasticsearch/_index_template/mozaiksai" -H 'Content-Type: application/json' \
    --data-binary "@$here/index-template.json"
if [ -n "$kibana" ]; then
    said=$(ask -X POST "$kibana/api/saved_objects/_import?overwrite=true" -H 'kbn-xsrf: true' \
        --form "file=@$here/kibana.ndjson")
    echo "$said"
    # Kibana answers 200 to an import of which nothing came in.
    case $said in
        *'"success":true'*) ;;
        *) echo "setup.sh: Kibana did not take all of kibana.ndjson" >&2; exit 1 ;;
    esac
fi
