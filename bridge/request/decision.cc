#include "bridge/request/decision.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bridge/request/request_text.h"
#include "bridge/upload/packet_source.h"

namespace backup::bridge {
namespace {

using wire::DialectMask;

// Calls `visit` with the place of each dialect of `mask`.
template <typename Visit>
void ForEach(DialectMask mask, const Visit& visit) {
  for (; mask != 0; mask &= mask - 1) visit(static_cast<size_t>(std::countr_zero(mask)));
}

DialectMask BitOf(size_t place) { return DialectMask{1} << place; }

// How those dialects read the head of a request that claim its header.
struct Reading {
  DialectMask understanding = 0;
  DialectMask plausible = 0;  // Of them: IsPlausible().
  DialectMask undecided = 0;  // They want more bytes.
  // Where the shortest of the requests that they understand ends.
  uint64_t end = std::numeric_limits<uint64_t>::max();
  // The head as one of them reads it: the favourite, if it understands it.
  const wire::Dialect* dialect = nullptr;
  wire::DecodedHead head;
  // Why the favourite, or the first that does not, does not.
  std::string rule;
};

// The dialect of `among` to which all else gives way: that of the requests before, or of the
// client's record; for a client without one, the dialect that the port or the flag says, but not
// the one that mere order puts first. Null if there is none.
const wire::Dialect* Favourite(const KnownOfSender& known, DialectMask among) {
  if (known.dialect != nullptr && (known.dialects.MaskOf(*known.dialect) & among) != 0)
    return known.dialect;
  if (known.profile == nullptr || known.profile->family().empty()) {
    if (known.dialect != nullptr || among == 0) return nullptr;
    const wire::Dialect& preferred = known.dialects.Prefer(among);
    return known.dialects.IsDeclared(preferred) ? &preferred : nullptr;
  }
  const wire::Dialect* recorded = nullptr;
  ForEach(among, [&](size_t place) {
    const wire::Dialect& dialect = known.dialects.dialects()[place];
    if (recorded == nullptr && dialect.IsCalled(known.profile->family())) recorded = &dialect;
  });
  return recorded;
}

// Whether a file can begin like this, which a dialect itself does not refuse: the first of packets
// comes first, and ciphertext is a whole number of cipher blocks.
bool IsPlausible(const wire::Dialect& dialect, const wire::DecodedHead& head) {
  constexpr uint64_t kCipherBlockSize = 16;
  const auto* file = std::get_if<wire::SendFile>(&head.request.operation);
  if (file == nullptr) return true;
  if (file->packet) return PacketOrder::OfFirst(*file->packet, *dialect.content().packets).ok();
  return dialect.content().text != wire::TextEncoding::kBinary ||
         head.body_size % kCipherBlockSize == 0;
}

// A dialect whose head is longer than another one's whole request does not count, whether or not
// the bytes behind that have come, unless it is the favourite.
Reading Read(absl::string_view bytes, const wire::DialectSet& dialects, DialectMask claiming,
             const wire::Dialect* favourite) {
  Reading reading;
  std::array<size_t, wire::kMaxDialects> head_sizes;
  ForEach(claiming, [&](size_t place) {
    const wire::Dialect& dialect = dialects.dialects()[place];
    const bool is_favourite = &dialect == favourite;
    absl::StatusOr<std::optional<wire::DecodedHead>> head = dialect.DecodeHead(bytes);
    if (!head.ok()) {
      if (is_favourite || reading.rule.empty()) reading.rule = std::string(head.status().message());
      return;
    }
    if (!head->has_value()) {
      reading.undecided |= BitOf(place);
      return;
    }
    head_sizes[place] = (*head)->head_size;
    reading.understanding |= BitOf(place);
    if (IsPlausible(dialect, **head)) reading.plausible |= BitOf(place);
    reading.end = std::min(reading.end, RequestSize(**head));
    if (reading.dialect != nullptr && !is_favourite) return;
    reading.dialect = &dialect;
    reading.head = **std::move(head);
  });
  ForEach(reading.understanding, [&](size_t place) {
    if (head_sizes[place] > reading.end && &dialects.dialects()[place] != favourite)
      reading.understanding &= ~BitOf(place);
  });
  reading.plausible &= reading.understanding;
  return reading;
}

// The header as `dialect` reads it; all zeros if it is not whole.
wire::RequestHeader HeaderOf(const wire::Dialect& dialect, absl::string_view bytes) {
  return dialect.DecodeHeader(bytes).value_or(wire::RequestHeader());
}

Refusal Malformed(const wire::Dialect& dialect, absl::string_view bytes, std::string rule) {
  const wire::RequestHeader header = HeaderOf(dialect, bytes);
  const bool has_id = !dialect.IsRegistration(header) && header.client_id != ClientId();
  return {.kind = Refusal::Kind::kMalformedHead,
          .answer_in = &dialect,
          .rule = std::move(rule),
          .code = header.code,
          .culprit = has_id ? std::optional(header.client_id) : std::nullopt};
}

Refusal OfNoDialect(absl::string_view bytes, const wire::Dialect& answer_in) {
  const absl::string_view protocol = wire::DetectForeignProtocol(bytes);
  const auto kind =
      protocol.empty() ? Refusal::Kind::kUnknownCode : Refusal::Kind::kForeignProtocol;
  return {kind, &answer_in, std::string(protocol), HeaderOf(answer_in, bytes).code};
}

// Of bytes that no dialect claims that understood the requests before.
Decision OfNoCandidate(absl::string_view bytes, const KnownOfSender& known) {
  const wire::Dialect& answer_in =
      known.dialect != nullptr ? *known.dialect : known.dialects.default_dialect();
  if (!answer_in.DecodeHeader(bytes)) return NeedMore();  // What is refused is told.
  if (known.dialect == nullptr) return OfNoDialect(bytes, answer_in);
  const wire::DialectSet::Candidates others =
      known.dialects.FindCandidates(bytes, known.dialects.all() & ~known.candidates);
  if (others.claiming == 0 && others.need_more != 0) return NeedMore();
  if (others.claiming == 0) return OfNoDialect(bytes, *known.dialect);
  return Malformed(
      *known.dialect, bytes,
      absl::StrCat("request ", HeaderOf(*known.dialect, bytes).code, " is not of dialect ",
                   known.dialect->name(), " like those before it"));
}

// Whether the client's record has to say which of the dialects it speaks, or in what framing.
bool NeedsProfile(const KnownOfSender& known, DialectMask candidates, const ClientId& id) {
  if (known.dialect != nullptr || known.profile != nullptr || id == ClientId()) return false;
  if (!std::has_single_bit(candidates)) return true;
  const auto place = static_cast<size_t>(std::countr_zero(candidates));
  return known.dialects.dialects()[place].padding().requests == wire::PaddingUse::kByClient;
}

bool NeedsProfile(const KnownOfSender& known, DialectMask candidates,
                  const wire::Request& request) {
  return !std::holds_alternative<wire::Register>(request.operation) &&
         NeedsProfile(known, candidates, request.client_id);
}

// `dialect` understands the head.
Ready MakeReady(absl::string_view bytes, const wire::Dialect& dialect, DialectMask candidates,
                Reading reading) {
  if (reading.dialect != &dialect) reading.head = **dialect.DecodeHead(bytes);
  return {&dialect, candidates, std::move(reading.head)};
}

Decision Described(absl::string_view bytes, Ready ready) {
  ready.description = DescribeRequest(bytes, *ready.dialect, ready.head.request);
  return ready;
}

// Of a head that is plausible in no dialect: as the favourite has it, else the one that whoever has
// no record is taken for.
Decision DecideImplausible(absl::string_view bytes, const KnownOfSender& known,
                           DialectMask claiming, const wire::Dialect* favourite, Reading reading) {
  const wire::Dialect& dialect =
      favourite != nullptr ? *favourite : known.dialects.Prefer(claiming);
  const wire::RequestHeader header = HeaderOf(dialect, bytes);
  if (!dialect.IsRegistration(header) && NeedsProfile(known, claiming, header.client_id)) {
    const bool is_malformed = reading.understanding == 0;
    return NeedProfile{header.client_id, bytes.size() >= reading.end, is_malformed};
  }
  if ((known.dialects.MaskOf(dialect) & reading.understanding) != 0) {
    const DialectMask candidates = reading.understanding;
    return Described(bytes, MakeReady(bytes, dialect, candidates, std::move(reading)));
  }
  return Malformed(known.dialect != nullptr ? *known.dialect : dialect, bytes,
                   std::move(reading.rule));
}

}  // namespace

uint64_t RequestSize(const wire::DecodedHead& head) {
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  return head.head_size + std::min(head.body_size, kMax - head.head_size);
}

Decision Decide(absl::string_view bytes, const KnownOfSender& known) {
  const auto [claiming, need_more] = known.dialects.FindCandidates(bytes, known.candidates);
  if (claiming == 0 && need_more == 0) return OfNoCandidate(bytes, known);
  const wire::Dialect* const favourite = Favourite(known, claiming);
  const DialectMask favoured = favourite != nullptr ? known.dialects.MaskOf(*favourite) : 0;
  Reading reading = Read(bytes, known.dialects, claiming, favourite);
  const bool has_come_whole = bytes.size() >= reading.end;
  if ((reading.undecided | need_more) != 0 && !has_come_whole) return NeedMore();
  if ((reading.undecided & favoured) != 0) {
    const wire::Request& request = reading.head.request;  // As another one has it.
    if (NeedsProfile(known, reading.understanding | favoured, request))
      return NeedProfile{request.client_id, has_come_whole};
    return NeedMore();
  }
  if (reading.plausible == 0)
    return DecideImplausible(bytes, known, claiming, favourite, std::move(reading));
  const wire::Dialect& dialect =
      (reading.plausible & favoured) != 0 ? *favourite : known.dialects.Prefer(reading.plausible);
  const DialectMask candidates = reading.plausible;
  Ready ready = MakeReady(bytes, dialect, candidates, std::move(reading));
  const wire::Request& request = ready.head.request;
  if (NeedsProfile(known, candidates, request)) {
    return NeedProfile{request.client_id, has_come_whole};
  }
  return Described(bytes, std::move(ready));
}

Refusal DecideIncomplete(absl::string_view bytes, const KnownOfSender& known) {
  const DialectMask claiming = known.dialects.FindCandidates(bytes, known.candidates).claiming;
  const wire::Dialect& answer_in = known.dialect != nullptr ? *known.dialect
                                   : claiming != 0          ? known.dialects.Prefer(claiming)
                                                            : known.dialects.default_dialect();
  Refusal refusal = OfNoDialect(bytes, answer_in);
  if (refusal.kind == Refusal::Kind::kUnknownCode) refusal.kind = Refusal::Kind::kIncompleteHead;
  return refusal;
}

}  // namespace backup::bridge
