#!/bin/sh
# Copies Apache Kafka's broker and tools into a folder, by Maven, if they are not there yet.
#
# Usage: fetch.sh DIR
#
# Where Java or Maven is not there, or Maven's repository cannot be reached, it says so in a line and ends with 0:
# the tests that need a real broker then say so too, and pass.
set -eu

dir=$1
pom=$(dirname "$0")/pom.xml

skip() {
    echo "skipped: Apache Kafka: $*"
    exit 0
}

command -v java >/dev/null || skip "no Java 17 (Debian: apt-get install default-jre-headless)"
cmp -s "$pom" "$dir/pom.xml" && exit 0
command -v mvn >/dev/null || skip "no Maven (Debian: apt-get install maven)"
echo "fetching Apache Kafka for the tests (once, 54 MB)"
rm -rf "$dir"
mvn -q -B -f "$pom" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DoutputDirectory="$dir" -DincludeScope=runtime || {
    rm -rf "$dir"
    skip "Maven cannot fetch it"
}
# Last, so that a folder with it is whole.
cp "$pom" "$dir/pom.xml"
