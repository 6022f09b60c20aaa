#pragma once

#include <optional>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/byte_stream.h"
#include "bridge/client/frames.h"
#include "bridge/client/legacy_socket.h"
#include "bridge/client/transfer_info.h"

namespace backup::legacy_client {

enum class ConnectionUse { kPerRequest, kSingle };

struct ChannelOptions {
  Endpoint server;
  ConnectionUse connection_use = ConnectionUse::kPerRequest;
  absl::Duration timeout = absl::Seconds(30);  // For the server to move a byte.
};

// Requests to the server and their answers, over as many connections as it takes. Statuses are
// those of LegacySocket, and DataLoss for an answer that is none. Used by one thread at a time.
class Channel {
 public:
  explicit Channel(ChannelOptions options) : options_(std::move(options)) {}

  // Sends a whole request and reads its answer.
  absl::StatusOr<Answer> Ask(absl::string_view request);

  // Sends the head of a file request and all that `content` yields, and reads the answer. An error
  // of `content` is returned as it is. `on_piece` hears the size of each piece sent.
  absl::StatusOr<Answer> AskWithContent(absl::string_view head, ByteSource& content,
                                        absl::FunctionRef<void(size_t)> on_piece);

  // Sends a retry notice; a file request must follow. On a single connection the notice is not
  // waited upon: the server leaves its answer out when the file follows at once. With a connection
  // per request its answer, or the server's hanging up, is waited for: else the file on its own
  // connection could overtake the notice and be discarded by it.
  absl::Status NotifyOfRetry(absl::string_view request);

 private:
  absl::Status EnsureConnected();
  absl::StatusOr<Answer> ReadAnswer();
  absl::StatusOr<Answer> ReadOneAnswer();
  absl::StatusOr<Answer> Conclude(const absl::Status& sent);
  void Disconnect();

  const ChannelOptions options_;
  std::optional<LegacySocket> socket_;
  bool notice_is_open_ = false;  // A retry notice on this connection may still be answered.
};

}  // namespace backup::legacy_client
