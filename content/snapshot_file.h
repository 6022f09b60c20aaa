#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/byte_stream.h"
#include "base/piece_buffers.h"
#include "base/secret_bytes.h"
#include "crypto/master_key.h"

// A snapshot of a catalog, as a file: the catalog as one zstd frame, sealed (crypto/sealed_file.h)
// under a key of its own, then a footer that ends in "BKPSNAP1". docs/storage.md has the layout.
namespace backup::content {

// What a snapshot says about itself.
struct SnapshotFooter {
  absl::Time time;              // Of the state in it; kept in microseconds.
  int64_t next_version_id = 0;  // As it was before the copy, which may have later ones.
  int64_t catalog_size = 0;     // Bytes of the catalog,
  int64_t compressed_size = 0;  // of it compressed,
  int64_t payload_size = 0;     // and of that sealed: what is before the footer.
  std::string sha256;           // Of the catalog, 32 bytes.
  std::string key_fingerprint;  // MasterKey::Fingerprint() of the key that it takes, as text.
  std::string wrapped_key;      // Under that; all fields above are authenticated.
};

// Makes a snapshot of the catalog that `catalog` yields, in bounded memory. Used by one thread at a
// time.
class SnapshotSource final : public ByteSource {
 public:
  // `catalog` and `master_key` must outlive this; the others as in SnapshotFooter.
  SnapshotSource(ByteSource& catalog, absl::Time time, int64_t next_version_id,
                 const crypto::MasterKey& master_key);
  ~SnapshotSource() override;
  absl::StatusOr<absl::string_view> Read() override;
  // At the end: what the snapshot says about itself.
  const SnapshotFooter& footer() const { return footer_; }

 private:
  struct Stages;

  const crypto::MasterKey& master_key_;
  SnapshotFooter footer_;
  const SecretBytes key_;
  const std::unique_ptr<Stages> stages_;
  std::string end_;
  bool at_end_ = false;
};

// Finds and checks the footer at the end of a file. Reason BLOB_DAMAGED.
absl::StatusOr<SnapshotFooter> ReadSnapshotFooter(const RandomAccess& file);
// Whether it ends as a snapshot does.
absl::StatusOr<bool> IsSnapshot(const RandomAccess& file);

// Writes the catalog of a snapshot to `sink`; all of it is what was taken if this returns OK.
// Reason BLOB_DAMAGED if the file was changed, or the key is another one: the message says which.
absl::Status ReadSnapshot(const RandomAccess& file, const crypto::MasterKey& master_key,
                          ByteSink& sink);
// Whether `master_key` is the one that it takes. Reason BLOB_DAMAGED.
absl::Status CheckSnapshotKey(const SnapshotFooter& footer, const crypto::MasterKey& master_key);

}  // namespace backup::content
