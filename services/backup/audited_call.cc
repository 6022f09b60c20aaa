#include "services/backup/audited_call.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/error.h"
#include "base/name_text.h"
#include "base/status_macros.h"
#include "crypto/sha256.h"
#include "glog/logging.h"
#include "google/protobuf/descriptor.h"
#include "rpc/target.h"
#include "services/backup/audit/actions.h"
#include "services/backup/audit/audit_queue.h"
#include "services/backup/service_metrics.h"
#include "services/backup/trace.h"

namespace backup {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr size_t kMaxActorSize = 200;
constexpr size_t kMaxDetailSize = 300;
// A name of 255 bytes takes three for each at most.
constexpr size_t kMaxObjectSize = 3 * kMaxNameSize;
// Of a certificate's SHA-256: enough to tell those of one authority apart.
constexpr size_t kFingerprintSize = 8;

std::string Cut(absl::string_view text, size_t size) {
  if (text.size() <= size) return std::string(text);
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;
  return absl::StrCat(text.substr(0, size), "...");
}

std::vector<std::string> Properties(const grpc::AuthContext& caller, const char* name) {
  std::vector<std::string> values;
  for (const grpc::string_ref& value : caller.FindPropertyValues(name))
    values.emplace_back(value.data(), value.size());
  return values;
}

// As `openssl x509 -fingerprint -sha256` begins, in small hex digits; empty if there is none.
std::string FingerprintOf(const std::string& pem) {
  std::string base64;
  for (const absl::string_view line : absl::StrSplit(pem, '\n')) {
    if (!absl::StartsWith(line, "-----")) absl::StrAppend(&base64, line);
  }
  std::string der;
  if (base64.empty() || !absl::Base64Unescape(base64, &der)) return "";
  crypto::Sha256 hash;
  hash.Update(der);
  return absl::BytesToHexString(hash.Finish().substr(0, kFingerprintSize));
}

// The certificate's subject, its other names and its fingerprint, which tells apart those of one
// role, also if that names no role; else how the caller came.
std::string ActorOf(const grpc::ServerContextBase& call) {
  const std::shared_ptr<const grpc::AuthContext> caller = call.auth_context();
  const std::string role = RoleOf(*caller);
  const std::vector<std::string> subject = Properties(*caller, "x509_subject");
  const std::vector<std::string> pem = Properties(*caller, "x509_pem_cert");
  if (role.empty() && pem.empty())
    return absl::StartsWith(call.peer(), "unix:") ? "unix socket" : "insecure";
  std::string actor = subject.empty() ? absl::StrCat("CN=", role) : subject[0];
  const std::vector<std::string> names = Properties(*caller, "x509_subject_alternative_name");
  if (!names.empty()) absl::StrAppend(&actor, " (", absl::StrJoin(names, ","), ")");
  // The end must stay.
  actor = Cut(actor, kMaxActorSize);
  if (!pem.empty()) absl::StrAppend(&actor, " ", FingerprintOf(pem[0]));
  return NameToText(actor);
}

// A field of the request as text, if it has one; takes it out.
std::string Take(Message& request, const char* name) {
  const FieldDescriptor* const field = request.GetDescriptor()->FindFieldByName(name);
  if (field == nullptr || field->type() != FieldDescriptor::TYPE_STRING || field->is_repeated())
    return "";
  std::string value = request.GetReflection()->GetString(request, field);
  request.GetReflection()->ClearField(&request, field);
  return value;
}

int64_t TakeVersionId(Message& request) {
  const FieldDescriptor* const field = request.GetDescriptor()->FindFieldByName("version_id");
  if (field == nullptr || field->cpp_type() != FieldDescriptor::CPPTYPE_INT64) return 0;
  const int64_t value = request.GetReflection()->GetInt64(request, field);
  request.GetReflection()->ClearField(&request, field);
  return value;
}

// Which part of a request says what it is about: a policy or a quota, or the request itself.
Message& SubjectOf(Message& request) {
  for (const char* const name : {"policy", "quota"}) {
    const FieldDescriptor* const field = request.GetDescriptor()->FindFieldByName(name);
    if (field != nullptr && request.GetReflection()->HasField(request, field))
      return *request.GetReflection()->MutableMessage(&request, field);
  }
  return request;
}

void AddRequest(const Message& request, storage::AuditEntry& entry) {
  const std::unique_ptr<Message> rest(request.New());
  rest->CopyFrom(request);
  Message& subject = SubjectOf(*rest);
  std::string client = Take(subject, "client_id");
  entry.client = FromUuid<ClientId>(client);
  for (const char* const field : {"file_name", "pattern", "name", "network"}) {
    if (entry.object.empty()) entry.object = Take(subject, field);
  }
  // What is no id may be anything.
  if (!entry.client && entry.object.empty()) entry.object = std::move(client);
  entry.version_id = TakeVersionId(subject);
  // As it was given, unless it is no text that a name may have.
  if (!TextToName(entry.object).ok()) entry.object = NameToText(entry.object);
  entry.object = Cut(entry.object, kMaxObjectSize);
  entry.detail = Cut(RequestText(*rest), kMaxDetailSize);
}

}  // namespace

std::string CallerOf(const grpc::ServerContextBase& call) {
  return Cut(absl::StrCat(ActorOf(call), " at ", rpc::PeerText(call.peer())), kMaxDetailSize);
}

storage::AuditEntry AuditEntryOf(const grpc::ServerContextBase& call, const ServiceContext& context,
                                 absl::string_view rpc, const Message* request) {
  storage::AuditEntry entry;
  entry.time = context.clock.Now();
  entry.actor = ActorOf(call);
  if (context.authorization != nullptr)
    entry.role = Cut(RoleOf(*call.auth_context()), kMaxActorSize);
  entry.peer = Cut(rpc::PeerText(call.peer()), kMaxActorSize);
  entry.action = std::string(audit::ActionOf(rpc));
  if (entry.action.empty()) entry.action = std::string(rpc);
  if (request != nullptr) AddRequest(*request, entry);
  entry.outcome = audit::kOk;
  return entry;
}

void AuditFailedCall(const ServiceContext& context, storage::AuditEntry entry,
                     const absl::Status& outcome) {
  if (context.audit_queue == nullptr) return;
  entry.outcome = std::string(OutcomeName(outcome));
  context.audit_queue->NoteRefused(std::move(entry));
}

AuditedCall::AuditedCall(const grpc::ServerContextBase& call, const ServiceContext& context,
                         absl::string_view rpc, const Message& request)
    : context_(context),
      catalog_(context.catalog, context.audit_log,
               context.audit_log == nullptr ? storage::AuditEntry()
                                            : AuditEntryOf(call, context, rpc, &request)) {}

handlers::KeyKeeper::Change AuditedCall::change() {
  return [this](storage::Transaction& transaction) {
    // If it is not committed the call fails.
    catalog_.NoteTold();
    return catalog_.Tell(transaction);
  };
}

void AuditedCall::Finish(const absl::Status& outcome) {
  if (context_.audit_log == nullptr) return;
  if (!outcome.ok()) return AuditFailedCall(context_, catalog_.entry(), outcome);
  if (catalog_.is_told()) return;
  const absl::Status told = context_.catalog.Run(
      [this](storage::Transaction& transaction) { return catalog_.Tell(transaction); });
  if (told.ok()) return;
  LOG(ERROR) << "what was done could not be told of in the audit log: " << catalog_.entry().action
             << ": " << told;
  if (context_.audit_queue != nullptr) context_.audit_queue->Note(catalog_.entry());
}

}  // namespace backup
