#include "bridge/request/framing.h"

#include <optional>

#include "bridge/request/legacy_profiles.h"

namespace backup::bridge {

void Framing::Learn(const v1::LegacyProfile& profile) {
  if (profile.framing() == kBlockFraming) kind_ = Kind::kBlocks;
  if (profile.framing() == kStreamFraming) kind_ = Kind::kStream;
}

absl::string_view Framing::RecordText(const wire::Dialect& dialect) const {
  if (!dialect.MaySendBlocks() || kind_ == Kind::kStream) return kStreamFraming;
  return kind_ == Kind::kBlocks ? kBlockFraming : "";
}

void Framing::TakePadding(Connection& connection, const wire::Dialect& dialect, const ClientId& id,
                          uint64_t message_size) {
  if (!MayHavePadding(dialect)) return;
  const size_t padding = (wire::kBlockSize - message_size % wire::kBlockSize) % wire::kBlockSize;
  if (padding == 0) return;  // Shows nothing.
  const absl::Status waited = connection.WaitForBuffered(
      padding, in_blocks() ? options_.padding_timeout : options_.first_padding_timeout);
  const std::optional<wire::RequestHeader> next = wire::DecodeHeader(connection.buffered());
  const bool is_request = next && next->client_id == id && dialect.Claims(*next);
  const bool padded = waited.ok() && !is_request;
  if (kind_ == Kind::kUnknown) kind_ = padded ? Kind::kBlocks : Kind::kStream;
  if (padded) connection.Consume(padding);
}

std::string Framing::Frame(std::string answer) const {
  if (!in_blocks()) return answer;
  answer.resize((answer.size() + wire::kBlockSize - 1) / wire::kBlockSize * wire::kBlockSize);
  return answer;
}

}  // namespace backup::bridge
