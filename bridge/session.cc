#include "bridge/session.h"

#include <sys/random.h>

#include <chrono>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/ids.h"
#include "bridge/wire/dialects.h"
#include "glog/logging.h"

namespace backup::bridge {
namespace {

using std::chrono::steady_clock;

// After a refusal, so much of a body is still read, so that the answer is not lost in a reset and
// the connection stays in step; a longer body ends the connection.
constexpr uint64_t kMaxDrainedBytes = 64 << 20;
constexpr size_t kDumpedBytes = 64;

struct OperationName {
  const char* operator()(const wire::Register&) const { return "register"; }
  const char* operator()(const wire::SendPublicKey&) const { return "public_key"; }
  const char* operator()(const wire::Reconnect&) const { return "reconnect"; }
  const char* operator()(const wire::SendFile&) const { return "file"; }
  const char* operator()(const wire::ChecksumVerdict& verdict) const {
    switch (verdict.kind) {
      case wire::ChecksumVerdict::Kind::kValid:
        return "checksum_valid";
      case wire::ChecksumVerdict::Kind::kRetry:
        return "checksum_retry";
      case wire::ChecksumVerdict::Kind::kAbort:
        return "checksum_abort";
    }
    return "checksum";
  }
};

std::string NewRequestId() {
  char bytes[16];
  CHECK_EQ(::getrandom(bytes, sizeof(bytes), 0), static_cast<ssize_t>(sizeof(bytes)));
  return ToUuidText(absl::string_view(bytes, sizeof(bytes)));
}

bool IsRetryNotice(const wire::Request& request) {
  const auto* verdict = std::get_if<wire::ChecksumVerdict>(&request.operation);
  return verdict != nullptr && verdict->kind == wire::ChecksumVerdict::Kind::kRetry;
}

// Reads and drops what is left of a body; false if that is too much, or it does not come.
bool Drain(BodySource& body) {
  if (body.left() > kMaxDrainedBytes) return false;
  while (body.left() > 0) {
    if (!body.Read().ok()) return false;
  }
  return true;
}

const wire::Dialect& DialectOf(absl::string_view buffered) {
  const std::optional<wire::RequestHeader> header = wire::DecodeHeader(buffered);
  const wire::Dialect* dialect = header ? wire::FindDialect(*header) : nullptr;
  return dialect != nullptr ? *dialect : wire::DefaultDialect();
}

void LogRequest(const Connection& connection, const wire::Request& request,
                const wire::Dialect& dialect, const CallOrigin& origin, const absl::Status& outcome,
                uint64_t bytes, steady_clock::time_point start) {
  const std::optional<Reason> reason = ReasonOf(outcome);
  LOG(INFO) << "rid=" << origin.request_id << " conn=" << connection.number()
            << " peer=" << connection.peer()
            << " request=" << std::visit(OperationName(), request.operation)
            << " dialect=" << dialect.name() << " client=" << ToUuid(request.client_id)
            << " outcome="
            << (outcome.ok() ? "OK"
                : reason     ? InfoOf(*reason).name
                             : absl::string_view("ERROR"))
            << " bytes=" << bytes
            << " ms=" << (steady_clock::now() - start) / std::chrono::milliseconds(1)
            << (outcome.ok() ? "" : " error=") << outcome.message();
}

}  // namespace

bool Session::IsReady(absl::string_view buffered) {
  const std::optional<wire::RequestHeader> header = wire::DecodeHeader(buffered);
  if (!header) return false;
  const wire::Dialect* const dialect = wire::FindDialect(*header);
  if (dialect == nullptr) return true;
  const auto head = dialect->DecodeHead(buffered);
  return !head.ok() || head->has_value();
}

std::string Session::GeneralErrorFor(absl::string_view buffered) {
  return DialectOf(buffered).EncodeReply(wire::GeneralError{});
}

NextStep Session::Serve(Connection& connection) {
  NextStep next;
  do {
    next = ServeOne(connection);
  } while (next.kind == NextStep::Kind::kWaitForRequest && IsReady(connection.buffered()));
  return next;
}

NextStep Session::Refuse(Connection& connection, const absl::Status& why) {
  const absl::string_view foreign = wire::DetectForeignProtocol(connection.buffered());
  if (!foreign.empty()) {
    LOG(WARNING) << "conn=" << connection.number() << " peer=" << connection.peer() << " speaks "
                 << foreign << ", not the backup protocol; is it pointed at the wrong port?";
    return {NextStep::Kind::kClose, ""};
  }
  LOG(WARNING) << "conn=" << connection.number() << " peer=" << connection.peer()
               << " refused: " << why.message();
  const std::string answer = GeneralErrorFor(connection.buffered());
  static_cast<void>(connection.WriteAll(answer));
  return {NextStep::Kind::kClose, ""};
}

NextStep Session::ServeOne(Connection& connection) {
  const auto start = steady_clock::now();
  const std::optional<wire::RequestHeader> header = wire::DecodeHeader(connection.buffered());
  CHECK(header.has_value());  // IsReady() saw it.
  const wire::Dialect* const dialect = wire::FindDialect(*header);
  if (dialect == nullptr) {
    return Refuse(connection,
                  absl::InvalidArgumentError(absl::StrCat("unknown request code ", header->code)));
  }
  const auto decoded = dialect->DecodeHead(connection.buffered());
  if (!decoded.ok()) return Refuse(connection, decoded.status());
  const wire::DecodedHead& head = **decoded;
  const CallOrigin origin{NewRequestId(), connection.peer(), absl::StrCat(connection.number())};
  VLOG(2) << "rid=" << origin.request_id << " head of " << head.head_size << " bytes: "
          << absl::BytesToHexString(
                 connection.buffered().substr(0, std::min(kDumpedBytes, head.head_size)));
  connection.Consume(head.head_size);

  BodySource body(connection, head.body_size);
  const Forwarded forwarded = forwarder_.Forward(origin, head.request, body, head.body_size);
  LogRequest(connection, head.request, *dialect, origin, forwarded.outcome,
             head.body_size - body.left(), start);
  const std::string answer = dialect->EncodeReply(forwarded.reply);
  VLOG(2) << "rid=" << origin.request_id << " answer of " << answer.size() << " bytes: "
          << absl::BytesToHexString(absl::string_view(answer).substr(0, wire::kReplyHeaderSize));

  const bool in_step = Drain(body);
  // Some clients wait for an answer to a retry notice, others send the file at once and would take
  // an answer for the file's: so it is only sent if nothing comes.
  if (in_step && forwarded.outcome.ok() && IsRetryNotice(head.request)) {
    return connection.buffered().empty() ? NextStep{NextStep::Kind::kAnswerLater, answer}
                                         : NextStep{};
  }
  const absl::Status written = connection.WriteAll(answer);
  if (!written.ok())
    LOG(WARNING) << "conn=" << connection.number() << " peer=" << connection.peer() << " "
                 << written.message();
  return {in_step && written.ok() ? NextStep::Kind::kWaitForRequest : NextStep::Kind::kClose, ""};
}

}  // namespace backup::bridge
