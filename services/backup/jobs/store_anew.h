#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/byte_stream.h"
#include "services/backup/handlers/pending_chunks.h"
#include "services/backup/handlers/upload_file.h"
#include "services/backup/jobs/pace.h"
#include "storage/catalog/chunk.h"
#include "storage/catalog/version.h"

namespace backup::jobs {

// A version's content, stored as a new upload's would be, on its way into the catalog: a
// transaction puts it in the place of what the version has, then `chunks` is told of its end.
struct StoredAnew {
  explicit StoredAnew(const handlers::UploadResources& resources) : chunks(resources) {}

  int64_t version_id = 0;
  storage::NewChunks content;
  handlers::PendingChunks chunks;
};

// Stores `plain`, which is all of the version's plaintext, in this form, kPlain or kSealed. Errors
// as PendingChunks::Store().
absl::StatusOr<StoredAnew> StoreAnew(const handlers::UploadResources& resources,
                                     const storage::Version& version, storage::StorageForm form,
                                     ByteSource& plain);

// Passes on what it reads, no faster than it may, and notes in `error` what the source says. What
// is borrowed must outlive it. Used by one thread at a time.
class PacedSource final : public ByteSource {
 public:
  PacedSource(ByteSource& source, Pace& pace, const std::stop_token& token, absl::Status& error)
      : source_(source), pace_(pace), token_(token), error_(error) {}
  absl::StatusOr<absl::string_view> Read() override;
  size_t lasting_pieces() const override { return source_.lasting_pieces(); }
  void set_end_uses(std::function<void()> end) override { source_.set_end_uses(std::move(end)); }

 private:
  ByteSource& source_;
  Pace& pace_;
  const std::stop_token& token_;
  absl::Status& error_;
};

}  // namespace backup::jobs
