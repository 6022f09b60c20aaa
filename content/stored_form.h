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
#include "base/secret_bytes.h"
#include "base/stage_resources.h"
#include "content/arriving_content.h"
#include "content/blob_footer.h"
#include "content/encoding.h"
#include "crypto/key_ring.h"
#include "storage/catalog/version.h"

namespace backup::content {

// The form in which content is kept where `wanted` is asked for: content that comes unencrypted has
// no client's form, and is sealed instead.
storage::StorageForm FormOf(const Encoding& encoding, storage::StorageForm wanted);

// Bytes that the stored form can have at most, footer included; nothing if only the end of the
// content will tell.
std::optional<int64_t> LargestStoredSize(const Encoding& encoding, storage::StorageForm form);

// Asked once, when all content was read.
using NextVersionId = std::function<absl::StatusOr<int64_t>()>;

// What is stored of content that comes in and is kept in one piece, as a client's own ciphertext is
// (the others, as older programs kept them): as a source, payload and footer. Errors of Read():
// those of ArrivingContent; reason CONTENT_REJECTED also if the plaintext has another size than the
// original. Used by one thread at a time.
class StoredForm final : public ByteSource {
 public:
  // What is borrowed must outlive this.
  StoredForm(Arrival arrival, const crypto::KeyRing& master_key, const Clock& clock,
             StageResources& stages, NextVersionId next_version_id, ByteSource& chunks);

  absl::StatusOr<absl::string_view> Read() override;
  size_t lasting_pieces() const override { return sealed_ ? 0 : content_.lasting_pieces(); }

  // The rest is valid once all was read.
  const BlobFooter& footer() const { return footer_; }
  const ArrivingContent& content() const { return content_; }
  std::chrono::steady_clock::time_point ended() const {
    return *ended_;
  }  // The last byte was read.

 private:
  absl::Status MakeFooter();

  const crypto::KeyRing& master_key_;
  const NextVersionId next_version_id_;
  ArrivingContent content_;
  SecretBytes file_key_;
  std::unique_ptr<ByteSource> sealed_;  // Of the sealed form.
  int64_t payload_size_ = 0;
  BlobFooter footer_;
  std::string encoded_footer_;
  std::optional<std::chrono::steady_clock::time_point> ended_;
};

}  // namespace backup::content
