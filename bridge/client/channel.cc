#include "bridge/client/channel.h"

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace backup::legacy_client {
namespace {

// The longest answer of the protocol has 279 bytes.
constexpr uint32_t kMaxAnswerPayload = 4096;

}  // namespace

absl::StatusOr<Answer> Channel::Ask(absl::string_view request) {
  RETURN_IF_ERROR(EnsureConnected());
  return Conclude(socket_->Write(request));
}

absl::StatusOr<Answer> Channel::AskWithContent(absl::string_view head, ByteSource& content,
                                               absl::FunctionRef<void(size_t)> on_piece) {
  RETURN_IF_ERROR(EnsureConnected());
  absl::Status sent = socket_->Write(head, /*more_follows=*/true);
  while (sent.ok()) {
    const absl::StatusOr<absl::string_view> piece = content.Read();
    if (!piece.ok()) {
      Disconnect();  // The promised size cannot be unsaid.
      return piece.status();
    }
    if (piece->empty()) break;
    sent = socket_->Write(*piece);
    on_piece(piece->size());
  }
  return Conclude(sent);
}

absl::Status Channel::NotifyOfRetry(absl::string_view request) {
  RETURN_IF_ERROR(EnsureConnected());
  const absl::Status sent = socket_->Write(request);
  if (sent.ok() && options_.connection_use == ConnectionUse::kSingle) {
    notice_is_open_ = true;
    return absl::OkStatus();
  }
  const absl::StatusOr<Answer> answer = Conclude(sent);
  return answer.ok() || absl::IsUnavailable(answer.status()) ? absl::OkStatus() : answer.status();
}

absl::Status Channel::EnsureConnected() {
  if (socket_) return absl::OkStatus();
  ASSIGN_OR_RETURN(socket_, LegacySocket::Connect(options_.server, options_.timeout));
  return absl::OkStatus();
}

// A server that refuses a file may answer and hang up before it has read all of it; so a failed
// write is no reason not to look for an answer.
absl::StatusOr<Answer> Channel::Conclude(const absl::Status& sent) {
  absl::StatusOr<Answer> answer =
      absl::IsDeadlineExceeded(sent) ? absl::StatusOr<Answer>(sent) : ReadAnswer();
  const bool refused = answer.ok() && answer->code == AnswerCode::kGeneralError;
  if (options_.connection_use == ConnectionUse::kPerRequest || !answer.ok() || refused ||
      !sent.ok()) {
    Disconnect();
  }
  if (!sent.ok() && !refused) return sent;
  return answer;
}

absl::StatusOr<Answer> Channel::ReadAnswer() {
  ASSIGN_OR_RETURN(Answer answer, ReadOneAnswer());
  if (std::exchange(notice_is_open_, false) && answer.code == AnswerCode::kAcknowledged) {
    return ReadOneAnswer();
  }
  return answer;
}

absl::StatusOr<Answer> Channel::ReadOneAnswer() {
  std::array<char, kAnswerHeaderSize> bytes;
  RETURN_IF_ERROR(socket_->Read(bytes));
  ASSIGN_OR_RETURN(const AnswerHeader header,
                   DecodeAnswerHeader(absl::string_view(bytes.data(), bytes.size())));
  if (header.payload_size > kMaxAnswerPayload) {
    return absl::DataLossError(
        absl::StrCat("the server's answer claims ", header.payload_size, " bytes"));
  }
  Answer answer{header.code, std::string(header.payload_size, '\0')};
  RETURN_IF_ERROR(socket_->Read(answer.payload));
  return answer;
}

void Channel::Disconnect() {
  socket_.reset();
  notice_is_open_ = false;
}

}  // namespace backup::legacy_client
