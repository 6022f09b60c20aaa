#include "content/chunk_digest.h"

#include <algorithm>
#include <utility>

namespace backup::content {
namespace {

// Digests one chunk after the other, beside another such.
struct Lane {
  crypto::HmacSha256 hmac;
  size_t chunk;  // Its place; beyond the last one: none is left.
  absl::string_view rest;
};

}  // namespace

std::vector<std::string> DigestsOf(const ChunkIdKey& key,
                                   std::span<const absl::string_view> chunks) {
  std::vector<std::string> digests(chunks.size());
  size_t next = 0;
  const auto is_busy = [&](const Lane& lane) { return lane.chunk < chunks.size(); };
  const auto go_on = [&](Lane& lane) {
    if (!lane.rest.empty()) return;
    if (is_busy(lane)) digests[lane.chunk] = lane.hmac.Finish();
    lane.chunk = next;
    if (is_busy(lane)) lane.rest = chunks[next++];
  };
  Lane first{crypto::HmacSha256(key.digest_key), chunks.size(), {}};
  Lane second = first;
  go_on(first);
  go_on(second);
  while (is_busy(first) && is_busy(second)) {
    const size_t size = std::min(first.rest.size(), second.rest.size());
    crypto::HmacSha256::UpdateBoth(first.hmac, first.rest.substr(0, size), second.hmac,
                                   second.rest.substr(0, size));
    first.rest.remove_prefix(size);
    second.rest.remove_prefix(size);
    go_on(first);
    go_on(second);
  }
  for (Lane* const last : {&first, &second}) {
    last->hmac.Update(std::exchange(last->rest, {}));
    go_on(*last);
  }
  return digests;
}

}  // namespace backup::content
