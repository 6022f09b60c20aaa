#include "tests/bench/prepared_file.h"

#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "backup/v1/catalog.grpc.pb.h"
#include "base/byte_stream.h"
#include "base/checksum.h"
#include "base/status_macros.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "legacy_client/cipher.h"

namespace backup::bench {
namespace {

using legacy_client::Answer;
using legacy_client::AnswerKind;
using legacy_client::Channel;
using legacy_client::kCipherBlockSize;
using legacy_client::RequestKind;

absl::StatusOr<Answer> Expect(AnswerKind kind, absl::StatusOr<Answer> answer) {
  if (!answer.ok() || answer->kind == kind) return answer;
  return absl::InternalError(
      absl::StrCat("the server answers with ", static_cast<int>(answer->kind)));
}

std::string MakeRepeatedPart() {
  std::mt19937_64 random(1);
  std::string bytes;
  while (bytes.size() < kPieceSize) {
    const uint64_t number = random();
    bytes.append(reinterpret_cast<const char*>(&number), sizeof(number));
  }
  return bytes;
}

// The block that makes a ciphertext end in one byte of padding, behind a block `before` it.
std::string EndingBlock(absl::string_view before, absl::string_view key) {
  constexpr char kPadding = 1;
  std::string block(before);
  block.back() = static_cast<char>(block.back() ^ kPadding);
  std::string out(2 * kCipherBlockSize, '\0');
  legacy_client::CbcEncryptor(key).Update(block, out);
  return out.substr(0, kCipherBlockSize);
}

// The request: head, the repeated part as often as it takes, the end. Used by one thread at a time.
class RequestSource final : public ByteSource {
 public:
  RequestSource(absl::string_view head, int64_t size, absl::string_view last_block)
      : head_(head), left_(size), last_block_(last_block) {}
  absl::StatusOr<absl::string_view> Read() override {
    if (!head_.empty()) return std::exchange(head_, absl::string_view());
    if (left_ == 0) return std::exchange(last_block_, absl::string_view());
    left_ -= static_cast<int64_t>(PreparedFile::RepeatedPart().size());
    return PreparedFile::RepeatedPart();
  }

 private:
  absl::string_view head_;
  int64_t left_;
  absl::string_view last_block_;
};

}  // namespace

absl::StatusOr<KnownClient> Introduce(const legacy_client::Endpoint& server,
                                      const std::string& name,
                                      const legacy_client::KeyPair& key_pair) {
  Channel channel({server});
  KnownClient client;
  ASSIGN_OR_RETURN(
      const Answer registered,
      Expect(AnswerKind::kRegistered,
             channel.Ask(EncodeNameRequest(client.sender, RequestKind::kRegister, name))));
  ASSIGN_OR_RETURN(client.sender.id, legacy_client::DecodeIdPayload(registered.payload));
  const std::string public_key = key_pair.PublicKeyField(legacy_client::PublicKeyForm::kSpki);
  ASSIGN_OR_RETURN(const Answer accepted,
                   Expect(AnswerKind::kKeyAccepted,
                          channel.Ask(EncodePublicKeyRequest(client.sender, name, public_key))));
  ASSIGN_OR_RETURN(const legacy_client::KeyAnswer key,
                   legacy_client::DecodeKeyPayload(accepted.payload));
  ASSIGN_OR_RETURN(client.session_key, key_pair.Decrypt(key.encrypted_key));
  return client;
}

absl::Status Delete(const std::string& service, const KnownClient& client) {
  const auto catalog =
      v1::CatalogService::NewStub(grpc::CreateChannel(service, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  v1::DeleteClientRequest request;
  request.set_client_id(ToUuid(client.sender.id));
  v1::DeleteClientResponse response;
  const grpc::Status status = catalog->DeleteClient(&context, request, &response);
  return status.ok() ? absl::OkStatus() : absl::InternalError(status.error_message());
}

absl::string_view PreparedFile::RepeatedPart() {
  static const std::string& bytes = *new std::string(MakeRepeatedPart());
  return bytes;
}

PreparedFile::PreparedFile(const KnownClient& client, std::string name, int64_t size)
    : client_(client), name_(std::move(name)), size_(size) {
  const absl::string_view part = RepeatedPart();
  last_block_ = EndingBlock(part.substr(part.size() - kCipherBlockSize), client.session_key);
  const int64_t content_size = size_ + static_cast<int64_t>(kCipherBlockSize);
  head_ = EncodeFileHead(
      client_.sender,
      {legacy_client::FileFieldsSize(client_.sender.family) + content_size, content_size}, name_);
  Crc32 checksum;
  for (int64_t at = 0; at < size_; at += std::ssize(part)) checksum.Update(part);
  checksum.Update(last_block_);
  checksum_ = checksum.Value();
}

absl::Status PreparedFile::Upload(const legacy_client::Endpoint& server) const {
  RequestSource request(head_, size_, last_block_);
  Channel channel({server});
  ASSIGN_OR_RETURN(const Answer answer,
                   Expect(AnswerKind::kFileReceived, channel.AskWithContent(request, [] {})));
  ASSIGN_OR_RETURN(const legacy_client::FileAnswer received,
                   legacy_client::DecodeFilePayload(answer.payload));
  if (received.checksum == checksum_) return absl::OkStatus();
  return absl::DataLossError("the server answers a wrong checksum");
}

}  // namespace backup::bench
