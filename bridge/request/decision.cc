#include "bridge/request/decision.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "bridge/request/request_text.h"
#include "bridge/wire/dialects.h"

namespace backup::bridge {
namespace {

using Dialects = std::vector<const wire::Dialect*>;

Refusal Malformed(const wire::Dialect& dialect, const wire::RequestHeader& header,
                  absl::string_view rule) {
  return {
      .kind = Refusal::Kind::kMalformedHead,
      .answer_in = &dialect,
      .rule = std::string(rule),
      .header = header,
      .culprit = dialect.IsRegistration(header) ? std::nullopt : std::optional(header.client_id)};
}

Refusal OfNoDialect(absl::string_view bytes, const wire::RequestHeader& header) {
  const absl::string_view protocol = wire::DetectForeignProtocol(bytes);
  const auto kind =
      protocol.empty() ? Refusal::Kind::kUnknownCode : Refusal::Kind::kForeignProtocol;
  return {kind, &wire::DefaultDialect(), std::string(protocol), header};
}

// Whether no more bytes change which dialects understand the head. Where dialects share a code, the
// shorter head is followed by content that makes up for the rest.
bool IsSettled(absl::string_view bytes, const wire::RequestHeader& header,
               const Dialects& candidates) {
  return HasWholePayload(bytes, header) ||
         std::all_of(candidates.begin(), candidates.end(), [&](const wire::Dialect* dialect) {
           const auto head = dialect->DecodeHead(bytes);
           return !head.ok() || head->has_value();
         });
}

bool IsMalformedInAll(absl::string_view bytes, const Dialects& candidates) {
  return std::none_of(candidates.begin(), candidates.end(), [&](const wire::Dialect* dialect) {
    return dialect->DecodeHead(bytes).ok();
  });
}

// Whether the client's record has to say which of the dialects it speaks, or in what framing.
bool NeedsProfile(const wire::RequestHeader& header, const Dialects& candidates) {
  const wire::Dialect& first = *candidates.front();
  return !first.IsRegistration(header) && (candidates.size() > 1 || first.MaySendBlocks());
}

const wire::Dialect& Choose(const KnownOfSender& known, const Dialects& candidates) {
  const absl::string_view recorded =
      known.profile != nullptr ? absl::string_view(known.profile->family()) : "";
  for (const absl::string_view family : {recorded, known.family_of_shared_codes}) {
    for (const wire::Dialect* dialect : candidates) {
      if (dialect->name() == family) return *dialect;
    }
  }
  return *candidates.front();
}

Decision DecideIn(const wire::Dialect& dialect, const wire::RequestHeader& header,
                  absl::string_view bytes) {
  absl::StatusOr<std::optional<wire::DecodedHead>> head = dialect.DecodeHead(bytes);
  if (!head.ok()) return Malformed(dialect, header, head.status().message());
  if (!head->has_value()) return NeedMore();
  std::string description = DescribeRequest(bytes, dialect, (*head)->request);
  return Ready{&dialect, **std::move(head), std::move(description)};
}

}  // namespace

bool HasWholePayload(absl::string_view bytes, const wire::RequestHeader& header) {
  return bytes.size() >= wire::kRequestHeaderSize + uint64_t{header.payload_size};
}

Decision Decide(absl::string_view bytes, const KnownOfSender& known) {
  const std::optional<wire::RequestHeader> header = wire::DecodeHeader(bytes);
  if (!header) return NeedMore();
  const Dialects candidates = wire::FindDialects(*header);
  if (candidates.empty()) return OfNoDialect(bytes, *header);
  if (known.dialect != nullptr) {
    if (known.dialect->Claims(*header)) return DecideIn(*known.dialect, *header, bytes);
    if (!IsSettled(bytes, *header, candidates)) return NeedMore();
    return Malformed(*known.dialect, *header,
                     absl::StrCat("request ", header->code, " is not of family ",
                                  known.dialect->name(), " like those before it"));
  }
  if (!IsSettled(bytes, *header, candidates)) return NeedMore();
  if (known.profile == nullptr && NeedsProfile(*header, candidates))
    return NeedProfile{*header, IsMalformedInAll(bytes, candidates)};
  return DecideIn(Choose(known, candidates), *header, bytes);
}

Refusal DecideIncomplete(absl::string_view bytes) {
  const std::optional<wire::RequestHeader> header = wire::DecodeHeader(bytes);
  const Dialects candidates = header ? wire::FindDialects(*header) : Dialects();
  Refusal refusal = OfNoDialect(bytes, header.value_or(wire::RequestHeader()));
  if (refusal.kind == Refusal::Kind::kUnknownCode) refusal.kind = Refusal::Kind::kIncompleteHead;
  if (!candidates.empty()) refusal.answer_in = candidates.front();
  return refusal;
}

}  // namespace backup::bridge
