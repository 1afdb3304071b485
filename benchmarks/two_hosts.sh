#!/bin/bash
# Ray on two hosts of one core each, made of Linux's namespaces (network, processes, /tmp, host name) on this
# machine; one of them is lost while it works. Needs root and iproute2.
#
#   benchmarks/two_hosts.sh kill|cut PHOTOS OUT
#
# kill: host 2 dies after three results; cut: it loses its network. All photos are to be done in either case,
# with the bytes of: cloak protect PHOTOS -o ELSEWHERE --mode low
set -eu
how=$1 photos=$(realpath "$2") out=$(realpath -m "$3")
bin=$(realpath "$(dirname "$0")/../.venv/bin")
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=disabled PATH=$bin:$PATH

host() {  # NUMBER COMMAND...
  local number=$1
  shift
  ip netns exec "cloak$number" unshare --mount --uts --pid --fork --mount-proc --kill-child \
    bash -c "mount -t tmpfs tmpfs /tmp; hostname cloak$number; $*"
}

clean() {
  for number in 1 2; do
    ip netns pids "cloak$number" 2>/dev/null | xargs -r kill -9
    ip link del "cloak$number" 2>/dev/null || true
    ip netns del "cloak$number" 2>/dev/null || true
  done
  ip link del cloak0 2>/dev/null || true
}

clean
trap clean EXIT
ip link add cloak0 type bridge
ip link set cloak0 up
for number in 1 2; do
  ip netns add "cloak$number"
  ip link add "cloak$number" type veth peer name eth0 netns "cloak$number"
  ip link set "cloak$number" master cloak0 up
  ip -n "cloak$number" addr add "10.9.0.$number/24" dev eth0
  ip -n "cloak$number" link set eth0 up
  ip -n "cloak$number" link set lo up
done

start="ray start --num-cpus=1 --disable-usage-stats --node-ip-address=10.9.0"
host 1 "$start.1 --head --port=6379 --include-dashboard=false >/dev/null && sleep 15 && \
  cloak protect '$photos' -o '$out' --recursive --engine ray --address 10.9.0.1:6379 --workers 2 --mode low" &
run=$!
sleep 5
host 2 "$start.2 --address=10.9.0.1:6379 --block" >/dev/null 2>&1 &
until [ "$(find "$out" -type f ! -name '.*' 2>/dev/null | wc -l)" -ge 3 ]; do sleep 1; done
case $how in
  kill) ip netns pids cloak2 | xargs kill -9 ;;
  cut) ip link set cloak2 down ;;
esac
echo "host 2 is lost" >&2
wait $run
