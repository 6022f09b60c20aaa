#pragma once

#include <deque>
#include <string>
#include <utility>

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
  std::deque<std::pair<std::string, std::string>> uploads_;  // Name and id, the newest first.
};

}  // namespace backup::bridge
