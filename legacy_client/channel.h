#pragma once

#include <optional>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/byte_stream.h"
#include "legacy_client/frames.h"
#include "legacy_client/legacy_socket.h"
#include "legacy_client/transfer_info.h"

namespace backup::legacy_client {

enum class ConnectionUse { kPerRequest, kSingle };

// Whether a retry notice is waited upon before the file is sent again.
enum class RetryNotice { kWait, kAtOnce };

struct ChannelOptions {
  Endpoint server;
  ConnectionUse connection_use = ConnectionUse::kPerRequest;
  absl::Duration timeout = absl::Seconds(30);  // For the server to move a byte.
  RetryNotice retry_notice = RetryNotice::kWait;
  bool server_hangs_up = false;  // After each answer the server must close the connection.
};

// Requests to the server and their answers, over as many connections as it takes. Statuses are
// those of LegacySocket, and DataLoss for what is not an answer. Used by one thread at a time.
class Channel {
 public:
  // `frames`, whose messages these are, must outlive this.
  Channel(const Frames& frames, ChannelOptions options)
      : frames_(frames), options_(std::move(options)) {}

  // Sends a whole request of this kind, with its padding, and reads its answer.
  absl::StatusOr<Answer> Ask(RequestKind kind, absl::string_view request);

  // Sends the file request or requests that `request` yields, which have their padding, and reads
  // their one answer. An error of `request` is returned as it is. `on_piece` is called after each
  // piece sent.
  absl::StatusOr<Answer> AskWithContent(ByteSource& request, absl::FunctionRef<void()> on_piece);

  // Sends a retry notice; a file request must follow. With kAtOnce the notice is not waited upon:
  // on a single connection the server leaves its answer out when the file follows at once, and a
  // late one is not taken for the file's; with a connection per request the file may overtake the
  // notice. With kWait its answer, or the server's hanging up, is waited for.
  absl::Status NotifyOfRetry(absl::string_view request);

  // Whether a key has been asked for and answered on the present connection.
  bool knows_client() const { return knows_client_; }

 private:
  absl::Status EnsureConnected();
  absl::StatusOr<Answer> ReadAnswer(RequestKind asked);
  absl::StatusOr<Answer> ReadOneAnswer(RequestKind asked);
  absl::Status SendWhole(absl::string_view request);
  absl::Status SendAll(ByteSource& request, absl::FunctionRef<void()> on_piece,
                       absl::Status& of_request);
  absl::StatusOr<Answer> Conclude(RequestKind asked, const absl::Status& sent);
  void Disconnect();

  const Frames& frames_;
  const ChannelOptions options_;
  std::optional<LegacySocket> socket_;
  bool knows_client_ = false;
  bool notice_is_open_ = false;  // A retry notice on this connection may still be answered.
};

}  // namespace backup::legacy_client
