#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "grpcpp/server_context.h"
#include "services/backup/audit/audited_catalog.h"
#include "services/backup/handlers/key_keeper.h"
#include "services/backup/service_context.h"
#include "storage/catalog/audit.h"

namespace backup {

// Who made a call, as the audit log has it, and from where.
std::string CallerOf(const grpc::ServerContextBase& call);

// What the audit log says of a call: who made it, what it is (audit::ActionOf, or the method's
// name), and what it is about, as far as its request tells. Nothing of it is longer than a few
// hundred bytes, whatever the caller sent. `request` may be null.
storage::AuditEntry AuditEntryOf(const grpc::ServerContextBase& call, const ServiceContext& context,
                                 absl::string_view rpc, const google::protobuf::Message* request);

// Puts a call that went wrong into the audit log, without waiting, if it is to be there.
void AuditFailedCall(const ServiceContext& context, storage::AuditEntry entry,
                     const absl::Status& outcome);

// A call that is told of in the audit log: what it does through catalog() in the same transaction,
// and what it does elsewhere when it has ended. Used by one thread at a time.
class AuditedCall {
 public:
  // All must outlive this.
  AuditedCall(const grpc::ServerContextBase& call, const ServiceContext& context,
              absl::string_view rpc, const google::protobuf::Message& request);

  storage::Catalog& catalog() { return catalog_; }
  // For what somebody does in a transaction of another catalog: does nothing but to tell of it.
  handlers::KeyKeeper::Change change();
  // What came of it: to be called once, before it is answered.
  void Finish(const absl::Status& outcome);

 private:
  const ServiceContext& context_;
  audit::AuditedCatalog catalog_;
};

}  // namespace backup
