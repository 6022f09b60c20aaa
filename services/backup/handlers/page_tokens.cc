#include "services/backup/handlers/page_tokens.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "crypto/sha256.h"
#include "services/backup/limits.h"

namespace backup::handlers {
namespace {

// Enough of a hash of the scope to notice a token that belongs to another list.
constexpr size_t kScopeTagSize = 8;

std::string ScopeTag(absl::string_view scope) {
  crypto::Sha256 hash;
  hash.Update(scope);
  return hash.Finish().substr(0, kScopeTagSize);
}

}  // namespace

absl::StatusOr<int> ParsePageSize(int requested) {
  if (requested < 0)
    return MakeError(Reason::kInvalidField, "page_size must not be negative", "page_size");
  return requested == 0 ? kDefaultPageSize : std::min(requested, kMaxPageSize);
}

std::string MakePageToken(absl::string_view scope, absl::string_view position) {
  return absl::WebSafeBase64Escape(absl::StrCat(ScopeTag(scope), position));
}

absl::StatusOr<std::string> ParsePageToken(absl::string_view scope, absl::string_view token) {
  if (token.empty()) return std::string();
  std::string bytes;
  if (!absl::WebSafeBase64Unescape(token, &bytes) || bytes.size() <= kScopeTagSize ||
      !absl::StartsWith(bytes, ScopeTag(scope))) {
    return WrongPageToken();
  }
  return bytes.substr(kScopeTagSize);
}

absl::Status WrongPageToken() {
  return MakeError(Reason::kInvalidField,
                   "page_token must come from the previous page of the same list", "page_token");
}

}  // namespace backup::handlers
