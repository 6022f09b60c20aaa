#include "bridge/request/framing.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "bridge/request/legacy_profiles.h"

namespace backup::bridge {
namespace {

// What fills `size` bytes up to a multiple of so many.
size_t PaddingSize(uint64_t size, size_t multiple_of) {
  return static_cast<size_t>((multiple_of - size % multiple_of) % multiple_of);
}

// Whether what comes where a message is filled up may be the next request of `id`, or of nobody.
// Zeros are no request, even where they are a code.
bool IsRequest(const wire::Dialect& dialect, absl::string_view bytes, const ClientId& id) {
  if (dialect.padding().requests == wire::PaddingUse::kAlways) return false;
  const std::optional<wire::RequestHeader> header = dialect.DecodeHeader(bytes);
  if (!header || !dialect.Claims(*header)) return false;
  const absl::string_view front = bytes.substr(0, dialect.header_size());
  const bool is_zeros = front.find_first_not_of('\0') == absl::string_view::npos;
  return !is_zeros && (header->client_id == id || header->client_id == ClientId());
}

}  // namespace

std::optional<bool> Framing::pads(const wire::Dialect& dialect) const {
  switch (dialect.padding().requests) {
    case wire::PaddingUse::kNever:
      return false;
    case wire::PaddingUse::kAlways:
      return true;
    case wire::PaddingUse::kByClient:
      return pads_;
  }
  return false;
}

void Framing::Learn(const v1::LegacyProfile& profile) {
  if (absl::StartsWith(profile.framing(), kBlockFraming)) pads_ = true;
  if (profile.framing() == kStreamFraming) pads_ = false;
}

std::string Framing::RecordText(const wire::Dialect& dialect) const {
  const std::optional<bool> padded = pads(dialect);
  if (!padded) return "";
  return *padded ? absl::StrCat(kBlockFraming, dialect.padding().multiple_of, " bytes")
                 : kStreamFraming;
}

void Framing::TakePadding(Connection& connection, const wire::Dialect& dialect, const ClientId& id,
                          uint64_t message_size) {
  const std::optional<bool> known = pads(dialect);
  const size_t padding = PaddingSize(message_size, dialect.padding().multiple_of);
  if (known == false || padding == 0) return;  // No padding shows nothing.
  const absl::Status waited = connection.WaitForBuffered(
      padding, known ? options_.padding_timeout : options_.first_padding_timeout);
  const bool padded = waited.ok() && !IsRequest(dialect, connection.buffered(), id);
  if (!known) pads_ = padded;
  if (padded) connection.Consume(padding);
}

std::string Framing::Frame(const wire::Dialect& dialect, std::string answer) const {
  const wire::PaddingTraits& traits = dialect.padding();
  const bool padded = traits.answers == wire::PaddingUse::kAlways ||
                      (traits.answers == wire::PaddingUse::kByClient && pads(dialect) == true);
  if (padded) answer.resize(answer.size() + PaddingSize(answer.size(), traits.multiple_of));
  return answer;
}

}  // namespace backup::bridge
