#include "content/chunk_compressor.h"

#include "content/timing.h"

namespace backup::content {

ChunkCompressor::Result ChunkCompressor::Compress(std::span<const absl::string_view> parts,
                                                  absl::Duration waited) {
  using When = CompressionPolicy::When;
  if (policy_.when == When::kNever || !MayShrink(parts)) return {};
  double size = 0;
  for (const absl::string_view part : parts) size += static_cast<double>(part.size());
  if (policy_.when == When::kAuto && spent_ + absl::Seconds(size * seconds_per_byte_) > waited)
    return {std::nullopt, /*waits=*/true};
  Stopwatch stopwatch;
  Result result;
  result.frame = stopwatch.Time([&] { return content::Compress(parts, policy_.level); });
  spent_ += stopwatch.total();
  seconds_per_byte_ = absl::ToDoubleSeconds(stopwatch.total()) / size;
  return result;
}

}  // namespace backup::content
