"""An object store of TEST_S3_ENGINES (tests/support/s3_engines.sh), and what is in it, asked by curl(1)."""

import os
import re
import select
import socket
import ssl
import subprocess
import threading
import urllib.parse

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
BUCKET = "backup-test"
LOOK_S = 0.1


class Store:
    def __init__(self, listed):
        self.name, self.port, self.access_key, self.secret_key = listed.split()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.ask("PUT", "")  # Makes the bucket, if it is not there.

    def environment(self):
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}

    def ask(self, method, query):
        return subprocess.run(
            ["curl", "--silent", "--show-error", "--config", "-", "--request", method, "--aws-sigv4", "aws:amz:us-east-1:s3",
             "--header", f"x-amz-content-sha256: {EMPTY_SHA256}", f"{self.endpoint}/{BUCKET}{query}"],
            input=f'user = "{self.access_key}:{self.secret_key}"', check=True, capture_output=True, text=True, timeout=60).stdout

    def keys(self, prefix):
        """Of the first thousand objects whose key begins so."""
        return re.findall("<Key>([^<]*)</Key>", self.ask("GET", f"?list-type=2&prefix={urllib.parse.quote(prefix, safe='')}"))

    def uploads(self, prefix):
        """Keys of the uploads of parts that are not completed."""
        return re.findall("<Key>([^<]*)</Key>", self.ask("GET", f"?prefix={urllib.parse.quote(prefix, safe='')}&uploads="))

    def empty(self, prefix):
        """Deletes all objects whose key begins so; at most a thousand."""
        for key in self.keys(prefix):
            self.ask("DELETE", f"/{urllib.parse.quote(key)}")


class Relay:
    """Carries connections to a store, over TLS if it has a certificate; or takes them and says nothing, or ends them all."""

    def __init__(self, store_port, certificate=None, key=None):
        self.store_port = store_port
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
        if self.tls:
            self.tls.load_cert_chain(certificate, key)
        self.is_deaf = False
        self.asked = 0  # Pieces that came while it was deaf.
        self.is_away = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with client, socket.create_connection(("127.0.0.1", self.store_port)) as store:
            try:
                with self.tls.wrap_socket(client, server_side=True) if self.tls else client as source:
                    self.carry(source, store)
            except OSError:
                pass  # One of both ended it.

    def carry(self, client, store):
        while not self.is_away:
            has_more = self.tls and client.pending()
            for source in [client] if has_more else select.select([client, store], [], [], LOOK_S)[0]:
                piece = source.recv(1 << 18)
                if not piece:
                    return
                if self.is_deaf:
                    self.asked += 1
                else:
                    (store if source is client else client).sendall(piece)

    def close(self):
        self.listener.close()


def stores():
    return [Store(listed) for listed in os.environ.get("TEST_S3_ENGINES", "").split(";") if listed.strip()]
