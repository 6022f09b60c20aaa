#include "services/backup/handlers/upload_file.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include "absl/strings/escaping.h"
#include "base/error.h"
#include "base/name_text.h"
#include "base/process.h"
#include "base/status_macros.h"
#include "crypto/sealed_file.h"
#include "glog/logging.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/session_keys.h"

namespace backup::handlers {
namespace {

using storage::StorageForm;

// To read, decrypt and hash so much takes no longer than to store it.
constexpr int64_t kMaxQuickSize = 64 << 10;

// What was read of `rest` before, which lasts, and then the rest.
class PrefixedSource final : public ByteSource {
 public:
  PrefixedSource(absl::string_view prefix, ByteSource& rest) : prefix_(prefix), rest_(rest) {}
  absl::StatusOr<absl::string_view> Read() override {
    if (prefix_.empty()) return rest_.Read();
    return std::exchange(prefix_, absl::string_view());
  }
  size_t lasting_pieces() const override { return rest_.lasting_pieces(); }
  void set_end_uses(std::function<void()> end_uses) override {
    rest_.set_end_uses(std::move(end_uses));
  }

 private:
  absl::string_view prefix_;
  ByteSource& rest_;
};

absl::Duration Since(std::chrono::steady_clock::time_point begin) {
  return absl::FromChrono(std::chrono::steady_clock::now() - begin);
}

v1::UploadFileResponse ToResponse(const storage::Version& version, bool corrupt_checksums) {
  v1::UploadFileResponse response;
  *response.mutable_version() = ToProto(version);
  response.set_checksum(version.checksum + (corrupt_checksums ? 1 : 0));
  response.set_encoded_size(version.encoded_size);
  return response;
}

}  // namespace

bool UploadFile::IsQuick(const v1::UploadFileHeader& header, const UploadPolicy& policy) {
  // What is kept as the client's ciphertext is also logged, which may take time.
  if (header.segment_count() != 0 || policy.form == StorageForm::kClientCiphertext) return false;
  const int64_t payload = policy.form == StorageForm::kSealed
                              ? crypto::SealedSize(header.encoded_size())
                              : header.encoded_size();
  return payload <= std::min(policy.inline_blob_limit, kMaxQuickSize);
}

absl::StatusOr<UploadFile> UploadFile::Prepare(const UploadResources& resources,
                                               const v1::UploadFileHeader& header,
                                               ByteSource& chunks) {
  return PrepareWith(resources, header, chunks, [&] { return resources.version_ids.Take(); });
}

absl::StatusOr<UploadFile> UploadFile::PrepareQuick(const UploadResources& resources,
                                                    const v1::UploadFileHeader& header,
                                                    ByteSource& chunks, int64_t version_id) {
  return PrepareWith(resources, header, chunks, [=] { return version_id; });
}

absl::StatusOr<UploadFile> UploadFile::PrepareWith(const UploadResources& resources,
                                                   const v1::UploadFileHeader& header,
                                                   ByteSource& chunks,
                                                   const content::NextVersionId& next_id) {
  ASSIGN_OR_RETURN(UploadRequest request, ParseUploadHeader(header, resources.clock.Now()));
  UploadFile upload(resources, std::move(request));
  if (const absl::Status found = upload.FindWhatIsKnown(); !found.ok()) {
    if (ReasonOf(found) == Reason::kClientQuota) upload.NoteObserved();
    return found;
  }
  if (upload.is_known_) return upload;
  if (const absl::Status stored = upload.Store(chunks, next_id); !stored.ok()) {
    upload.NoteObserved();
    if (ReasonOf(stored) == Reason::kClientQuota) upload.DropContent();
    return stored;
  }
  upload.prepared_ = std::chrono::steady_clock::now();
  return upload;
}

absl::Status UploadFile::FindWhatIsKnown() {
  std::optional<storage::Version> known;
  RETURN_IF_ERROR(resources_->catalog.Read([&](storage::Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(client_, snapshot.FindClient(request_.client_id));
    if (request_.upload_id) {
      ASSIGN_OR_RETURN(known, snapshot.FindUpload(request_.client_id, *request_.upload_id));
    }
    if (known) return absl::OkStatus();
    ASSIGN_OR_RETURN(room_, FindRoom(snapshot));
    // Early, so that nothing is read in vain; Apply() decides.
    return CheckRoomFor(request_.least_size());
  }));
  is_known_ = known.has_value();
  if (is_known_) added_ = *std::move(known);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<storage::QuotaUse>> UploadFile::FindRoom(
    storage::Snapshot& snapshot) const {
  ASSIGN_OR_RETURN(std::vector<storage::QuotaUse> uses,
                   snapshot.ListQuotasFor(request_.client_id, request_.file_name));
  if (uses.empty()) return uses;
  // What a version is takes long to tell where a recipe has to be read for damage, so only where it
  // matters: as plaintext it has no more bytes than as it comes.
  const int64_t most = std::max(request_.encoding.size_bytes, request_.encoding.max_size_bytes);
  const bool has_room = std::all_of(uses.begin(), uses.end(), [&](const storage::QuotaUse& use) {
    return CheckRoom(use, AddedBy(use, most)).ok();
  });
  if (has_room) return uses;
  // The notice that this is sent again may still be in its client's line (docs/adr/0017): it
  // deletes the version before this one, which nobody confirmed.
  const absl::StatusOr<std::vector<storage::Version>> newest =
      snapshot.ListVersions(request_.client_id, request_.file_name, /*before=*/0, /*limit=*/1);
  if (ReasonOf(newest.status()) == Reason::kFileNotFound) return uses;
  RETURN_IF_ERROR(newest.status());
  if (newest->empty() || newest->front().state != storage::VersionState::kReceived) return uses;
  for (storage::QuotaUse& use : uses) use.used.bytes -= newest->front().size_bytes;
  return uses;
}

absl::Status UploadFile::CheckRoomFor(int64_t size_bytes) const {
  for (const storage::QuotaUse& use : room_)
    RETURN_IF_ERROR(CheckRoom(use, AddedBy(use, size_bytes)));
  return absl::OkStatus();
}

absl::Status UploadFile::CheckQuotas(storage::Transaction& transaction) {
  passed_limits_.clear();
  ASSIGN_OR_RETURN(const std::vector<storage::QuotaUse> uses,
                   transaction.ListQuotasFor(request_.client_id, request_.file_name));
  for (const storage::QuotaUse& use : uses) {
    const storage::Usage more = AddedBy(use, version_.size_bytes);
    RETURN_IF_ERROR(CheckRoom(use, more));
    for (const storage::PassedLimit& passed : LimitsPassed(use, more))
      passed_limits_.push_back(passed);
  }
  return absl::OkStatus();
}

absl::Status UploadFile::Store(ByteSource& chunks, const content::NextVersionId& next_id) {
  if (request_.encoding.encrypted()) {
    ASSIGN_OR_RETURN(session_key_, OpenSessionKey(resources_->master_key, client_));
  }
  content::Arrival arrival;
  arrival.client_id = request_.client_id;
  arrival.file_name = request_.file_name;
  arrival.encoding = request_.encoding;
  arrival.session_key = session_key_;
  arrival.original_size = request_.original_size;
  arrival.checksum_kind = request_.checksum_is_candidate
                              ? client_.legacy.NextChecksum(request_.checksum_kind)
                              : request_.checksum_kind;
  arrival.form = content::FormOf(request_.encoding, resources_->policy.form);
  arrival.receive_time = request_.receive_time;
  RETURN_IF_ERROR(storage::IsClientsForm(arrival.form)
                      ? StoreWhole(std::move(arrival), chunks, next_id)
                      : StoreChunks(std::move(arrival), chunks, next_id));
  version_.upload_id = request_.upload_id;
  return absl::OkStatus();
}

absl::Status UploadFile::StoreWhole(content::Arrival arrival, ByteSource& chunks,
                                    const content::NextVersionId& next_id) {
  const int64_t limit =
      resources_->policy.inline_blob_limit + static_cast<int64_t>(content::kMaxFooterSize);
  const std::optional<int64_t> largest = content::LargestStoredSize(arrival.encoding, arrival.form);
  content::StoredForm form(std::move(arrival), resources_->master_key, resources_->clock,
                           resources_->stages, next_id, chunks);
  std::string begin;
  bool is_whole = false;
  while (!is_whole && (largest ? *largest <= limit : std::ssize(begin) <= limit)) {
    ASSIGN_OR_RETURN(const absl::string_view piece, form.Read());
    begin.append(piece.data(), piece.size());
    is_whole = piece.empty();
  }
  if (is_whole && std::ssize(begin) <= limit) {
    content_ = std::move(begin);
  } else {
    PrefixedSource whole(begin, form);
    ASSIGN_OR_RETURN(PendingBlob blob, PendingBlob::Take(resources_->ledger));
    ASSIGN_OR_RETURN(const int64_t size_bytes, resources_->blobs.Put(blob.id(), whole, largest));
    fsync_time_ = Since(form.ended());
    content_ = storage::NewBlob{blob.id(), size_bytes};
    blob_ = std::move(blob);
  }
  version_ = content::VersionOf(form.footer());
  receive_time_ = form.content().receive_time();
  decrypt_time_ = form.content().decrypt_time();
  return absl::OkStatus();
}

absl::Status UploadFile::StoreChunks(content::Arrival arrival, ByteSource& chunks,
                                     const content::NextVersionId& next_id) {
  chunks_.emplace(*resources_);
  ASSIGN_OR_RETURN(PendingChunks::Stored stored,
                   chunks_->Store(std::move(arrival), next_id, chunks,
                                  [this](int64_t bytes) { return CheckRoomFor(bytes); }));
  version_ = std::move(stored.version);
  content_ = std::move(stored.content);
  totals_ = stored.totals;
  receive_time_ = stored.receive_time;
  decrypt_time_ = stored.decrypt_time;
  fsync_time_ = stored.fsync_time;
  return absl::OkStatus();
}

absl::Status UploadFile::Apply(storage::Transaction& transaction) {
  if (is_known_) return absl::OkStatus();
  const absl::Duration min_retention = resources_->policy.min_retention;
  if (min_retention > absl::ZeroDuration() || request_.receive_time) {
    // When it really came: callers choose receive_time, and a clock may be behind.
    ASSIGN_OR_RETURN(const std::optional<storage::ClockNote> note, transaction.FindClockNote());
    const absl::Time now = resources_->clock.Now();
    const absl::Time arrival = note ? std::max(now, note->newest_time) : now;
    if (request_.receive_time) version_.arrive_time = arrival;
    if (min_retention > absl::ZeroDuration()) version_.retain_until = arrival + min_retention;
  }
  // Before the version counts.
  if (const absl::Status has_room = CheckQuotas(transaction); !has_room.ok()) {
    if (ReasonOf(has_room) != Reason::kClientQuota || !request_.upload_id) return has_room;
    // The same upload that was added meanwhile takes no more room.
    ASSIGN_OR_RETURN(const std::optional<storage::Version> known,
                     transaction.FindUpload(request_.client_id, *request_.upload_id));
    if (!known) return has_room;
  }
  ASSIGN_OR_RETURN(added_, transaction.AddVersion(version_, content_, request_.observed));
  if (added_.version_id != version_.version_id) passed_limits_.clear();
  return absl::OkStatus();
}

absl::StatusOr<v1::UploadFileResponse> UploadFile::Respond(const absl::Status& committed) {
  if (!committed.ok()) {
    GiveUp(committed);
    return committed;
  }
  if (blob_) blob_->Keep();
  if (chunks_) chunks_->Keep();
  const bool has_blobs = blob_ || (chunks_ && chunks_->has_packs());
  // The same upload was faster elsewhere.
  if (!is_known_ && added_.version_id != version_.version_id) {
    if (has_blobs) resources_->blob_was_dropped();
    if (added_.size_bytes > kMaxQuickSize) LookAtAddedAgain();
  }
  if (!is_known_) {
    ObservePhases();
    ObserveBytes();
    if (storage::IsClientsForm(added_.form)) LogClientKey();
    LogPassedLimits();
  }
  return ToResponse(added_, resources_->policy.corrupt_checksums);
}

void UploadFile::LookAtAddedAgain() {
  const auto found = resources_->catalog.Read([&](storage::Snapshot& snapshot) {
    return snapshot.FindUpload(request_.client_id, *request_.upload_id);
  });
  // As it was, if nothing tells.
  if (found.ok() && found->has_value()) added_ = **found;
}

void UploadFile::GiveUp(const absl::Status& why) {
  // The row may exist all the same: then the catalog can tell what becomes of the blob.
  if (blob_ && IsNotAdded(why)) DeleteBlob(resources_->blobs, blob_->id());
  if (chunks_) chunks_->GiveUp(std::get<storage::NewChunks>(content_), why);
  NoteObserved();
  if (ReasonOf(why) == Reason::kClientQuota) DropContent();
}

void UploadFile::DropContent() {
  if (!blob_ && !(chunks_ && chunks_->is_large())) return;
  blob_.reset();
  chunks_.reset();
  // The transactions that release it come before this one.
  resources_->catalog.Run([](storage::Transaction&) { return absl::OkStatus(); }).IgnoreError();
  resources_->blob_was_dropped();
}

void UploadFile::ObserveBytes() const {
  const UploadedBytes& bytes = resources_->policy.bytes;
  bytes.known.Add(static_cast<double>(totals_.known));
  bytes.raw.Add(static_cast<double>(totals_.raw));
  bytes.compressed.Add(static_cast<double>(totals_.compressed));
  bytes.stored.Add(static_cast<double>(totals_.stored));
}

void UploadFile::ObservePhases() const {
  const UploadPhases& phases = resources_->policy.phases;
  phases.receive.Observe(receive_time_);
  if (decrypt_time_) phases.decrypt.Observe(*decrypt_time_);
  if (fsync_time_) phases.fsync.Observe(*fsync_time_);
  phases.commit.Observe(Since(prepared_));
}

// How a client speaks is worth knowing above all if it fails.
void UploadFile::NoteObserved() const {
  if (!storage::LegacyProfile(client_.legacy).Merge(request_.observed)) return;
  resources_->catalog.Submit(
      [id = client_.id, observed = request_.observed](storage::Transaction& transaction) {
        return transaction.UpdateLegacyProfile(id, observed).status();
      },
      [](const absl::Status&) {});
}

void UploadFile::LogPassedLimits() const {
  for (const storage::PassedLimit& passed : passed_limits_) {
    LOG(WARNING) << "beyond a soft quota: holder=\"" << NameOf(passed.holder) << "\" "
                 << passed.name << "=" << passed.limit << " used=" << passed.used;
  }
}

// The purpose of this mode: whoever has the log can decrypt the file (docs/operations.md).
void UploadFile::LogClientKey() const {
  LOG_CRITICAL << "stored as the client's ciphertext: client=" << ToUuid(client_.id)
               << " file=" << NameToText(request_.file_name) << " version=" << added_.version_id
               << " key=" << absl::BytesToHexString(session_key_);
}

absl::StatusOr<v1::UploadFileResponse> StoreUpload(const UploadResources& resources,
                                                   const v1::UploadFileHeader& header,
                                                   ByteSource& chunks) {
  ASSIGN_OR_RETURN(UploadFile upload, UploadFile::Prepare(resources, header, chunks));
  return upload.Respond(resources.catalog.Run(
      [&](storage::Transaction& transaction) { return upload.Apply(transaction); }));
}

}  // namespace backup::handlers
