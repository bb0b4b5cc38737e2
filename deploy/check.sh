#!/usr/bin/env bash
# Checks the files of this directory that nothing else runs.
#
# Usage: check.sh [BINARY]
#
# With a sluicegate binary it also has the settings files checked by the daemon itself. Python with
# PyYAML is taken from PYTHON (default: python3).
set -euo pipefail
binary=${1:+$(realpath "$1")}
cd "$(dirname "${BASH_SOURCE[0]}")"
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Every YAML and JSON file parses; the Kubernetes settings are taken out of their ConfigMap.
"$python" - "$work/kubernetes.yaml" <<'EOF'
import glob, json, sys, yaml

for path in sorted(glob.glob("**/*.yaml", recursive=True)):
    with open(path) as file:
        documents = list(yaml.safe_load_all(file))
    if path == "kubernetes/configmap.yaml":
        with open(sys.argv[1], "w") as settings:
            settings.write(documents[0]["data"]["sluicegate.yaml"])
for path in sorted(glob.glob("aws/*.json")):
    with open(path) as file:
        json.load(file)
EOF

# The set-up script fills in every name of every policy.
for target in kinesis:us-east-1:123456789012:stream/errors \
    firehose:us-east-1:123456789012:deliverystream/requests \
    'logs:us-east-1:123456789012:log-group:/sluicegate/connections:*'; do
    printed=$(aws/setup.sh --dry-run --target "arn:aws:$target" \
        --principal arn:aws:iam::210987654321:role/sluicegate)
    case $printed in
    *"\${"*)
        echo "check.sh: aws/setup.sh leaves a name unfilled for $target" >&2
        exit 1
        ;;
    esac
done

if [ -n "$binary" ]; then
    SLUICEGATE_INGEST_TOKEN=example "$binary" check -c container/sluicegate.yaml
    # Every token that the ConfigMap reads is one that the page has the secret made of.
    grep -o '/etc/sluicegate-tokens/[a-z]*' "$work/kubernetes.yaml" | while read -r file; do
        name=${file##*/}
        grep -q -- "--from-literal=$name=" kubernetes/README.md || {
            echo "check.sh: kubernetes/README.md makes no token '$name'" >&2
            exit 1
        }
        echo example >"$work/$name"
    done
    sed -i "s|/etc/sluicegate-tokens/|$work/|" "$work/kubernetes.yaml"
    "$binary" check -c "$work/kubernetes.yaml"
fi
echo "deploy: checked"
