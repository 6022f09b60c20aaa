#include "tests/bench/prepared_file.h"

#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "backup/v1/catalog.grpc.pb.h"
#include "backup/v1/lifecycle.grpc.pb.h"
#include "base/byte_stream.h"
#include "base/checksum.h"
#include "base/status_macros.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "legacy_client/cipher.h"
#include "tests/bench/old_client.h"

namespace backup::bench {
namespace {

using legacy_client::Answer;
using legacy_client::AnswerKind;
using legacy_client::AnswerValues;
using legacy_client::Channel;
using legacy_client::Frames;
using legacy_client::kCipherBlockSize;
using legacy_client::RequestKind;

absl::StatusOr<Answer> Expect(AnswerKind kind, absl::StatusOr<Answer> answer) {
  if (!answer.ok() || answer->header.kind == kind) return answer;
  return absl::InternalError(
      absl::StrCat("the server answers with ", legacy_client::ToText(answer->header.kind)));
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

// The request: head, content, the end. Used by one thread at a time.
class RequestSource final : public ByteSource {
 public:
  RequestSource(absl::string_view head, EndlessContent content, int64_t size,
                absl::string_view last_block)
      : head_(head), content_(content), left_(size), last_block_(last_block) {}
  absl::StatusOr<absl::string_view> Read() override {
    if (!head_.empty()) return std::exchange(head_, absl::string_view());
    if (left_ == 0) return std::exchange(last_block_, absl::string_view());
    left_ -= EndlessContent::kPieceSize;
    return content_.Next();
  }

 private:
  absl::string_view head_;
  EndlessContent content_;
  int64_t left_;
  absl::string_view last_block_;
};

}  // namespace

absl::StatusOr<KnownClient> Introduce(const legacy_client::Endpoint& server,
                                      const std::string& name,
                                      const legacy_client::KeyPair& key_pair) {
  const Frames& frames = OldClientFrames();
  Channel channel(frames, {server});
  KnownClient client;
  ASSIGN_OR_RETURN(
      const Answer registered,
      Expect(AnswerKind::REGISTERED,
             channel.Ask(RequestKind::REGISTER,
                         frames.Request(RequestKind::REGISTER, {.client_name = name}))));
  ASSIGN_OR_RETURN(const AnswerValues registration, frames.Decode(registered));
  client.id = registration.id.value();
  const std::string public_key = key_pair.PublicDer(legacy_client::PublicKeyForm::kSpki);
  ASSIGN_OR_RETURN(
      const Answer accepted,
      Expect(AnswerKind::KEY_ACCEPTED,
             channel.Ask(RequestKind::PUBLIC_KEY,
                         frames.Request(
                             RequestKind::PUBLIC_KEY,
                             {.id = client.id, .client_name = name, .public_key = public_key}))));
  ASSIGN_OR_RETURN(const AnswerValues key, frames.Decode(accepted));
  ASSIGN_OR_RETURN(client.session_key, key_pair.Decrypt(key.encrypted_key.value()));
  return client;
}

absl::Status Delete(const std::string& service, const KnownClient& client) {
  const auto channel = grpc::CreateChannel(service, grpc::InsecureChannelCredentials());
  const auto catalog = v1::CatalogService::NewStub(channel);
  grpc::ClientContext context;
  v1::DeleteClientRequest request;
  request.set_client_id(ToUuid(client.id));
  v1::DeleteClientResponse response;
  const grpc::Status status = catalog->DeleteClient(&context, request, &response);
  if (!status.ok()) return absl::InternalError(status.error_message());
  // For good. A service that knows no trash has done it already.
  grpc::ClientContext emptying;
  v1::EmptyTrashRequest empty;
  empty.set_client_id(request.client_id());
  const auto stream = v1::LifecycleService::NewStub(channel)->EmptyTrash(&emptying, empty);
  v1::EmptyTrashResponse progress;
  while (stream->Read(&progress)) {
  }
  const grpc::Status emptied = stream->Finish();
  return emptied.ok() || emptied.error_code() == grpc::StatusCode::UNIMPLEMENTED
             ? absl::OkStatus()
             : absl::InternalError(emptied.error_message());
}

PreparedFile::PreparedFile(const KnownClient& client, std::string name, int64_t size)
    : client_(client), name_(std::move(name)), size_(size) {
  const int64_t content_size = size_ + static_cast<int64_t>(kCipherBlockSize);
  const legacy_client::RequestValues values = {
      .id = client_.id, .file_name = name_, .content_size = content_size};
  const std::string fields = OldClientFrames().Fields(RequestKind::FILE, values);
  head_ = absl::StrCat(
      OldClientFrames().Header(RequestKind::FILE, values, std::ssize(fields) + content_size),
      fields);
  Crc32 checksum;
  EndlessContent content(content_);
  absl::string_view part;
  for (int64_t at = 0; at < size_; at += std::ssize(part)) {
    part = content.Next();
    checksum.Update(part);
  }
  last_block_ = EndingBlock(part.substr(part.size() - kCipherBlockSize), client.session_key);
  checksum.Update(last_block_);
  checksum_ = checksum.Value();
}

absl::Status PreparedFile::Upload(const legacy_client::Endpoint& server) const {
  RequestSource request(head_, EndlessContent(content_), size_, last_block_);
  Channel channel(OldClientFrames(), {server});
  ASSIGN_OR_RETURN(const Answer answer,
                   Expect(AnswerKind::FILE_RECEIVED, channel.AskWithContent(request, [] {})));
  ASSIGN_OR_RETURN(const AnswerValues received, OldClientFrames().Decode(answer));
  if (received.checksum == checksum_) return absl::OkStatus();
  return absl::DataLossError("the server answers a wrong checksum");
}

}  // namespace backup::bench
