#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace backup::bridge {

// The last uploads of a connection, so that a verdict can say which one it is about. Used by one
// thread at a time.
class RecentUploads {
 public:
  static constexpr size_t kMaxUploads = 64;

  // The newest of a name counts.
  void Remember(absl::string_view file_name, absl::string_view upload_id);
  // Empty if it is not known.
  std::string Find(absl::string_view file_name) const;

 private:
  // Name and id, the newest last. Not a deque, which takes memory while it is empty.
  std::vector<std::pair<std::string, std::string>> uploads_;
};

}  // namespace backup::bridge
