#include "bridge/testing/fake_service.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/checksum.h"
#include "base/error.h"
#include "base/ids.h"
#include "base/status_macros.h"
#include "glog/logging.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "rpc/deadline.h"
#include "rpc/status.h"

namespace backup::bridge::testing {
namespace {

const std::string& EncryptedKey() {
  static const std::string& key = *new std::string(128, 'k');
  return key;
}

// Everything that comes after the header.
std::string ReadChunks(grpc::ServerReader<v1::UploadFileRequest>& reader) {
  std::string content;
  v1::UploadFileRequest message;
  while (reader.Read(&message)) content += message.chunk();
  return content;
}

}  // namespace

void FakeService::Clear() {
  MutexLock lock(mutex_);
  calls_.clear();
  next_error_ = absl::OkStatus();
  id_by_name_.clear();
  has_key_by_id_.clear();
  contents_.clear();
  last_upload_.Clear();
  last_report_.Clear();
  last_key_.Clear();
  last_resume_.Clear();
  upload_ids_.clear();
  last_metadata_.clear();
  profiles_.clear();
  held_ = false;
  corrupt_checksums_ = false;
}

void FakeService::FailNextCall(absl::Status error) {
  MutexLock lock(mutex_);
  next_error_ = std::move(error);
}

void FakeService::HoldCalls() {
  MutexLock lock(mutex_);
  held_ = true;
}

void FakeService::ReleaseCalls() {
  MutexLock lock(mutex_);
  held_ = false;
  changed_.NotifyAll();
}

void FakeService::CorruptChecksums() {
  MutexLock lock(mutex_);
  corrupt_checksums_ = true;
}

std::vector<std::string> FakeService::calls() const {
  MutexLock lock(mutex_);
  return calls_;
}

void FakeService::WaitForCalls(size_t count) const {
  MutexLock lock(mutex_);
  while (calls_.size() < count) changed_.Wait(mutex_);
}

void FakeService::WaitUntil(const std::function<bool()>& holds) const {
  constexpr absl::Duration kLook = absl::Milliseconds(5);
  while (!holds()) {
    MutexLock lock(mutex_);
    changed_.WaitFor(mutex_, kLook);
  }
}

std::optional<std::string> FakeService::content(const std::string& file_name) const {
  MutexLock lock(mutex_);
  const auto found = contents_.find(file_name);
  if (found == contents_.end()) return std::nullopt;
  return found->second;
}

std::vector<std::string> FakeService::upload_ids() const {
  MutexLock lock(mutex_);
  return upload_ids_;
}

v1::UploadFileHeader FakeService::last_upload() const {
  MutexLock lock(mutex_);
  return last_upload_;
}

v1::ReportTransferRequest FakeService::last_report() const {
  MutexLock lock(mutex_);
  return last_report_;
}

v1::ExchangeKeyRequest FakeService::last_key() const {
  MutexLock lock(mutex_);
  return last_key_;
}

v1::ResumeClientRequest FakeService::last_resume() const {
  MutexLock lock(mutex_);
  return last_resume_;
}

v1::LegacyProfile FakeService::profile(const std::string& client_id) const {
  MutexLock lock(mutex_);
  const auto found = profiles_.find(client_id);
  return found == profiles_.end() ? v1::LegacyProfile() : found->second;
}

void FakeService::AddClient(const std::string& client_id, const v1::LegacyProfile& profile) {
  MutexLock lock(mutex_);
  has_key_by_id_[client_id] = true;
  profiles_[client_id] = profile;
}

std::string FakeService::last_metadata(const std::string& key) const {
  MutexLock lock(mutex_);
  const auto found = last_metadata_.find(key);
  return found == last_metadata_.end() ? "" : found->second;
}

void FakeService::SetBans(std::vector<v1::KnownBan> bans) {
  MutexLock lock(mutex_);
  bans_ = std::move(bans);
  ++bans_version_;
}

int FakeService::syncs() const {
  MutexLock lock(mutex_);
  return syncs_;
}

std::vector<v1::EarnedBan> FakeService::earned_bans() const {
  MutexLock lock(mutex_);
  return earned_bans_;
}

grpc::Status FakeService::SyncBans(grpc::ServerContext*, const v1::SyncBansRequest* request,
                                   v1::SyncBansResponse* response) {
  MutexLock lock(mutex_);
  ++syncs_;
  earned_bans_.insert(earned_bans_.end(), request->earned().begin(), request->earned().end());
  response->set_version(absl::StrCat(bans_version_));
  if (request->version() != response->version())
    response->mutable_bans()->Assign(bans_.begin(), bans_.end());
  changed_.NotifyAll();
  return grpc::Status::OK;
}

absl::Status FakeService::Begin(const grpc::ServerContext& context, const std::string& call) {
  MutexLock lock(mutex_);
  calls_.push_back(call);
  last_metadata_.clear();
  for (const auto& [key, value] : context.client_metadata()) {
    last_metadata_[std::string(key.data(), key.size())] = std::string(value.data(), value.size());
  }
  changed_.NotifyAll();
  while (held_) changed_.Wait(mutex_);
  return std::exchange(next_error_, absl::OkStatus());
}

absl::Status FakeService::CheckClient(const std::string& client_id) const {
  MutexLock lock(mutex_);
  if (has_key_by_id_.count(client_id) > 0) return absl::OkStatus();
  return MakeError(Reason::kClientNotFound, "no such client", client_id);
}

absl::StatusOr<std::string> FakeService::FindClient(const std::string& client_id,
                                                    const std::string& name) const {
  if (!client_id.empty()) {
    RETURN_IF_ERROR(CheckClient(client_id));
    return client_id;
  }
  MutexLock lock(mutex_);
  const auto found = id_by_name_.find(name);
  if (found != id_by_name_.end()) return found->second;
  return MakeError(Reason::kClientNotFound, "no client of this name", name);
}

std::string FakeService::NextId() const {
  return absl::StrFormat("5e551040-0000-4000-8000-%012x", id_by_name_.size() + 1);
}

grpc::Status FakeService::RegisterClient(grpc::ServerContext* context,
                                         const v1::RegisterClientRequest* request,
                                         v1::RegisterClientResponse* response) {
  if (const absl::Status error = Begin(*context, "RegisterClient"); !error.ok())
    return rpc::ToGrpc(error);
  if (request->name().empty())
    return rpc::ToGrpc(MakeError(Reason::kInvalidField, "no name", "name"));
  MutexLock lock(mutex_);
  const auto [entry, is_new] = id_by_name_.emplace(request->name(), NextId());
  if (!is_new)
    return rpc::ToGrpc(MakeError(Reason::kNameTaken, "the name is taken", request->name()));
  has_key_by_id_[entry->second] = false;
  response->mutable_client()->set_client_id(entry->second);
  return grpc::Status::OK;
}

grpc::Status FakeService::ExchangeKey(grpc::ServerContext* context,
                                      const v1::ExchangeKeyRequest* request,
                                      v1::ExchangeKeyResponse* response) {
  if (const absl::Status error = Begin(*context, "ExchangeKey"); !error.ok())
    return rpc::ToGrpc(error);
  const absl::StatusOr<std::string> id = FindClient(request->client_id(), request->name());
  if (!id.ok()) return rpc::ToGrpc(id.status());
  MutexLock lock(mutex_);
  last_key_ = *request;
  has_key_by_id_[*id] = true;
  response->set_client_id(*id);
  response->set_encrypted_session_key(EncryptedKey());
  return grpc::Status::OK;
}

grpc::Status FakeService::ResumeClient(grpc::ServerContext* context,
                                       const v1::ResumeClientRequest* request,
                                       v1::ResumeClientResponse* response) {
  if (const absl::Status error = Begin(*context, "ResumeClient"); !error.ok())
    return rpc::ToGrpc(error);
  const absl::StatusOr<std::string> id = FindClient(request->client_id(), request->name());
  if (!id.ok()) return rpc::ToGrpc(id.status());
  MutexLock lock(mutex_);
  last_resume_ = *request;
  if (!has_key_by_id_[*id]) return rpc::ToGrpc(MakeError(Reason::kKeyNotSet, "no key yet", *id));
  response->set_client_id(*id);
  response->set_encrypted_session_key(EncryptedKey());
  return grpc::Status::OK;
}

grpc::Status FakeService::UploadFile(grpc::ServerContext* context,
                                     grpc::ServerReader<v1::UploadFileRequest>* reader,
                                     v1::UploadFileResponse* response) {
  v1::UploadFileRequest first;
  const bool has_header = reader->Read(&first);
  const v1::UploadFileHeader& header = first.header();
  {
    MutexLock lock(mutex_);
    upload_ids_.push_back(header.upload_id());
  }
  if (const absl::Status error = Begin(*context, "UploadFile"); !error.ok())
    return rpc::ToGrpc(error);
  if (!has_header) return rpc::ToGrpc(MakeError(Reason::kInvalidField, "no header", "header"));
  if (const absl::Status error = CheckClient(header.client_id()); !error.ok())
    return rpc::ToGrpc(error);
  const std::string content = header.first_chunk() + ReadChunks(*reader);
  const bool has_size_in_front =
      (header.encoding() == v1::UploadFileHeader::AES_CBC_ZERO_IV_SEGMENTS ||
       header.encoding() == v1::UploadFileHeader::AES_CBC_SEGMENTS) &&
      header.segment_size() == 0;
  if (!has_size_in_front && static_cast<int64_t>(content.size()) != header.encoded_size()) {
    return rpc::ToGrpc(MakeError(Reason::kInvalidField, "wrong size", "encoded_size"));
  }
  Crc32 checksum;
  checksum.Update(content);
  MutexLock lock(mutex_);
  contents_[header.file_name()] = content;
  last_upload_ = header;
  profiles_[header.client_id()].MergeFrom(header.legacy_profile());
  response->mutable_version()->set_checksum(checksum.Value());
  response->set_checksum(checksum.Value() + (corrupt_checksums_ ? 1 : 0));
  return grpc::Status::OK;
}

grpc::Status FakeService::ReportTransfer(grpc::ServerContext* context,
                                         const v1::ReportTransferRequest* request,
                                         v1::ReportTransferResponse*) {
  {
    MutexLock lock(mutex_);
    last_report_ = *request;
  }
  const std::string outcome = v1::ReportTransferRequest::Outcome_Name(request->outcome());
  if (const absl::Status error = Begin(*context, absl::StrCat("ReportTransfer ", outcome));
      !error.ok()) {
    return rpc::ToGrpc(error);
  }
  return rpc::ToGrpc(CheckClient(request->client_id()));
}

grpc::Status FakeService::ObserveClient(grpc::ServerContext* context,
                                        const v1::ObserveClientRequest* request,
                                        v1::ObserveClientResponse* response) {
  if (const absl::Status error = Begin(*context, "ObserveClient"); !error.ok())
    return rpc::ToGrpc(error);
  if (const absl::Status error = CheckClient(request->client_id()); !error.ok())
    return rpc::ToGrpc(error);
  MutexLock lock(mutex_);
  profiles_[request->client_id()].MergeFrom(request->observed());
  *response->mutable_profile() = profiles_[request->client_id()];
  return grpc::Status::OK;
}

void FakeServer::Start() {
  grpc::ServerBuilder builder;
  builder.AddListeningPort(absl::StrCat("127.0.0.1:", port_), grpc::InsecureServerCredentials(),
                           &port_);
  builder.RegisterService(&service_);
  server_ = builder.BuildAndStart();
  CHECK(server_ != nullptr) << "no port for the fake service";
}

void FakeServer::Stop() {
  server_->Shutdown(rpc::DeadlineAfter(absl::ZeroDuration()));
  server_.reset();
}

std::string FakeServer::target() const { return absl::StrCat("127.0.0.1:", port_); }

}  // namespace backup::bridge::testing
