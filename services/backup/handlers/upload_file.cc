#include "services/backup/handlers/upload_file.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/bulk_thread.h"
#include "base/checksum.h"
#include "base/error.h"
#include "base/name_text.h"
#include "base/piece_buffers.h"
#include "base/process.h"
#include "base/read_ahead_source.h"
#include "base/status_macros.h"
#include "services/backup/crypto/cipher.h"
#include "services/backup/crypto/random.h"
#include "services/backup/crypto/sealed_file.h"
#include "services/backup/crypto/segments.h"
#include "services/backup/crypto/sha256.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/sessions.h"
#include "services/backup/limits.h"
#include "storage/blob_footer.h"

namespace backup::handlers {
namespace {

using storage::StorageForm;
// Smaller files are not worth a thread of their own.
constexpr int64_t kReadAheadMinSize = kBulkMinSize;
// To read, decrypt and hash so much takes no longer than to store it.
constexpr int64_t kMaxQuickSize = 64 << 10;
using Encoding = v1::UploadFileHeader;

// A header whose every field was checked.
struct Upload {
  ClientId client_id;
  std::string file_name;
  bool encrypted = false;
  int64_t encoded_size = 0;
  bool segmented = false;
  int segment_count = 0;  // 0: as many as come.
  std::optional<int64_t> original_size;
  storage::ChecksumKind checksum_kind = storage::ChecksumKind::kCksumOfPlaintext;
  bool checksum_is_candidate = false;
  storage::LegacyProfile observed;
  std::optional<UploadId> upload_id;
};

// What encoding and sizes say, each checked.
absl::Status ParseEncoding(const v1::UploadFileHeader& header, Upload& upload) {
  upload.segmented = header.encoding() == Encoding::AES_CBC_ZERO_IV_SEGMENTS;
  if (header.encoding() != Encoding::IDENTITY && header.encoding() != Encoding::AES_CBC_ZERO_IV &&
      !upload.segmented) {
    return MakeError(Reason::kInvalidField,
                     "encoding must be IDENTITY, AES_CBC_ZERO_IV or AES_CBC_ZERO_IV_SEGMENTS",
                     "header.encoding");
  }
  upload.encrypted = header.encoding() != Encoding::IDENTITY;
  const int segments = header.segment_count();
  if (segments < 0 || segments > (upload.segmented ? kMaxSegments : 0)) {
    return MakeError(
        Reason::kInvalidField,
        absl::StrCat("segment_count must be 0 to ", kMaxSegments, " with segments, and 0 without"),
        "header.segment_count");
  }
  upload.segment_count = segments;
  if (header.encoded_size() < 0 || (upload.segmented && header.encoded_size() != 0)) {
    return MakeError(Reason::kInvalidField,
                     "encoded_size must not be negative, and must be 0 with segments",
                     "header.encoded_size");
  }
  if (header.encoded_size() > kMaxFileSizeBytes) {
    return MakeError(Reason::kSizeLimit,
                     absl::StrCat("a file has at most ", kMaxFileSizeBytes, " bytes"),
                     absl::StrCat(kMaxFileSizeBytes));
  }
  upload.encoded_size = header.encoded_size();
  return absl::OkStatus();
}

absl::Status ParseChecksum(const v1::UploadFileHeader& header, Upload& upload) {
  if (!v1::ChecksumKind_IsValid(header.checksum_kind()) ||
      !v1::ChecksumKind_IsValid(header.checksum_candidate())) {
    return MakeError(Reason::kInvalidField, "checksum_kind must be one of the named kinds",
                     "header.checksum_kind");
  }
  upload.checksum_is_candidate = header.checksum_candidate() != v1::CHECKSUM_KIND_UNSPECIFIED;
  if (upload.checksum_is_candidate && header.checksum_kind() != v1::CHECKSUM_KIND_UNSPECIFIED) {
    return MakeError(Reason::kInvalidField, "give either checksum_kind or checksum_candidate",
                     "header.checksum_candidate");
  }
  const v1::ChecksumKind kind =
      upload.checksum_is_candidate ? header.checksum_candidate() : header.checksum_kind();
  // The numbers are the same on both sides: storage/version.h.
  if (kind != v1::CHECKSUM_KIND_UNSPECIFIED)
    upload.checksum_kind = static_cast<storage::ChecksumKind>(kind);
  return absl::OkStatus();
}

absl::StatusOr<Upload> ParseHeader(const v1::UploadFileHeader& header, absl::Time now) {
  Upload upload;
  ASSIGN_OR_RETURN(upload.client_id, ParseClientId(header.client_id()));
  ASSIGN_OR_RETURN(upload.file_name, ParseName("header.file_name", header.file_name()));
  RETURN_IF_ERROR(ParseEncoding(header, upload));
  if (header.has_original_size()) {
    if (header.original_size() < 0) {
      return MakeError(Reason::kInvalidField, "original_size must not be negative",
                       "header.original_size");
    }
    upload.original_size = header.original_size();
  }
  RETURN_IF_ERROR(ParseChecksum(header, upload));
  ASSIGN_OR_RETURN(upload.observed, ParseLegacyProfile(header.legacy_profile(), now));
  ASSIGN_OR_RETURN(upload.upload_id, ParseUploadId(header.upload_id()));
  return upload;
}

bool IsOfPlaintext(storage::ChecksumKind kind) {
  return kind == storage::ChecksumKind::kCksumOfPlaintext ||
         kind == storage::ChecksumKind::kCrc32OfPlaintext;
}

// The one sum that this kind is, of no bytes yet.
Checksums SumOf(storage::ChecksumKind kind) {
  Checksums wanted;
  if (kind == storage::ChecksumKind::kCksumOfPlaintext ||
      kind == storage::ChecksumKind::kCksumOfCiphertext) {
    wanted.cksum.emplace();
  } else {
    wanted.crc32.emplace();
  }
  return wanted;
}

// The encoded bytes: exactly `size_bytes` of them, summed as they pass.
class WholeEncoded final : public ByteSource {
 public:
  WholeEncoded(ByteSource& chunks, int64_t size_bytes, const Checksums& wanted)
      : exact_(chunks, size_bytes), sums_(wanted) {}
  absl::StatusOr<absl::string_view> Read() override {
    ASSIGN_OR_RETURN(const absl::string_view piece, exact_.Read());
    sums_.Update(piece);
    return piece;
  }
  const Checksums& sums() const { return sums_; }

 private:
  ExactSource exact_;
  Checksums sums_;
};

// What is to be known of the plaintext, gathered as it passes.
struct PlaintextMeasures {
  int64_t size_bytes = 0;
  Checksums sums;
  crypto::Sha256 sha256;

  void Update(absl::string_view piece) {
    size_bytes += static_cast<int64_t>(piece.size());
    sums.Update(piece);
    sha256.Update(piece);
  }
};

// Passes the ciphertext on as it is, and measures the plaintext that is in it. `Decryptor` is
// CbcDecryptor or SegmentDecryptor.
template <typename Decryptor>
class MeasuredCiphertextSource final : public ByteSource {
 public:
  template <typename... Args>
  MeasuredCiphertextSource(ByteSource& ciphertext, PlaintextMeasures& measures, const Args&... args)
      : ciphertext_(ciphertext), measures_(measures), decryptor_(args...) {}
  absl::StatusOr<absl::string_view> Read() override {
    if (ended_) return absl::string_view();
    ASSIGN_OR_RETURN(const absl::string_view piece, ciphertext_.Read());
    ended_ = piece.empty();
    plain_.resize(std::max(plain_.size(), piece.size() + crypto::kCipherBlockSize));
    ASSIGN_OR_RETURN(const size_t size, ended_ ? decryptor_.Finish(plain_.data())
                                               : decryptor_.Update(piece, plain_.data()));
    measures_.Update(absl::string_view(plain_.data(), size));
    return piece;
  }
  const Decryptor& decryptor() const { return decryptor_; }

 private:
  ByteSource& ciphertext_;
  PlaintextMeasures& measures_;
  Decryptor decryptor_;
  std::string plain_;
  bool ended_ = false;
};

// No more than the largest file, however many segments it comes in.
class BoundedSource final : public ByteSource {
 public:
  explicit BoundedSource(ByteSource& source) : source_(source) {}
  absl::StatusOr<absl::string_view> Read() override {
    ASSIGN_OR_RETURN(const absl::string_view piece, source_.Read());
    left_ -= static_cast<int64_t>(piece.size());
    if (left_ >= 0) return piece;
    return MakeError(Reason::kSizeLimit,
                     absl::StrCat("a file has at most ", kMaxFileSizeBytes, " bytes"),
                     absl::StrCat(kMaxFileSizeBytes));
  }

 private:
  ByteSource& source_;
  int64_t left_ = kMaxFileSizeBytes;
};

// Adds up how long something takes, each time that it is done.
class Stopwatch {
 public:
  template <typename Work>
  auto Time(const Work& work) {
    const auto begin = std::chrono::steady_clock::now();
    auto result = work();
    total_ += absl::FromChrono(std::chrono::steady_clock::now() - begin);
    return result;
  }
  absl::Duration total() const { return total_; }

 private:
  absl::Duration total_;
};

// Measures how long a source is waited for.
class TimedSource final : public ByteSource {
 public:
  explicit TimedSource(ByteSource& source) : source_(source) {}
  absl::StatusOr<absl::string_view> Read() override {
    return stopwatch_.Time([&] { return source_.Read(); });
  }
  absl::Duration total() const { return stopwatch_.total(); }

 private:
  ByteSource& source_;
  Stopwatch stopwatch_;
};

class TimedLastingSource final : public LastingSource {
 public:
  explicit TimedLastingSource(LastingSource& source) : source_(source) {}
  void MakeLast(size_t pieces) override { source_.MakeLast(pieces); }
  absl::StatusOr<absl::string_view> Read() override {
    return stopwatch_.Time([&] { return source_.Read(); });
  }
  absl::Duration total() const { return stopwatch_.total(); }

 private:
  LastingSource& source_;
  Stopwatch stopwatch_;
};

// One upload on its way: the sources stacked on its chunks, and the footer that they end with. As a
// source it is the payload followed by the footer, that is, what is stored.
class StoredForm final : public ByteSource {
 public:
  StoredForm(const Upload& upload, StorageForm form, std::string session_key,
             storage::Catalog& catalog, const crypto::MasterKey& master_key, const Clock& clock,
             ByteSource& chunks)
      : upload_(upload),
        session_key_(std::move(session_key)),
        catalog_(catalog),
        master_key_(master_key),
        clock_(clock),
        chunks_(chunks) {
    footer_.form = form;
    Checksums encoded;
    (IsOfPlaintext(upload.checksum_kind) ? measures_.sums : encoded) = SumOf(upload.checksum_kind);
    if (segmented()) {
      encoded_ = std::make_unique<BoundedSource>(chunks_);
      const crypto::SegmentDecryptor& segments =
          StackDecryptor<crypto::SegmentDecryptor>(session_key_, upload.segment_count, encoded);
      encoded_sums_ = &segments.ciphertext_sums();
      segments_ = &segments;
    } else {
      auto whole = std::make_unique<WholeEncoded>(chunks_, upload.encoded_size, encoded);
      encoded_sums_ = &whole->sums();
      encoded_ = std::move(whole);
      if (upload.encrypted) StackDecryptor<crypto::CbcDecryptor>(session_key_);
    }
    if (payload_ != nullptr) return;  // The client's own form.
    if (plain_ == nullptr) {
      auto gathered = std::make_unique<GatherSource>(*encoded_, upload.encoded_size);
      gathered->set_observer(MeasuringObserver());
      plain_ = std::move(gathered);
    }
    StackReadAhead();
    if (form != StorageForm::kSealed) return;
    file_key_ = crypto::RandomBytes(crypto::kFileKeySize);
    payload_ = std::make_unique<crypto::SealSource>(*measured_, file_key_);
  }

  absl::StatusOr<absl::string_view> Read() override {
    if (!encoded_footer_.empty()) return absl::string_view();
    ByteSource& payload = payload_ != nullptr ? *payload_ : *measured_;
    ASSIGN_OR_RETURN(const absl::string_view piece, payload.Read());
    payload_size_ += static_cast<int64_t>(piece.size());
    if (payload_size_ >= kBulkMinSize) BecomeBulkThread();
    if (!piece.empty()) return piece;
    RETURN_IF_ERROR(MakeFooter());
    ended_.emplace(std::chrono::steady_clock::now());
    return encoded_footer_;
  }

  // Valid once all was read: how long it took to receive and decrypt, and since when it is all
  // there.
  void ObserveReading(const UploadPhases& phases) const {
    phases.receive.Observe(chunks_.total());
    if (upload_.encrypted && timed_plain_)
      phases.decrypt.Observe(timed_plain_->total() - chunks_.total());
  }
  std::chrono::steady_clock::time_point ended() const { return *ended_; }

  // Valid once all was read.
  storage::Version ToVersion() const {
    storage::Version version;
    version.client_id = footer_.client_id;
    version.file_name = footer_.file_name;
    version.version_id = footer_.version_id;
    version.size_bytes = footer_.size_bytes;
    version.encoded_size = footer_.encoded_size;
    version.checksum_kind = footer_.checksum_kind;
    version.checksum = footer_.checksum;
    version.sha256 = footer_.sha256;
    version.receive_time = footer_.receive_time;
    version.form = footer_.form;
    version.upload_id = upload_.upload_id;
    return version;
  }

 private:
  Observer MeasuringObserver() {
    return [this](absl::string_view part) { measures_.Update(part); };
  }

  // A large file is received, decrypted and measured on a thread of its own while it is written.
  void StackReadAhead() {
    timed_plain_ = std::make_unique<TimedLastingSource>(*plain_);
    measured_ = timed_plain_.get();
    if (upload_.encoded_size >= kReadAheadMinSize) ahead_ = ReadAheadSource::TryMake(*timed_plain_);
    if (ahead_) measured_ = ahead_.get();
  }

  // Puts the decryptor on top of the encoded bytes: beside them if they are kept as they are, else
  // instead of them.
  template <typename Decryptor, typename... Args>
  const Decryptor& StackDecryptor(const Args&... args) {
    if (footer_.form == StorageForm::kClientCiphertext ||
        footer_.form == StorageForm::kClientSegments) {
      auto payload =
          std::make_unique<MeasuredCiphertextSource<Decryptor>>(*encoded_, measures_, args...);
      const Decryptor& decryptor = payload->decryptor();
      payload_ = std::move(payload);
      file_key_ = session_key_;
      return decryptor;
    }
    auto decrypted = std::make_unique<crypto::DecryptSource<Decryptor>>(
        *encoded_, segmented() ? std::nullopt : std::optional(upload_.encoded_size), args...);
    decrypted->set_observer(MeasuringObserver());
    const Decryptor& decryptor = decrypted->decryptor();
    plain_ = std::move(decrypted);
    return decryptor;
  }

  bool segmented() const { return upload_.segmented; }

  uint32_t Checksum() const {
    const Checksums& sums = IsOfPlaintext(upload_.checksum_kind) ? measures_.sums : *encoded_sums_;
    return sums.cksum ? sums.cksum->Value() : sums.crc32->Value();
  }

  absl::Status MakeFooter() {
    if (upload_.original_size && *upload_.original_size != measures_.size_bytes) {
      return MakeError(Reason::kContentRejected,
                       "the content does not have its announced original size");
    }
    ASSIGN_OR_RETURN(footer_.version_id, catalog_.AllocateVersionId());
    footer_.client_id = upload_.client_id;
    footer_.file_name = upload_.file_name;
    footer_.size_bytes = measures_.size_bytes;
    footer_.encoded_size =
        segments_ != nullptr ? segments_->ciphertext_size() : upload_.encoded_size;
    footer_.payload_size = payload_size_;
    footer_.checksum_kind = upload_.checksum_kind;
    footer_.checksum = Checksum();
    footer_.sha256 = measures_.sha256.Finish();
    footer_.receive_time = clock_.Now();
    if (!file_key_.empty())
      footer_.wrapped_key = master_key_.Seal(file_key_, storage::EncodeFooterFields(footer_));
    encoded_footer_ = storage::EncodeFooter(footer_);
    return absl::OkStatus();
  }

  const Upload& upload_;
  const std::string session_key_;
  storage::Catalog& catalog_;
  const crypto::MasterKey& master_key_;
  const Clock& clock_;
  TimedSource chunks_;
  PlaintextMeasures measures_;
  std::unique_ptr<ByteSource> encoded_;
  const Checksums* encoded_sums_ = nullptr;
  const crypto::SegmentDecryptor* segments_ = nullptr;  // If it comes in segments.
  std::unique_ptr<LastingSource> plain_;                // Null if the client's own form is kept.
  std::unique_ptr<TimedLastingSource> timed_plain_;     // The same.
  std::unique_ptr<ReadAheadSource> ahead_;              // Not always there.
  ByteSource* measured_ = nullptr;                      // The last of those.
  std::unique_ptr<ByteSource> payload_;                 // Null: *measured_ is the payload.
  std::string file_key_;
  int64_t payload_size_ = 0;
  storage::BlobFooter footer_;
  std::string encoded_footer_;
  std::optional<std::chrono::steady_clock::time_point> ended_;
};

StorageForm FormOf(const Upload& upload, StorageForm policy) {
  if (policy != StorageForm::kClientCiphertext) return policy;
  if (!upload.encrypted) return StorageForm::kSealed;
  return upload.segmented ? StorageForm::kClientSegments : StorageForm::kClientCiphertext;
}

// Bytes that the stored form can have at most; nothing if only the end of the content will tell.
std::optional<int64_t> LargestStoredSize(const Upload& upload, StorageForm form) {
  if (upload.segmented) return std::nullopt;
  const int64_t payload =
      form == StorageForm::kSealed ? crypto::SealedSize(upload.encoded_size) : upload.encoded_size;
  return payload + static_cast<int64_t>(storage::kMaxFooterSize);
}

// What was read of `rest` before, and then the rest.
class PrefixedSource final : public ByteSource {
 public:
  PrefixedSource(absl::string_view prefix, ByteSource& rest) : prefix_(prefix), rest_(rest) {}
  absl::StatusOr<absl::string_view> Read() override {
    if (prefix_.empty()) return rest_.Read();
    return std::exchange(prefix_, absl::string_view());
  }

 private:
  absl::string_view prefix_;
  ByteSource& rest_;
};

// Stores content and row: small content in the row's transaction, large content before it.
absl::StatusOr<storage::Version> Store(storage::Catalog& catalog, storage::BlobStore& blobs,
                                       StoredForm& content, const storage::LegacyProfile& observed,
                                       std::optional<int64_t> largest_size,
                                       const UploadPolicy& policy) {
  const auto add = [&](const storage::Content& stored) {
    Stopwatch commit;
    auto version =
        commit.Time([&] { return catalog.AddVersion(content.ToVersion(), stored, observed); });
    if (version.ok()) policy.phases.commit.Observe(commit.total());
    return version;
  };
  const int64_t limit = policy.inline_blob_limit + static_cast<int64_t>(storage::kMaxFooterSize);
  std::string begin;
  bool is_whole = false;
  while (!is_whole && (largest_size ? *largest_size <= limit : std::ssize(begin) <= limit)) {
    ASSIGN_OR_RETURN(const absl::string_view piece, content.Read());
    begin.append(piece.data(), piece.size());
    is_whole = piece.empty();
  }
  if (is_whole && std::ssize(begin) <= limit) return add(begin);
  PrefixedSource whole(begin, content);
  ASSIGN_OR_RETURN(const storage::StoredBlob blob, blobs.Put(whole, largest_size));
  policy.phases.fsync.Observe(absl::FromChrono(std::chrono::steady_clock::now() - content.ended()));
  absl::StatusOr<storage::Version> stored = add(blob.id);
  // Where it fails the row may exist all the same: then the blob is left to the sweep, which can
  // tell. That the catalog has no room leaves no doubt, and others need what the blob takes.
  const bool is_needed = stored.ok() ? stored->version_id == content.ToVersion().version_id
                                     : ReasonOf(stored.status()) != Reason::kStorageFull;
  if (!is_needed) DeleteReleased(blobs, {blob.id});
  return stored;
}

v1::UploadFileResponse ToResponse(const storage::Version& version, bool corrupt_checksums) {
  v1::UploadFileResponse response;
  *response.mutable_version() = ToProto(version);
  response.set_checksum(version.checksum + (corrupt_checksums ? 1 : 0));
  response.set_encoded_size(version.encoded_size);
  return response;
}

}  // namespace

absl::StatusOr<v1::UploadFileResponse> UploadFile(storage::Catalog& catalog,
                                                  storage::BlobStore& blobs,
                                                  const crypto::MasterKey& master_key,
                                                  const Clock& clock, const UploadPolicy& policy,
                                                  const v1::UploadFileHeader& header,
                                                  ByteSource& chunks) {
  ASSIGN_OR_RETURN(Upload upload, ParseHeader(header, clock.Now()));
  ASSIGN_OR_RETURN(const storage::Client client, catalog.FindClient(upload.client_id));
  if (upload.upload_id) {
    ASSIGN_OR_RETURN(const std::optional<storage::Version> known,
                     catalog.FindUpload(upload.client_id, *upload.upload_id));
    if (known) return ToResponse(*known, policy.corrupt_checksums);
  }
  if (upload.checksum_is_candidate)
    upload.checksum_kind = client.legacy.NextChecksum(upload.checksum_kind);
  std::string session_key;
  if (upload.encrypted) {
    ASSIGN_OR_RETURN(session_key, OpenSessionKey(master_key, client));
  }
  const StorageForm form = FormOf(upload, policy.form);
  StoredForm content(upload, form, session_key, catalog, master_key, clock, chunks);
  const absl::StatusOr<storage::Version> stored =
      Store(catalog, blobs, content, upload.observed, LargestStoredSize(upload, form), policy);
  if (!stored.ok()) {
    // How a client speaks is worth knowing above all if it fails.
    NoteLegacyProfile(catalog, client, upload.observed).IgnoreError();
    return stored.status();
  }
  content.ObserveReading(policy.phases);
  if (form == StorageForm::kClientCiphertext || form == StorageForm::kClientSegments) {
    // The purpose of this mode: whoever has the log can decrypt the file (docs/operations.md).
    LOG_CRITICAL << "stored as the client's ciphertext: client=" << ToUuid(client.id)
                 << " file=" << NameToText(upload.file_name) << " version=" << stored->version_id
                 << " key=" << absl::BytesToHexString(session_key);
  }
  return ToResponse(*stored, policy.corrupt_checksums);
}

bool StaysInCatalog(const v1::UploadFileHeader& header, const UploadPolicy& policy) {
  // What is kept as the client's ciphertext is also logged, which is to happen once it is durable.
  if (header.segment_count() != 0 || policy.form == StorageForm::kClientCiphertext) return false;
  const int64_t payload = policy.form == StorageForm::kSealed
                              ? crypto::SealedSize(header.encoded_size())
                              : header.encoded_size();
  return payload <= std::min(policy.inline_blob_limit, kMaxQuickSize);
}

}  // namespace backup::handlers
