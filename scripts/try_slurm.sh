#!/bin/sh
# Tries hydra/launcher=submitit_slurm on a real one-node Slurm cluster on this machine (Debian or Ubuntu, as root):
#
#   scripts/try_slurm.sh
#
# Installs munge and slurm-wlm, starts munged, slurmctld and slurmd, runs a sweep of 6 smoke points, kills a job in its
# middle, resumes the sweep, and shows that no step was run twice and nothing that was done was run again. Afterwards the
# daemons that it started are stopped. The settings are for a container: no cgroups, no accounting.
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
WORK=${SLURM_TRIAL:-$(mktemp -d)}
LEDGER=$WORK/runs
HOST=$(hostname -s)
export SLURM_CONF=$WORK/slurm.conf OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1

if [ "$(id -u)" != 0 ]; then echo "try_slurm.sh: wants root, to install packages and to start daemons" >&2; exit 2; fi
if ! command -v slurmctld >/dev/null || ! command -v munged >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq munge slurm-wlm >/dev/null
fi

echo "== a cluster of one node in $WORK"
mkdir -p "$WORK/state" "$WORK/spool" "$WORK/munge"
chmod 755 "$WORK"
# a key of its own: the trial touches no munge that is already configured here
head -c 1024 /dev/urandom > "$WORK/munge/key"; chmod 400 "$WORK/munge/key"; chmod 711 "$WORK/munge"
cat > "$SLURM_CONF" <<CONF
ClusterName=trial
SlurmctldHost=$HOST
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$WORK/munge/socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$WORK/state
SlurmdSpoolDir=$WORK/spool
SlurmctldPidFile=$WORK/slurmctld.pid
SlurmdPidFile=$WORK/slurmd.pid
SlurmctldLogFile=$WORK/slurmctld.log
SlurmdLogFile=$WORK/slurmd.log
MpiDefault=none
KillWait=5
NodeName=$HOST CPUs=2 State=UNKNOWN
PartitionName=trial Nodes=$HOST Default=YES MaxTime=INFINITE State=UP
CONF
# sacct wants a database; submitit asks it for the state of jobs, and the controller knows that too
mkdir -p "$WORK/bin"
cat > "$WORK/bin/sacct" <<'SACCT'
#!/bin/sh
echo "JobID|State|NodeList"
squeue --states=all --noheader --format='%i|%T|%N'
SACCT
chmod +x "$WORK/bin/sacct"
export PATH="$WORK/bin:$PATH"
stop() {
    if [ -n "${FIRST:-}" ]; then kill "$FIRST" 2>/dev/null || true; fi
    scancel --user=root --partition=trial 2>/dev/null || true
    sleep 2
    for name in slurmd slurmctld munged; do
        if [ -f "$WORK/$name.pid" ]; then kill "$(cat "$WORK/$name.pid")" 2>/dev/null || true; fi
    done
}
trap stop EXIT
munged --force --key-file="$WORK/munge/key" --socket="$WORK/munge/socket" --pid-file="$WORK/munged.pid" \
    --log-file="$WORK/munged.log" --seed-file="$WORK/munge/seed"
slurmctld
slurmd -N "$HOST" 2>/dev/null || slurmd
sleep 3
sinfo

SWEEP="method=pt,dept method.prompt_length=4 seed=1,2,3 task=demo/movie_reviews data=fixture backbone=tiny_llama
  runner=smoke runner.max_steps=${STEPS:-400} runner.eval_every=100 runner.checkpoint_every=10 ledger.root=$LEDGER"
SLURM="hydra/launcher=submitit_slurm hydra.launcher.timeout_min=30 hydra.launcher.partition=trial
  hydra.launcher.cpus_per_task=1 hydra.launcher.array_parallelism=2"

echo "== 6 points through Slurm, and a job killed in its middle"
# shellcheck disable=SC2086
$PYTHON run.py -m $SWEEP $SLURM > "$WORK/first.txt" 2>&1 &
FIRST=$!
tries=0
until ls "$LEDGER"/*/checkpoint.pt >/dev/null 2>&1; do
    tries=$((tries + 1)); if [ $tries -gt 300 ]; then echo "no job began to train:"; squeue; cat "$WORK/first.txt"; exit 1; fi
    sleep 1
done
sleep 2
squeue
VICTIM=$(squeue -h -t R -o %i | head -1)
echo "scancel --signal=KILL $VICTIM"
scancel --signal=KILL --full "$VICTIM" || scancel "$VICTIM"
wait $FIRST || true
FIRST=
tail -9 "$WORK/first.txt"
find "$LEDGER" -name record.json -newer "$SLURM_CONF" -exec grep -l '"status": "done"' {} + | sort > "$WORK/done.txt"
touch -d '1 second' "$WORK/mark" 2>/dev/null || touch "$WORK/mark"
sleep 2

echo "== the same command goes on"
# shellcheck disable=SC2086
$PYTHON run.py -m $SWEEP $SLURM > "$WORK/second.txt" 2>&1
tail -9 "$WORK/second.txt"

echo "== nothing ran twice"
again=0
while read -r record; do
    if [ "$record" -nt "$WORK/mark" ]; then echo "was done and ran again: $record"; again=1; fi
done < "$WORK/done.txt"
$PYTHON - "$LEDGER" <<'CHECK'
import json, pathlib, sys

folders = [p.parent for p in pathlib.Path(sys.argv[1]).glob("*/record.json")]
for folder in sorted(folders):
    record = json.loads((folder / "record.json").read_text())
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps = [row["step"] for row in rows if "loss" in row]
    assert record["status"] == "done", (folder.name, record["status"])
    assert steps == sorted(set(steps)), f"{folder.name}: a step stands twice in metrics.jsonl"
    print(folder.name, record["status"], f"{record['steps']} steps, {len(steps)} logged, each once")
assert len(folders) == 6, len(folders)
CHECK
if [ $again = 1 ] || [ "$(wc -l < "$WORK/done.txt")" -gt 5 ]; then echo "try_slurm.sh: the trial proved nothing"; exit 1; fi
echo "Slurm: 6 of 6 points done, $(wc -l < "$WORK/done.txt") of them in the first go"
