#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "absl/strings/string_view.h"
#include "backup/v1/types.pb.h"
#include "bridge/wire/dialect.h"

// What a connection's bytes ask for: one decision, for whoever reads them.
namespace backup::bridge {

// What is known of whoever sent the bytes.
struct KnownOfSender {
  // Of the requests so far on this connection; null before the first.
  const wire::Dialect* dialect = nullptr;
  // The client's record, if it has been looked up; only before the first request.
  const v1::LegacyProfile* profile = nullptr;
  // Of the dialects that share request codes, the one of a client of which nothing is known.
  absl::string_view family_of_shared_codes = "C";
};

// No request yet: the head is not whole.
struct NeedMore {};

// The head is whole, but only the client's record tells in which dialect, or in what framing.
struct NeedProfile {
  wire::RequestHeader header;
  // No dialect understands the head: only how to say so is open, which is worth no waiting.
  bool is_malformed = false;
};

// No request that can be served. The connection is answered, unless nothing is to be said, and
// closed.
struct Refusal {
  enum class Kind {
    kForeignProtocol,  // Another protocol, `rule` says which: not to be answered.
    kUnknownCode,      // A request code of no dialect.
    kMalformedHead,    // A head that breaks `rule` of its dialect.
    kIncompleteHead,   // A head that never became whole.
  };
  Kind kind = Kind::kMalformedHead;
  const wire::Dialect* answer_in = nullptr;  // Never null.
  std::string rule = "";
  wire::RequestHeader header = {};
  // Whose record the broken rule is for.
  std::optional<ClientId> culprit = std::nullopt;
};

// A request.
struct Ready {
  const wire::Dialect* dialect = nullptr;  // Never null.
  wire::DecodedHead head;
  std::string description;  // DescribeRequest().
};

using Decision = std::variant<NeedMore, NeedProfile, Refusal, Ready>;

// What `bytes`, the first that a sender has sent and that were not consumed, ask for. The same
// bytes always give the same decision, however they arrived. Asks for no more than
// wire::kMaxHeadSize bytes.
Decision Decide(absl::string_view bytes, const KnownOfSender& known);

// The same for bytes after which no more will come, or not in time, and which are no whole head:
// kForeignProtocol or kIncompleteHead.
Refusal DecideIncomplete(absl::string_view bytes);

// Whether all the bytes that a header announces have come.
bool HasWholePayload(absl::string_view bytes, const wire::RequestHeader& header);

}  // namespace backup::bridge
