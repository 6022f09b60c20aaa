#include "tests/bench/session_client.h"

#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/checksum.h"
#include "base/status_macros.h"
#include "legacy_client/cipher.h"

namespace backup::bench {
namespace {

using legacy_client::Answer;
using legacy_client::AnswerKind;
using legacy_client::RequestKind;

constexpr size_t kFileSize = 1024;
constexpr char kFileName[] = "bench.bin";

std::string EncryptedFile(absl::string_view key) {
  legacy_client::CbcEncryptor encryptor(key);
  std::string out(kFileSize + legacy_client::kCipherBlockSize, '\0');
  size_t size = encryptor.Update(std::string(kFileSize, 'b'), out);
  size += encryptor.Finish(std::span<char>(out).subspan(size));
  out.resize(size);
  return out;
}

}  // namespace

SessionClient::SessionClient(std::string prefix, const legacy_client::KeyPair& key_pair)
    : prefix_(std::move(prefix)),
      key_pair_(key_pair),
      public_key_(key_pair.PublicKeyField(legacy_client::PublicKeyForm::kSpki)) {}

std::string SessionClient::Request() const {
  const std::string name = absl::StrCat(prefix_, sessions_);
  switch (awaited_) {
    case AnswerKind::kRegistered:
      return EncodeNameRequest({}, RequestKind::kRegister, name);
    case AnswerKind::kKeyAccepted:
      return EncodePublicKeyRequest(sender_, name, public_key_);
    case AnswerKind::kFileReceived:
      return FileRequest();
    default:
      return EncodeNameRequest(sender_, RequestKind::kChecksumOk, kFileName);
  }
}

absl::Status SessionClient::Take(const Answer& answer) {
  if (answer.kind != awaited_) {
    return absl::InternalError(
        absl::StrCat("the server answers with ", static_cast<int>(answer.kind)));
  }
  switch (awaited_) {
    case AnswerKind::kRegistered: {
      ASSIGN_OR_RETURN(sender_.id, legacy_client::DecodeIdPayload(answer.payload));
      awaited_ = AnswerKind::kKeyAccepted;
      return absl::OkStatus();
    }
    case AnswerKind::kKeyAccepted: {
      ASSIGN_OR_RETURN(const legacy_client::KeyAnswer key,
                       legacy_client::DecodeKeyPayload(answer.payload));
      ASSIGN_OR_RETURN(const std::string session_key, key_pair_.Decrypt(key.encrypted_key));
      content_ = EncryptedFile(session_key);
      awaited_ = AnswerKind::kFileReceived;
      return absl::OkStatus();
    }
    case AnswerKind::kFileReceived:
      awaited_ = AnswerKind::kAcknowledged;
      return CheckFile(answer);
    default:
      awaited_ = AnswerKind::kRegistered;
      ++sessions_;
      return absl::OkStatus();
  }
}

std::string SessionClient::FileRequest() const {
  const auto size = static_cast<int64_t>(content_.size());
  return absl::StrCat(
      EncodeFileHead(sender_, {legacy_client::FileFieldsSize(sender_.family) + size, size},
                     kFileName),
      content_);
}

absl::Status SessionClient::CheckFile(const Answer& answer) const {
  ASSIGN_OR_RETURN(const legacy_client::FileAnswer received,
                   legacy_client::DecodeFilePayload(answer.payload));
  Crc32 checksum;
  checksum.Update(content_);
  if (received.checksum == checksum.Value()) return absl::OkStatus();
  return absl::DataLossError("the server answers a wrong checksum");
}

}  // namespace backup::bench
