#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "backup/v1/catalog.grpc.pb.h"
#include "backup/v1/ingest.grpc.pb.h"
#include "backup/v1/types.pb.h"
#include "base/checksum.h"
#include "base/error.h"
#include "crypto/sha256.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "rpc/status.h"
#include "services/backupctl/connection.h"

namespace backup::ctl::testing {

inline constexpr char kClientId[] = "6f1c2a34-0d5e-4b7a-9c21-3e8f5a6b7c8d";

inline std::string Sha256Of(absl::string_view bytes) {
  crypto::Sha256 hash;
  hash.Update(bytes);
  return hash.Finish();
}

// Files in memory, each with one verified version, and faults to order. Set up before calls are
// made.
class FakeCatalog final : public v1::CatalogService::Service {
 public:
  struct Entry {
    std::string file_name;  // As text.
    std::string sent;       // What a download sends.
    bool damaged = false;   // The service finds that, if it is to verify.
    v1::FileVersion version;
    bool is_old = false;  // There is a newer version of the file.
  };

  Entry& Add(const std::string& file_name, const std::string& content) {
    Entry entry{file_name, content, false, {}, false};
    entry.version.set_client_id(kClientId);
    entry.version.set_file_name(file_name);
    entry.version.set_version_id(static_cast<int64_t>(entries_.size()) + 1);
    entry.version.set_size_bytes(static_cast<int64_t>(content.size()));
    entry.version.set_sha256(Sha256Of(content));
    entry.version.set_state(v1::FileVersion::VERIFIED);
    entries_.push_back(std::move(entry));
    return entries_.back();
  }
  // Before the newer version of the file.
  Entry& AddOld(const std::string& file_name, const std::string& content) {
    Entry& entry = Add(file_name, content);
    entry.is_old = true;
    return entry;
  }
  void AddUnverified(const std::string& file_name) { unverified_.push_back(file_name); }
  // So many downloads end with UNAVAILABLE in their middle.
  void FailDownloads(int count) { failing_downloads_ = count; }
  int list_calls() const { return list_calls_; }

  grpc::Status GetClient(grpc::ServerContext*, const v1::GetClientRequest* request,
                         v1::GetClientResponse* response) override {
    if (request->client_id() != kClientId && request->name() != "laptop") {
      return grpc::Status(grpc::StatusCode::NOT_FOUND, "no such client");
    }
    response->mutable_client()->set_client_id(kClientId);
    response->mutable_client()->set_name("laptop");
    return grpc::Status::OK;
  }

  // Pages of two.
  grpc::Status ListFiles(grpc::ServerContext*, const v1::ListFilesRequest* request,
                         v1::ListFilesResponse* response) override {
    ++list_calls_;
    size_t next = request->page_token().empty() ? 0 : std::stoul(request->page_token());
    for (int i = 0; i < 2 && next < entries_.size(); ++next) {
      if (entries_[next].is_old) continue;
      ++i;
      v1::File& file = *response->add_files();
      file.set_file_name(entries_[next].file_name);
      *file.mutable_newest_verified() = entries_[next].version;
    }
    if (next < entries_.size()) {
      response->set_next_page_token(std::to_string(next));
    } else {
      for (const std::string& name : unverified_) response->add_files()->set_file_name(name);
    }
    return grpc::Status::OK;
  }

  // One page.
  grpc::Status ListVersions(grpc::ServerContext*, const v1::ListVersionsRequest* request,
                            v1::ListVersionsResponse* response) override {
    for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
      if (entry->file_name == request->file_name()) *response->add_versions() = entry->version;
    }
    return grpc::Status::OK;
  }

  grpc::Status GetVersion(grpc::ServerContext*, const v1::GetVersionRequest* request,
                          v1::GetVersionResponse* response) override {
    response->mutable_version()->set_file_name(request->file_name());
    response->mutable_version()->set_version_id(request->version_id());
    response->mutable_version()->set_state(v1::FileVersion::VERIFIED);
    return grpc::Status::OK;
  }

  grpc::Status DownloadFile(grpc::ServerContext*, const v1::DownloadFileRequest* request,
                            grpc::ServerWriter<v1::DownloadFileResponse>* stream) override {
    constexpr size_t kChunkSize = 1000;
    const Entry& entry = entries_[static_cast<size_t>(request->version_id()) - 1];
    v1::DownloadFileResponse message;
    *message.mutable_version() = entry.version;
    stream->Write(message);
    for (size_t at = 0; at < entry.sent.size(); at += kChunkSize) {
      message.set_chunk(entry.sent.substr(at, kChunkSize));
      stream->Write(message);
      if (failing_downloads_ > 0) {
        --failing_downloads_;
        return grpc::Status(grpc::StatusCode::UNAVAILABLE, "restarting");
      }
    }
    if (entry.damaged && !request->caller_verifies())
      return rpc::ToGrpc(MakeError(Reason::kBlobDamaged, "damaged in the store"));
    return grpc::Status::OK;
  }

 private:
  std::vector<Entry> entries_;
  std::vector<std::string> unverified_;
  int failing_downloads_ = 0;
  int list_calls_ = 0;
};

// Takes uploads and notes what was reported, with faults to order. Set up before calls are made.
class FakeIngest final : public v1::IngestService::Service {
 public:
  struct Upload {
    v1::UploadFileHeader header;
    std::string content;
  };

  // So many answers carry a wrong checksum.
  void CorruptChecksums(int count) { wrong_checksums_ = count; }
  // So many uploads are stored, but the answer is lost.
  void LoseAnswers(int count) { lost_answers_ = count; }

  const std::vector<Upload>& uploads() const { return uploads_; }
  const std::vector<v1::ReportTransferRequest::Outcome>& outcomes() const { return outcomes_; }
  // Which upload each of them was about.
  const std::vector<std::string>& settled_uploads() const { return settled_uploads_; }

  grpc::Status UploadFile(grpc::ServerContext*, grpc::ServerReader<v1::UploadFileRequest>* stream,
                          v1::UploadFileResponse* response) override {
    Upload upload;
    v1::UploadFileRequest message;
    stream->Read(&message);
    upload.header = message.header();
    while (stream->Read(&message)) upload.content += message.chunk();
    Cksum cksum;
    cksum.Update(upload.content);
    response->set_checksum(cksum.Value());
    if (wrong_checksums_ > 0) {
      --wrong_checksums_;
      response->set_checksum(~cksum.Value());
    }
    response->mutable_version()->set_sha256(Sha256Of(upload.content));
    response->mutable_version()->set_version_id(static_cast<int64_t>(uploads_.size()) + 1);
    uploads_.push_back(std::move(upload));
    if (lost_answers_ == 0) return grpc::Status::OK;
    --lost_answers_;
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "restarting");
  }

  grpc::Status ReportTransfer(grpc::ServerContext*, const v1::ReportTransferRequest* request,
                              v1::ReportTransferResponse*) override {
    outcomes_.push_back(request->outcome());
    settled_uploads_.push_back(request->upload_id());
    return grpc::Status::OK;
  }

 private:
  std::vector<Upload> uploads_;
  std::vector<v1::ReportTransferRequest::Outcome> outcomes_;
  std::vector<std::string> settled_uploads_;
  int wrong_checksums_ = 0;
  int lost_answers_ = 0;
};

// Both in one server of this process, and a connection to it.
class FakeService {
 public:
  FakeService() {
    grpc::ServerBuilder builder;
    builder.RegisterService(&catalog).RegisterService(&ingest);
    server_ = builder.BuildAndStart();
    connection_ = std::make_unique<Connection>(server_->InProcessChannel(grpc::ChannelArguments()),
                                               "in-process", absl::Seconds(20), interrupt);
  }

  Connection& connection() { return *connection_; }

  FakeCatalog catalog;
  FakeIngest ingest;
  Interrupt interrupt;

 private:
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace backup::ctl::testing
