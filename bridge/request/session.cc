#include "bridge/request/session.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "bridge/request/random_ids.h"
#include "bridge/request/request_text.h"
#include "glog/logging.h"

// Deciding and answering; what waits for a file's content is in session_files.cc.
namespace backup::bridge {
namespace {

bool IsRetryNotice(const wire::Request& request) {
  const auto* verdict = std::get_if<wire::ChecksumVerdict>(&request.operation);
  return verdict != nullptr && verdict->kind == wire::ChecksumVerdict::Kind::kRetry;
}

// Why a connection ends to which an answer could not be written.
CloseReason ReasonFor(const absl::Status& written) {
  return absl::IsDeadlineExceeded(written) ? CloseReason::kRate : CloseReason::kEof;
}

}  // namespace

KnownOfSender Session::Known() const {
  return {dialect_, profile_ ? &*profile_ : nullptr, options_.family_of_shared_codes};
}

CallOrigin Session::NewOrigin() const {
  return {NewRequestId(), ToUuidText(RandomUuidBytes()), connection_.peer(),
          absl::StrCat(connection_.number()), ""};
}

bool Session::HasRequest() {
  Decision decision = Decide(connection_.buffered(), Known());
  current_ = std::holds_alternative<NeedMore>(decision)
                 ? nullptr
                 : std::make_unique<Current>(Current{std::move(decision)});
  return current_ != nullptr;
}

void Session::Serve(std::function<void(Served)> done) {
  current_->done = std::move(done);
  current_->origin = NewOrigin();
  Proceed();
}

void Session::Proceed() {
  if (auto* const ready = std::get_if<Ready>(&current_->decision)) return Begin(std::move(*ready));
  if (const auto* need = std::get_if<NeedProfile>(&current_->decision)) return LookUpProfile(*need);
  if (const auto* refusal = std::get_if<Refusal>(&current_->decision))
    return Conclude(RefuseNow(*refusal));
  Conclude({});
}

void Session::LookUpProfile(const NeedProfile& need) {
  const ClientId id = need.header.client_id;
  // It has arrived, though what it asks is still to be found out.
  if (HasWholePayload(connection_.buffered(), need.header))
    current_->place = context_.forwarder.TakePlace(id);
  const auto go_on = [this](v1::LegacyProfile profile) {
    framing_.Learn(profile);
    profile_ = std::move(profile);
    current_->decision = Decide(connection_.buffered(), Known());
    Proceed();
  };
  LegacyProfiles& profiles = context_.forwarder.profiles();
  if (auto cached = profiles.FindCached(id)) return go_on(*std::move(cached));
  const bool may_fail = need.is_malformed;
  profiles.Find(current_->origin, id, may_fail ? Policy::kOnce : Policy::kRideThrough,
                [this, go_on, may_fail](absl::StatusOr<v1::LegacyProfile> profile) {
                  if (!profile.ok() && !may_fail) return Conclude(RefuseFor(profile.status()));
                  go_on(profile.ok() ? *std::move(profile) : v1::LegacyProfile());
                });
}

void Session::Begin(Ready ready) {
  current_->origin.request = std::move(ready.description);
  VLOG(1) << OriginText(connection_) << " rid=" << current_->origin.request_id << " "
          << current_->origin.request;
  dialect_ = ready.dialect;
  ++requests_;
  current_->exchange.emplace(
      Exchange{*ready.dialect, std::move(ready.head), MonotonicClock::now()});
  const wire::Request& request = current_->exchange->head.request;
  const auto* const file = std::get_if<wire::SendFile>(&request.operation);
  const bool is_in_parts = file != nullptr && (file->packet || file->is_block);
  if (is_in_parts || !HasComeWhole()) {
    current_->place.Leave();  // Its last byte is still to come.
    return context_.run_on_worker([this] { ReceiveFile(); });
  }
  if (!current_->place.is_taken()) current_->place = context_.forwarder.TakePlace(request);
  if (const absl::Status within = CheckLimits(); !within.ok()) {
    connection_.Consume(current_->exchange->head.head_size);
    return Finish({Failed(within)});
  }
  if (const auto* const verdict = std::get_if<wire::ChecksumVerdict>(&request.operation))
    current_->origin.upload_id = uploads_.Find(verdict->name);
  const size_t head_size = current_->exchange->head.head_size;
  const uint64_t body_size = current_->exchange->head.body_size;
  ForwardWhole(connection_.buffered().substr(head_size, body_size), std::move(current_->place),
               [this, head_size, body_size](Forwarded forwarded) {
                 connection_.Consume(head_size + body_size);
                 FinishMessage({std::move(forwarded), {}, body_size});
               });
}

bool Session::HasComeWhole() const {
  return connection_.buffered().size() >=
         current_->exchange->head.head_size + current_->exchange->head.body_size;
}

// Counts what a client may do only so often on a connection.
absl::Status Session::CheckLimits() {
  const wire::Operation& operation = current_->exchange->head.request.operation;
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

void Session::ForwardWhole(absl::string_view content, ClientOrder::Place place,
                           std::function<void(Forwarded)> done) {
  context_.forwarder.Forward(current_->origin, current_->exchange->head.request, std::move(place),
                             Observed(/*in_segments=*/false), content, std::move(done));
}

v1::LegacyProfile Session::Observed(bool in_segments) const {
  const wire::Request& request = current_->exchange->head.request;
  v1::LegacyProfile observed;
  observed.set_family(std::string(request.family));
  observed.set_header_version(request.version);
  observed.set_framing(std::string(framing_.RecordText(current_->exchange->dialect)));
  if (const auto* file = std::get_if<wire::SendFile>(&request.operation))
    observed.set_file_style(FileStyle(*file, in_segments));
  observed.set_connection_style(requests_ > 1 ? kManyRequests : kOneRequest);
  return observed;
}

// Padding is waited for only when the service has answered, so that it does not wait, too.
void Session::FinishMessage(Outcome outcome) {
  const wire::DecodedHead& head = current_->exchange->head;
  const auto* const file = std::get_if<wire::SendFile>(&head.request.operation);
  const bool is_one_message = file == nullptr || !(file->packet || file->is_block);
  if (!is_one_message || outcome.served.next != Served::Next::kKeep ||
      !framing_.MayHavePadding(current_->exchange->dialect)) {
    return Finish(outcome);
  }
  context_.run_on_worker([this, outcome = std::move(outcome)] {
    TakePadding(current_->exchange->head.head_size + current_->exchange->head.body_size);
    Finish(outcome);
  });
}

void Session::TakePadding(uint64_t message_size) {
  framing_.TakePadding(connection_, current_->exchange->dialect,
                       current_->exchange->head.request.client_id, message_size);
}

void Session::Finish(const Outcome& outcome) {
  const wire::Request& request = current_->exchange->head.request;
  const std::string answer =
      framing_.Frame(current_->exchange->dialect.EncodeReply(outcome.forwarded.reply));
  Served served = AfterAnswer(outcome.served);
  if (IsRetryNotice(request) && outcome.served.next == Served::Next::kKeep &&
      retries_ <= options_.max_retries) {
    served.lazy_answer = answer;
    return Report(outcome, std::move(served));
  }
  const absl::StatusOr<size_t> written = connection_.WriteSome(answer);
  if (!written.ok()) return Report(outcome, {Served::Next::kClose, ReasonFor(written.status())});
  if (*written == answer.size()) return Report(outcome, std::move(served));
  // The client does not read what it was sent before.
  context_.run_on_worker([this, outcome, served, rest = answer.substr(*written)] {
    const absl::Status rest_written = connection_.WriteAll(rest, options_.write_timeout);
    Report(outcome,
           rest_written.ok() ? served : Served{Served::Next::kClose, ReasonFor(rest_written)});
  });
}

// What is to become of the connection once the answer was written.
Served Session::AfterAnswer(Served served) const {
  if (registrations_ > options_.max_registrations || retries_ > options_.max_retries)
    return {Served::Next::kLinger, CloseReason::kLimit};
  // Of the clients that send blocks, those of this version wait for the end of the connection.
  if (framing_.in_blocks() && current_->exchange->head.request.version == wire::kReplyVersion &&
      served.next == Served::Next::kKeep) {
    return {Served::Next::kLinger, CloseReason::kAnswered};
  }
  return served;
}

void Session::Report(const Outcome& outcome, Served served) {
  const wire::Request& request = current_->exchange->head.request;
  const absl::Status& result = outcome.forwarded.outcome;
  const auto* const file = std::get_if<wire::SendFile>(&request.operation);
  if (file != nullptr && result.ok()) uploads_.Remember(file->name, current_->origin.upload_id);
  const absl::string_view name = RequestName(request.operation);
  const absl::Duration took = absl::FromChrono(MonotonicClock::now() - current_->exchange->begin);
  CountRequest(options_.metrics, {name, request.family, OutcomeText(result), took});
  LOG(INFO) << OriginText(connection_) << " client=" << ToUuid(request.client_id)
            << " request=" << name << " dialect=" << current_->exchange->dialect.name()
            << " outcome=" << OutcomeText(result) << " bytes=" << outcome.body_bytes
            << " ms=" << absl::ToInt64Milliseconds(took) << " rid=" << current_->origin.request_id
            << ErrorText(result);
  Conclude(std::move(served));
}

// The end of every request. What it took of memory is given back: the next may be long in coming.
void Session::Conclude(Served served) {
  const std::unique_ptr<Current> current = std::move(current_);
  current->place.Leave();
  // If the next request has come already a lazy answer is not needed, nor what was to come after
  // it.
  const bool is_over = served.next != Served::Next::kKeep && served.lazy_answer.empty();
  if (!is_over && !connection_.buffered().empty()) served = {};
  current->done(std::move(served));
}

Served Session::RefuseNow(const Refusal& refusal) {
  switch (refusal.kind) {
    case Refusal::Kind::kForeignProtocol:
      WarnOfForeignProtocol(refusal.rule);
      return {Served::Next::kClose, CloseReason::kProtocol};
    case Refusal::Kind::kUnknownCode:
      CountError("unknown_request");
      LOG(WARNING) << OriginText(connection_) << " sent the unknown request code "
                   << refusal.header.code << ", closing";
      break;
    case Refusal::Kind::kMalformedHead:
      CountError("malformed_head");
      LOG(WARNING) << OriginText(connection_) << " dialect=" << refusal.answer_in->name()
                   << " sent a malformed head, closing: " << refusal.rule;
      break;
    case Refusal::Kind::kIncompleteHead:
      break;
  }
  connection_.WriteNow(framing_.Frame(refusal.answer_in->EncodeReply(wire::GeneralError())));
  if (refusal.culprit) {
    current_->origin.request = absl::StrCat("broke a rule: ", refusal.rule);
    context_.forwarder.ReportProtocolError(current_->origin, *refusal.culprit, refusal.rule);
  }
  return {Served::Next::kLinger, CloseReason::kProtocol};
}

bool Session::IsForeign() const {
  const Refusal refusal = DecideIncomplete(connection_.buffered());
  if (refusal.kind != Refusal::Kind::kForeignProtocol) return false;
  WarnOfForeignProtocol(refusal.rule);
  return true;
}

void Session::RefuseIncomplete() {
  const wire::Dialect& dialect = *DecideIncomplete(connection_.buffered()).answer_in;
  connection_.WriteNow(dialect.EncodeReply(wire::GeneralError()));
}

Served Session::RefuseFor(const absl::Status& error) {
  LOG(WARNING) << OriginText(connection_)
               << " the client's record cannot be read: " << error.message();
  RefuseIncomplete();
  return {Served::Next::kLinger, CloseReason::kUpstream};
}

void Session::WarnOfForeignProtocol(absl::string_view protocol) const {
  options_.metrics
      .wrong_protocol  // HTTP/2 is http2.
      .With({absl::AsciiStrToLower(absl::StrReplaceAll(protocol, {{"/", ""}}))})
      .Add();
  LOG(WARNING) << OriginText(connection_) << " speaks " << protocol
               << ", not the backup protocol; is it pointed at the wrong port?";
}

void Session::CountError(absl::string_view kind) const {
  options_.metrics.protocol_errors.With({kind}).Add();
}

}  // namespace backup::bridge
