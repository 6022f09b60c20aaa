#include "storage/s3/staged_object.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "crypto/random.h"
#include "crypto/sha256.h"
#include "glog/logging.h"
#include "storage/s3/probe.h"
#include "storage/s3/unfinished_uploads.h"

namespace backup::storage::s3 {
namespace {

constexpr size_t kMakerSize = 16;
// Completing takes a store longer the larger the object is.
constexpr absl::Duration kCompleteTimeout = absl::Seconds(120);

absl::Status InTheWay() {
  return MakeError(Reason::kStorageIo, "the object store has a blob of this id");
}

absl::Status TooLarge() {
  return MakeError(
      Reason::kSizeLimit,
      absl::StrCat("a blob has at most ", kMaxObjectSize, " bytes in the object store"), "blob");
}

// An upload that is gone is no missing blob.
absl::Status Gone(const absl::Status& status) {
  return absl::IsNotFound(status) ? Away(status.message()) : status;
}

}  // namespace

StagedObject::StagedObject(std::shared_ptr<S3Client> client, MemoryBound& memory, Options options)
    : client_(std::move(client)),
      memory_(memory),
      options_(std::move(options)),
      maker_(absl::BytesToHexString(crypto::RandomBytes(kMakerSize))),
      part_(std::make_unique<PartBuffer>(memory)) {}

StagedObject::~StagedObject() {
  in_flight_.clear();
  if (upload_id_.empty()) return;
  const absl::Status aborted = client_
                                   ->Start({.operation = Operation::kAbortUpload,
                                            .key = options_.key,
                                            .query = {{"uploadId", upload_id_}}},
                                           kOnce)
                                   ->Wait()
                                   .status();
  LOG_IF(WARNING, !aborted.ok() && !absl::IsNotFound(aborted))
      << "an unfinished upload is left: " << aborted.message();
}

absl::Status StagedObject::Fill(ByteSource& source, std::optional<int64_t> expected_size) {
  expected_size_ = expected_size.value_or(0);
  if (expected_size_ > kMaxObjectSize) return TooLarge();
  while (true) {
    ASSIGN_OR_RETURN(absl::string_view piece, source.Read());
    if (piece.empty()) break;
    while (!piece.empty()) {
      RETURN_IF_ERROR(MakeRoom());
      const size_t taken = part_->Append(piece);
      size_bytes_ += static_cast<int64_t>(taken);
      piece.remove_prefix(taken);
    }
  }
  return upload_id_.empty() || part_->size_bytes() == 0 ? absl::OkStatus() : SendPart();
}

absl::Status StagedObject::MakeRoom() {
  if (part_->size_bytes() == kPartSize) RETURN_IF_ERROR(SendPart());
  if (part_->room() > 0) return absl::OkStatus();
  // Most blobs are small, and many wait here for slow clients: no more is taken than is there.
  if (part_->size_bytes() == 0) return WaitForRoom(PartBuffer::kSlabSize);
  // Enough to end the part: who has that need not wait for others, that wait too.
  if (part_->size_bytes() < kMinPartSize) return WaitForRoom(kMinPartSize - part_->size_bytes());
  if (part_->TakeRoom(PartBuffer::kSlabSize, absl::ZeroDuration())) return absl::OkStatus();
  if (!MayBeShort()) return WaitForRoom(PartBuffer::kSlabSize);
  RETURN_IF_ERROR(SendPart());
  return MakeRoom();
}

bool StagedObject::MayBeShort() const {
  const int64_t parts_left = kMaxParts - std::ssize(etags_) - 1;
  return expected_size_ - size_bytes_ <= parts_left * kPartSize;
}

absl::Status StagedObject::WaitForRoom(int64_t bytes) {
  while (!part_->TakeRoom(bytes, in_flight_.empty() ? kMemoryPatience : absl::ZeroDuration())) {
    if (in_flight_.empty()) {
      return MakeError(Reason::kOverloaded,
                       "too many blobs are on their way to the object store: try again later");
    }
    RETURN_IF_ERROR(FinishOne());
  }
  return absl::OkStatus();
}

std::vector<std::string> StagedObject::NewObjectHeaders() const {
  return {absl::StrCat(kMakerHeader, ": ", maker_), "Content-Type: application/octet-stream"};
}

absl::Status StagedObject::Begin() {
  const std::unique_ptr<S3Call> call = client_->Start({.operation = Operation::kBeginUpload,
                                                       .key = options_.key,
                                                       .query = {{"uploads", ""}},
                                                       .headers = NewObjectHeaders()});
  ASSIGN_OR_RETURN(const HttpAnswer answer, call->Wait());
  absl::StatusOr<std::string> id = ParseUploadId(answer.body);
  if (!id.ok()) return Senseless("begin an upload of parts", id.status().message());
  upload_id_ = *std::move(id);
  // A try whose answer was lost may have begun one that nobody would end.
  return call->is_in_doubt() ? AbortUploads(*client_, options_.key, upload_id_) : absl::OkStatus();
}

absl::Status StagedObject::SendPart() {
  if (upload_id_.empty()) RETURN_IF_ERROR(Begin());
  if (etags_.size() == kMaxParts) {
    return TooLarge();
  }
  while (in_flight_.size() >= kMaxPartsInFlight) RETURN_IF_ERROR(FinishOne());
  const size_t index = etags_.size();
  etags_.emplace_back();
  auto next = std::make_unique<PartBuffer>(memory_, MemoryBound::For::kGoingOn);
  PartInFlight sent{index, std::exchange(part_, std::move(next)), nullptr};
  sent.call =
      client_->Start({.operation = Operation::kPutPart,
                      .key = options_.key,
                      .query = {{"partNumber", absl::StrCat(index + 1)}, {"uploadId", upload_id_}},
                      .body = sent.part->Pieces(),
                      .body_sha256 = sent.part->FinishSha256(),
                      .is_ending = [this, index] {
                        MutexLock lock(mutex_);
                        ended_.push_back(index);
                        part_ended_.NotifyOne();
                      }});
  in_flight_.push_back(std::move(sent));
  return absl::OkStatus();
}

absl::Status StagedObject::FinishOne() {
  size_t index = 0;
  {
    MutexLock lock(mutex_);
    // Each has a deadline.
    while (ended_.empty()) part_ended_.Wait(mutex_);
    index = ended_.back();
    ended_.pop_back();
  }
  const auto found = std::find_if(in_flight_.begin(), in_flight_.end(),
                                  [&](const PartInFlight& part) { return part.index == index; });
  // One that was tried again with other credentials ends twice.
  if (found == in_flight_.end()) return absl::OkStatus();
  const PartInFlight part = std::move(*found);
  in_flight_.erase(found);
  absl::StatusOr<HttpAnswer> answer = part.call->Wait();
  if (!answer.ok()) return Gone(answer.status());
  const absl::string_view etag = answer->Header("etag");
  if (etag.empty()) return Senseless("store a part", "it has no ETag");
  etags_[index] = std::string(etag);
  return absl::OkStatus();
}

absl::Status StagedObject::CheckIsOurs() const {
  return options_.ownership == nullptr ? absl::OkStatus()
                                       : options_.ownership->Check(Ownership::kLookInterval);
}

absl::Status StagedObject::Commit() {
  RETURN_IF_ERROR(CheckIsOurs());
  RETURN_IF_ERROR(upload_id_.empty() ? CommitWhole() : CommitParts());
  return CheckIsOurs();
}

absl::Status StagedObject::CommitWhole() {
  std::vector<std::string> headers = NewObjectHeaders();
  if (options_.has_conditions) headers.emplace_back("If-None-Match: *");
  const std::unique_ptr<S3Call> call = client_->Start({.operation = Operation::kPut,
                                                       .key = options_.key,
                                                       .headers = std::move(headers),
                                                       .body = part_->Pieces(),
                                                       .body_sha256 = part_->FinishSha256()});
  const absl::Status stored = call->Wait().status();
  return IsSettled(stored, *call) ? stored : Settle(stored);
}

bool StagedObject::IsSettled(const absl::Status& stored, const S3Call& call) {
  return !stored.ok() && !call.is_in_doubt() && !absl::IsAlreadyExists(stored) &&
         !absl::IsNotFound(stored);
}

absl::Status StagedObject::CommitParts() {
  while (!in_flight_.empty()) RETURN_IF_ERROR(FinishOne());
  const std::string parts = PartListXml(etags_);
  crypto::Sha256 sha256;
  sha256.Update(parts);
  std::vector<std::string> headers = {"Content-Type: application/xml"};
  if (options_.has_conditions) headers.emplace_back("If-None-Match: *");
  RetryPolicy policy = client_->retries();
  policy.timeout = std::max(policy.timeout, kCompleteTimeout);
  const std::unique_ptr<S3Call> call =
      client_->Start({.operation = Operation::kCompleteUpload,
                      .key = options_.key,
                      .query = {{"uploadId", upload_id_}},
                      .headers = std::move(headers),
                      .body = {parts},
                      .body_sha256 = absl::BytesToHexString(sha256.Finish())},
                     policy);
  const absl::Status completed = call->Wait().status();
  if (IsSettled(completed, *call)) return completed;
  const absl::Status settled = Settle(completed);
  if (settled.ok()) upload_id_.clear();
  return settled;
}

absl::Status StagedObject::Settle(const absl::Status& stored) {
  const absl::StatusOr<HttpAnswer> there =
      client_->Call({.operation = Operation::kHead, .key = options_.key});
  const bool is_there = there.ok();
  const bool is_ours = is_there && there->Header(kMakerHeader) == maker_;
  int64_t size_bytes = -1;
  if (is_ours && absl::SimpleAtoi(there->Header("content-length"), &size_bytes) &&
      size_bytes == size_bytes_)
    return absl::OkStatus();
  if (is_ours) {
    return Senseless("store a blob", absl::StrCat("it has ", there->Header("content-length"),
                                                  " bytes of ", size_bytes_));
  }
  if (is_there) return InTheWay();
  if (!absl::IsNotFound(there.status())) return there.status();
  if (stored.ok() || absl::IsNotFound(stored) || absl::IsAlreadyExists(stored)) {
    return Away("the object store does not have the blob that it was given: try again");
  }
  return stored;
}

}  // namespace backup::storage::s3
