#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "bridge/wire/compiled_dialect.h"

// How long the content of a file is that a request announces: FileContent in dialect.proto.
namespace backup::wire {

// No file is larger, whatever its integers could say.
inline constexpr uint64_t kMaxContentSize = uint64_t{1} << 42;

struct ContentSize {
  uint64_t body_size = 0;  // On the wire; of a file in parts, of the first.
  absl::string_view style;
  uint64_t blocks_size = 0;  // SendFile::blocks_size.
};

// `counted` is what the payload size counts, `fields_size` what it has of fields. InvalidArgument,
// naming the rule, if the sizes contradict each other.
absl::StatusOr<ContentSize> ContentSizeOf(const CompiledDialect& dialect, uint64_t counted,
                                          uint64_t fields_size, uint64_t content_size,
                                          bool id_in_payload);

// What encryption makes of a plaintext.
uint64_t CiphertextSize(const ContentTraits& content, uint64_t plaintext_size);

// How much `ciphertext_size` bytes are on the wire, perhaps as text.
uint64_t BodySizeOfCiphertext(const ContentTraits& content, uint64_t ciphertext_size);

// How many bytes of ciphertext a body has; nothing if no ciphertext, which is whole blocks, becomes
// a text of that size.
std::optional<uint64_t> CiphertextSizeOfBody(const ContentTraits& content, uint64_t body_size);

// What the content size `said` counts, without what it counts besides; nothing if it can be no
// client's.
std::optional<uint64_t> CountedBy(const ContentTraits& content, uint64_t said);

// Whether a content size can only be the plaintext's: encryption makes it `body_size`.
bool IsPlaintextSize(const CompiledDialect& dialect, uint64_t content_size, uint64_t body_size);

// What `value` becomes at a sender that cuts integers at their first zero byte: clients that treat
// them as C strings.
uint32_t CutAtZeroByte(uint32_t value);

}  // namespace backup::wire
