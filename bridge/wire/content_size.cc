#include "bridge/wire/content_size.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "bridge/wire/text_encoding.h"

namespace backup::wire {
namespace {

constexpr uint64_t kCipherBlockSize = 16;
constexpr uint64_t kMaxSurplus = kCipherBlockSize - 1;

absl::Status NoContent() {
  return absl::InvalidArgumentError("no content, and a content size of 0");
}

uint64_t SizeOfVector(const ContentTraits& content) {
  return content.initial_vector_in_front ? kCipherBlockSize : 0;
}

// Of one piece that is encrypted on its own, or of all.
uint64_t EncryptedSize(const ContentTraits& content, uint64_t plaintext_size) {
  const uint64_t blocks = content.padded_with_zeros
                              ? (plaintext_size + kCipherBlockSize - 1) / kCipherBlockSize
                              : plaintext_size / kCipherBlockSize + 1;
  return blocks * kCipherBlockSize + SizeOfVector(content);
}

// Whether `said` is `size`, or a plaintext's that encryption makes so large, perhaps cut at its
// first zero byte: what senders fill in as the content size.
bool IsCiphertextOrPlaintext(const ContentTraits& content, uint64_t said, uint64_t size) {
  if (content.encrypted_piece_size != 0)
    return said == size || CiphertextSize(content, said) == size;
  const uint64_t most = kCipherBlockSize + SizeOfVector(content);
  for (uint64_t meant = size - std::min(size, most); meant <= size; ++meant) {
    if (said == meant || said == static_cast<uint32_t>(meant) ||
        said == CutAtZeroByte(static_cast<uint32_t>(meant))) {
      return true;
    }
  }
  return false;
}

bool Agrees(const ContentTraits& content, uint64_t said, uint64_t body_size) {
  const std::optional<uint64_t> size = CiphertextSizeOfBody(content, body_size);
  switch (content.content_size_of) {
    case SizeOf::kNothing:
      return true;
    case SizeOf::kWire:
      return said == body_size;
    case SizeOf::kCiphertext:
      return said == size;
    case SizeOf::kPlaintext:
      return size && CiphertextSize(content, said) <= *size &&
             *size <= CiphertextSize(content, said + (content.has_surplus ? kMaxSurplus : 0));
    case SizeOf::kEither:
      return size && IsCiphertextOrPlaintext(content, said, *size);
  }
  return false;
}

// How much is on the wire by the content size alone.
uint64_t BodySizeOf(const ContentTraits& content, uint64_t said) {
  if (content.content_size_of == SizeOf::kWire) return said;
  const bool is_plaintext = content.content_size_of == SizeOf::kPlaintext;
  return BodySizeOfCiphertext(content, is_plaintext ? CiphertextSize(content, said) : said);
}

}  // namespace

absl::StatusOr<ContentSize> ContentSizeOf(const CompiledDialect& dialect, uint64_t counted,
                                          uint64_t fields_size, uint64_t content_size,
                                          bool id_in_payload) {
  const ContentTraits& content = dialect.content;
  const bool is_echo = content.content_size_of == SizeOf::kNothing;
  const uint64_t largest = is_echo ? counted : std::max(content_size, counted);
  if (largest > kMaxContentSize) {
    return absl::InvalidArgumentError(absl::StrCat(
        "it says that it has ", largest, " bytes of content, more than ", kMaxContentSize));
  }
  const std::optional<uint64_t> meant =
      is_echo ? std::optional(content_size) : CountedBy(content, content_size);
  if (!meant) return absl::InvalidArgumentError(absl::StrCat("a content size of ", content_size));
  const uint64_t said = *meant;
  const bool is_counted = dialect.content_length != LengthBy::kContentSize && counted > fields_size;
  if (!is_counted) {
    // An empty file, where padding adds nothing.
    const bool by_content = dialect.content_length == LengthBy::kContentSize;
    const bool is_empty = by_content ? said == 0 : counted == fields_size;
    if (is_empty && CiphertextSize(content, 0) == 0 && Agrees(content, said, 0))
      return ContentSize{0, "counted"};
    if (dialect.content_length == LengthBy::kPayloadSize)
      return absl::InvalidArgumentError("it has no content");
    const uint64_t size = said == 0 ? 0 : BodySizeOf(content, said);
    if (size == 0) return NoContent();
    return ContentSize{size, counted >= fields_size ? "not counted" : "truncated"};
  }
  const uint64_t size = counted - fields_size;
  // What the content size of a packet counts shows only with the others.
  if (content.packets || Agrees(content, said, size)) return ContentSize{size, "counted"};
  if (content.blocks && !id_in_payload && said > size && size % kCipherBlockSize == 0 &&
      said % kCipherBlockSize == 0) {
    return ContentSize{size, "blocks", said};
  }
  return absl::InvalidArgumentError(
      absl::StrCat("it has ", size, " bytes of content, but says ", content_size));
}

uint64_t CiphertextSize(const ContentTraits& content, uint64_t plaintext_size) {
  if (content.encrypted_piece_size == 0) return EncryptedSize(content, plaintext_size);
  // A full piece has at least one byte of PKCS#7 padding: whole blocks of plaintext and one more.
  const uint64_t overhead =
      SizeOfVector(content) + (content.padded_with_zeros ? 0 : kCipherBlockSize);
  const uint64_t in_each = content.encrypted_piece_size - overhead;
  const uint64_t rest = plaintext_size % in_each;
  return plaintext_size / in_each * content.encrypted_piece_size +
         (rest != 0 || plaintext_size == 0 ? EncryptedSize(content, rest) : 0);
}

uint64_t BodySizeOfCiphertext(const ContentTraits& content, uint64_t ciphertext_size) {
  const uint64_t characters = TextSize(content.text, ciphertext_size);
  if (content.text_line_width == 0 || characters == 0) return characters;
  const uint64_t lines = (characters + content.text_line_width - 1) / content.text_line_width;
  return characters +
         (lines - (content.text_ends_with_line_break ? 0 : 1)) * content.text_line_break_size;
}

std::optional<uint64_t> CiphertextSizeOfBody(const ContentTraits& content, uint64_t body_size) {
  if (content.text == TextEncoding::kBinary) return body_size;
  const uint64_t line = content.text_line_width + content.text_line_break_size;
  const uint64_t characters = content.text_line_width == 0
                                  ? body_size
                                  : body_size / line * content.text_line_width + body_size % line;
  // A line break at the end, which may be counted as characters here, is less than a cipher block.
  const uint64_t size = CiphertextSizeOfText(content.text, characters);
  for (const uint64_t near : {size, size - std::min(size, kCipherBlockSize)}) {
    if (BodySizeOfCiphertext(content, near) == body_size) return near;
  }
  return std::nullopt;
}

std::optional<uint64_t> CountedBy(const ContentTraits& content, uint64_t said) {
  if (said > kMaxContentSize) return std::nullopt;
  const int64_t besides = static_cast<int64_t>(said) - content.content_size_excess;
  if (besides < 0) return std::nullopt;
  const auto counted = static_cast<uint64_t>(besides);
  if (counted % content.content_size_factor != 0) return std::nullopt;
  return counted / content.content_size_factor;
}

bool IsPlaintextSize(const CompiledDialect& dialect, uint64_t content_size, uint64_t body_size) {
  const std::optional<uint64_t> said = CountedBy(dialect.content, content_size);
  return said &&
         CiphertextSize(dialect.content, *said) == CiphertextSizeOfBody(dialect.content, body_size);
}

uint32_t CutAtZeroByte(uint32_t value) {
  uint32_t kept = 0;
  for (int shift = 0; shift < 32 && (value >> shift & 0xFF) != 0; shift += 8) {
    kept |= value & (uint32_t{0xFF} << shift);
  }
  return kept;
}

}  // namespace backup::wire
