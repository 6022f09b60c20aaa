#include "bridge/wire/conversation.h"

#include <algorithm>

namespace backup::wire {

uint64_t SpokenBytes::MissingIn(size_t at, uint64_t size) const {
  const uint64_t end = at + size;
  uint64_t missing = 0;
  const auto first = std::partition_point(gaps.begin(), gaps.end(),
                                          [at](const Gap& gap) { return gap.at + gap.size <= at; });
  for (auto gap = first; gap != gaps.end() && gap->at < end; ++gap) {
    missing += std::min<uint64_t>(end, gap->at + gap->size) - std::max(at, gap->at);
  }
  return missing;
}

void Conversation::Add(Side side, absl::string_view bytes, size_t missing) {
  SpokenBytes& spoken = side == Side::kClient ? client : server;
  if (missing > 0) {
    const size_t at = spoken.bytes.size();
    const bool goes_on =
        !spoken.gaps.empty() && spoken.gaps.back().at + spoken.gaps.back().size == at;
    if (goes_on) {
      spoken.gaps.back().size += missing;
    } else {
      spoken.gaps.push_back({at, missing});
    }
    spoken.bytes.append(missing, '\0');
  }
  spoken.bytes.append(bytes.data(), bytes.size());
  const size_t answered = turns.size() < 2 ? 0 : turns[turns.size() - 2].server_end;
  const bool server_spoke = !turns.empty() && turns.back().server_end > answered;
  if (turns.empty() || (side == Side::kClient && server_spoke)) {
    turns.push_back({client.bytes.size(), server.bytes.size()});
    return;
  }
  turns.back() = {client.bytes.size(), server.bytes.size()};
}

}  // namespace backup::wire
