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

// Whether its content is in one message, with the head.
bool IsOneMessage(const wire::Request& request) {
  const auto* const file = std::get_if<wire::SendFile>(&request.operation);
  return file == nullptr || !(file->packet || file->blocks_size > 0);
}

// Whom a reply names, if it settles that.
std::optional<ClientId> Named(const wire::Reply& reply) {
  if (const auto* registered = std::get_if<wire::Registered>(&reply)) return registered->id;
  if (const auto* accepted = std::get_if<wire::KeyAccepted>(&reply)) return accepted->id;
  if (const auto* reconnected = std::get_if<wire::Reconnected>(&reply)) return reconnected->id;
  return std::nullopt;
}

// Whether only a client that is known can do that: anybody can register and send a key.
bool IsForKnownClients(const wire::Operation& operation) {
  return !std::holds_alternative<wire::Register>(operation) &&
         !std::holds_alternative<wire::SendPublicKey>(operation);
}

// Why a connection ends to which an answer could not be written.
CloseReason ReasonFor(const absl::Status& written) {
  return absl::IsDeadlineExceeded(written) ? CloseReason::kRate : CloseReason::kEof;
}

}  // namespace

KnownOfSender Session::Known() const {
  return {*options_.dialects, candidates_, dialect_, profile_ ? &*profile_ : nullptr};
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

bool Session::IsRegistration() const {
  const auto* const ready = std::get_if<Ready>(&current_->decision);
  return ready != nullptr && std::holds_alternative<wire::Register>(ready->head.request.operation);
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
  const ClientId id = need.client_id;
  // It has arrived, though what it asks is still to be found out.
  if (need.has_come_whole) current_->place = context_.forwarder.TakePlace(id);
  const auto go_on = [this, id](v1::LegacyProfile profile) {
    framing_.Learn(profile);
    profile_ = std::move(profile);
    current_->decision = Decide(connection_.buffered(), Known());
    const auto* const ready = std::get_if<Ready>(&current_->decision);
    // It is of a dialect that has the id elsewhere.
    if (ready != nullptr && ready->head.request.client_id != id) current_->place.Leave();
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
  candidates_ = ready.candidates;
  ++requests_;
  const std::optional<ClientId> client = ClientOf(*ready.dialect, ready.head.request);
  if (client && *client != ClientId()) client_ = client;
  current_->exchange.emplace(
      Exchange{*ready.dialect, std::move(ready.head), client, MonotonicClock::now()});
  const wire::Request& request = current_->exchange->head.request;
  const auto* const file = std::get_if<wire::SendFile>(&request.operation);
  const bool is_plain = file == nullptr || IsPlainContent(*dialect_, *file);
  if (!is_plain || !HasComeWhole()) {
    current_->place.Leave();  // Its last byte is still to come.
    return context_.run_on_worker([this] { ReceiveFile(); });
  }
  if (!current_->place.is_taken()) current_->place = TakePlace();
  if (const absl::Status within = CheckLimits(); !within.ok()) {
    connection_.Consume(current_->exchange->head.head_size);
    return Finish({Failed(within)});
  }
  if (const auto* const verdict = std::get_if<wire::ChecksumVerdict>(&request.operation))
    current_->origin.upload_id = context_.uploads.Find(*client, *verdict, connection_);
  const size_t head_size = current_->exchange->head.head_size;
  const uint64_t body_size = current_->exchange->head.body_size;
  const WholeContent content{connection_.buffered().substr(head_size, body_size),
                             file != nullptr ? file->plaintext_size : std::nullopt};
  ForwardWhole(content, std::move(current_->place),
               [this, head_size, body_size](Forwarded forwarded) {
                 connection_.Consume(head_size + body_size);
                 FinishMessage({std::move(forwarded), {}, body_size});
               });
}

std::optional<ClientId> Session::ClientOf(const wire::Dialect& dialect,
                                          const wire::Request& request) const {
  const wire::Operation& operation = request.operation;
  if (std::holds_alternative<wire::Register>(operation)) return std::nullopt;
  if (request.client_id != ClientId() || !dialect.LooksUpZeroIds()) return request.client_id;
  const auto* const key = std::get_if<wire::SendPublicKey>(&operation);
  const auto* const reconnect = std::get_if<wire::Reconnect>(&operation);
  const bool has_name =
      (key != nullptr && !key->name.empty()) || (reconnect != nullptr && !reconnect->name.empty());
  if (has_name) return std::nullopt;
  return client_.value_or(request.client_id);
}

ClientOrder::Place Session::TakePlace() {
  const std::optional<ClientId>& client = current_->exchange->client;
  return client ? context_.forwarder.TakePlace(*client) : ClientOrder::Place();
}

bool Session::HasComeWhole() const {
  return connection_.buffered().size() >= RequestSize(current_->exchange->head);
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

void Session::ForwardWhole(const WholeContent& content, ClientOrder::Place place,
                           std::function<void(Forwarded)> done) {
  context_.forwarder.Forward(current_->origin, current_->exchange->head.request,
                             MakeSender(/*in_segments=*/false), std::move(place), content,
                             std::move(done));
}

Sender Session::MakeSender(bool in_segments) const {
  const Exchange& exchange = *current_->exchange;
  const wire::Request& request = exchange.head.request;
  Sender sender{exchange.client, exchange.dialect.content()};
  v1::LegacyProfile& observed = sender.observed;
  observed.set_family(std::string(request.family));
  observed.set_header_version(request.version);
  observed.set_framing(framing_.RecordText(exchange.dialect));
  if (const auto* file = std::get_if<wire::SendFile>(&request.operation))
    observed.set_file_style(FileStyle(*file, in_segments));
  observed.set_connection_style(requests_ > 1 ? kManyRequests : kOneRequest);
  return sender;
}

// Padding is waited for only when the service has answered, so that it does not wait, too.
void Session::FinishMessage(Outcome outcome) {
  if (!IsOneMessage(current_->exchange->head.request) ||
      outcome.served.next != Served::Next::kKeep ||
      !framing_.MayHavePadding(current_->exchange->dialect)) {
    return Finish(outcome);
  }
  context_.run_on_worker([this, outcome = std::move(outcome)] {
    TakePadding();
    Finish(outcome);
  });
}

void Session::TakePadding() {
  const wire::DecodedHead& head = current_->exchange->head;
  framing_.TakePadding(connection_, current_->exchange->dialect, head.request.client_id,
                       RequestSize(head));
}

void Session::Finish(const Outcome& outcome) {
  const Exchange& exchange = *current_->exchange;
  const wire::Request& request = exchange.head.request;
  if (const auto named = Named(outcome.forwarded.reply)) client_ = named;
  const auto* const file = std::get_if<wire::SendFile>(&request.operation);
  if (file != nullptr && outcome.forwarded.outcome.ok()) {
    context_.uploads.Remember(*exchange.client, file->name, current_->origin.upload_id,
                              connection_);
  }
  const std::string answer = framing_.Frame(
      exchange.dialect, exchange.dialect.EncodeReply(outcome.forwarded.reply, &request));
  Served served = AfterAnswer(outcome.served);
  const bool may_go_unanswered = IsRetryNotice(request) && retries_ <= options_.max_retries &&
                                 outcome.served.next == Served::Next::kKeep;
  if (may_go_unanswered && exchange.dialect.retry_answer() == wire::RetryAnswer::kNever)
    return Report(outcome, {});
  if (may_go_unanswered && exchange.dialect.retry_answer() == wire::RetryAnswer::kIfWaitedFor) {
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
  const wire::Dialect& dialect = current_->exchange->dialect;
  const bool ends = dialect.EndsConnection(current_->exchange->head.request.version,
                                           framing_.pads(dialect).value_or(false));
  if (ends && served.next == Served::Next::kKeep)
    return {Served::Next::kLinger, CloseReason::kAnswered};
  return served;
}

void Session::Report(const Outcome& outcome, Served served) {
  const wire::Request& request = current_->exchange->head.request;
  const absl::Status& result = outcome.forwarded.outcome;
  current_->is_of_known_client = result.ok() && IsForKnownClients(request.operation);
  const absl::string_view name = RequestName(request.operation);
  const absl::Duration took = absl::FromChrono(MonotonicClock::now() - current_->exchange->begin);
  CountRequest(options_.metrics, {name, request.family, OutcomeText(result), took});
  const ClientId client = current_->exchange->client.value_or(request.client_id);
  LOG(INFO) << OriginText(connection_) << " client=" << ToUuid(client) << " request=" << name
            << " dialect=" << current_->exchange->dialect.name()
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
  served.offence = current->offence;
  served.is_of_known_client = current->is_of_known_client;
  current->done(std::move(served));
}

Served Session::RefuseNow(const Refusal& refusal) {
  switch (refusal.kind) {
    case Refusal::Kind::kForeignProtocol:
      WarnOfForeignProtocol(refusal.rule);
      current_->offence = Offence::kForeignProtocol;
      return {Served::Next::kClose, CloseReason::kProtocol};
    case Refusal::Kind::kUnknownCode:
      CountError("unknown_request");
      current_->offence = Offence::kUnknownRequest;
      LOG(WARNING) << OriginText(connection_) << " sent the unknown request code " << refusal.code
                   << ", closing";
      break;
    case Refusal::Kind::kMalformedHead:
      CountError("malformed_head");
      current_->offence = Offence::kMalformedHead;
      LOG(WARNING) << OriginText(connection_) << " dialect=" << refusal.answer_in->name()
                   << " sent a malformed head, closing: " << refusal.rule;
      break;
    case Refusal::Kind::kIncompleteHead:
      break;
  }
  WriteGeneralError(*refusal.answer_in);
  if (refusal.culprit) {
    current_->origin.request = absl::StrCat("broke a rule: ", refusal.rule);
    context_.forwarder.ReportProtocolError(current_->origin, *refusal.culprit, refusal.rule);
  }
  return {Served::Next::kLinger, CloseReason::kProtocol};
}

bool Session::IsForeign() const {
  const Refusal refusal = DecideIncomplete(connection_.buffered(), Known());
  if (refusal.kind != Refusal::Kind::kForeignProtocol) return false;
  WarnOfForeignProtocol(refusal.rule);
  return true;
}

void Session::RefuseUnserved() {
  const auto* const ready = current_ != nullptr ? std::get_if<Ready>(&current_->decision) : nullptr;
  WriteGeneralError(ready != nullptr
                        ? *ready->dialect
                        : *DecideIncomplete(connection_.buffered(), Known()).answer_in);
}

void Session::WriteGeneralError(const wire::Dialect& dialect) {
  connection_.WriteNow(framing_.Frame(dialect, dialect.EncodeReply(wire::GeneralError(), nullptr)));
}

Served Session::RefuseFor(const absl::Status& error) {
  LOG(WARNING) << OriginText(connection_)
               << " the client's record cannot be read: " << error.message();
  RefuseUnserved();
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
