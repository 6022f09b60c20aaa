#!/usr/bin/env bash
# Makes a CA and certificates of it in DIR: service, bridge, operator, reader. The name in a certificate is its role in
# authz_policy.json. An existing CA is used again, so that running this anew renews the certificates: in place, as running
# programs and bind mounts know the files.
# usage: [KEY_OWNER=USER] make_certificates.sh DIR [HOST...]
#   HOST: names and addresses of the service; default localhost and 127.0.0.1
#   KEY_OWNER: whom the keys of the certificates shall belong to, as only their owner may read them
set -euo pipefail
umask 077
readonly days=365
dir=${1:?usage: [KEY_OWNER=USER] make_certificates.sh DIR [HOST...]}
shift
[[ $# -gt 0 ]] || set -- localhost 127.0.0.1
names=
for host in "$@"; do
  [[ $host =~ ^[0-9.]+$|: ]] && names+=",IP:$host" || names+=",DNS:$host"
done
mkdir -p "$dir"
chmod 755 "$dir"  # What is secret in it has a mode of its own.
cd "$dir"

if [[ ! -f ca.key ]]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days $((days * 10)) -subj "/CN=backup CA" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
    -keyout ca.key -out ca.crt 2>/dev/null
fi
for role in service bridge operator reader; do
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$role" \
    -keyout "$role.key" -out "$role.csr" 2>/dev/null
  {
    echo "basicConstraints=critical,CA:FALSE"
    echo "keyUsage=critical,digitalSignature"
    echo "extendedKeyUsage=clientAuth$([[ $role == service ]] && echo ,serverAuth)"
    [[ $role == service ]] && echo "subjectAltName=${names#,}" || echo "subjectAltName=DNS:$role"
  } >"$role.ext"
  openssl x509 -req -in "$role.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days "$days" -extfile "$role.ext" \
    -out "$role.crt" 2>/dev/null
  rm "$role.csr" "$role.ext"
done
chmod 644 ./*.crt
[[ -z ${KEY_OWNER:-} ]] || chown "$KEY_OWNER" {service,bridge,operator,reader}.key
echo "made in $PWD: ca.crt, and .crt and .key of service, bridge, operator, reader; keep ca.key elsewhere"
