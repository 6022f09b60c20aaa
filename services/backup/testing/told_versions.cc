#include "services/backup/testing/told_versions.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "base/byte_stream.h"
#include "base/secret_bytes.h"
#include "base/status_macros.h"
#include "content/chunk_seal.h"
#include "content/pack_footer.h"
#include "content/told_content.h"

namespace backup::testing {
namespace {

using content::PackFooter;

absl::StatusOr<PackFooter> ReadFooter(const RandomAccess& pack, const crypto::KeyRing& master_key) {
  ASSIGN_OR_RETURN(PackFooter footer, content::ReadPackFooter(pack));
  if (footer.form != storage::StorageForm::kSealed) return footer;
  ASSIGN_OR_RETURN(const SecretBytes key,
                   content::OpenPackKey(footer.wrapped_key, footer.pack_id, master_key));
  RETURN_IF_ERROR(content::CheckPackSeal(footer, key));
  return footer;
}

}  // namespace

absl::StatusOr<std::multimap<int64_t, ToldVersion>> ReadToldVersions(
    const storage::BlobStore& blobs, const crypto::KeyRing& master_key) {
  std::map<std::string, content::ToldContent> contents;  // By their ids.
  RETURN_IF_ERROR(blobs.List([&](const storage::BlobInfo& info) -> absl::Status {
    ASSIGN_OR_RETURN(const std::unique_ptr<RandomAccess> blob, blobs.Open(info.id));
    ASSIGN_OR_RETURN(const bool is_pack, content::IsPack(*blob));
    if (!is_pack) return absl::OkStatus();
    ASSIGN_OR_RETURN(const PackFooter footer, ReadFooter(*blob, master_key));
    for (const PackFooter::Part& part : footer.parts) contents[part.content_id].Add(part);
    return absl::OkStatus();
  }));
  std::multimap<int64_t, ToldVersion> versions;
  for (const auto& [id, content] : contents) {
    if (!content.IsWhole()) continue;
    const storage::Version& version = *content.version();
    versions.emplace(version.version_id, ToldVersion{version, content.Steps()});
  }
  return versions;
}

bool IsTold(const std::multimap<int64_t, ToldVersion>& told, const storage::Version& version,
            const std::vector<storage::StoredChunk>& chunks) {
  std::vector<storage::ChunkRef> recipe;
  for (const storage::StoredChunk& chunk : chunks) recipe.push_back(chunk.ref);
  const auto [begin, end] = told.equal_range(version.version_id);
  return std::any_of(begin, end, [&](const auto& each) {
    const storage::Version& other = each.second.version;
    return other.client_id == version.client_id && other.file_name == version.file_name &&
           other.sha256 == version.sha256 && each.second.recipe == recipe;
  });
}

}  // namespace backup::testing
