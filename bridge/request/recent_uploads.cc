#include "bridge/request/recent_uploads.h"

#include <algorithm>

namespace backup::bridge {

void RecentUploads::Remember(absl::string_view file_name, absl::string_view upload_id) {
  std::erase_if(uploads_, [&](const auto& upload) { return upload.first == file_name; });
  uploads_.emplace_back(file_name, upload_id);
  if (uploads_.size() > kMaxUploads) uploads_.erase(uploads_.begin());
}

std::string RecentUploads::Find(absl::string_view file_name) const {
  const auto found = std::find_if(uploads_.begin(), uploads_.end(),
                                  [&](const auto& upload) { return upload.first == file_name; });
  return found == uploads_.end() ? "" : found->second;
}

}  // namespace backup::bridge
