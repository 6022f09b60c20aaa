#include "bridge/upload/upload_content.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "bridge/upload/block_source.h"
#include "bridge/upload/text_body.h"
#include "bridge/wire/content_size.h"

namespace backup::bridge {
namespace {

// Whether the client fills its messages up, as far as its dialect and the file show it. Who fills
// up the last block of a file does, whatever was guessed before.
bool IsPadded(const wire::PaddingTraits& padding, const wire::ContentTraits& content,
              const wire::SendFile& file, std::optional<bool> pads) {
  const bool fills_blocks = file.blocks_size > 0 && content.blocks->last_is_filled;
  switch (padding.requests) {
    case wire::PaddingUse::kNever:
      return false;
    case wire::PaddingUse::kAlways:
      return true;
    case wire::PaddingUse::kByClient:
      return fills_blocks || pads.value_or(false);
  }
  return false;
}

absl::StatusOr<UploadContent> OpenPackets(const PartsInput& input, const wire::DecodedHead& head,
                                          const wire::Packet& first) {
  ASSIGN_OR_RETURN(const PacketOrder order,
                   PacketOrder::OfFirst(first, *input.dialect.content().packets));
  auto source = std::make_unique<PacketSource>(input, head, order);
  UploadContent content;
  content.size = source->stream_size();
  content.segment_count = source->segment_count();
  content.plaintext_size = source->plaintext_size();
  content.packets = order;
  content.body = std::move(source);
  return content;
}

UploadContent OpenBlocks(const PartsInput& input, const wire::DecodedHead& head) {
  auto source = std::make_unique<BlockSource>(input, head);
  UploadContent content;
  content.segment_count = source->count() <= kMaxSegments ? static_cast<int>(source->count()) : 0;
  content.body = std::move(source);
  return content;
}

// A file that is one message.
absl::StatusOr<UploadContent> OpenMessage(const PartsInput& input, const wire::DecodedHead& head,
                                          const wire::SendFile& file) {
  const wire::TextEncoding text = input.dialect.content().text;
  UploadContent content;
  const std::optional<uint64_t> size =
      wire::CiphertextSizeOfBody(input.dialect.content(), head.body_size);
  if (!size) {
    return absl::InvalidArgumentError(
        absl::StrCat("a text of ", head.body_size, " characters is none of a ciphertext"));
  }
  content.size = *size;
  content.plaintext_size = file.plaintext_size;
  content.body =
      std::make_unique<BodySource>(input.connection, head.body_size, input.limits, input.budget);
  if (text != wire::TextEncoding::kBinary)
    content.body = std::make_unique<TextBody>(std::move(content.body), text,
                                              input.dialect.content().text_line_width > 0);
  return content;
}

}  // namespace

bool IsPlainContent(const wire::Dialect& dialect, const wire::SendFile& file) {
  return !file.packet && file.blocks_size == 0 &&
         dialect.content().text == wire::TextEncoding::kBinary;
}

absl::StatusOr<UploadContent> OpenContent(Connection& connection, const wire::Dialect& dialect,
                                          const wire::DecodedHead& head, std::optional<bool> pads,
                                          const BodyLimits& limits, BodyBudget& budget) {
  const auto& file = std::get<wire::SendFile>(head.request.operation);
  if (head.body_size > wire::kMaxContentSize) {
    return absl::InvalidArgumentError(
        absl::StrCat("a file request has ", head.body_size, " bytes of content"));
  }
  const bool is_padded = IsPadded(dialect.padding(), dialect.content(), file, pads);
  const PartsInput input = {connection, dialect, is_padded ? dialect.padding().multiple_of : 1,
                            limits, budget};
  if (file.packet) {
    ASSIGN_OR_RETURN(UploadContent content, OpenPackets(input, head, *file.packet));
    content.is_padded = is_padded;
    return content;
  }
  if (file.blocks_size == 0) return OpenMessage(input, head, file);
  UploadContent content = OpenBlocks(input, head);
  content.is_padded = is_padded;
  return content;
}

}  // namespace backup::bridge
