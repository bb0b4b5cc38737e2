#!/bin/sh
# Instructions an event, from the body's bytes on, by callgrind: benches/instructions.sh [PROFILE]
# Counts of two runs are subtracted, so that what is done once counts for nothing.
set -eu
cd "$(dirname "$0")/instructions"
profile=${1:-release}
cargo build --quiet --locked --profile "$profile"
program=${CARGO_TARGET_DIR:-target}/$profile/sluicegate-instructions
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}
echo "instructions an event, profile $profile"
for step in split read filter project; do
    once=$(count $step 1)
    more=$(count $step 4)
    printf '%8s %6d\n' $step $(((more - once) / 3 / 2000))
done
