#include "legacy_client/file_plan.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "legacy_client/cipher.h"
#include "legacy_client/text_content.h"

namespace backup::legacy_client {
namespace {

using bridge::v1::Field;
using bridge::v1::FileContent;
using bridge::v1::MessagePadding;

// How much of `size` bytes the slice at `index` takes; nothing after the last one.
int64_t Slice(int64_t size, int64_t slice_size, int64_t index) {
  return std::clamp<int64_t>(size - index * slice_size, 0, slice_size);
}

// Of what is too large for an integer of up to 4 bytes.
std::string SizeText(int64_t size) {
  if (size == int64_t{1} << 32) return "4 GiB";
  return size == 1 << 16 ? "64 KiB" : absl::StrCat(size, " bytes");
}

int64_t DivideRoundedUp(int64_t size, int64_t by) { return (size + by - 1) / by; }

// What is left of an integer, little-endian, that its sender treats as a C string.
int64_t CutAtFirstZeroByte(int64_t value) {
  int bits = 0;
  while (((value >> bits) & 0xFF) != 0) bits += 8;
  return value & ((int64_t{1} << bits) - 1);
}

}  // namespace

int64_t FirstBlockSize(const ClientStyle& style) {
  const auto& padding = style.dialect.padding();
  const int64_t block_size = FileRequestOf(style.dialect).content().blocks().size();
  if (padding.requests() != MessagePadding::ALWAYS) return block_size;
  const Frames frames(style.dialect, FrameStyleOf(style));
  const auto head_size = static_cast<int64_t>(frames.request_header_size() +
                                              frames.Fields(RequestKind::FILE, {}).size());
  // Into the first message that has room for any plaintext.
  const bool has_vector =
      style.dialect.cryptography().initial_vector() == bridge::v1::Cryptography::IN_FRONT;
  const int64_t least = int64_t{kCipherBlockSize} * (has_vector ? 2 : 1);
  const int64_t multiple = padding.multiple_of();
  const int64_t room = DivideRoundedUp(head_size + least, multiple) * multiple - head_size;
  return room / int64_t{kCipherBlockSize} * int64_t{kCipherBlockSize};
}

absl::StatusOr<FilePlan> FilePlan::Make(const ClientStyle& style, const Frames& frames,
                                        PlannedFile file) {
  FilePlan plan(style, frames, std::move(file));
  RETURN_IF_ERROR(frames.Check(RequestKind::FILE, {.file_name = plan.file_.name}));
  RETURN_IF_ERROR(plan.CheckRoom());
  return plan;
}

FilePlan::FilePlan(const ClientStyle& style, const Frames& frames, PlannedFile file)
    : style_(style),
      encryption_(EncryptionOf(style_)),
      frames_(frames),
      file_(std::move(file)),
      all_{file_.plaintext_size, EncryptedSize(encryption_, file_.plaintext_size)},
      total_(CountParts()) {}

// An empty file is one part.
int64_t FilePlan::CountParts() const {
  switch (*style_.file_style) {
    case FileStyle::kChunks:
      return std::max<int64_t>(DivideRoundedUp(all_.plaintext_size, *style_.packet_size), 1);
    case FileStyle::kStream:
      return std::max<int64_t>(DivideRoundedUp(WireSize(all_), *style_.packet_size), 1);
    case FileStyle::kBlocks: {
      const int64_t behind_first = all_.plaintext_size - encryption_.first_chunk_size;
      return 1 + std::max<int64_t>(DivideRoundedUp(behind_first, encryption_.chunk_size), 0);
    }
    default:
      return 1;
  }
}

absl::Status FilePlan::CheckRoom() const {
  const PartSizes first = SizesOf(0);
  const auto fields_size = static_cast<int64_t>(frames_.Fields(RequestKind::FILE, {}).size());
  const int64_t body_size = first.content_size + FilledUp(0, first.content_size);
  const bool is_counted = style_.file_style != FileStyle::kUncounted;
  const int64_t payload_size =
      fields_size + (is_counted ? body_size : 0) - FileRequestOf(style_.dialect).uncounted_bytes();
  const std::pair<Field::Kind, int64_t> values[] = {
      {Field::PAYLOAD_SIZE, payload_size},
      {Field::CONTENT_SIZE, first.claimed_content_size},
      {Field::ORIGINAL_SIZE, first.original_size}};
  for (const auto& [field, value] : values) {
    if (value < 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "a file of this size has less than the ", FileRequestOf(style_.dialect).uncounted_bytes(),
          " bytes that its request does not count (uncounted_bytes)"));
    }
    const int64_t largest = frames_.LargestValue(RequestKind::FILE, field);
    if (value > largest) {
      return absl::InvalidArgumentError(
          absl::StrCat("the protocol has no room for a file of this size: its ",
                       Field::Kind_Name(field), " must be less than ", SizeText(largest + 1)));
    }
  }
  const int64_t counted = fields_size + body_size;
  const int64_t said = CountedPayloadSize(fields_size, body_size);
  if (style_.file_style == FileStyle::kTruncated && said > fields_size && said != counted) {
    return absl::InvalidArgumentError(
        "cut at its first zero byte, the payload size of a file of this size would mislead the "
        "server");
  }
  if (!IsInPackets()) return absl::OkStatus();
  // The extra packet's number needs room too.
  const int64_t most = std::min(frames_.LargestValue(RequestKind::FILE, Field::PACKET_NUMBER),
                                frames_.LargestValue(RequestKind::FILE, Field::PACKET_TOTAL)) -
                       1;
  if (total_ <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("more than ", most, " packets: raise --packet_size"));
}

std::optional<FilePart> FilePlan::Part(int64_t index) const {
  const bool is_extra = index == total_ && style_.extra_packet;
  if (index >= total_ && !is_extra) return std::nullopt;
  PartSizes sizes = SizesOf(index);
  if (is_extra) sizes.content_size = 0;  // Its body is zero bytes, for nobody decrypts it.
  FilePart part;
  part.content_size = sizes.content_size;
  part.padding_size = FilledUp(index, sizes.content_size);
  const int64_t body_size = part.content_size + part.padding_size;
  part.head = Head(index, sizes, body_size);
  part.padding_size += frames_.RequestPadding(static_cast<int64_t>(part.head.size()) + body_size);
  return part;
}

int64_t FilePlan::FilledUp(int64_t index, int64_t content_size) const {
  if (IsInPackets()) {
    const bool is_full = style_.pad_packets || (content().packets().header_on_first_only() &&
                                                !content().packets().last_is_shorter());
    if (is_full) return FullPacketSize() - content_size;
    return index == total_ ? int64_t{kCipherBlockSize} : 0;
  }
  if (!IsInBlocks() || index == 0 || !content().blocks().last_is_filled()) return 0;
  return content().blocks().size() - content_size;
}

std::string FilePlan::Head(int64_t index, const PartSizes& sizes, int64_t body_size) const {
  if (IsInBlocks() && index > 0) return "";
  RequestValues values;
  values.id = file_.id;
  values.file_name = file_.name;
  values.content_size = sizes.claimed_content_size;
  values.original_size = sizes.original_size;
  values.packet_number = index + (content().packets().counted_from_zero() ? 0 : 1);
  values.packet_total = total_;
  if (style_.swap_packet_fields) std::swap(values.packet_number, values.packet_total);
  const std::string fields = frames_.Fields(RequestKind::FILE, values);
  if (index > 0 && content().packets().header_on_first_only()) return fields;
  const int64_t payload_size = CountedPayloadSize(static_cast<int64_t>(fields.size()), body_size);
  return absl::StrCat(frames_.Header(RequestKind::FILE, values, payload_size), fields);
}

int64_t FilePlan::CountedPayloadSize(int64_t fields_size, int64_t body_size) const {
  if (style_.file_style == FileStyle::kUncounted) return fields_size;
  const int64_t counted = fields_size + body_size;
  if (style_.file_style != FileStyle::kTruncated) return counted;
  const int64_t uncounted = FileRequestOf(style_.dialect).uncounted_bytes();
  return CutAtFirstZeroByte(counted - uncounted) + uncounted;
}

FilePlan::Sizes FilePlan::SizesOfChunk(int64_t index) const {
  int64_t size = 0;
  if (!IsInBlocks()) {
    size = Slice(all_.plaintext_size, encryption_.chunk_size, index);
  } else if (index == 0) {
    size = std::min(all_.plaintext_size, encryption_.first_chunk_size);
  } else {
    size = Slice(all_.plaintext_size - encryption_.first_chunk_size, encryption_.chunk_size,
                 index - 1);
  }
  return {size, ChunkEncryptedSize(encryption_, size)};
}

FilePlan::PartSizes FilePlan::SizesOf(int64_t index) const {
  PartSizes sizes = {WireSize(all_), ClaimedSize(all_), all_.plaintext_size};
  if (style_.file_style == FileStyle::kStream) {
    sizes.content_size = Slice(sizes.content_size, *style_.packet_size, index);
  } else if (style_.file_style == FileStyle::kChunks || IsInBlocks()) {
    const Sizes chunk = SizesOfChunk(index);
    sizes.content_size = WireSize(chunk);
    if (IsInPackets()) sizes.claimed_content_size = ClaimedSize(chunk);
    if (style_.original_size == OriginalSize::kPacket) sizes.original_size = chunk.plaintext_size;
  }
  return sizes;
}

int64_t FilePlan::WireSize(const Sizes& sizes) const {
  return ContentTextSize(content(), sizes.ciphertext_size);
}

int64_t FilePlan::ClaimedSize(const Sizes& sizes) const {
  const int64_t excess = content().content_size_excess();
  const int64_t factor = std::max<int64_t>(content().content_size_factor(), 1);
  switch (content().content_size_counts()) {
    case FileContent::PLAINTEXT:
      return sizes.plaintext_size * factor + excess;
    case FileContent::WIRE:
      return WireSize(sizes) * factor + excess;
    default:
      return sizes.ciphertext_size * factor + excess;
  }
}

int64_t FilePlan::FullPacketSize() const {
  return style_.file_style == FileStyle::kChunks
             ? ChunkEncryptedSize(encryption_, *style_.packet_size)
             : *style_.packet_size;
}

}  // namespace backup::legacy_client
