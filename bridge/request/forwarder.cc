#include "bridge/request/forwarder.h"

#include <string>
#include <utility>

#include "bridge/request/ordered_body.h"
#include "bridge/request/random_ids.h"
#include "glog/logging.h"

namespace backup::bridge {
namespace {

// Longer texts are refused by the service.
constexpr size_t kMaxRuleSize = 255;
// What clients break beyond that is not noted meanwhile.
constexpr int kMaxReportsInFlight = 64;

// A request on its way, until it is answered. One overload for each operation; each makes one call.
class PendingRequest : public std::enable_shared_from_this<PendingRequest> {
 public:
  PendingRequest(BackendClient& backend, const CallOrigin& origin, Translation translation,
                 ClientOrder::Place place, const WholeContent& content, Forwarder::Done done)
      : backend_(backend),
        origin_(origin),
        translation_(std::move(translation)),
        place_(std::move(place)),
        content_(content),
        done_(std::move(done)) {}

  ClientOrder::Place& place() { return place_; }

  void operator()(const wire::Register& operation) {
    Invoke<methods::RegisterClient>(operation, translation_.RequestOf(operation));
  }
  void operator()(const wire::SendPublicKey& operation) {
    Invoke<methods::ExchangeKey>(operation, translation_.RequestOf(operation));
  }
  void operator()(const wire::Reconnect& operation) {
    backend_.Invoke<methods::ResumeClient>(
        origin_, translation_.RequestOf(operation),
        [self = shared_from_this(), &operation](const auto& response) {
          Forwarded forwarded = self->translation_.Answer(operation, response);
          if (std::holds_alternative<wire::ReconnectDenied>(forwarded.reply))
            return self->AddFreshId(operation, std::move(forwarded.outcome));
          self->Finish(std::move(forwarded));
        });
  }
  void operator()(const wire::SendFile& operation) {
    v1::UploadFileRequest request;
    *request.mutable_header() = translation_.HeaderOf(
        operation, origin_,
        {.size = content_.bytes.size(), .plaintext_size = content_.plaintext_size});
    request.mutable_header()->set_first_chunk(std::string(content_.bytes));
    const bool told_profile = request.header().has_legacy_profile();
    backend_.Invoke<methods::UploadWholeFile>(
        origin_, std::move(request),
        [self = shared_from_this(), &operation, told_profile](const auto& response) {
          self->Finish(self->translation_.Answer(operation, told_profile, response));
        });
  }
  void operator()(const wire::ChecksumVerdict& operation) {
    Invoke<methods::ReportTransfer>(operation, translation_.RequestOf(operation, origin_));
  }

  void Finish(Forwarded forwarded) {
    place_.Leave();
    done_(std::move(forwarded));
  }

 private:
  template <typename Method, typename Operation>
  void Invoke(const Operation& operation, typename Method::Request request) {
    backend_.Invoke<Method>(origin_, std::move(request),
                            [self = shared_from_this(), &operation](const auto& response) {
                              self->Finish(self->translation_.Answer(operation, response));
                            });
  }

  // Answers a client whose reconnect was denied, because of `why`, with an id on which it may send
  // its key at once: registers the name. If that is refused, an id that nobody has, and the
  // client's own registration will tell it why.
  void AddFreshId(const wire::Reconnect& operation, absl::Status why) {
    backend_.Invoke<methods::RegisterClient>(
        origin_, translation_.RequestOf(wire::Register{operation.name}),
        [self = shared_from_this(), why = std::move(why)](const auto& response) {
          const absl::StatusOr<ClientId> id = Translation::IdOf(response);
          if (id.ok()) return self->Finish({wire::ReconnectDenied{*id}, why});
          if (MeaningOf(id.status()) != Meaning::kRegistrationRefused)
            return self->Finish(Failed(id.status()));
          self->Finish({wire::ReconnectDenied{*ClientId::FromBytes(RandomUuidBytes())}, why});
        });
  }

  BackendClient& backend_;
  const CallOrigin& origin_;
  const Translation translation_;
  ClientOrder::Place place_;
  const WholeContent content_;
  const Forwarder::Done done_;
};

}  // namespace

Forwarder::Forwarder(BackendClient& backend, bool corrupt_checksums, Counter faults_injected)
    : backend_(backend),
      profiles_(backend),
      order_(backend.queue(), backend.longest_call()),
      corrupt_checksums_(corrupt_checksums),
      faults_injected_(faults_injected) {}

void Forwarder::Forward(const CallOrigin& origin, const wire::Request& request, Sender sender,
                        ClientOrder::Place place, const WholeContent& content, Done done) {
  const auto pending =
      std::make_shared<PendingRequest>(backend_, origin, MakeTranslation(std::move(sender)),
                                       std::move(place), content, std::move(done));
  if (!pending->place().is_taken()) return std::visit(*pending, request.operation);
  order_.WhenFirst(pending->place(), [pending, &request](const absl::Status& first) {
    if (!first.ok()) return pending->Finish(Failed(first));
    std::visit(*pending, request.operation);
  });
}

Forwarded Forwarder::ForwardStream(const CallOrigin& origin, const wire::SendFile& file,
                                   Sender sender, const UploadContent& content) {
  const Translation translation = MakeTranslation(std::move(sender));
  const v1::UploadFileHeader header = translation.HeaderOf(
      file, origin, {content.size, content.segment_count, content.plaintext_size});
  OrderedBody body(*content.body, order_, *translation.sender.id);
  return translation.Answer(file, header.has_legacy_profile(),
                            backend_.UploadFile(origin, header, body));
}

void Forwarder::ReportProtocolError(const CallOrigin& origin, const ClientId& id,
                                    absl::string_view rule) {
  if (reports_in_flight_->fetch_add(1) >= kMaxReportsInFlight) {
    reports_in_flight_->fetch_sub(1);
    return;
  }
  v1::ObserveClientRequest request;
  request.set_client_id(ToUuid(id));
  request.mutable_observed()->set_last_protocol_error(std::string(rule.substr(0, kMaxRuleSize)));
  const auto kept = std::make_shared<const CallOrigin>(origin);
  backend_.Invoke<methods::ObserveClient>(
      *kept, std::move(request),
      [kept, in_flight = reports_in_flight_](const auto& response) {
        in_flight->fetch_sub(1);
        VLOG_IF(1, !response.ok()) << "the rule is not on the record: " << response.status();
      },
      Policy::kOnce);
}

Translation Forwarder::MakeTranslation(Sender sender) {
  return {std::move(sender), profiles_, corrupt_checksums_, faults_injected_};
}

}  // namespace backup::bridge
