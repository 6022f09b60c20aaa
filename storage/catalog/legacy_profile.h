#pragma once

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "storage/catalog/version.h"

namespace backup::storage {

// What was learned of how an old client speaks. The texts are the bridge's words: nothing here
// depends on them. Empty, 0 or unset: not known.
struct LegacyProfile {
  std::string family;      // Generation, such as "C".
  int header_version = 0;  // What its request headers say.
  std::string framing;
  std::string file_style;
  std::string connection_style;
  std::string last_protocol_error;
  std::optional<absl::Time> last_protocol_error_time;
  // What it compares, once it has confirmed a checksum; and how many candidates it has refused
  // since it was last known.
  std::optional<ChecksumKind> checksum_kind;
  int checksum_refusals = 0;

  // Takes over what `observed` knows of all but the checksum; whether that changed anything.
  bool Merge(const LegacyProfile& observed);

  // What to answer the next file with: what is known, else the candidates in turn, `first` and then
  // the others in the order of ChecksumKind's rows in docs/wire-protocol.md.
  ChecksumKind NextChecksum(ChecksumKind first) const;
  // What the client made of a checksum of this kind. One that refuses what it has always confirmed
  // has a bad line; only if it gives up it may have become another program.
  void Learn(Outcome outcome, ChecksumKind kind);

  friend bool operator==(const LegacyProfile&, const LegacyProfile&) = default;
};

}  // namespace backup::storage
