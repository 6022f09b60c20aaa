#include "services/backup/jobs/carried_parts.h"

#include <algorithm>
#include <iterator>
#include <memory>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/secret_bytes.h"
#include "base/status_macros.h"
#include "content/chunk_seal.h"
#include "content/pack_builder.h"
#include "glog/logging.h"
#include "storage/catalog/transaction.h"

namespace backup::jobs {
namespace {

using content::PackFooter;
using storage::PackInfo;

// What all parts together may take of a footer.
int64_t MaxPartsSize() {
  constexpr size_t kMostChunks = storage::Transaction::kMaxRewrittenChunks;
  return content::kMaxPackFooterSize -
         content::PackBuilder::LargestFooterSize(kMostChunks, /*steps=*/0);
}

absl::StatusOr<PackFooter> ReadFooter(const PackInfo& pack,
                                      const CarriedParts::Resources& resources) {
  absl::StatusOr<std::unique_ptr<RandomAccess>> blob = resources.blobs.Open(pack.blob_id);
  if (absl::IsNotFound(blob.status()))
    return MakeError(Reason::kBlobDamaged, "the pack is missing");
  RETURN_IF_ERROR(blob.status());
  absl::StatusOr<PackFooter> read = content::ReadPackFooter(**blob);
  if (absl::IsNotFound(read.status()))  // It went while it was read.
    return MakeError(Reason::kBlobDamaged, "the pack is missing");
  ASSIGN_OR_RETURN(PackFooter footer, std::move(read));
  if (footer.pack_id != pack.blob_id || footer.form != pack.form)
    return MakeError(Reason::kBlobDamaged, "its footer is another pack's");
  if (pack.form != storage::StorageForm::kSealed) return footer;
  ASSIGN_OR_RETURN(const SecretBytes key,
                   content::OpenPackKey(pack.wrapped_key, pack.blob_id, resources.master_key));
  RETURN_IF_ERROR(content::CheckPackSeal(footer, key));
  return footer;
}

template <typename Has>
bool NamesAny(const PackFooter::Part& part, const Has& chunks) {
  return std::any_of(part.steps.begin(), part.steps.end(),
                     [&](const storage::ChunkRef& step) { return chunks.contains(step.id); });
}

}  // namespace

absl::StatusOr<bool> CarriedParts::Take(const PackInfo& pack, const Resources& resources) {
  absl::StatusOr<PackFooter> footer = ReadFooter(pack, resources);
  if (ReasonOf(footer.status()) == Reason::kBlobDamaged) {
    LOG(ERROR) << "the pack " << ToHex(pack.blob_id)
               << " is rewritten without the names and recipes in its footer: " << footer.status();
    footer = PackFooter();
  }
  RETURN_IF_ERROR(footer.status());
  std::vector<Part>& parts = footer->parts;
  std::erase_if(parts, [&](const Part& part) {
    return taken_.contains({part.content_id, part.first_step});
  });
  size_t steps = steps_;
  int64_t size_bytes = size_bytes_;
  for (const Part& part : parts) {
    steps += part.steps.size();
    size_bytes += content::EncodedSize(part);
  }
  if (has_some_ && (parts_.size() + parts.size() > content::kMaxFooterParts ||
                    steps > content::kMaxFooterSteps || size_bytes > MaxPartsSize())) {
    return false;
  }
  has_some_ = true;
  for (const Part& part : parts) taken_.emplace(part.content_id, part.first_step);
  steps_ = steps;
  size_bytes_ = size_bytes;
  std::move(parts.begin(), parts.end(), std::back_inserter(parts_));
  return true;
}

std::vector<PackFooter::Part> CarriedParts::PartsFor(
    const std::vector<storage::PackedChunk>& chunks) && {
  absl::flat_hash_set<ChunkId> ids;
  for (const storage::PackedChunk& chunk : chunks) ids.insert(chunk.id);
  std::erase_if(
      parts_, [&](const Part& part) { return !NamesAny(part, ids) || NamesAny(part, unneeded_); });
  return std::move(parts_);
}

}  // namespace backup::jobs
