//! The requests that make a dump, as a shell script. Nothing here opens a connection.

/// A portable shell script that asks a job manager at `host:port` and leaves a dump in a directory.
/// It finds the job by itself if one alone is running.
pub fn script(address: &str) -> String {
    SCRIPT.replace("@ADDRESS@", address)
}

/// Answers are JSON in one line, so that `sed` can find ids: an object begins with its id.
const SCRIPT: &str = r##"#!/bin/sh
# Asks Flink's REST interface for what `cutline calibrate --from-rest DIR` reads. It only reads.
#   sh dump.sh [DIR [JOB]]
# DIR is made if need be (flink-dump unless given). JOB is the id of a job; it can be left out if
# one alone is running. Needs curl and the usual tools. Best run while the job is as busy as it
# gets, and once more after it has recovered from a failure. Flink hides the values of keys that
# look like secrets; look through jobmanager-config.json all the same before you hand it on.
set -eu
rest='http://@ADDRESS@'
dir=${1:-flink-dump}
job=${2:-}
mkdir -p "$dir"

get() {
    curl -fsS --max-time 60 -o "$dir/$2" "$rest$1"
}

# What may be gone meanwhile, or not be there in this version.
try() {
    get "$1" "$2" 2>/dev/null || { rm -f "$dir/$2"; echo "no answer to $1" >&2; }
}

# Starts a line at each object of a file.
objects() {
    tr -d '\n' <"$dir/$1" | tr '{' '\n'
}

if [ -z "$job" ]; then
    get /jobs jobs.json
    job=$(objects jobs.json | sed -n 's/^"id":"\([0-9a-f]*\)","status":"RUNNING".*/\1/p')
    rm -f "$dir/jobs.json"
    case $job in
    '') echo 'no job is running' >&2; exit 1 ;;
    *' '* | *'
'*) printf 'several jobs are running; name one:\n%s\n' "$job" >&2; exit 1 ;;
    esac
fi

get "/jobs/$job" job.json
try "/jobs/$job/plan" plan.json
get "/jobs/$job/checkpoints" checkpoints.json
get "/jobs/$job/checkpoints/config" checkpoints-config.json
get /jobmanager/config jobmanager-config.json
get "/jobs/$job/exceptions" exceptions.json

vertices=$(objects job.json | sed -n \
    -e 's/^"id":"\([0-9a-f]*\)","slotSharingGroupId".*/\1/p' \
    -e 's/^"id":"\([0-9a-f]*\)","name".*/\1/p' | sort -u)
completed=$(objects checkpoints.json |
    sed -n 's/^"className":"completed","id":\([0-9]*\),.*/\1/p' | sort -un | tail -n 10)
failed=$(objects checkpoints.json |
    sed -n 's/^"className":"failed","id":\([0-9]*\),.*/\1/p' | sort -un | tail -n 3)

# The first request makes Flink take samples, the second one gets them.
for vertex in $vertices; do
    try "/jobs/$job/vertices/$vertex/backpressure" "backpressure-$(printf %.8s "$vertex").json"
done
for checkpoint in $completed $failed; do
    try "/jobs/$job/checkpoints/details/$checkpoint" "details-$checkpoint.json"
    [ -e "$dir/details-$checkpoint.json" ] || continue
    for vertex in $vertices; do
        try "/jobs/$job/checkpoints/details/$checkpoint/subtasks/$vertex" \
            "details-$checkpoint-subtasks-$(printf %.8s "$vertex").json"
    done
done
sleep "${CUTLINE_SAMPLING:-5}"
for vertex in $vertices; do
    short=$(printf %.8s "$vertex")
    try "/jobs/$job/vertices/$vertex/backpressure" "backpressure-$short.json"
    try "/jobs/$job/vertices/$vertex/subtasktimes" "subtasktimes-$short.json"
done
echo "cutline calibrate --from-rest $dir --out scenario.json" >&2
"##;
