#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "storage/blob_store.h"
#include "storage/testing/hooked_staged_blob.h"

namespace backup::testing {

// Passes calls on to another store and says before and after each step what comes: whoever hears it
// may end the process there. Thread-safe, as far as the listener is.
class CrashingBlobStore final : public storage::BlobStore {
 public:
  using Listener = std::function<void(absl::string_view step)>;

  CrashingBlobStore(storage::BlobStore& store, Listener listener)
      : store_(store), listener_(std::move(listener)) {}

  absl::StatusOr<std::unique_ptr<storage::StagedBlob>> Stage(
      const BlobId& id, ByteSource& source, std::optional<int64_t> expected_size) override {
    listener_("blob is pending");
    Watched watched(source, listener_);
    ASSIGN_OR_RETURN(auto staged, store_.Stage(id, watched, expected_size));
    listener_("blob is staged");
    const auto commit = [this](storage::StagedBlob& blob) {
      RETURN_IF_ERROR(blob.Commit());
      listener_("blob is durable");
      return absl::OkStatus();
    };
    return std::make_unique<storage::HookedStagedBlob>(std::move(staged), commit);
  }
  absl::StatusOr<std::unique_ptr<RandomAccess>> Open(const BlobId& id) const override {
    return store_.Open(id);
  }
  absl::StatusOr<bool> Delete(const BlobId& id) override {
    listener_("blob is to be deleted");
    ASSIGN_OR_RETURN(const bool was_there, store_.Delete(id));
    listener_("blob is deleted");
    return was_there;
  }
  absl::Status SyncDeletes() override { return store_.SyncDeletes(); }
  absl::Status List(
      const std::function<absl::Status(const storage::BlobInfo&)>& visit) const override {
    return store_.List(visit);
  }

 private:
  class Watched final : public ByteSource {
   public:
    Watched(ByteSource& source, const Listener& listener) : source_(source), listener_(listener) {}
    absl::StatusOr<absl::string_view> Read() override {
      ASSIGN_OR_RETURN(const absl::string_view piece, source_.Read());
      listener_(piece.empty() ? "blob's end" : "blob's piece");
      return piece;
    }
    size_t lasting_pieces() const override { return source_.lasting_pieces(); }
    void set_end_uses(std::function<void()> end_uses) override {
      source_.set_end_uses(std::move(end_uses));
    }

   private:
    ByteSource& source_;
    const Listener& listener_;
  };

  storage::BlobStore& store_;
  const Listener listener_;
};

}  // namespace backup::testing
