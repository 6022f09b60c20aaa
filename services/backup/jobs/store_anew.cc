#include "services/backup/jobs/store_anew.h"

#include <cstddef>
#include <functional>
#include <iterator>
#include <memory>
#include <utility>

#include "base/byte_stream.h"
#include "base/status_macros.h"

namespace backup::jobs {
namespace {

// Passes on what it reads, no faster than it may, and notes what the source says.
class PacedSource final : public ByteSource {
 public:
  PacedSource(ByteSource& source, const OldContent& old) : source_(source), old_(old) {}
  absl::StatusOr<absl::string_view> Read() override {
    const absl::StatusOr<absl::string_view> piece = source_.Read();
    old_.unread = piece.status();
    RETURN_IF_ERROR(old_.unread);
    if (!old_.pace.Move(2 * std::ssize(*piece), old_.token)) return absl::CancelledError("stopped");
    return piece;
  }
  size_t lasting_pieces() const override { return source_.lasting_pieces(); }
  void set_end_uses(std::function<void()> end) override { source_.set_end_uses(std::move(end)); }

 private:
  ByteSource& source_;
  const OldContent& old_;
};

}  // namespace

absl::StatusOr<StoredAnew> StoreAnew(const handlers::UploadResources& resources,
                                     const OldContent& old, const storage::Version& version,
                                     storage::StorageForm form) {
  const absl::StatusOr<std::unique_ptr<content::StoredContent>> content =
      handlers::OpenContent(old.places, old.stored);
  old.unread = content.status();
  RETURN_IF_ERROR(old.unread);
  const absl::StatusOr<std::unique_ptr<LastingSource>> whole =
      (*content)->ReadWhole(resources.stages.pieces);
  old.unread = whole.status();
  RETURN_IF_ERROR(old.unread);
  PacedSource plain(**whole, old);
  content::Arrival arrival;
  arrival.client_id = version.client_id;
  arrival.file_name = version.file_name;
  arrival.encoding.size_bytes = version.size_bytes;
  arrival.form = form;
  arrival.version = version;
  StoredAnew anew(resources);
  anew.version_id = version.version_id;
  ASSIGN_OR_RETURN(handlers::PendingChunks::Stored stored,
                   anew.chunks.Store(
                       std::move(arrival),
                       [&]() -> absl::StatusOr<int64_t> { return version.version_id; }, plain));
  anew.content = std::move(stored.content);
  return anew;
}

}  // namespace backup::jobs
