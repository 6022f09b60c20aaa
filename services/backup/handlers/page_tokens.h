#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// Lists are answered page by page. What cannot be parsed is reason INVALID_FIELD with the field.
namespace backup::handlers {

// The number of entries a page may have.
absl::StatusOr<int> ParsePageSize(int requested);

// Page tokens are opaque and bound to the other arguments of the list, `scope`: where the page
// before ended.
std::string MakePageToken(absl::string_view scope, absl::string_view position);
// The position, empty for the first page.
absl::StatusOr<std::string> ParsePageToken(absl::string_view scope, absl::string_view token);
// The error of a token that belongs to another list.
absl::Status WrongPageToken();

// Removes the entry behind the page, if there is one: `entries` are one more than `page_size` if
// there is a next page. Whether there is.
template <typename Entry>
bool CutToPage(std::vector<Entry>& entries, int page_size) {
  if (entries.size() <= static_cast<size_t>(page_size)) return false;
  entries.resize(static_cast<size_t>(page_size));
  return true;
}

}  // namespace backup::handlers
