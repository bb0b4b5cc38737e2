#!/usr/bin/env bash
# ngrok's clients, in a folder: what tests/it/ngrok runs against a daemon. Each that cannot be had here is left
# out with a line, and its test says so too.
#
# Usage: tests/interop.sh FOLDER
#
# Environment: NGROK_API_GO_V4, NGROK_API_GO_V8 and NGROK_TERRAFORM_PROVIDER name folders with sources, in place
# of the modules; INTEROP_PROVIDER=1 builds the Terraform provider too, which takes minutes.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$1
mkdir -p "$folder/bin"

skipped() {
    echo "skipped: $1"
}

if command -v npm >/dev/null && command -v node >/dev/null; then
    npm install --ignore-scripts --no-audit --no-fund --silent --prefix "$folder/node" @ngrok/ngrok-api@0.11.0 ||
        skipped "the npm package @ngrok/ngrok-api cannot be had"
else
    skipped "node and npm are not installed"
fi

# The Go client of one major version: go_client VERSION RELEASE FILE SOURCES
go_client() {
    local module=github.com/ngrok/ngrok-api-go/$1 at=$folder/go-$1
    rm -rf "$at"
    mkdir -p "$at"
    for file in main.go "$3"; do
        sed "s#ngrok-api-go/VERSION#ngrok-api-go/$1#" "$here/interop/go/$file" >"$at/$file"
    done
    (
        cd "$at"
        go mod init interop
        go mod edit -require="$module@$2"
        [ -z "$4" ] || go mod edit -replace="$module=$4"
        GOFLAGS=-mod=mod go build -buildvcs=false -o "$folder/bin/go-$1" .
    ) >"$at/log" 2>&1 || skipped "the Go client $module $2 cannot be built: $(tail -n 1 "$at/log")"
}

provider() {
    local sources=${NGROK_TERRAFORM_PROVIDER:-} to=$folder/bin/terraform-provider-ngrok
    if [ -n "$sources" ]; then
        (cd "$sources" && GOFLAGS=-mod=mod go build -buildvcs=false -o "$to" .)
    else
        GOBIN=$folder/bin go install github.com/ngrok/terraform-provider-ngrok@v0.8.0
    fi
}

if ! command -v go >/dev/null; then
    skipped "go is not installed"
else
    go_client v4 v4.0.1 domain_old.go "${NGROK_API_GO_V4:-}"
    go_client v8 v8.0.0 domain_new.go "${NGROK_API_GO_V8:-}"
    if [ -z "${INTEROP_PROVIDER:-}" ]; then
        skipped "ngrok's Terraform provider is built with INTEROP_PROVIDER=1 only"
    elif ! provider >"$folder/provider.log" 2>&1; then
        skipped "ngrok's Terraform provider cannot be built: $(tail -n 1 "$folder/provider.log")"
    fi
fi
