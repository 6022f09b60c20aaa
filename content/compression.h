#pragma once

#include <optional>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace backup::content {

class Dictionaries;
class Dictionary;

// When to compress what comes in.
struct CompressionPolicy {
  enum class When {
    kAuto,    // If it costs no time that the sender would wait for; the rest later.
    kAlways,  // Whatever it costs.
    kNever,
  };
  When when = When::kAuto;
  int level = 3;  // zstd's.
};

// From "auto", "off" or a level, 1 to 19; nothing if it is none.
std::optional<CompressionPolicy> ParseCompression(absl::string_view text);

// Whether a small sample of these bytes shrinks. Takes a small part of the time of compressing
// them.
bool MayShrink(std::span<const absl::string_view> parts);

// One zstd frame, or nothing if that would not be smaller by at least a sixteenth. Of what is
// larger than 64 KiB no more are compressed at once than there are processors, and never more than
// eight: memory is bounded by that. With a dictionary (content/dictionary.h), at its level, if one
// is given.
std::optional<std::string> Compress(std::span<const absl::string_view> parts, int level,
                                    const Dictionary* dictionary = nullptr);

// The other way. Reason BLOB_DAMAGED if it is no frame of exactly `size_bytes` bytes, which must be
// at most kMaxChunkSize: nothing is allocated by what the frame says. `dictionaries` has the one
// that the frame needs, if it needs one.
absl::StatusOr<std::string> Decompress(absl::string_view frame, int64_t size_bytes,
                                       Dictionaries* dictionaries = nullptr);

}  // namespace backup::content
