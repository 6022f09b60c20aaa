#include "legacy_client/channel.h"

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
  return Conclude(SendWhole(request));
}

absl::StatusOr<Answer> Channel::AskWithContent(ByteSource& request,
                                               absl::FunctionRef<void()> on_piece) {
  RETURN_IF_ERROR(EnsureConnected());
  absl::Status of_request;
  const absl::Status sent = SendAll(request, on_piece, of_request);
  if (!of_request.ok()) {
    Disconnect();  // The promised size cannot be unsaid.
    return of_request;
  }
  return Conclude(sent);
}

absl::Status Channel::NotifyOfRetry(absl::string_view request) {
  RETURN_IF_ERROR(EnsureConnected());
  const absl::Status sent = SendWhole(request);
  if (sent.ok() && options_.retry_notice == RetryNotice::kAtOnce) {
    notice_is_open_ = true;
    return absl::OkStatus();
  }
  const absl::StatusOr<Answer> answer = Conclude(sent);
  return answer.ok() || absl::IsUnavailable(answer.status()) ? absl::OkStatus() : answer.status();
}

// With its padding in one write.
absl::Status Channel::SendWhole(absl::string_view request) {
  if (!options_.blocks_1024) return socket_->Write(request);
  return socket_->Write(absl::StrCat(request, std::string(BlockPadding(request.size()), '\0')));
}

// What goes wrong with `request` itself is left in `of_request`, not returned.
absl::Status Channel::SendAll(ByteSource& request, absl::FunctionRef<void()> on_piece,
                              absl::Status& of_request) {
  size_t size = 0;
  while (true) {
    const absl::StatusOr<absl::string_view> piece = request.Read();
    of_request = piece.status();
    if (!piece.ok()) return absl::OkStatus();
    if (piece->empty()) break;
    // Something always follows the first piece, a head.
    RETURN_IF_ERROR(socket_->Write(*piece, /*more_follows=*/size == 0));
    size += piece->size();
    on_piece();
  }
  if (!options_.blocks_1024) return absl::OkStatus();
  return socket_->Write(std::string(BlockPadding(size), '\0'));
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
  const bool refused = answer.ok() && answer->kind == AnswerKind::kGeneralError;
  if (options_.connection_use == ConnectionUse::kPerRequest || !answer.ok() || refused ||
      !sent.ok()) {
    Disconnect();
  }
  if (!sent.ok() && !refused) return sent;
  return answer;
}

absl::StatusOr<Answer> Channel::ReadAnswer() {
  ASSIGN_OR_RETURN(Answer answer, ReadOneAnswer());
  if (std::exchange(notice_is_open_, false) && answer.kind == AnswerKind::kAcknowledged) {
    return ReadOneAnswer();
  }
  return answer;
}

absl::StatusOr<Answer> Channel::ReadOneAnswer() {
  std::array<char, kAnswerHeaderSize> bytes;
  RETURN_IF_ERROR(socket_->Read(bytes));
  ASSIGN_OR_RETURN(
      const AnswerHeader header,
      DecodeAnswerHeader(absl::string_view(bytes.data(), bytes.size()), options_.family));
  if (header.payload_size > kMaxAnswerPayload) {
    return absl::DataLossError(
        absl::StrCat("the server's answer claims ", header.payload_size, " bytes"));
  }
  Answer answer{header.kind, std::string(header.payload_size, '\0')};
  RETURN_IF_ERROR(socket_->Read(answer.payload));
  if (options_.blocks_1024) {
    std::string padding(BlockPadding(bytes.size() + answer.payload.size()), '\0');
    RETURN_IF_ERROR(socket_->Read(padding));
  }
  if (options_.server_hangs_up) RETURN_IF_ERROR(socket_->ReadEnd());
  return answer;
}

void Channel::Disconnect() {
  socket_.reset();
  notice_is_open_ = false;
}

}  // namespace backup::legacy_client
