#include "tests/bench/session_client.h"

#include <cstring>
#include <iterator>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/checksum.h"
#include "base/status_macros.h"
#include "legacy_client/cipher.h"
#include "tests/bench/endless_content.h"
#include "tests/bench/old_client.h"

namespace backup::bench {
namespace {

using legacy_client::Answer;
using legacy_client::AnswerKind;
using legacy_client::AnswerValues;
using legacy_client::RequestKind;

constexpr size_t kFileSize = 1024;
constexpr char kFileName[] = "bench.bin";

// Content like no other's, which does not shrink.
std::string NewContent() {
  const uint64_t number = EndlessContent::NewNumber();
  std::string content(EndlessContent(number).Next().substr(0, kFileSize));
  std::memcpy(content.data(), &number, sizeof(number));
  return content;
}

std::string EncryptedFile(absl::string_view key) {
  legacy_client::CbcEncryptor encryptor(key);
  std::string out(kFileSize + legacy_client::kCipherBlockSize, '\0');
  size_t size = encryptor.Update(NewContent(), out);
  size += encryptor.Finish(std::span<char>(out).subspan(size));
  out.resize(size);
  return out;
}

}  // namespace

SessionClient::SessionClient(std::string prefix, const legacy_client::KeyPair& key_pair)
    : prefix_(std::move(prefix)),
      key_pair_(key_pair),
      public_key_(key_pair.PublicDer(legacy_client::PublicKeyForm::kSpki)) {}

std::string SessionClient::Request() const {
  if (asked_ == RequestKind::FILE) return FileRequest();
  const std::string name = absl::StrCat(prefix_, sessions_);
  return OldClientFrames().Request(
      asked_, {.id = id_, .client_name = name, .file_name = kFileName, .public_key = public_key_});
}

absl::Status SessionClient::Take(const Answer& answer) {
  ASSIGN_OR_RETURN(const AnswerValues values, OldClientFrames().Decode(answer));
  switch (answer.header.kind) {
    case AnswerKind::REGISTERED: {
      id_ = values.id.value();
      asked_ = RequestKind::PUBLIC_KEY;
      return absl::OkStatus();
    }
    case AnswerKind::KEY_ACCEPTED: {
      ASSIGN_OR_RETURN(const std::string session_key,
                       key_pair_.Decrypt(values.encrypted_key.value()));
      content_ = EncryptedFile(session_key);
      asked_ = RequestKind::FILE;
      return absl::OkStatus();
    }
    case AnswerKind::FILE_RECEIVED:
      asked_ = RequestKind::VALID;
      return CheckFile(values);
    case AnswerKind::ACKNOWLEDGED:
      asked_ = RequestKind::REGISTER;
      id_ = ClientId();
      ++sessions_;
      return absl::OkStatus();
    default:
      return absl::InternalError(
          absl::StrCat("the server answers with ", legacy_client::ToText(answer.header.kind)));
  }
}

std::string SessionClient::FileRequest() const {
  const auto size = static_cast<int64_t>(content_.size());
  const legacy_client::RequestValues values = {
      .id = id_, .file_name = kFileName, .content_size = size};
  const std::string fields = OldClientFrames().Fields(RequestKind::FILE, values);
  const int64_t payload_size = std::ssize(fields) + size;
  return absl::StrCat(OldClientFrames().Header(RequestKind::FILE, values, payload_size), fields,
                      content_);
}

absl::Status SessionClient::CheckFile(const AnswerValues& received) const {
  Crc32 checksum;
  checksum.Update(content_);
  if (received.checksum == checksum.Value()) return absl::OkStatus();
  return absl::DataLossError("the server answers a wrong checksum");
}

}  // namespace backup::bench
