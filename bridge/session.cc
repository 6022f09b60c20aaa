#include "bridge/session.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/name_text.h"
#include "bridge/bridge_metrics.h"
#include "bridge/random_ids.h"
#include "bridge/wire/dialects.h"
#include "glog/logging.h"

namespace backup::bridge {
namespace {

// How many bytes of a head are dumped in the log. A public key is never among them.
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
    return absl::StrCat("name=", NameToText(operation.name),
                        " content_size=", operation.content_size);
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

bool IsRetryNotice(const wire::Request& request) {
  const auto* verdict = std::get_if<wire::ChecksumVerdict>(&request.operation);
  return verdict != nullptr && verdict->kind == wire::ChecksumVerdict::Kind::kRetry;
}

// A header as it came, and of other requests than public keys the beginning of the payload.
std::string Dump(absl::string_view head, const wire::Request& request) {
  const bool has_key = std::holds_alternative<wire::SendPublicKey>(request.operation);
  return absl::BytesToHexString(head.substr(0, has_key ? wire::kRequestHeaderSize : kDumpSize));
}

}  // namespace

bool HeadIsDecided(absl::string_view bytes) {
  const std::optional<wire::RequestHeader> header = wire::DecodeHeader(bytes);
  if (!header) return false;
  const wire::Dialect* dialect = wire::FindDialect(*header);
  if (dialect == nullptr) return true;
  const auto head = dialect->DecodeHead(bytes);
  return !head.ok() || head->has_value();
}

std::string EncodeGeneralError(absl::string_view bytes) {
  const std::optional<wire::RequestHeader> header = wire::DecodeHeader(bytes);
  const wire::Dialect* dialect = header ? wire::FindDialect(*header) : nullptr;
  return (dialect != nullptr ? *dialect : wire::DefaultDialect()).EncodeReply(wire::GeneralError());
}

bool WarnOfForeignProtocol(const Connection& connection, absl::string_view bytes) {
  const absl::string_view protocol = wire::DetectForeignProtocol(bytes);
  if (protocol.empty()) return false;
  LOG(WARNING) << Origin(connection) << " speaks " << protocol
               << ", not the backup protocol; is it pointed at the wrong port?";
  return true;
}

Served Session::Serve() {
  while (true) {
    const std::optional<wire::RequestHeader> header = wire::DecodeHeader(connection_.buffered());
    if (!header) return {};
    const wire::Dialect* dialect = wire::FindDialect(*header);
    if (dialect == nullptr) return RefuseUnknown(*header);
    const auto head = dialect->DecodeHead(connection_.buffered());
    if (!head.ok()) return RefuseMalformed(*dialect, head.status());
    if (!head->has_value()) return {};
    VLOG(2) << Origin(connection_) << " head " << Dump(connection_.buffered(), (*head)->request);
    connection_.Consume((*head)->head_size);
    Served served = ServeRequest(*dialect, **head);
    const bool client_goes_on = !connection_.buffered().empty();
    if (served.next != Served::Next::kKeep || !client_goes_on) return served;
  }
}

Served Session::ServeRequest(const wire::Dialect& dialect, const wire::DecodedHead& head) {
  const MonotonicTime begin = MonotonicClock::now();
  const CallOrigin origin{NewRequestId(), connection_.peer(), absl::StrCat(connection_.number())};
  const absl::string_view name = std::visit(RequestName(), head.request.operation);
  VLOG(1) << Origin(connection_) << " rid=" << origin.request_id << " " << name << " "
          << std::visit(Arguments(), head.request.operation);
  BodySource body(connection_, head.body_size, options_.body);
  const Forwarded forwarded = Forward(origin, head, body);
  const uint64_t body_bytes = head.body_size - body.left();
  const Served::Next next = Settle(body);
  Served served = Answer(dialect, head.request, forwarded.reply, next);
  const absl::Duration took = absl::FromChrono(MonotonicClock::now() - begin);
  CountRequest(options_.metrics,
               {name, dialect.name(), OutcomeText(forwarded.outcome), body_bytes, took});
  LOG(INFO) << Origin(connection_) << " client=" << ToUuid(head.request.client_id)
            << " request=" << name << " dialect=" << dialect.name()
            << " outcome=" << OutcomeText(forwarded.outcome) << " bytes=" << body_bytes
            << " ms=" << absl::ToInt64Milliseconds(took) << " rid=" << origin.request_id
            << ErrorText(forwarded.outcome);
  return served;
}

Forwarded Session::Forward(const CallOrigin& origin, const wire::DecodedHead& head,
                           ByteSource& body) {
  if (std::holds_alternative<wire::Register>(head.request.operation) &&
      ++registrations_ > options_.max_registrations) {
    return {wire::GeneralError{},
            absl::ResourceExhaustedError("too many registrations on one connection")};
  }
  return forwarder_.Forward(origin, head.request, body, head.body_size);
}

Served::Next Session::Settle(BodySource& body) const {
  if (body.left() > options_.drain_limit_bytes) return Served::Next::kLinger;
  const MonotonicTime end =
      MonotonicClock::now() + absl::ToChronoNanoseconds(options_.drain_timeout);
  while (body.status().ok() && body.left() > 0 && MonotonicClock::now() < end) {
    body.Read().IgnoreError();  // body.status() remembers it.
  }
  return body.status().ok() && body.left() == 0 ? Served::Next::kKeep : Served::Next::kLinger;
}

Served Session::Answer(const wire::Dialect& dialect, const wire::Request& request,
                       const wire::Reply& reply, Served::Next next) {
  if (registrations_ > options_.max_registrations) next = Served::Next::kLinger;
  const std::string answer = dialect.EncodeReply(reply);
  if (IsRetryNotice(request) && next == Served::Next::kKeep) return {next, answer};
  const absl::Status written = connection_.WriteAll(answer, options_.write_timeout);
  VLOG(1) << Origin(connection_) << " answer of " << answer.size() << " bytes: " << written;
  return {written.ok() ? next : Served::Next::kClose, ""};
}

Served Session::RefuseUnknown(const wire::RequestHeader& header) {
  const absl::string_view protocol = wire::DetectForeignProtocol(connection_.buffered());
  if (WarnOfForeignProtocol(connection_, connection_.buffered())) {
    CountOne(options_.metrics, kWrongProtocol, {{"detected", std::string(protocol)}});
    return {Served::Next::kClose, ""};
  }
  CountOne(options_.metrics, kProtocolErrors, {{"kind", "unknown_request"}});
  LOG(WARNING) << Origin(connection_) << " sent the unknown request code " << header.code
               << ", closing";
  connection_.WriteNow(EncodeGeneralError(connection_.buffered()));
  return {Served::Next::kLinger, ""};
}

Served Session::RefuseMalformed(const wire::Dialect& dialect, const absl::Status& rule) {
  CountOne(options_.metrics, kProtocolErrors, {{"kind", "malformed_head"}});
  LOG(WARNING) << Origin(connection_) << " dialect=" << dialect.name()
               << " sent a malformed head, closing: " << rule.message();
  connection_.WriteNow(dialect.EncodeReply(wire::GeneralError()));
  return {Served::Next::kLinger, ""};
}

}  // namespace backup::bridge
