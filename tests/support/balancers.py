"""Real balancers of Debian, HAProxy and nginx, in front of a bridge: each a process on free ports of loopback."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import time

TREE = pathlib.Path(__file__).resolve().parents[2]
# ./check unpacks them there, as installed they would run.
UNPACKED = TREE / "build/balancers"
START_DEADLINE_S = 30
# From where they connect to the bridge: no client of the tests comes from there.
ADDRESS = "127.0.0.7"


def find(name):
    """The program, or None."""
    return shutil.which(name, path=os.pathsep.join([f"{UNPACKED}/usr/sbin", os.environ.get("PATH", ""), "/usr/sbin"]))


def environment():
    """In which they find the libraries that were unpacked with them."""
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(str(path) for path in (UNPACKED / "usr/lib").glob("*-linux-gnu"))}


def works(name):
    program = find(name)
    return program is not None and subprocess.run([program, "-v"], capture_output=True, env=environment()).returncode == 0


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def haproxy_configuration(port, bridge_port, version):
    send = {1: "send-proxy", 2: "send-proxy-v2"}[version]
    return f"""
global
    maxconn 100
defaults
    mode tcp
    timeout connect 10s
    timeout client 60s
    timeout server 60s
frontend clients
    bind 127.0.0.1:{port}
    bind [::1]:{port}
    default_backend bridges
backend bridges
    server bridge 127.0.0.1:{bridge_port} source {ADDRESS} {send} check inter 100ms
"""


def nginx_configuration(port, bridge_port, folder):
    modules = next((path for path in (UNPACKED / "usr/lib/nginx/modules", pathlib.Path("/usr/lib/nginx/modules")) if path.is_dir()))
    return f"""
load_module {modules}/ngx_stream_module.so;
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 100; }}
stream {{
    server {{
        listen 127.0.0.1:{port};
        listen [::1]:{port};
        proxy_pass 127.0.0.1:{bridge_port};
        proxy_bind {ADDRESS};
        proxy_protocol on;
    }}
}}
"""


def command_of(kind, port, bridge_port, folder):
    """`kind`: haproxy1, haproxy2 (the version of the PROXY protocol), or nginx."""
    file = folder / f"{kind}.conf"
    if kind == "nginx":
        file.write_text(nginx_configuration(port, bridge_port, folder))
        return [find("nginx"), "-p", folder, "-c", file, "-e", "stderr"]
    file.write_text(haproxy_configuration(port, bridge_port, int(kind[-1])))
    return [find("haproxy"), "-db", "-f", file]


@contextlib.contextmanager
def balancer(kind, bridge_port, folder):
    """Its port, of 127.0.0.1 and ::1."""
    port = free_port()
    with open(folder / f"{kind}.log", "wb") as log:
        process = subprocess.Popen(command_of(kind, port, bridge_port, folder), stdout=log, stderr=log,
                                   env=environment())
    try:
        wait_until_it_listens(process, port, folder / f"{kind}.log")
        yield port
    finally:
        process.kill()
        process.wait()


def wait_until_it_listens(process, port, log):
    deadline = time.monotonic() + START_DEADLINE_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("::1", port), timeout=5):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"{process.args} does not listen:\n{log.read_text(errors='replace')}")
        time.sleep(0.02)
