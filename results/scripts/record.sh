# What run_all.sh and data.sh share: each run writes a log, and its scores beside it. Variables:
#   PYTHON=/path/to/python   another interpreter; "python" in the logs stands for it
#   LOGS=FOLDER              the logs and scores go to another folder
#   LIST=1                   prints the names of the runs, and trains nothing
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=${PYTHON:-python}
commit=$(git rev-parse HEAD)
# The scripts write into results/, so its files may differ from the commit.
git diff --quiet HEAD -- . ':!results' || commit+=-changed
TIMEFORMAT='whole command: %R s, processor: %U s of the program and %S s of the system'

describe_load() {
    uptime | sed 's/.*average[s]*: //'
}

is_chosen() { # name of the run
    if [[ -n ${LIST:-} ]]; then
        echo "$1"
        return 1
    fi
    [[ $names == "  " || $names == *" $1 "* ]]
}

record() { # log, flags of train.py: adds the command, the code, the machine, the output and the times to the log
    local log=$1
    shift
    mkdir -p "$(dirname "$log")"
    {
        echo "$ python train.py $*"
        echo "# commit $commit"
        echo "# load average at the start $(describe_load)"
        "$python" -c 'import utils
about = utils.describe_environment()
print("# processor", about["processor"], "with", about["cores"], "cores")
print("# versions", *(f"{name} {version}" for name, version in about["versions"].items()))'
        local status=0
        time "$python" train.py "$@" || status=$?
        echo "# load average at the end $(describe_load)"
        exit $status
    } 2>&1 | tee -a "$log"
}

run() { # name, flags of train.py: trains the run on one thread, or resumes it, unless its scores are there
    local name=$1
    is_chosen "$name" || return 0
    shift
    local log=$logs/$name.log folder=runs/$logs
    if [[ -d $folder/$name ]]; then
        [[ -e $folder/$name/results.json ]] || record "$log" --resume "$folder/$name"
    else
        rm -f "$log"
        record "$log" "$@" --threads 1 --output "$folder" --name "$name"
    fi
    cp "$folder/$name/results.json" "$logs/$name.json"
}
