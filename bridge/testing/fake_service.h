#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "backup/v1/ingest.grpc.pb.h"
#include "backup/v1/types.pb.h"
#include "base/mutex.h"
#include "grpcpp/server.h"

namespace backup::bridge::testing {

// What the real service answers, as far as the bridge can tell, in memory. Thread-safe.
class FakeService final : public v1::IngestService::Service {
 public:
  // Forgets all, as if it were new. No call may be in flight.
  void Clear();
  // Answers the next call, whichever it is, with `error`.
  void FailNextCall(absl::Status error);
  // Calls from now on are noted, and answered once they are released.
  void HoldCalls();
  void ReleaseCalls();
  // From now on UploadFile answers wrong checksums, as the service does under --corrupt_checksums.
  void CorruptChecksums();

  // The names of the calls so far, with their outcome for ReportTransfer: "RegisterClient",
  // "ReportTransfer RETRYING".
  std::vector<std::string> calls() const;
  // Waits until there were `count` calls.
  void WaitForCalls(size_t count) const;
  // Waits until `holds`: of what a call does after it has begun.
  void WaitUntil(const std::function<bool()>& holds) const;
  // What was uploaded last under `file_name`; nothing if never.
  std::optional<std::string> content(const std::string& file_name) const;
  v1::UploadFileHeader last_upload() const;
  // Of all uploads so far, those that failed included.
  std::vector<std::string> upload_ids() const;
  v1::ReportTransferRequest last_report() const;
  v1::ExchangeKeyRequest last_key() const;
  v1::ResumeClientRequest last_resume() const;
  // What is on the client's record; all empty if nothing.
  v1::LegacyProfile profile(const std::string& client_id) const;
  // A client with a key, which registered elsewhere.
  void AddClient(const std::string& client_id, const v1::LegacyProfile& profile);
  // What SyncBans, which is no call of a client's and is not among calls(), answers with from now
  // on; how often it was called, and what it was told.
  void SetBans(std::vector<v1::KnownBan> bans);
  int syncs() const;
  std::vector<v1::EarnedBan> earned_bans() const;
  // A metadata value of the last call.
  std::string last_metadata(const std::string& key) const;

  grpc::Status RegisterClient(grpc::ServerContext* context,
                              const v1::RegisterClientRequest* request,
                              v1::RegisterClientResponse* response) override;
  grpc::Status ExchangeKey(grpc::ServerContext* context, const v1::ExchangeKeyRequest* request,
                           v1::ExchangeKeyResponse* response) override;
  grpc::Status ResumeClient(grpc::ServerContext* context, const v1::ResumeClientRequest* request,
                            v1::ResumeClientResponse* response) override;
  grpc::Status UploadFile(grpc::ServerContext* context,
                          grpc::ServerReader<v1::UploadFileRequest>* reader,
                          v1::UploadFileResponse* response) override;
  grpc::Status ReportTransfer(grpc::ServerContext* context,
                              const v1::ReportTransferRequest* request,
                              v1::ReportTransferResponse* response) override;
  grpc::Status ObserveClient(grpc::ServerContext* context, const v1::ObserveClientRequest* request,
                             v1::ObserveClientResponse* response) override;
  grpc::Status SyncBans(grpc::ServerContext* context, const v1::SyncBansRequest* request,
                        v1::SyncBansResponse* response) override;

 private:
  // Notes a call; the error it is to end with, if any.
  absl::Status Begin(const grpc::ServerContext& context, const std::string& call);
  absl::Status CheckClient(const std::string& client_id) const;
  // The id, or if that is empty the one of the client of this name.
  absl::StatusOr<std::string> FindClient(const std::string& client_id,
                                         const std::string& name) const;

  // Of the client that registers next: the same ones in the same order, for who compares answers.
  std::string NextId() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  mutable CondVar changed_;
  std::vector<std::string> calls_ ABSL_GUARDED_BY(mutex_);
  absl::Status next_error_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> id_by_name_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, bool> has_key_by_id_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> contents_ ABSL_GUARDED_BY(mutex_);
  v1::UploadFileHeader last_upload_ ABSL_GUARDED_BY(mutex_);
  v1::ReportTransferRequest last_report_ ABSL_GUARDED_BY(mutex_);
  v1::ExchangeKeyRequest last_key_ ABSL_GUARDED_BY(mutex_);
  v1::ResumeClientRequest last_resume_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> upload_ids_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> last_metadata_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, v1::LegacyProfile> profiles_ ABSL_GUARDED_BY(mutex_);
  std::vector<v1::KnownBan> bans_ ABSL_GUARDED_BY(mutex_);
  int bans_version_ ABSL_GUARDED_BY(mutex_) = 0;
  int syncs_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<v1::EarnedBan> earned_bans_ ABSL_GUARDED_BY(mutex_);
  bool held_ ABSL_GUARDED_BY(mutex_) = false;
  bool corrupt_checksums_ ABSL_GUARDED_BY(mutex_) = false;
};

// A gRPC server around a FakeService, on a port of loopback. Used by one thread at a time.
class FakeServer {
 public:
  // Serves at once.
  explicit FakeServer(FakeService& service) : service_(service) { Start(); }
  // Serves again on the same port.
  void Start();
  // Ends calls in flight, as a killed process does.
  void Stop();
  std::string target() const;

 private:
  FakeService& service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace backup::bridge::testing
