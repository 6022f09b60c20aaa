// What no input may do to the decoder of PROXY headers: make it take more than a header, or let an
// answer change when more bytes come.

#include <algorithm>
#include <cstddef>

#include "absl/strings/string_view.h"
#include "bridge/net/proxy_header.h"
#include "glog/logging.h"
#include "tests/fuzz/fuzz_target.h"

namespace backup::fuzz {

using bridge::DecodeProxyHeader;
using bridge::kMaxProxyHeaderSize;

void TryInput(absl::string_view bytes) {
  const auto whole = DecodeProxyHeader(bytes);
  const bool is_header = whole.ok() && whole->has_value();
  if (is_header) {
    CHECK_LE((*whole)->size, std::min(bytes.size(), kMaxProxyHeaderSize));
  } else if (whole.ok()) {
    CHECK_LT(bytes.size(), kMaxProxyHeaderSize);  // No header needs more.
  }
  for (size_t size = 0; size < std::min(bytes.size(), kMaxProxyHeaderSize + 1); ++size) {
    const auto part = DecodeProxyHeader(bytes.substr(0, size));
    if (part.ok() && !part->has_value()) continue;
    // Decided: it stays so.
    CHECK_EQ(part.ok(), whole.ok());
    if (!part.ok()) return;
    CHECK(is_header && (*part)->size == (*whole)->size && (*part)->client == (*whole)->client);
  }
}

}  // namespace backup::fuzz
