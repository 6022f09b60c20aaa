#include "storage/catalog/legacy_profile.h"

#include <algorithm>
#include <array>

namespace backup::storage {
namespace {

// Of the clients that were met, more compare the earlier ones: docs/wire-protocol.md, "Checksums".
constexpr std::array kCandidates = {
    ChecksumKind::kCksumOfPlaintext,
    ChecksumKind::kCksumOfCiphertext,
    ChecksumKind::kCrc32OfPlaintext,
    ChecksumKind::kCrc32OfCiphertext,
};

template <typename Value>
bool Take(const Value& observed, const Value& unknown, Value& known) {
  if (observed == unknown || observed == known) return false;
  known = observed;
  return true;
}

}  // namespace

bool LegacyProfile::Merge(const LegacyProfile& observed) {
  bool changed = Take(observed.family, std::string(), family);
  changed |= Take(observed.header_version, 0, header_version);
  changed |= Take(observed.framing, std::string(), framing);
  changed |= Take(observed.file_style, std::string(), file_style);
  changed |= Take(observed.connection_style, std::string(), connection_style);
  changed |= Take(observed.last_protocol_error, std::string(), last_protocol_error);
  changed |= Take(observed.last_protocol_error_time, std::optional<absl::Time>(),
                  last_protocol_error_time);
  return changed;
}

ChecksumKind LegacyProfile::NextChecksum(ChecksumKind first) const {
  if (checksum_kind) return *checksum_kind;
  std::array<ChecksumKind, kCandidates.size()> order = kCandidates;
  std::rotate(order.begin(), std::find(order.begin(), order.end(), first),
              std::find(order.begin(), order.end(), first) + 1);
  return order[static_cast<size_t>(checksum_refusals) % order.size()];
}

void LegacyProfile::Learn(Outcome outcome, ChecksumKind kind) {
  if (outcome == Outcome::kVerified) {
    checksum_kind = kind;
    checksum_refusals = 0;
    return;
  }
  if (checksum_kind && outcome == Outcome::kRetrying) return;
  checksum_kind.reset();
  checksum_refusals = (checksum_refusals + 1) % static_cast<int>(kCandidates.size());
}

}  // namespace backup::storage
