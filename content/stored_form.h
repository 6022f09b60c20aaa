#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/byte_stream.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/read_ahead_source.h"
#include "base/stage_resources.h"
#include "content/blob_footer.h"
#include "content/encoding.h"
#include "content/measures.h"
#include "content/timing.h"
#include "crypto/master_key.h"
#include "crypto/segments.h"
#include "storage/catalog/version.h"

namespace backup::content {

// The form in which content is kept where `wanted` is asked for: content that comes unencrypted has
// no client's form, and is sealed instead.
storage::StorageForm FormOf(const Encoding& encoding, storage::StorageForm wanted);

// Bytes that the stored form can have at most, footer included; nothing if only the end of the
// content will tell.
std::optional<int64_t> LargestStoredSize(const Encoding& encoding, storage::StorageForm form);

// What is known of content before its first byte.
struct Arrival {
  ClientId client_id;
  std::string file_name;  // Raw bytes.
  Encoding encoding;
  std::string session_key;               // Of content that is encrypted.
  std::optional<int64_t> original_size;  // Which the plaintext must have.
  storage::ChecksumKind checksum_kind = storage::ChecksumKind::kCksumOfPlaintext;
  storage::StorageForm form = storage::StorageForm::kPlain;  // As FormOf() says.
  std::optional<absl::Time> receive_time;                    // Else when its last byte has come.
};

// What is stored of content that comes in: as a source, payload and footer. One pass over the
// content; a large one is received, decrypted and measured on a thread of its own. Errors of
// Read(): those of the chunks; reasons INVALID_FIELD, SIZE_LIMIT (WholeEncoded, BoundedEncoded),
// CONTENT_REJECTED (it cannot be decrypted, or has another size than the original). Used by one
// thread at a time.
class StoredForm final : public ByteSource {
 public:
  // Asked once, when all content was read.
  using NextVersionId = std::function<absl::StatusOr<int64_t>()>;

  // What is borrowed must outlive this.
  StoredForm(Arrival arrival, const crypto::MasterKey& master_key, const Clock& clock,
             StageResources& stages, NextVersionId next_version_id, ByteSource& chunks);

  absl::StatusOr<absl::string_view> Read() override;
  size_t lasting_pieces() const override;

  // The rest is valid once all was read.
  const BlobFooter& footer() const { return footer_; }
  absl::Duration receive_time() const { return received_.total(); }  // Waiting for chunks.
  // Decrypting, with the checksum of what was sent; nothing if it came as plaintext or its
  // ciphertext is kept.
  std::optional<absl::Duration> decrypt_time() const;
  std::chrono::steady_clock::time_point ended() const {
    return *ended_;
  }  // The last byte was read.

 private:
  void Stack();
  absl::Status MakeFooter();

  const Arrival arrival_;
  const crypto::MasterKey& master_key_;
  const Clock& clock_;
  StageResources& stages_;
  const NextVersionId next_version_id_;

  // The stages, each reading the one before it.
  TimedSource received_;
  std::unique_ptr<WholeEncoded> whole_;      // Null with sized segments,
  std::unique_ptr<BoundedEncoded> bounded_;  // else this.
  PlaintextMeasures measures_;
  const crypto::SegmentDecryptor* segments_ = nullptr;  // With sized segments.
  std::unique_ptr<LastingSource> plain_;                // Null if the ciphertext is kept.
  std::unique_ptr<TimedLastingSource> timed_plain_;     // The same.
  std::unique_ptr<ReadAheadSource> ahead_;              // Not always there.
  std::unique_ptr<ByteSource> own_payload_;             // Not of plain content.
  ByteSource* payload_ = nullptr;                       // The last of those.

  std::string file_key_;
  int64_t payload_size_ = 0;
  BlobFooter footer_;
  std::string encoded_footer_;
  std::optional<std::chrono::steady_clock::time_point> ended_;
};

}  // namespace backup::content
