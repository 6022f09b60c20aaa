#include "services/backup/handlers/upload_file.h"

#include <memory>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/checksum.h"
#include "base/error.h"
#include "base/name_text.h"
#include "base/process.h"
#include "base/status_macros.h"
#include "services/backup/crypto/cipher.h"
#include "services/backup/crypto/random.h"
#include "services/backup/crypto/sealed_file.h"
#include "services/backup/crypto/sha256.h"
#include "services/backup/handlers/converters.h"
#include "services/backup/handlers/sessions.h"
#include "services/backup/limits.h"
#include "storage/blob_footer.h"

namespace backup::handlers {
namespace {

using storage::StorageForm;
using Encoding = v1::UploadFileHeader;

// A header whose every field was checked.
struct Upload {
  ClientId client_id;
  std::string file_name;
  bool encrypted = false;
  int64_t encoded_size = 0;
  std::optional<int64_t> original_size;
  storage::ChecksumKind checksum_kind = storage::ChecksumKind::kCksumOfPlaintext;
  std::optional<UploadId> upload_id;
};

absl::StatusOr<Upload> ParseHeader(const v1::UploadFileHeader& header) {
  Upload upload;
  ASSIGN_OR_RETURN(upload.client_id, ParseClientId(header.client_id()));
  ASSIGN_OR_RETURN(upload.file_name, ParseName("header.file_name", header.file_name()));
  if (header.encoding() != Encoding::IDENTITY && header.encoding() != Encoding::AES_CBC_ZERO_IV) {
    return MakeError(Reason::kInvalidField, "encoding must be IDENTITY or AES_CBC_ZERO_IV",
                     "header.encoding");
  }
  upload.encrypted = header.encoding() == Encoding::AES_CBC_ZERO_IV;
  if (header.encoded_size() < 0) {
    return MakeError(Reason::kInvalidField, "encoded_size must not be negative",
                     "header.encoded_size");
  }
  if (header.encoded_size() > kMaxFileSizeBytes) {
    return MakeError(Reason::kSizeLimit,
                     absl::StrCat("a file has at most ", kMaxFileSizeBytes, " bytes"),
                     absl::StrCat(kMaxFileSizeBytes));
  }
  upload.encoded_size = header.encoded_size();
  if (header.has_original_size()) {
    if (header.original_size() < 0) {
      return MakeError(Reason::kInvalidField, "original_size must not be negative",
                       "header.original_size");
    }
    upload.original_size = header.original_size();
  }
  if (!v1::ChecksumKind_IsValid(header.checksum_kind())) {
    return MakeError(Reason::kInvalidField, "checksum_kind must be one of the named kinds",
                     "header.checksum_kind");
  }
  if (header.checksum_kind() == v1::CRC32_OF_CIPHERTEXT) {
    upload.checksum_kind = storage::ChecksumKind::kCrc32OfCiphertext;
  }
  ASSIGN_OR_RETURN(upload.upload_id, ParseUploadId(header.upload_id()));
  return upload;
}

// The CRC-32 of what passes.
class Crc32Source final : public ByteSource {
 public:
  explicit Crc32Source(ByteSource& source) : source_(source) {}
  absl::StatusOr<absl::string_view> Read() override {
    ASSIGN_OR_RETURN(const absl::string_view piece, source_.Read());
    crc_.Update(piece);
    return piece;
  }
  uint32_t Value() const { return crc_.Value(); }

 private:
  ByteSource& source_;
  Crc32 crc_;
};

// What is to be known of the plaintext, gathered as it passes.
struct PlaintextMeasures {
  int64_t size_bytes = 0;
  Cksum cksum;
  crypto::Sha256 sha256;

  void Update(absl::string_view piece) {
    size_bytes += static_cast<int64_t>(piece.size());
    cksum.Update(piece);
    sha256.Update(piece);
  }
};

class MeasuredSource final : public ByteSource {
 public:
  MeasuredSource(ByteSource& source, PlaintextMeasures& measures)
      : source_(source), measures_(measures) {}
  absl::StatusOr<absl::string_view> Read() override {
    ASSIGN_OR_RETURN(const absl::string_view piece, source_.Read());
    measures_.Update(piece);
    return piece;
  }

 private:
  ByteSource& source_;
  PlaintextMeasures& measures_;
};

// Passes the ciphertext on as it is, and measures the plaintext that is in it.
class MeasuredCiphertextSource final : public ByteSource {
 public:
  MeasuredCiphertextSource(ByteSource& ciphertext, absl::string_view key,
                           PlaintextMeasures& measures)
      : ciphertext_(ciphertext), decryptor_(key), measures_(measures) {}
  absl::StatusOr<absl::string_view> Read() override {
    if (ended_) return absl::string_view();
    ASSIGN_OR_RETURN(const absl::string_view piece, ciphertext_.Read());
    ended_ = piece.empty();
    ASSIGN_OR_RETURN(const absl::string_view plain,
                     ended_ ? decryptor_.Finish() : decryptor_.Update(piece));
    measures_.Update(plain);
    return piece;
  }

 private:
  ByteSource& ciphertext_;
  crypto::CbcDecryptor decryptor_;
  PlaintextMeasures& measures_;
  bool ended_ = false;
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
        exact_(chunks, upload.encoded_size),
        encoded_(exact_) {
    footer_.form = form;
    if (form == StorageForm::kClientCiphertext) {
      file_key_ = session_key_;
      payload_ = std::make_unique<MeasuredCiphertextSource>(encoded_, session_key_, measures_);
      return;
    }
    ByteSource* plain = &encoded_;
    if (upload.encrypted) {
      decrypted_ = std::make_unique<crypto::CbcDecryptSource>(encoded_, session_key_);
      plain = decrypted_.get();
    }
    measured_ = std::make_unique<MeasuredSource>(*plain, measures_);
    if (form != StorageForm::kSealed) return;
    file_key_ = crypto::RandomBytes(crypto::kFileKeySize);
    payload_ = std::make_unique<crypto::SealSource>(*measured_, file_key_);
  }

  absl::StatusOr<absl::string_view> Read() override {
    if (!encoded_footer_.empty()) return absl::string_view();
    ByteSource& payload = payload_ != nullptr ? *payload_ : *measured_;
    ASSIGN_OR_RETURN(const absl::string_view piece, payload.Read());
    payload_size_ += static_cast<int64_t>(piece.size());
    if (!piece.empty()) return piece;
    RETURN_IF_ERROR(MakeFooter());
    return encoded_footer_;
  }

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
  absl::Status MakeFooter() {
    if (upload_.original_size && *upload_.original_size != measures_.size_bytes) {
      return MakeError(Reason::kContentRejected,
                       "the content does not have its announced original size");
    }
    ASSIGN_OR_RETURN(footer_.version_id, catalog_.AllocateVersionId());
    footer_.client_id = upload_.client_id;
    footer_.file_name = upload_.file_name;
    footer_.size_bytes = measures_.size_bytes;
    footer_.encoded_size = upload_.encoded_size;
    footer_.payload_size = payload_size_;
    footer_.checksum_kind = upload_.checksum_kind;
    footer_.checksum = upload_.checksum_kind == storage::ChecksumKind::kCrc32OfCiphertext
                           ? encoded_.Value()
                           : measures_.cksum.Value();
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
  ExactSource exact_;
  Crc32Source encoded_;
  PlaintextMeasures measures_;
  std::unique_ptr<crypto::CbcDecryptSource> decrypted_;
  std::unique_ptr<MeasuredSource> measured_;
  std::unique_ptr<ByteSource> payload_;  // Null: measured_ is the payload.
  std::string file_key_;
  int64_t payload_size_ = 0;
  storage::BlobFooter footer_;
  std::string encoded_footer_;
};

StorageForm FormOf(const Upload& upload, StorageForm policy) {
  return policy == StorageForm::kClientCiphertext && !upload.encrypted ? StorageForm::kSealed
                                                                       : policy;
}

// Bytes that the stored form can have at most.
int64_t LargestStoredSize(const Upload& upload, StorageForm form) {
  const int64_t payload =
      form == StorageForm::kSealed ? crypto::SealedSize(upload.encoded_size) : upload.encoded_size;
  return payload + static_cast<int64_t>(storage::kMaxFooterSize);
}

// Stores content and row: small content in the row's transaction, large content before it.
absl::StatusOr<storage::Version> Store(storage::Catalog& catalog, storage::BlobStore& blobs,
                                       StoredForm& content, int64_t largest_size,
                                       int64_t inline_limit) {
  if (largest_size <= inline_limit + static_cast<int64_t>(storage::kMaxFooterSize)) {
    ASSIGN_OR_RETURN(const std::string bytes, ReadAll(content, static_cast<size_t>(largest_size)));
    return catalog.AddVersion(content.ToVersion(), bytes);
  }
  ASSIGN_OR_RETURN(const storage::StoredBlob blob, blobs.Put(content, largest_size));
  // If this fails the row may exist all the same: the blob is left to the sweep, which can tell.
  ASSIGN_OR_RETURN(const storage::Version stored, catalog.AddVersion(content.ToVersion(), blob.id));
  if (stored.version_id != content.ToVersion().version_id) DeleteReleased(blobs, {blob.id});
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
  ASSIGN_OR_RETURN(const Upload upload, ParseHeader(header));
  ASSIGN_OR_RETURN(const storage::Client client, catalog.FindClient(upload.client_id));
  if (upload.upload_id) {
    ASSIGN_OR_RETURN(const std::optional<storage::Version> known,
                     catalog.FindUpload(upload.client_id, *upload.upload_id));
    if (known) return ToResponse(*known, policy.corrupt_checksums);
  }
  std::string session_key;
  if (upload.encrypted) {
    ASSIGN_OR_RETURN(session_key, OpenSessionKey(master_key, client));
  }
  const StorageForm form = FormOf(upload, policy.form);
  StoredForm content(upload, form, session_key, catalog, master_key, clock, chunks);
  ASSIGN_OR_RETURN(
      const storage::Version stored,
      Store(catalog, blobs, content, LargestStoredSize(upload, form), policy.inline_blob_limit));
  if (form == StorageForm::kClientCiphertext) {
    // The purpose of this mode: whoever has the log can decrypt the file (docs/operations.md).
    LOG_CRITICAL << "stored as the client's ciphertext: client=" << ToUuid(client.id)
                 << " file=" << NameToText(upload.file_name) << " version=" << stored.version_id
                 << " key=" << absl::BytesToHexString(session_key);
  }
  return ToResponse(stored, policy.corrupt_checksums);
}

}  // namespace backup::handlers
