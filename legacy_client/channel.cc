#include "legacy_client/channel.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace backup::legacy_client {
namespace {

// The longest answer of the families has 279 bytes.
constexpr int64_t kMaxAnswerPayload = 4096;

}  // namespace

absl::StatusOr<Answer> Channel::Ask(RequestKind kind, absl::string_view request) {
  RETURN_IF_ERROR(EnsureConnected());
  absl::StatusOr<Answer> answer = Conclude(kind, SendWhole(request));
  if (kind == RequestKind::PUBLIC_KEY || kind == RequestKind::RECONNECT) {
    knows_client_ = answer.ok() && socket_;
  }
  return answer;
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
  return Conclude(RequestKind::FILE, sent);
}

absl::Status Channel::NotifyOfRetry(absl::string_view request) {
  RETURN_IF_ERROR(EnsureConnected());
  const absl::Status sent = SendWhole(request);
  if (sent.ok() && options_.retry_notice == RetryNotice::kAtOnce) {
    notice_is_open_ = true;
    if (options_.connection_use == ConnectionUse::kPerRequest) Disconnect();
    return absl::OkStatus();
  }
  const absl::StatusOr<Answer> answer = Conclude(RequestKind::RETRY, sent);
  return answer.ok() || absl::IsUnavailable(answer.status()) ? absl::OkStatus() : answer.status();
}

// With its padding in one write.
absl::Status Channel::SendWhole(absl::string_view request) {
  std::string padded(request);
  padded.append(static_cast<size_t>(frames_.RequestPadding(std::ssize(request))), '\0');
  return socket_->Write(padded);
}

// What goes wrong with `request` itself is left in `of_request`, not returned.
absl::Status Channel::SendAll(ByteSource& request, absl::FunctionRef<void()> on_piece,
                              absl::Status& of_request) {
  for (bool is_first = true;; is_first = false) {
    const absl::StatusOr<absl::string_view> piece = request.Read();
    of_request = piece.status();
    if (!piece.ok()) return absl::OkStatus();
    if (piece->empty()) return absl::OkStatus();
    // Something always follows the first piece, a head.
    RETURN_IF_ERROR(socket_->Write(*piece, /*more_follows=*/is_first));
    on_piece();
  }
}

absl::Status Channel::EnsureConnected() {
  if (socket_) return absl::OkStatus();
  ASSIGN_OR_RETURN(socket_, LegacySocket::Connect(options_.server, options_.timeout));
  return absl::OkStatus();
}

// A server that refuses a file may answer and hang up before it has read all of it; so a failed
// write is no reason not to look for an answer.
absl::StatusOr<Answer> Channel::Conclude(RequestKind asked, const absl::Status& sent) {
  absl::StatusOr<Answer> answer =
      absl::IsDeadlineExceeded(sent) ? absl::StatusOr<Answer>(sent) : ReadAnswer(asked);
  const bool refused = answer.ok() && answer->header.kind == AnswerKind::GENERAL_ERROR;
  if (options_.connection_use == ConnectionUse::kPerRequest || !answer.ok() || refused ||
      !sent.ok()) {
    Disconnect();
  }
  if (!sent.ok() && !refused) return sent;
  return answer;
}

absl::StatusOr<Answer> Channel::ReadAnswer(RequestKind asked) {
  ASSIGN_OR_RETURN(Answer answer, ReadOneAnswer(asked));
  if (std::exchange(notice_is_open_, false) && answer.header.kind == AnswerKind::ACKNOWLEDGED) {
    return ReadOneAnswer(asked);
  }
  return answer;
}

absl::StatusOr<Answer> Channel::ReadOneAnswer(RequestKind asked) {
  Answer answer;
  answer.header_bytes.resize(frames_.answer_header_size());
  RETURN_IF_ERROR(socket_->Read(answer.header_bytes));
  ASSIGN_OR_RETURN(answer.header, frames_.DecodeAnswerHeader(answer.header_bytes, asked));
  if (answer.header.payload_size > kMaxAnswerPayload) {
    return absl::DataLossError(
        absl::StrCat("the server's answer claims ", answer.header.payload_size, " bytes"));
  }
  answer.payload.resize(static_cast<size_t>(answer.header.payload_size));
  RETURN_IF_ERROR(socket_->Read(answer.payload));
  const int64_t size = std::ssize(answer.header_bytes) + std::ssize(answer.payload);
  std::string padding(static_cast<size_t>(frames_.AnswerPadding(size)), '\0');
  RETURN_IF_ERROR(socket_->Read(padding));
  if (options_.server_hangs_up) RETURN_IF_ERROR(socket_->ReadEnd());
  return answer;
}

void Channel::Disconnect() {
  socket_.reset();
  knows_client_ = false;
  notice_is_open_ = false;
}

}  // namespace backup::legacy_client
