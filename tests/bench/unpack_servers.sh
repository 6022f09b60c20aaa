#!/usr/bin/env bash
# unpack_servers.sh DIR: unpacks Debian's packages of the servers that backup-bench compares with into DIR, once. They are
# not installed, as that would start and enable daemons on the usual ports.
set -euo pipefail
servers=(nginx rsync vsftpd)
mkdir -p "$1"
cd "$1"
for server in "${servers[@]}"; do
  [[ -x usr/sbin/$server || -x usr/bin/$server ]] && continue
  apt-get download -qq "$server" 2>/dev/null || { echo "cannot download $server" >&2 && continue; }
  dpkg-deb -x "$server"_*.deb .
  rm "$server"_*.deb
done
