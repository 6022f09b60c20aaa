"""What the catalog and the blobs of a stopped service hold: read without any code of the product."""

import sqlite3

INLINE = "SELECT c.content FROM inline_contents c WHERE c.version_id = ?"
NEWEST = """SELECT v.version_id, v.size_bytes, v.blob_id FROM versions v JOIN files f USING (file_id)
            WHERE f.client_id = ? AND f.name = ? AND v.state = 2 ORDER BY v.version_id DESC LIMIT 1"""


def newest_verified(data_dir, client_id, name):
    """The plaintext of the newest verified version, or None; for stores at rest in plain."""
    catalog = sqlite3.connect(f"file:{data_dir}/catalog.db?mode=ro", uri=True)
    try:
        row = catalog.execute(NEWEST, (client_id, name)).fetchone()
        if row is None:
            return None
        version_id, size, blob_id = row
        if blob_id is None:
            return catalog.execute(INLINE, (version_id,)).fetchone()[0][:size]
        text = blob_id.hex()
        return (data_dir / "store" / "blobs" / text[:2] / text).read_bytes()[:size]
    finally:
        catalog.close()
