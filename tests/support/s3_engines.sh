#!/usr/bin/env bash
# s3_engines.sh start|stop DIR: object stores on loopback for the tests of storage/s3, as root, those that are installed:
#  * Ceph (ceph-mon ceph-osd ceph-mgr radosgw ceph-common): two OSDs on files of 6 GiB, two copies, S3 on port 5645;
#  * versitygw, in the PATH or in DIR/bin, where `start` builds it if there is a Go: a folder, on port 5646.
# `start` first stops what runs in DIR from before. It prints what to evaluate, TEST_S3_ENGINES, and says on standard error which
# of them could not be started, and why, also that another listens on its port; it fails if there is none. Ceph wants a writable
# /dev/shm.
set -euo pipefail
action=${1:?start or stop}
mkdir -p "${2:?DIR}"
dir=$(realpath "$2")
key=testkey
secret=testsecret123

# is_ours PID: whether it is a process that was started here; by now its number may be another's.
is_ours() {
  local words
  { words=$(tr '\0' ' ' <"/proc/$1/cmdline"); } 2>/dev/null && [[ $words == *"$dir"/* ]]
}

# Ends what an earlier `start` left, also of a check that was killed, and waits until it is gone.
stop() {
  local file pid try
  for file in "$dir"/*.pid "$dir"/ceph/run/*.pid; do
    [[ -f $file ]] || continue
    pid=$(<"$file")
    for try in $(seq 100); do
      is_ours "$pid" || break
      case $try in
        1) kill "$pid" || true ;;
        80) kill -KILL "$pid" || true ;;
      esac
      sleep 0.1
    done
    rm -f "$file"
  done
}

# One that has no quorum would let its callers wait for ever.
ceph() { timeout 60 "$(type -P ceph)" "$@"; }

is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

wait_for_port() {
  local try
  for try in $(seq 200); do
    is_taken "$1" && return
    sleep 0.3
  done
  echo "nobody listens on port $1" >&2
  return 1
}

start_ceph() {
  local ceph=$dir/ceph fsid i
  rm -rf "$ceph"
  mkdir -p "$ceph"/{mon,mgr,rgw,run,log}
  fsid=$(</proc/sys/kernel/random/uuid)
  export CEPH_CONF=$ceph/ceph.conf
  cat >"$CEPH_CONF" <<X
[global]
fsid = $fsid
mon host = v2:127.0.0.1:5640,v1:127.0.0.1:5641
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
osd pool default size = 2
osd pool default min size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
run dir = $ceph/run
log file = $ceph/log/\$name.log
admin socket = $ceph/run/\$name.asok
keyring = $ceph/\$type.\$id.keyring
osd data = $ceph/osd\$id
mon data = $ceph/mon/a
mgr data = $ceph/mgr/x
osd objectstore = bluestore
bluestore block size = 6442450944
bluestore block create = true
osd memory target = 939524096
osd max object name len = 460
mon allow pool size one = true
mon data avail crit = 1
mon data avail warn = 2
mon warn on insecure global id reclaim allowed = false
mgr initial modules =
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:5645
rgw data = $ceph/rgw
rgw enable usage log = false
rgw dns name = localhost
X
  ceph-authtool --create-keyring "$ceph/mon.keyring" --gen-key -n mon. --cap mon 'allow *'
  ceph-authtool --create-keyring "$ceph/client.admin.keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
  ceph-authtool "$ceph/mon.keyring" --import-keyring "$ceph/client.admin.keyring"
  monmaptool --create --addv a '[v2:127.0.0.1:5640,v1:127.0.0.1:5641]' --fsid "$fsid" --clobber "$ceph/monmap"
  ceph-mon --mkfs -i a --monmap "$ceph/monmap" --keyring "$ceph/mon.keyring"
  ceph-mon -i a --keyring "$ceph/mon.keyring" --pid-file "$ceph/run/mon.pid"
  ceph auth get-or-create mgr.x mon 'allow profile mgr' osd 'allow *' -o "$ceph/mgr.x.keyring"
  ceph-mgr -i x --pid-file "$ceph/run/mgr.pid"
  for i in 0 1; do
    local uuid secret_of_osd
    uuid=$(</proc/sys/kernel/random/uuid)
    secret_of_osd=$(ceph-authtool --gen-print-key)
    mkdir -p "$ceph/osd$i"
    echo "{\"cephx_secret\": \"$secret_of_osd\"}" | ceph osd new "$uuid" -i -
    ceph-authtool --create-keyring "$ceph/osd.$i.keyring" --name "osd.$i" --add-key "$secret_of_osd"
    cp "$ceph/osd.$i.keyring" "$ceph/osd$i/keyring"
    ceph-osd -i "$i" --mkfs --osd-uuid "$uuid"
    ceph-osd -i "$i" --pid-file "$ceph/run/osd$i.pid"
  done
  ceph auth get-or-create client.rgw.a mon 'allow rw' osd 'allow rwx' -o "$ceph/client.rgw.a.keyring"
  radosgw -n client.rgw.a --pid-file "$ceph/run/rgw.pid"
  timeout 120 radosgw-admin -n client.rgw.a user create --uid=test --display-name=test --access-key="$key" --secret="$secret"
  wait_for_port 5645
}

start_versitygw() {
  local program
  program=$(command -v versitygw || true)
  if [[ -z $program ]]; then
    program=$dir/bin/versitygw
    [[ -x $program ]] || GOBIN=$dir/bin timeout 300 go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
  fi
  mkdir -p "$dir/versitygw"
  "$program" --port 127.0.0.1:5646 --virtual-domain localhost:5646 --access "$key" --secret "$secret" posix "$dir/versitygw" &
  echo $! >"$dir/versitygw.pid"
  wait_for_port 5646
}

# start_one NAME PORT COMMAND...: in the background, where it ends with its first error.
start_one() {
  local name=$1 port=$2
  shift 2
  if is_taken "$port"; then
    echo "$name could not be started: another listens on port $port" >&2
    return
  fi
  "$@" >"$dir/$name.log" 2>&1 &
  if wait $!; then
    engines+="$name $port $key $secret;"
  else
    echo "$name could not be started:" >&2
    tail -n 5 "$dir/$name.log" >&2
  fi
}

stop
[[ $action == start ]] || exit 0
engines=
if command -v radosgw >/dev/null; then start_one ceph 5645 start_ceph; fi
if command -v versitygw >/dev/null || command -v go >/dev/null; then start_one versitygw 5646 start_versitygw; fi
[[ $engines ]] || { echo "there is no object store (tests/support/s3_packages.txt)" >&2; exit 1; }
echo "export TEST_S3_ENGINES='$engines'"
