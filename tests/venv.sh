#!/bin/sh
# Makes the Python environment that the tests start the AWS emulator and the Kafka brokers from.
#
# Usage: venv.sh DIR REQUIREMENTS
#
# Needs Python 3.11 or later and nothing else: where the system's Python cannot put pip into a new
# environment (Debian without python3-venv), one known pip is fetched from PyPI.
set -eu

dir=$1
requirements=$2
bootstrap=$(dirname "$0")/bootstrap_pip.py

fail() {
    echo "venv.sh: $*" >&2
    exit 1
}

command -v python3 >/dev/null || fail "python3 is not installed"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$(python3 --version) is too old; the tests need Python 3.11 or later"

rm -rf "$dir"
if ! python3 -m venv "$dir" >/dev/null 2>&1; then
    rm -rf "$dir"
    python3 -m venv --without-pip "$dir" || fail "python3 cannot make an environment; install python3-venv"
    "$dir/bin/python" "$bootstrap" || fail "cannot fetch pip; install python3-venv"
fi
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile -r "$requirements" ||
    fail "cannot install $requirements"
