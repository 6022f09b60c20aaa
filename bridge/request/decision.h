#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "absl/strings/string_view.h"
#include "backup/v1/types.pb.h"
#include "bridge/wire/dialect.h"
#include "bridge/wire/dialects.h"

// What a connection's bytes ask for: one decision, for whoever reads them.
namespace backup::bridge {

// What is known of whoever sent the bytes.
struct KnownOfSender {
  // Those of the port.
  const wire::DialectSet& dialects;
  // Of these, all that understood every request so far on this connection.
  wire::DialectMask candidates;
  // The one in which the last of them was answered; null before the first.
  const wire::Dialect* dialect = nullptr;
  // The client's record, if it has been looked up; only before the first request.
  const v1::LegacyProfile* profile = nullptr;
};

// No request yet: the head is not whole.
struct NeedMore {};

// The head is whole, but only the client's record tells in which dialect, or in what framing.
struct NeedProfile {
  ClientId client_id;
  // All of the request has come, content included.
  bool has_come_whole = false;
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
  uint32_t code = 0;
  // Whose record the broken rule is for.
  std::optional<ClientId> culprit = std::nullopt;
};

// A request.
struct Ready {
  const wire::Dialect* dialect = nullptr;  // Never null.
  // The dialects that understand this request and all before it.
  wire::DialectMask candidates = 0;
  wire::DecodedHead head;
  std::string description = "";  // DescribeRequest().
};

using Decision = std::variant<NeedMore, NeedProfile, Refusal, Ready>;

// What `bytes`, the first that a sender has sent and that were not consumed, ask for. The same
// bytes always give the same decision, however they arrived. Asks for no more than
// wire::kMaxHeadSize bytes, and for none behind a whole request.
Decision Decide(absl::string_view bytes, const KnownOfSender& known);

// How many bytes a request takes, or its first part, without padding.
uint64_t RequestSize(const wire::DecodedHead& head);

// The same for bytes after which no more will come, or not in time, and which are no whole head:
// kForeignProtocol or kIncompleteHead.
Refusal DecideIncomplete(absl::string_view bytes, const KnownOfSender& known);

}  // namespace backup::bridge
