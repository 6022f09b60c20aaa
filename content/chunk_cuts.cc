#include "content/chunk_cuts.h"

namespace backup::content {

void ChunkCuts::Update(absl::string_view part) {
  while (!part.empty()) {
    const absl::string_view taken = part.substr(0, chunker_.Take(part));
    measures_.UpdateWith(digest_, taken);
    if (chunker_.ended()) EndChunk();
    part.remove_prefix(taken.size());
  }
}

void ChunkCuts::Finish() {
  if (!chunker_.ended()) EndChunk();
}

void ChunkCuts::EndChunk() {
  const int64_t end = measures_.size_bytes;
  const EndedChunk chunk{end, {digest_.Finish(), end - begin_}};
  begin_ = end;
  MutexLock lock(mutex_);
  ended_.push_back(chunk);
}

std::optional<EndedChunk> ChunkCuts::Next(int64_t read_bytes) {
  MutexLock lock(mutex_);
  if (ended_.empty() || ended_.front().end > read_bytes) return std::nullopt;
  const EndedChunk chunk = ended_.front();
  ended_.pop_front();
  return chunk;
}

}  // namespace backup::content
