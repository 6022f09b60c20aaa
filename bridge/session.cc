#include "bridge/session.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "bridge/block_source.h"
#include "bridge/random_ids.h"
#include "bridge/wire/dialects.h"
#include "glog/logging.h"

namespace backup::bridge {
namespace {

// How many bytes of a head are shown. A public key is never among them.
constexpr size_t kDumpSize = 64;

struct RequestName {
  absl::string_view operator()(const wire::Register&) const { return "register"; }
  absl::string_view operator()(const wire::SendPublicKey&) const { return "public_key"; }
  absl::string_view operator()(const wire::Reconnect&) const { return "reconnect"; }
  absl::string_view operator()(const wire::SendFile&) const { return "file"; }
  absl::string_view operator()(const wire::ChecksumVerdict& verdict) const {
    switch (verdict.kind) {
      case wire::ChecksumVerdict::Kind::kValid:
        return "valid";
      case wire::ChecksumVerdict::Kind::kRetry:
        return "retry";
      case wire::ChecksumVerdict::Kind::kAbort:
        return "abort";
    }
    return "verdict";
  }
};

// The arguments of a request, for the trace.
struct Arguments {
  std::string operator()(const wire::Register& operation) const {
    return absl::StrCat("name=", NameToText(operation.name));
  }
  std::string operator()(const wire::SendPublicKey& operation) const {
    return absl::StrCat("name=", NameToText(operation.name),
                        " key_bytes=", operation.public_key.size());
  }
  std::string operator()(const wire::Reconnect& operation) const {
    return absl::StrCat("name=", NameToText(operation.name));
  }
  std::string operator()(const wire::SendFile& operation) const {
    std::string text =
        absl::StrCat("name=", NameToText(operation.name), " content_size=", operation.content_size,
                     " (", operation.size_style, ")");
    if (operation.packet) {
      absl::StrAppend(&text, " packet=", operation.packet->number, "/", operation.packet->total,
                      " original_size=", operation.packet->original_size);
    }
    return text;
  }
  std::string operator()(const wire::ChecksumVerdict& operation) const {
    return absl::StrCat("name=", NameToText(operation.name));
  }
};

std::string OutcomeText(const absl::Status& outcome) {
  if (outcome.ok()) return "ok";
  const std::optional<Reason> reason = ReasonOf(outcome);
  return reason ? std::string(InfoOf(*reason).name) : absl::StatusCodeToString(outcome.code());
}

// What the outcome has to say beside its code.
std::string ErrorText(const absl::Status& outcome) {
  if (outcome.ok()) return "";
  return absl::StrCat(" error=\"", absl::CEscape(std::string(outcome.message())), "\"");
}

std::string Origin(const Connection& connection) {
  return absl::StrCat("conn=", connection.number(), " peer=", connection.peer());
}

// Why a connection ends whose body ended so.
CloseReason ReasonFor(const absl::Status& body) {
  if (body.ok()) return CloseReason::kLimit;  // There is more of it than is read for nothing.
  if (absl::IsDeadlineExceeded(body)) return CloseReason::kRate;
  return absl::IsInvalidArgument(body) ? CloseReason::kProtocol : CloseReason::kEof;
}

bool IsRetryNotice(const wire::Request& request) {
  const auto* verdict = std::get_if<wire::ChecksumVerdict>(&request.operation);
  return verdict != nullptr && verdict->kind == wire::ChecksumVerdict::Kind::kRetry;
}

// How a client lays the content of a file out, for its record.
std::string FileStyle(const wire::SendFile& file, bool in_segments) {
  std::string style(file.size_style);
  if (file.packet) style += in_segments ? ", packets, each encrypted" : ", packets of a stream";
  if (file.id_in_front) style += ", id in front";
  return style;
}

// A request for the log and for whoever traces the client: never a key or content. Of the head as
// it came, the header and, unless it is a key, the beginning of the payload.
std::string Describe(absl::string_view head, const wire::Dialect& dialect,
                     const wire::Request& request) {
  const bool has_key = std::holds_alternative<wire::SendPublicKey>(request.operation);
  const absl::string_view shown = head.substr(0, has_key ? wire::kRequestHeaderSize : kDumpSize);
  return absl::StrCat(std::visit(RequestName(), request.operation), " dialect=", dialect.name(),
                      " version=", static_cast<int>(request.version), " code=", request.code, " ",
                      std::visit(Arguments(), request.operation),
                      " head=", absl::BytesToHexString(shown));
}

}  // namespace

bool HeadIsDecided(absl::string_view bytes) {
  const std::optional<wire::RequestHeader> header = wire::DecodeHeader(bytes);
  if (!header) return false;
  if (bytes.size() >= wire::kRequestHeaderSize + header->payload_size) return true;
  // Where dialects share a code, the shorter head is followed by content that makes up for the
  // rest.
  for (const wire::Dialect* dialect : wire::FindDialects(*header)) {
    const auto head = dialect->DecodeHead(bytes);
    if (head.ok() && !head->has_value()) return false;
  }
  return true;
}

std::string EncodeGeneralError(absl::string_view bytes) {
  const std::optional<wire::RequestHeader> header = wire::DecodeHeader(bytes);
  if (header) {
    for (const wire::Dialect* dialect : wire::FindDialects(*header))
      return dialect->EncodeReply(wire::GeneralError());
  }
  return wire::DefaultDialect().EncodeReply(wire::GeneralError());
}

bool WarnOfForeignProtocol(const Connection& connection, absl::string_view bytes,
                           const BridgeMetrics& metrics) {
  const absl::string_view protocol = wire::DetectForeignProtocol(bytes);
  if (protocol.empty()) return false;
  metrics
      .wrong_protocol  // HTTP/2 is http2.
      .With({absl::AsciiStrToLower(absl::StrReplaceAll(protocol, {{"/", ""}}))})
      .Add();
  LOG(WARNING) << Origin(connection) << " speaks " << protocol
               << ", not the backup protocol; is it pointed at the wrong port?";
  return true;
}

CallOrigin Session::NewOrigin() {
  if (unfinished_) return *std::exchange(unfinished_, std::nullopt);
  return {NewRequestId(), ToUuidText(RandomUuidBytes()), connection_.peer(),
          absl::StrCat(connection_.number()), ""};
}

bool Session::StartServing(std::function<void(std::optional<Served>)> done) {
  const absl::string_view bytes = connection_.buffered();
  const std::optional<wire::RequestHeader> header = wire::DecodeHeader(bytes);
  if (!header) return false;
  const std::vector<const wire::Dialect*> candidates = wire::FindDialects(*header);
  if (candidates.empty()) return false;
  const wire::Dialect* dialect = dialect_;
  if (dialect == nullptr) {
    std::optional<LegacyProfile> profile = LegacyProfile();
    if (NeedsProfile(*header, candidates))
      profile = forwarder_.FindCachedProfile(header->client_id);
    if (!profile) return false;
    dialect = &Choose(*profile, candidates);
  } else if (!dialect->Claims(*header)) {
    return false;
  }
  absl::StatusOr<std::optional<wire::DecodedHead>> head = dialect->DecodeHead(bytes);
  if (!head.ok() || !head->has_value() || !CanStart(*dialect, **head)) return false;
  started_.emplace(
      Started{*dialect, **std::move(head), NewOrigin(), MonotonicClock::now(), std::move(done)});
  const wire::Request& request = started_->head.request;
  started_->origin.request = Describe(bytes, *dialect, request);
  VLOG(1) << Origin(connection_) << " rid=" << started_->origin.request_id << " "
          << started_->origin.request;
  const auto* file = std::get_if<wire::SendFile>(&request.operation);
  const std::string file_style = file != nullptr ? FileStyle(*file, false) : "";
  forwarder_.Start(
      started_->origin, request, Observed(*dialect, request, requests_ + 1, file_style),
      bytes.substr(started_->head.head_size, started_->head.body_size),
      [this](std::optional<Forwarded> forwarded) { FinishStarted(std::move(forwarded)); });
  return true;
}

bool Session::CanStart(const wire::Dialect& dialect, const wire::DecodedHead& head) const {
  const auto* file = std::get_if<wire::SendFile>(&head.request.operation);
  if (file != nullptr && (file->packet || file->is_block)) return false;
  if (connection_.buffered().size() < head.head_size + head.body_size) return false;
  // Whether it comes in blocks takes a wait to find out.
  if (dialect.MaySendBlocks() && framing_ != Framing::kStream) return false;
  if (registrations_ >= options_.max_registrations || retries_ >= options_.max_retries)
    return false;
  // Only then there is room for any answer. Before the first nothing was sent.
  return requests_ == 0 || connection_.HasSentEverything();
}

void Session::FinishStarted(std::optional<Forwarded> forwarded) {
  const Started started = *std::exchange(started_, std::nullopt);
  if (!forwarded) {
    unfinished_ = started.origin;
    return started.done(std::nullopt);
  }
  const uint64_t body_bytes = started.head.body_size;
  connection_.Consume(started.head.head_size + body_bytes);
  dialect_ = &started.dialect;
  ++requests_;
  const Exchange exchange{started.dialect, started.head, started.origin};
  CHECK(CheckLimits(exchange).ok()) << "CanStart() has seen to it";
  Served served = Finish(exchange, {*std::move(forwarded), Served(), body_bytes}, started.begin);
  if (GoesOn(served)) served = Served();
  started.done(std::move(served));
}

// Whether the next request, read ahead already, is to be served. A lazy answer is not needed then,
// whatever was to come after it.
bool Session::GoesOn(const Served& served) const {
  const bool is_over = served.next != Served::Next::kKeep && served.lazy_answer.empty();
  return !is_over && !connection_.buffered().empty();
}

Served Session::Serve() {
  while (true) {
    const std::optional<wire::RequestHeader> header = wire::DecodeHeader(connection_.buffered());
    if (!header) return {};
    const std::vector<const wire::Dialect*> candidates = wire::FindDialects(*header);
    if (candidates.empty()) return RefuseUnknown(*header);
    CallOrigin origin = NewOrigin();
    const auto dialect = ChooseDialect(origin, *header, candidates);
    if (absl::IsInvalidArgument(dialect.status()))
      return RefuseMalformed(*dialect_, *header, origin, dialect.status());
    if (!dialect.ok()) return RefuseFor(*candidates.front(), dialect.status());
    const auto head = (*dialect)->DecodeHead(connection_.buffered());
    if (!head.ok()) return RefuseMalformed(**dialect, *header, origin, head.status());
    if (!head->has_value()) return {};
    origin.request = Describe(connection_.buffered(), **dialect, (*head)->request);
    VLOG(1) << Origin(connection_) << " rid=" << origin.request_id << " " << origin.request;
    connection_.Consume((*head)->head_size);
    dialect_ = *dialect;
    ++requests_;
    Served served =
        IsSurplus(**head) ? DropSurplus(**head) : ServeRequest({**dialect, **head, origin});
    if (!GoesOn(served)) return served;
  }
}

absl::StatusOr<const wire::Dialect*> Session::ChooseDialect(
    const CallOrigin& origin, const wire::RequestHeader& header,
    const std::vector<const wire::Dialect*>& candidates) {
  if (dialect_ != nullptr) {
    if (std::find(candidates.begin(), candidates.end(), dialect_) != candidates.end())
      return dialect_;
    return absl::InvalidArgumentError(absl::StrCat("request ", header.code, " is not of family ",
                                                   dialect_->name(), " like those before it"));
  }
  LegacyProfile profile;
  if (NeedsProfile(header, candidates)) {
    ASSIGN_OR_RETURN(profile, forwarder_.FindProfile(origin, header.client_id));
  }
  return &Choose(profile, candidates);
}

bool Session::NeedsProfile(const wire::RequestHeader& header,
                           const std::vector<const wire::Dialect*>& candidates) const {
  const wire::Dialect& first = *candidates.front();
  return !first.IsRegistration(header) && (candidates.size() > 1 || first.MaySendBlocks());
}

const wire::Dialect& Session::Choose(const LegacyProfile& profile,
                                     const std::vector<const wire::Dialect*>& candidates) {
  if (profile.framing == kBlockFraming) framing_ = Framing::kBlocks;
  if (profile.framing == kStreamFraming) framing_ = Framing::kStream;
  for (const std::string& family : {profile.family, options_.family_of_shared_codes}) {
    for (const wire::Dialect* dialect : candidates) {
      if (dialect->name() == family) return *dialect;
    }
  }
  return *candidates.front();
}

Served Session::ServeRequest(const Exchange& exchange) {
  const MonotonicTime begin = MonotonicClock::now();
  const auto* file = std::get_if<wire::SendFile>(&exchange.head.request.operation);
  if (file != nullptr && file->packet) return Finish(exchange, ForwardPackets(exchange), begin);
  if (file != nullptr && file->is_block) return Finish(exchange, ForwardBlocks(exchange), begin);
  const Outcome outcome = ForwardWhole(exchange);
  if (outcome.served.next == Served::Next::kKeep)
    SettleFraming(exchange, exchange.head.head_size + exchange.head.body_size);
  return Finish(exchange, outcome, begin);
}

Served Session::Finish(const Exchange& exchange, const Outcome& outcome, MonotonicTime begin) {
  const auto& [forwarded, settled, body_bytes] = outcome;
  const wire::Request& request = exchange.head.request;
  const absl::string_view name = std::visit(RequestName(), request.operation);
  Served served = Answer(exchange, forwarded.reply, settled);
  const absl::Duration took = absl::FromChrono(MonotonicClock::now() - begin);
  CountRequest(options_.metrics, {name, request.family, OutcomeText(forwarded.outcome), took});
  LOG(INFO) << Origin(connection_) << " client=" << ToUuid(request.client_id) << " request=" << name
            << " dialect=" << exchange.dialect.name()
            << " outcome=" << OutcomeText(forwarded.outcome) << " bytes=" << body_bytes
            << " ms=" << absl::ToInt64Milliseconds(took) << " rid=" << exchange.origin.request_id
            << ErrorText(forwarded.outcome);
  return served;
}

Forwarded Session::Forward(const Exchange& exchange, Body& body, const FileContent& content) {
  if (const absl::Status within = CheckLimits(exchange); !within.ok())
    return {wire::GeneralError{}, within};
  const wire::Request& request = exchange.head.request;
  const auto* file = std::get_if<wire::SendFile>(&request.operation);
  const std::string file_style =
      file != nullptr ? FileStyle(*file, content.segment_count.has_value()) : "";
  const Forwarded forwarded =
      forwarder_.Forward(exchange.origin, request,
                         Observed(exchange.dialect, request, requests_, file_style), content);
  if (absl::IsInvalidArgument(body.status())) {
    CountError("bad_packet");
    forwarder_.ReportProtocolError(exchange.origin, exchange.head.request.client_id,
                                   body.status().message());
  }
  return forwarded;
}

Session::Outcome Session::ForwardWhole(const Exchange& exchange) {
  BodySource body(connection_, exchange.head.body_size, options_.body);
  Forwarded forwarded = Forward(exchange, body, {body, exchange.head.body_size});
  const uint64_t body_bytes = exchange.head.body_size - body.left();
  return {std::move(forwarded), Settle(body), body_bytes};
}

Session::Outcome Session::ForwardPackets(const Exchange& exchange) {
  const auto& file = std::get<wire::SendFile>(exchange.head.request.operation);
  const absl::StatusOr<PacketOrder> order = PacketOrder::OfFirst(*file.packet);
  if (!order.ok()) {
    CountError("bad_packet");
    forwarder_.ReportProtocolError(exchange.origin, exchange.head.request.client_id,
                                   order.status().message());
    return {{wire::GeneralError{}, order.status()},
            {Served::Next::kLinger, CloseReason::kProtocol}};
  }
  PacketSource body(connection_, exchange.dialect, exchange.head, *order, options_.body);
  Forwarded forwarded = Forward(exchange, body, {body, body.stream_size(), body.segment_count()});
  const uint64_t body_bytes = body.received_bytes();
  last_packets_ = PacketFile{file.name, *order};
  return {std::move(forwarded), Settle(body), body_bytes};
}

Session::Outcome Session::ForwardBlocks(const Exchange& exchange) {
  BlockSource body(
      connection_, exchange.dialect, exchange.head, options_.body,
      [&](uint64_t request_size) { SettleFraming(exchange, request_size); },
      options_.next_block_timeout);
  constexpr int kAsManyAsCome = 0;
  Forwarded forwarded = Forward(exchange, body, {body, 0, kAsManyAsCome});
  const uint64_t body_bytes = body.received_bytes();
  return {std::move(forwarded), Settle(body), body_bytes};
}

bool Session::IsSurplus(const wire::DecodedHead& head) const {
  const auto* file = std::get_if<wire::SendFile>(&head.request.operation);
  return file != nullptr && file->packet && last_packets_ && file->name == last_packets_->name &&
         last_packets_->order.IsSurplus(*file->packet);
}

Served Session::DropSurplus(const wire::DecodedHead& head) {
  VLOG(1) << Origin(connection_) << " sent a packet after the last of a file";
  BodySource body(connection_, head.body_size, options_.body);
  return Settle(body);
}

absl::Status Session::CheckLimits(const Exchange& exchange) {
  const wire::Operation& operation = exchange.head.request.operation;
  if (std::holds_alternative<wire::Register>(operation) &&
      ++registrations_ > options_.max_registrations) {
    return absl::ResourceExhaustedError("too many registrations on one connection");
  }
  if (const auto* verdict = std::get_if<wire::ChecksumVerdict>(&operation)) {
    retries_ = verdict->kind == wire::ChecksumVerdict::Kind::kRetry ? retries_ + 1 : 0;
    if (retries_ > options_.max_retries)
      return absl::ResourceExhaustedError("too many retries in a row on one connection");
  }
  return absl::OkStatus();
}

LegacyProfile Session::Observed(const wire::Dialect& dialect, const wire::Request& request,
                                int requests, absl::string_view file_style) const {
  LegacyProfile observed;
  observed.family = std::string(request.family);
  observed.header_version = request.version;
  if (!dialect.MaySendBlocks() || framing_ == Framing::kStream)
    observed.framing = kStreamFraming;
  else if (framing_ == Framing::kBlocks)
    observed.framing = kBlockFraming;
  observed.file_style = std::string(file_style);
  observed.connection_style = requests > 1 ? kManyRequests : kOneRequest;
  return observed;
}

void Session::SettleFraming(const Exchange& exchange, uint64_t size) {
  if (!exchange.dialect.MaySendBlocks() || framing_ == Framing::kStream) return;
  const size_t padding = (wire::kBlockSize - size % wire::kBlockSize) % wire::kBlockSize;
  if (padding == 0) return;  // Shows nothing.
  const absl::Status waited = connection_.WaitForBuffered(
      padding,
      framing_ == Framing::kBlocks ? options_.padding_timeout : options_.first_padding_timeout);
  const std::optional<wire::RequestHeader> next = wire::DecodeHeader(connection_.buffered());
  const bool is_request =
      next && next->client_id == exchange.head.request.client_id && exchange.dialect.Claims(*next);
  const bool padded = waited.ok() && !is_request;
  if (framing_ == Framing::kUnknown) framing_ = padded ? Framing::kBlocks : Framing::kStream;
  if (padded) connection_.Consume(padding);
}

Served Session::Settle(Body& body) const {
  if (body.left() > options_.drain_limit_bytes)
    return {Served::Next::kLinger, ReasonFor(body.status())};
  const MonotonicTime end = After(options_.drain_timeout);
  uint64_t drained = 0;
  while (body.status().ok() && body.left() > 0 && drained <= options_.drain_limit_bytes &&
         MonotonicClock::now() < end) {
    if (const auto piece = body.Read(); piece.ok()) drained += piece->size();
  }
  if (body.status().ok() && body.left() == 0) return {};
  return {Served::Next::kLinger, ReasonFor(body.status())};
}

Served Session::Answer(const Exchange& exchange, const wire::Reply& reply, Served served) {
  if (registrations_ > options_.max_registrations || retries_ > options_.max_retries)
    served = {Served::Next::kLinger, CloseReason::kLimit};
  const std::string answer = Framed(exchange.dialect.EncodeReply(reply));
  const bool is_lazy = IsRetryNotice(exchange.head.request) && served.next == Served::Next::kKeep;
  // Of the clients that send blocks, those of this version wait for the end of the connection.
  if (framing_ == Framing::kBlocks && exchange.head.request.version == wire::kReplyVersion &&
      served.next == Served::Next::kKeep) {
    served = {Served::Next::kLinger, CloseReason::kAnswered};
  }
  if (is_lazy) {
    served.lazy_answer = answer;
    return served;
  }
  const absl::Status written = connection_.WriteAll(answer, options_.write_timeout);
  VLOG(1) << Origin(connection_) << " answer of " << answer.size() << " bytes: " << written;
  return written.ok() ? served : Served{Served::Next::kClose, ReasonFor(written)};
}

std::string Session::Framed(std::string answer) const {
  if (framing_ != Framing::kBlocks) return answer;
  answer.resize((answer.size() + wire::kBlockSize - 1) / wire::kBlockSize * wire::kBlockSize);
  return answer;
}

Served Session::RefuseUnknown(const wire::RequestHeader& header) {
  if (WarnOfForeignProtocol(connection_, connection_.buffered(), options_.metrics))
    return {Served::Next::kClose, CloseReason::kProtocol};
  CountError("unknown_request");
  LOG(WARNING) << Origin(connection_) << " sent the unknown request code " << header.code
               << ", closing";
  connection_.WriteNow(EncodeGeneralError(connection_.buffered()));
  return {Served::Next::kLinger, CloseReason::kProtocol};
}

Served Session::RefuseMalformed(const wire::Dialect& dialect, const wire::RequestHeader& header,
                                const CallOrigin& origin, const absl::Status& rule) {
  CountError("malformed_head");
  LOG(WARNING) << Origin(connection_) << " dialect=" << dialect.name()
               << " sent a malformed head, closing: " << rule.message();
  connection_.WriteNow(Framed(dialect.EncodeReply(wire::GeneralError())));
  if (!dialect.IsRegistration(header)) {
    CallOrigin reported = origin;
    reported.request = absl::StrCat("broke a rule: ", rule.message());
    forwarder_.ReportProtocolError(reported, header.client_id, rule.message());
  }
  return {Served::Next::kLinger, CloseReason::kProtocol};
}

Served Session::RefuseFor(const wire::Dialect& dialect, const absl::Status& error) {
  LOG(WARNING) << Origin(connection_) << " the client's record cannot be read: " << error.message();
  connection_.WriteNow(dialect.EncodeReply(wire::GeneralError()));
  return {Served::Next::kLinger, CloseReason::kUpstream};
}

void Session::CountError(absl::string_view kind) const {
  options_.metrics.protocol_errors.With({kind}).Add();
}

}  // namespace backup::bridge
