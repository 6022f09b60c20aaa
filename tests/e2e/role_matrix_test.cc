// Every RPC of every service, taken from the descriptors, by every role, with real certificates
// against the real service under the policy that is shipped.

#include <stdlib.h>

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "backup/v1/admin.grpc.pb.h"
#include "backup/v1/catalog.grpc.pb.h"
#include "backup/v1/ingest.grpc.pb.h"
#include "backup/v1/lifecycle.pb.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "grpc/health/v1/health.pb.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "gtest/gtest.h"
#include "rpc/status.h"
#include "rpc/tls.h"
#include "storage/testing/temp_folder.h"
#include "tests/support/reflection.pb.h"
#include "tests/support/service_process.h"

namespace backup {
namespace {

using google::protobuf::MethodDescriptor;

// Long enough for an answer; ends a stream that has nothing to say.
constexpr std::chrono::seconds kDeadline(3);

const std::set<std::string> kEverybody = {"bridge", "reader", "operator", "service"};
const std::set<std::string> kOperators = {"operator"};
const std::set<std::string> kReaders = {"reader", "operator"};
const std::set<std::string> kIngest = {"bridge", "operator"};

// Who may make which call. A new RPC fails the test until it stands here.
const std::map<std::string, std::set<std::string>> kMayCall = {
    {"backup.v1.IngestService.RegisterClient", kIngest},
    {"backup.v1.IngestService.ExchangeKey", kIngest},
    {"backup.v1.IngestService.ResumeClient", kIngest},
    {"backup.v1.IngestService.UploadFile", kIngest},
    {"backup.v1.IngestService.ReportTransfer", kIngest},
    {"backup.v1.IngestService.ObserveClient", kIngest},
    {"backup.v1.IngestService.SyncBans", kIngest},
    {"backup.v1.CatalogService.ListClients", kReaders},
    {"backup.v1.CatalogService.GetClient", kReaders},
    {"backup.v1.CatalogService.DeleteClient", kOperators},
    {"backup.v1.CatalogService.ListFiles", kReaders},
    {"backup.v1.CatalogService.ListVersions", kReaders},
    {"backup.v1.CatalogService.GetVersion", kReaders},
    {"backup.v1.CatalogService.DownloadFile", kReaders},
    {"backup.v1.CatalogService.DeleteVersion", kOperators},
    {"backup.v1.CatalogService.DeleteFile", kOperators},
    {"backup.v1.LifecycleService.ListTrash", kReaders},
    {"backup.v1.LifecycleService.SetPolicy", kOperators},
    {"backup.v1.LifecycleService.GetPolicy", kReaders},
    {"backup.v1.LifecycleService.ListPolicies", kReaders},
    {"backup.v1.LifecycleService.DeletePolicy", kOperators},
    {"backup.v1.LifecycleService.PreviewRetention", kReaders},
    {"backup.v1.LifecycleService.ResumeRetention", kOperators},
    {"backup.v1.LifecycleService.SetQuota", kOperators},
    {"backup.v1.LifecycleService.GetQuota", kReaders},
    {"backup.v1.LifecycleService.ListQuotas", kReaders},
    {"backup.v1.LifecycleService.DeleteQuota", kOperators},
    {"backup.v1.LifecycleService.UndeleteVersion", kOperators},
    {"backup.v1.LifecycleService.UndeleteFile", kOperators},
    {"backup.v1.LifecycleService.UndeleteClient", kOperators},
    {"backup.v1.LifecycleService.EmptyTrash", kOperators},
    {"backup.v1.AdminService.GetStatus", kReaders},
    {"backup.v1.AdminService.VerifyStore", kReaders},
    {"backup.v1.AdminService.GetScrub", kReaders},
    {"backup.v1.AdminService.StartScrub", kOperators},
    {"backup.v1.AdminService.PauseScrub", kOperators},
    {"backup.v1.AdminService.DiscardDamaged", kOperators},
    {"backup.v1.AdminService.SetLogLevel", kOperators},
    {"backup.v1.AdminService.ListStaleClients", kReaders},
    {"backup.v1.AdminService.TraceClient", kOperators},
    {"backup.v1.AdminService.ImportClient", kOperators},
    {"backup.v1.AdminService.BackUpState", kOperators},
    {"backup.v1.AdminService.ListKeys", kReaders},
    {"backup.v1.AdminService.RotateKey", kOperators},
    {"backup.v1.AdminService.RewrapKeys", kOperators},
    {"backup.v1.AdminService.RetireKey", kOperators},
    {"backup.v1.AdminService.ListAuditEntries", kOperators},
    {"backup.v1.AdminService.VerifyAudit", kOperators},
    {"backup.v1.AdminService.ListBans", kReaders},
    {"backup.v1.AdminService.AddBan", kOperators},
    {"backup.v1.AdminService.RemoveBan", kOperators},
    {"grpc.health.v1.Health.Check", kEverybody},
    {"grpc.health.v1.Health.Watch", kEverybody},
    {"grpc.reflection.v1alpha.ServerReflection.ServerReflectionInfo", kOperators},
};

std::vector<const MethodDescriptor*> AllMethods() {
  std::vector<const MethodDescriptor*> methods;
  for (const google::protobuf::FileDescriptor* file :
       {v1::UploadFileRequest::descriptor()->file(), v1::DownloadFileRequest::descriptor()->file(),
        v1::ListTrashRequest::descriptor()->file(), v1::GetStatusRequest::descriptor()->file(),
        grpc::health::v1::HealthCheckRequest::descriptor()->file(),
        grpc::reflection::v1alpha::ServerReflectionRequest::descriptor()->file()}) {
    for (int s = 0; s < file->service_count(); ++s)
      for (int m = 0; m < file->service(s)->method_count(); ++m)
        methods.push_back(file->service(s)->method(m));
  }
  return methods;
}

std::string PathOf(const MethodDescriptor& method) {
  return absl::StrCat("/", method.service()->full_name(), "/", method.name());
}

// A CA, the certificates that are shipped, and some that no policy knows.
class Certificates {
 public:
  Certificates() {
    Run(absl::StrCat("deploy/make_certificates.sh ", folder_.path()));
    for (const auto& [file, subject] : {std::pair("stranger", "/CN=stranger"),
                                        {"capital", "/CN=Operator"},
                                        {"nameless", "/O=operator"}}) {
      const std::string base = absl::StrCat(folder_.path(), "/", file);
      Run(absl::StrCat("openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj ",
                       subject, " -keyout ", base, ".key -out ", base, ".csr"));
      Run(absl::StrCat("openssl x509 -req -days 1 -in ", base, ".csr -CA ", folder_.path(),
                       "/ca.crt -CAkey ", folder_.path(), "/ca.key -CAcreateserial -out ", base,
                       ".crt"));
    }
  }

  std::string Path(const std::string& file) const {
    return absl::StrCat(folder_.path(), "/", file);
  }
  // Of the certificate of that name; "" for a caller without one.
  std::shared_ptr<grpc::Channel> Connect(const std::string& address,
                                         const std::string& name) const {
    rpc::TlsFiles files;
    files.ca_file = Path("ca.crt");
    if (!name.empty()) {
      files.cert_file = Path(name + ".crt");
      files.key_file = Path(name + ".key");
    }
    return grpc::CreateChannel(address, rpc::MakeChannelCredentials(files));
  }

 private:
  static void Run(const std::string& command) {
    ASSERT_EQ(::system(absl::StrCat(command, " >/dev/null 2>&1").c_str()), 0) << command;
  }
  storage::TempFolder folder_;
};

// One step of a call; whether it went well.
bool Next(grpc::CompletionQueue& queue) {
  void* tag = nullptr;
  bool ok = false;
  return queue.Next(&tag, &ok) && ok;
}

// Sends one empty message. OK if there is an answer, else what the call ended with.
absl::Status Call(const std::shared_ptr<grpc::Channel>& channel, const std::string& path) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(&context, path, &queue);
  call->StartCall(nullptr);
  Next(queue);
  const grpc::Slice nothing;
  call->WriteLast(grpc::ByteBuffer(&nothing, 1), grpc::WriteOptions(), nullptr);
  Next(queue);
  grpc::ByteBuffer answer;
  call->Read(&answer, nullptr);
  const bool answered = Next(queue);
  if (answered) context.TryCancel();
  grpc::Status status;
  call->Finish(&status, nullptr);
  Next(queue);
  return answered ? absl::OkStatus() : rpc::FromGrpc(status);
}

// Whether a call got past the gate: it failed for another reason, or goes on without an answer.
bool IsAdmitted(const absl::Status& outcome) {
  switch (outcome.code()) {
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kUnimplemented:
      return false;
    default:
      return true;
  }
}

class RoleMatrixTest : public ::testing::Test {
 protected:
  std::shared_ptr<grpc::Channel> Connect(const std::string& name) {
    return certificates_.Connect(service_.address(), name);
  }

  const Certificates certificates_;
  const testing::ServiceProcess service_{
      {absl::StrCat("--tls_cert_file=", certificates_.Path("service.crt")),
       absl::StrCat("--tls_key_file=", certificates_.Path("service.key")),
       absl::StrCat("--tls_client_ca_file=", certificates_.Path("ca.crt")),
       "--authz_policy_file=deploy/authz_policy.json"}};
};

TEST_F(RoleMatrixTest, EachRoleMayMakeItsCallsAndNoOther) {
  const std::vector<const MethodDescriptor*> methods = AllMethods();
  EXPECT_EQ(methods.size(), kMayCall.size());
  for (const char* name : {"bridge", "reader", "operator", "service", "stranger", "capital"}) {
    const auto channel = Connect(name);
    for (const MethodDescriptor* method : methods) {
      SCOPED_TRACE(absl::StrCat(name, " calls ", method->full_name()));
      const auto allowed = kMayCall.find(method->full_name());
      ASSERT_NE(allowed, kMayCall.end());
      const absl::Status outcome = Call(channel, PathOf(*method));
      if (allowed->second.count(name) > 0) {
        EXPECT_TRUE(IsAdmitted(outcome)) << outcome;
        continue;
      }
      EXPECT_EQ(outcome.code(), absl::StatusCode::kPermissionDenied) << outcome;
      // gRPC's own services cannot tell a reason.
      if (absl::StartsWith(method->full_name(), "backup.")) {
        EXPECT_EQ(ReasonOf(outcome), Reason::kRoleDenied);
      }
    }
  }
}

TEST_F(RoleMatrixTest, ACertificateWithoutANameIsNoCredential) {
  const auto channel = Connect("nameless");
  for (const MethodDescriptor* method : AllMethods()) {
    const absl::Status outcome = Call(channel, PathOf(*method));
    EXPECT_EQ(outcome.code(), absl::StatusCode::kUnauthenticated) << method->full_name();
    if (absl::StartsWith(method->full_name(), "backup.")) {
      EXPECT_EQ(ReasonOf(outcome), Reason::kCredentialsMissing);
    }
  }
}

TEST_F(RoleMatrixTest, WithoutACertificateThereIsNoConnection) {
  const auto channel = Connect("");
  for (const MethodDescriptor* method : AllMethods())
    EXPECT_EQ(Call(channel, PathOf(*method)).code(), absl::StatusCode::kUnavailable);
}

TEST_F(RoleMatrixTest, WhatDoesNotExistIsDeniedToo) {
  for (const char* path : {"/other.Service/Method", "/backup.v1.NoService/Method", "/", "//"}) {
    for (const char* name : {"reader", "stranger"})
      EXPECT_FALSE(IsAdmitted(Call(Connect(name), path))) << path;
  }
}

// Who makes a call that stands for an old client, as the bridge does.
void ActAs(const std::shared_ptr<grpc::Channel>& channel, const char* peer) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  context.AddMetadata("x-legacy-peer", peer);
  v1::RegisterClientRequest request;
  request.set_name(peer);
  v1::RegisterClientResponse response;
  const grpc::Status status =
      v1::IngestService::NewStub(channel)->RegisterClient(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(RoleMatrixTest, OnlyTheBridgeIsBelievedWhoTheOldClientIs) {
  const auto operator_channel = Connect("operator");
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + 2 * kDeadline);
  const auto watch = v1::AdminService::NewStub(operator_channel)->TraceClient(&context, {});
  watch->WaitForInitialMetadata();
  ActAs(operator_channel, "forged");
  ActAs(Connect("bridge"), "true");
  v1::TraceClientResponse event;
  ASSERT_TRUE(watch->Read(&event));
  EXPECT_EQ(event.peer(), "true");
  context.TryCancel();
}

}  // namespace
}  // namespace backup
