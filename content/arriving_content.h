#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/byte_stream.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/piece_buffers.h"
#include "base/read_ahead_source.h"
#include "base/secret_bytes.h"
#include "base/stage_resources.h"
#include "content/chunk_cuts.h"
#include "content/encoding.h"
#include "content/measures.h"
#include "content/timing.h"
#include "crypto/segments.h"
#include "storage/catalog/version.h"

namespace backup::content {

// What is known of content before its first byte.
struct Arrival {
  ClientId client_id;
  std::string file_name;  // Raw bytes.
  Encoding encoding;
  SecretBytes session_key;               // Of content that is encrypted.
  std::optional<int64_t> original_size;  // Which the plaintext must have.
  storage::ChecksumKind checksum_kind = storage::ChecksumKind::kCksumOfPlaintext;
  storage::StorageForm form = storage::StorageForm::kPlain;  // As FormOf() says.
  std::optional<absl::Time> receive_time;                    // Else when its last byte has come.
  // Of content that was stored before, as plaintext now: the version that it is, whatever is
  // measured now.
  std::optional<storage::Version> version = std::nullopt;
};

// Content that comes in, as far as that is the same in whatever form it is kept: received, bounded,
// decoded, measured. One pass over it; of a large one all that happens on a thread of its own.
// Errors of Read(): those of the chunks; reasons INVALID_FIELD, SIZE_LIMIT (WholeEncoded,
// BoundedEncoded), CONTENT_REJECTED (it cannot be decrypted). Used by one thread at a time.
class ArrivingContent final : public ByteSource {
 public:
  // What a plaintext is cut into chunks with.
  struct Cutting {
    const GearTable& gear;
    ChunkIdKey id_key;
  };

  // Yields the plaintext, or in a client's form what was sent, with the plaintext measured beside.
  // Cuts the plaintext if it is told how. What is borrowed must outlive this. If there is room for
  // large pieces, `lasting_pieces` of them last, or all that there are.
  ArrivingContent(Arrival arrival, const Clock& clock, StageResources& stages, ByteSource& chunks,
                  size_t lasting_pieces, const std::optional<Cutting>& cutting = std::nullopt);

  absl::StatusOr<absl::string_view> Read() override { return payload_->Read(); }
  size_t lasting_pieces() const override { return lasting_pieces_; }
  // Whether pieces last as was asked for.
  bool is_wide() const { return is_wide_; }
  // Null if it is not cut.
  ChunkCuts* cuts() { return cuts_ ? &*cuts_ : nullptr; }

  const Arrival& arrival() const { return arrival_; }
  absl::Duration receive_time() const { return received_.total(); }  // Waiting for chunks.
  // Decrypting, with the checksum of what was sent; nothing if it came as plaintext or its
  // ciphertext is kept.
  std::optional<absl::Duration> decrypt_time() const;

  // Once all was read: the version of it, but for its id. Reason CONTENT_REJECTED if it has another
  // size than the original.
  absl::StatusOr<storage::Version> Finish();

 private:
  void StackPlaintext(StageResources& stages, size_t lasting_pieces, const Checksums& sent_sums,
                      ByteSource& encoded);

  const Arrival arrival_;
  const Clock& clock_;

  // The stages, each reading the one before it.
  TimedSource received_;
  std::unique_ptr<WholeEncoded> whole_;      // Null with sized segments,
  std::unique_ptr<BoundedEncoded> bounded_;  // else this.
  PlaintextMeasures measures_;
  std::optional<ChunkCuts> cuts_;
  const crypto::SegmentDecryptor* segments_ = nullptr;  // With sized segments.
  std::optional<PieceGrant> grant_;
  bool is_wide_ = false;
  size_t lasting_pieces_ = 0;
  std::unique_ptr<LastingSource> plain_;             // Null if the ciphertext is kept.
  std::unique_ptr<TimedLastingSource> timed_plain_;  // The same.
  std::unique_ptr<ReadAheadSource> ahead_;           // Not always there.
  std::unique_ptr<ByteSource> ciphertext_;           // Of a client's form.
  ByteSource* payload_ = nullptr;                    // The last of those.
};

}  // namespace backup::content
