// A file request, after the header:
//
//   content size u32, file name 255, content
//   client id 16, content size u32, file name 255, content     if it begins with the header's id
//
// How long the content is, and whether it is one block of a file: docs/wire-protocol.md, "How long
// is a file request?" and "Blocks".
#include "bridge/wire/whole_file.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "bridge/wire/byte_reader.h"
#include "bridge/wire/fields.h"

namespace backup::wire {
namespace {

constexpr size_t kFieldsSize = 4 + kNameFieldSize;
constexpr uint64_t kCipherBlockSize = 16;

struct Content {
  uint64_t size = 0;
  absl::string_view style;
  bool is_block = false;
};

// Whether `said` is `size`, or a plaintext size that padding makes `size`, perhaps cut at its first
// zero byte: what senders fill in as the content size.
bool Agree(uint32_t said, uint64_t size) {
  for (uint64_t meant = size - std::min(size, kCipherBlockSize); meant <= size; ++meant) {
    const auto value = static_cast<uint32_t>(meant);
    if (said == value || said == CutAtZeroByte(value)) return true;
  }
  return false;
}

absl::StatusOr<Content> ContentOf(const RequestHeader& header, size_t fields_size,
                                  uint32_t content_size, bool may_be_block) {
  if (header.payload_size > fields_size) {
    const uint64_t size = header.payload_size - fields_size;
    if (Agree(content_size, size)) return Content{size, "counted"};
    if (may_be_block && content_size > size && size % kCipherBlockSize == 0)
      return Content{size, "blocks", true};
    return WrongSize(header,
                     absl::StrCat("it has ", size, " bytes of content, but says ", content_size));
  }
  if (content_size == 0) return WrongSize(header, "no content, and a content size of 0");
  return Content{content_size, header.payload_size == fields_size ? "not counted" : "truncated"};
}

}  // namespace

absl::StatusOr<std::optional<DecodedHead>> DecodeWholeFile(const RequestHeader& header,
                                                           absl::string_view payload,
                                                           bool may_send_blocks) {
  // Nobody's content size and name look like the id; so a few bytes decide where they are.
  const absl::string_view id = header.client_id.bytes();
  const bool id_in_front = absl::StartsWith(payload, id);
  if (!id_in_front && payload.size() < id.size() && absl::StartsWith(id, payload))
    return std::nullopt;
  const size_t id_size = id_in_front ? id.size() : 0;
  const size_t fields_size = id_size + kFieldsSize;
  if (payload.size() < fields_size) return std::nullopt;
  ByteReader reader(payload.substr(id_size));
  SendFile file;
  file.content_size = reader.U32();
  file.name_field = std::string(reader.Bytes(kNameFieldSize));
  file.name = CutAtNul(file.name_field);
  ASSIGN_OR_RETURN(const Content content, ContentOf(header, fields_size, file.content_size,
                                                    may_send_blocks && !id_in_front));
  file.size_style = content.style;
  file.is_block = content.is_block;
  file.id_in_front = id_in_front;
  return MakeHead(header, std::move(file), fields_size, content.size);
}

bool SaysPlaintextSize(const SendFile& file, uint64_t body_size) {
  return (uint64_t{file.content_size} / kCipherBlockSize + 1) * kCipherBlockSize == body_size;
}

}  // namespace backup::wire
