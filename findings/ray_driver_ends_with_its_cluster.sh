#!/usr/bin/env bash
# A Python program that waits for a Ray task is ended by Ray, without an exception, once its cluster has been stopped.
#
# Versions: ray 2.60.0. Source: a program that turns every exception into an exit code of its own, on a cluster that an
# operator stops with `ray stop`.
# A good guess: ray.get raises (RayError, ConnectionError, at least SystemExit), so that try/except/finally decide.
# What happens: about a minute after the stop the process ends with exit code 1 from C++ code. No exception is raised,
# and no `except`, `finally` or atexit handler runs.
# What a user gets wrong: what must be cleaned up or told at the end never is, and a program whose exit code 1 has a
# meaning of its own reports that. Who must know runs Ray in a child process and looks at how it ended.
# RAY_gcs_rpc_server_reconnect_timeout_s makes the minute shorter here.
set -euo pipefail
folder=$(mktemp -d)
trap 'pkill -KILL -f "$folder/t/" || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet ray==2.60.0 2>/dev/null
cd "$folder"
export RAY_TMPDIR="$folder/t" RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=disabled RAY_gcs_rpc_server_reconnect_timeout_s=5
mkdir t
"$folder/venv/bin/ray" start --head --port 6391 --num-cpus 1 --include-dashboard false >/dev/null 2>&1
cat > driver.py <<'PYTHON'
import atexit
import time

import ray

ray.init("127.0.0.1:6391", log_to_driver=False)
print("ray", ray.__version__, flush=True)


@ray.remote
def wait() -> None:
    time.sleep(600)


atexit.register(lambda: print("atexit ran", flush=True))
task = wait.remote()
print("waiting", flush=True)
try:
    ray.get(task)
except BaseException as error:
    print("raised", type(error).__name__, flush=True)
finally:
    print("finally ran", flush=True)
PYTHON
"$folder/venv/bin/python" driver.py > seen 2> errors &
driver=$!
for _ in $(seq 60); do grep -q waiting seen && break; kill -0 "$driver" 2>/dev/null || { cat errors; exit 1; }; sleep 1; done
sleep 2
pkill -f "gcs_server.*$folder/t/"  # what `ray stop` does, to this cluster alone
code=0
wait "$driver" || code=$?
cat seen
echo "exit code $code"
grep -o "The program will terminate" errors | head -1
[ "$code" = 1 ] || { echo "the behaviour has changed"; exit 1; }
! grep -qE "raised|finally|atexit" seen || { echo "the behaviour has changed"; exit 1; }
echo "seen as described"
