#include "content/told_content.h"

#include <iterator>

namespace backup::content {

using storage::ChunkRef;

void ToldContent::Add(const PackFooter::Part& part) {
  if (part.version) version_ = part.version;
  if (!part.steps.empty()) steps_.emplace(part.first_step, part.steps);
}

std::vector<ChunkRef> ToldContent::Steps() const {
  std::vector<ChunkRef> all;
  for (const auto& [first, steps] : steps_) {
    if (first != std::ssize(all)) break;
    all.insert(all.end(), steps.begin(), steps.end());
  }
  return all;
}

bool ToldContent::IsWhole() const {
  if (!version_) return false;
  int64_t size_bytes = 0;
  for (const ChunkRef& step : Steps()) size_bytes += step.size_bytes;
  return size_bytes == version_->size_bytes;
}

}  // namespace backup::content
