#include "bridge/net/defender.h"

namespace backup::bridge {

absl::string_view OffenceName(Offence offence) {
  switch (offence) {
    case Offence::kForeignProtocol:
      return "foreign_protocol";
    case Offence::kUnknownRequest:
      return "unknown_request";
    case Offence::kMalformedHead:
      return "malformed_head";
    case Offence::kIncompleteHead:
      return "incomplete_head";
    case Offence::kRegistrations:
      return "registrations";
  }
  return "";
}

void Defender::NoteServed(const IpAddress& address, MonotonicTime now) {
  if (is_on_) served_.See(NetworkOf(address).first(), now) = now;
}

std::optional<EarnedBan> Defender::NoteOffence(const IpAddress& address, Offence offence,
                                               MonotonicTime now) {
  if (!is_on_) return std::nullopt;
  const IpAddress counted = NetworkOf(address).first();
  const MonotonicTime* const served = served_.Find(counted);
  if (served != nullptr && absl::FromChrono(now - *served) < kTrust) return std::nullopt;
  if (counts_.WaitFor(counted, now) == absl::ZeroDuration()) {
    counts_.Take(counted, now);
    return std::nullopt;
  }
  return bans_.Add(address, OffenceName(offence), now);
}

}  // namespace backup::bridge
